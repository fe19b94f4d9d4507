"""Rules about what recipes run: sources that change, files without a checksum, failures that are hidden."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jetson_containers.lint import rules_pip
from jetson_containers.lint.findings import finding

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from jetson_containers.lint.files import Step
    from jetson_containers.lint.findings import LintFinding

_COMMIT = re.compile(r"[0-9a-f]{40}")
_MOVING = re.compile(r"(?:(?:refs/heads|origin)/)?(?:main|master|HEAD|dev|devel|develop|nightly|latest|trunk)")
_URL = re.compile(r"(?:https?|ftp)://", re.IGNORECASE)
_LOOPBACK = re.compile(r"https?://(?:localhost|127\.|\[::1\]|\$\{?HOST)", re.IGNORECASE)
_CHECKERS = frozenset({"sha256sum", "sha384sum", "sha512sum", "shasum", "b2sum", "rhash"})
_KEYLIKE = re.compile(r"keyring|\.gpg|\.asc|\.pub\b|\.key\b|gpgkey", re.IGNORECASE)
_PYTHON_FETCHES = re.compile(r"\burlretrieve\(|\burlopen\(|\brequests\.get\(")
_TALK = frozenset({"true", ":", "echo", "printf"})

_TLS_OFF: tuple[tuple[frozenset[str], re.Pattern[str]], ...] = tuple(
    (frozenset(names.split()), re.compile(pattern))
    for names, pattern in (
        ("curl", r"-[a-zA-Z]*k[a-zA-Z]*|--insecure|--proxy-insecure"),
        ("wget", r"--no-check-certificate"),
        ("pip pip3 python python3 uv", r"--trusted-host(?:=.*)?|--allow-insecure-host(?:=.*)?"),
        ("git", r"http\.sslVerify=(?:false|0)"),
        ("apt apt-get", r"--allow-unauthenticated|.*(?:Verify-Peer=false|AllowInsecureRepositories=(?:true|1))"),
        ("npm yarn pnpm", r"--?strict-ssl=?(?:false)?"),
    )
)
_TLS_VARIABLES = re.compile(
    r"(?:GIT_SSL_NO_VERIFY=(?:1|true)|NODE_TLS_REJECT_UNAUTHORIZED=0|PYTHONHTTPSVERIFY=0|PIP_TRUSTED_HOST=.+"
    r"|UV_INSECURE_HOST=.+|CONDA_SSL_VERIFY=(?:false|0))"
)


def everywhere(steps: Sequence[Step]) -> Iterator[LintFinding]:
    """Rules for any script, also those that only run in a container: hidden failures, TLS."""
    for index, step in enumerate(steps):
        yield from _hidden(index, steps)
        yield from _tls_off(step)


def building(steps: Sequence[Step]) -> Iterator[LintFinding]:
    """Rules for what a RUN does, scripts included: everything that is fetched is pinned and checked."""
    yield from rules_pip.unpinned(steps)
    checks = _Checks(steps)
    for index, step in enumerate(steps):
        yield from _git(index, steps)
        yield from _other_installers(step)
        yield from _download(index, steps, checks)
        yield from _received_key(step)


def leftovers(steps: Sequence[Step], *, pip_cache_is_off: bool) -> Iterator[LintFinding]:
    """Rules for the RUNs of an image that is kept."""
    removed = any(s.name == "rm" and any("/var/lib/apt/lists" in word for word in s.command.words) for s in steps)
    used = next((step for step in steps if _apt(step) & {"install", "update", "upgrade"}), None)
    if used and not removed:
        yield at("apt-lists", used, "apt's lists stay in the layer")
    if not pip_cache_is_off:
        yield from rules_pip.cache(steps)


def recommends(steps: Sequence[Step]) -> Iterator[LintFinding]:
    """`apt-get install` without --no-install-recommends."""
    for step in steps:
        words = " ".join(step.command.words)
        if "install" in _apt(step) and "no-install-recommends" not in words and "Install-Recommends" not in words:
            yield at("apt-recommends", step, "installs recommended packages too")


def at(rule: str, step: Step, message: str, remedy: str = "") -> LintFinding:
    """A finding about a command."""
    return finding(rule, step.file, step.command.line, message, remedy=remedy, end=step.command.end)


def _apt(step: Step) -> frozenset[str]:
    words = step.command.words
    return (
        frozenset(words[1:])
        if step.name in {"apt-get", "apt"}
        else frozenset(words)
        & frozenset(
            ("install", "update") if {"apt-get", "apt"} & set(words) and step.name in {"xargs", "sudo", "env"} else ()
        )
    )


def _hidden(index: int, steps: Sequence[Step]) -> Iterator[LintFinding]:
    step = steps[index]
    command = step.command
    if command.before == "||" and not _is_condition(index, steps) and (what := _swallows(index, steps)):
        yield at("hidden-failure", step, f"`|| {what}` turns a failure into success")
    elif command.before in {";", "\n"} and command.words in {("true",), (":",)} and _ends(index, steps):
        yield at("hidden-failure", step, f"`; {command.name}` at the end hides the status of what ran before")
    elif command.name == "set" and any(word.startswith("+") and "e" in word for word in command.words[1:]):
        yield at("hidden-failure", step, "`set +e` goes on after every failure")
    elif command.name == "curl" and not _fails(command.words) and _fetched(command.words):
        yield at("hidden-failure", step, "curl takes an error page for the file", "curl --fail")


def _is_condition(index: int, steps: Sequence[Step]) -> bool:
    """Whether the left side of `||` asks a question, so that "no" is an answer; `[ … ] || true` says nothing."""
    left = steps[index - 1].command if index else None
    if left is None or steps[index].name in {"true", ":"}:
        return False
    asks = left.name in {"[", "[[", "test", "compgen", "cmp", "mountpoint"}
    return asks or left.words[:2] == ("command", "-v") or (left.name == "grep" and "-q" in " ".join(left.words))


def _swallows(index: int, steps: Sequence[Step]) -> str:
    """What the right side of `||` does when it only talks and lets the script go on; empty when it does more."""
    command = steps[index].command
    if command.opens:
        group = []
        for step in steps[index:]:
            if step.command.words == ("}",):
                break
            group.append(step.command)
        return "{ … }" if all(inner.name in _TALK for inner in group) else ""
    if command.name in _TALK:
        return command.name
    return " ".join(command.words) if command.words in {("exit", "0"), ("return", "0")} else ""


def _ends(index: int, steps: Sequence[Step]) -> bool:
    """Whether nothing follows in the same file or function but its end."""
    following = steps[index + 1] if index + 1 < len(steps) else None
    return index > 0 and (following is None or following.file != steps[index].file or following.command.words == ("}",))


def _fails(words: Sequence[str]) -> bool:
    return any(word in {"--fail", "--fail-with-body"} or re.fullmatch(r"-[a-zA-Z]*f[a-zA-Z]*", word) for word in words)


def _tls_off(step: Step) -> Iterator[LintFinding]:
    command = step.command
    for names, pattern in _TLS_OFF:
        if command.name in names:
            for word in command.words[1:]:
                if pattern.fullmatch(word):
                    yield at("tls-off", step, f"`{word}`")
    exported = command.words[1:] if command.name in {"export", "env"} else ()
    for word in (*command.assignments, *exported):
        if _TLS_VARIABLES.fullmatch(word):
            yield at("tls-off", step, f"`{word}`")
    text = " ".join(command.words)
    if "trusted=yes" in text:
        yield at("tls-off", step, "`[trusted=yes]`: apt takes packages that nobody signed")
    if command.name == "git" and re.search(r"\bconfig\b.*http\.sslVerify (?:false|0)", text):
        yield at("tls-off", step, "`http.sslVerify false`")


def _git(index: int, steps: Sequence[Step]) -> Iterator[LintFinding]:
    step = steps[index]
    if step.name != "git":
        return
    verb, words = _git_verb(step.command.words)
    if verb == "clone":
        yield from _clone(index, steps, words)
    elif verb == "pull":
        yield at("git-unpinned", step, "`git pull` takes whatever the branch is at")
    elif verb in {"checkout", "switch", "fetch", "reset"} and any(_MOVING.fullmatch(word) for word in words):
        yield at("git-unpinned", step, f"`git {verb}` of a branch, which moves")
    elif verb == "submodule" and "--remote" in words:
        yield at("git-unpinned", step, "`--remote` takes the newest commit of each submodule")


def _git_verb(words: Sequence[str]) -> tuple[str, list[str]]:
    """The git command and what follows it, behind git's own options."""
    rest = list(words[1:])
    while rest and rest[0].startswith("-"):
        takes_value = rest[0] in {"-C", "-c", "--git-dir", "--work-tree"}
        rest = rest[2:] if takes_value else rest[1:]
    return (rest[0], rest[1:]) if rest else ("", [])


def _clone(index: int, steps: Sequence[Step], words: list[str]) -> Iterator[LintFinding]:
    branch = _option(words, "-b", "--branch", "--revision")
    if branch and not _MOVING.fullmatch(branch):
        return
    if branch is None and _checked_out(steps[index + 1 :]):
        return
    url = next((word for word in words if "/" in word), "a repository")
    yield at("git-unpinned", steps[index], f"clones {url} at whatever its branch is at")


def _checked_out(later: Iterable[Step]) -> bool:
    """Whether a commit or tag is checked out before the next clone."""
    for step in later:
        if step.name != "git":
            continue
        verb, words = _git_verb(step.command.words)
        if verb == "clone":
            return False
        named = [word for word in words if not word.startswith("-") and not _MOVING.fullmatch(word)]
        if verb in {"checkout", "switch", "reset"} and named:
            return True
    return False


def _option(words: Sequence[str], *names: str) -> str | None:
    for index, word in enumerate(words):
        if word in names:
            return words[index + 1] if index + 1 < len(words) else ""
        for name in names:
            if word.startswith(f"{name}="):
                return word[len(name) + 1 :]
    return None


def _other_installers(step: Step) -> Iterator[LintFinding]:
    words = step.command.words[1:]
    plain = [word for word in words if not word.startswith("-")]
    if step.name in {"npm", "pnpm"} and plain[:1] in (["install"], ["i"], ["add"]):
        loose = [word for word in plain[1:] if not re.search(r"(?<=.)@(?!latest$|next$).|^[./$]|\.tgz$", word)]
        for word in loose:
            yield at("install-unpinned", step, f"`{step.name} install {word}`", f"{word.partition('@')[0]}@VERSION")
    if step.name == "cargo" and plain[:1] == ["install"] and not {"--locked", "--path"} & set(words):
        yield at("install-unpinned", step, "`cargo install` without --locked", "cargo install --locked NAME@VERSION")
    if step.name == "go" and plain[:1] == ["install"] and any(word.endswith("@latest") for word in plain):
        yield at("install-unpinned", step, "`go install …@latest`")


class _Checks:
    """Where files are compared with a checksum or a key with its fingerprint."""

    def __init__(self, steps: Sequence[Step]) -> None:
        self.steps = steps
        self.functions: set[str] = set()
        self.positions = [index for index, step in enumerate(steps) if self._checks(step)]
        while found := {f for i in self.positions if (f := steps[i].command.function)} - self.functions:
            self.functions |= found
            self.positions = [index for index, step in enumerate(steps) if self._checks(step)]

    def _checks(self, step: Step) -> bool:
        words = step.command.words
        if step.name in _CHECKERS:
            return bool({"-c", "--check"} & set(words)) or any(re.fullmatch(r"-[a-z]*c[a-z]*", word) for word in words)
        verified = step.name in {"gpg", "gpgv"} and bool({"--verify", "--show-keys", "--fingerprint"} & set(words))
        return verified or step.name == "gpgv" or step.name in self.functions

    def follow(self, index: int, seen: frozenset[str] = frozenset()) -> bool:
        """Whether one follows: in the same function, or after a call of it."""
        scope, file = self.steps[index].command.function, self.steps[index].file
        for position in self.positions:
            there = self.steps[position]
            if position > index and (there.file != file or there.command.function == scope):
                return True
        calls = [at for at, step in enumerate(self.steps) if scope and step.name == scope and scope not in seen]
        return any(self.follow(at, seen | {scope}) for at in calls)


def _fetched(words: Sequence[str]) -> str:
    """The address a download program is given, empty when it fetches nothing from elsewhere."""
    values = {"-o", "--output", "-O", "--output-document", "-H", "--header", "--retry", "-d", "--data", "--proto", "-A"}
    names = [word for index, word in enumerate(words[1:], 1) if words[index - 1] not in values]
    found = [word for word in names if _URL.match(word) or (word.startswith("$") and "://" not in word)]
    return next((word for word in found if not _LOOPBACK.match(word)), "")


def _download(index: int, steps: Sequence[Step], checks: _Checks) -> Iterator[LintFinding]:
    step = steps[index]
    if step.name.startswith("python") and not checks.follow(index):
        program = step.command.body or " ".join(step.command.words)
        if _PYTHON_FETCHES.search(program) and "hashlib" not in program:
            yield at("download-unchecked", step, "a Python program fetches a file without verifying it")
        return
    if step.name not in {"curl", "wget", "aria2c"} or not (url := _fetched(step.command.words)):
        return
    if {"-I", "--head", "--spider"} & set(step.command.words) or checks.follow(index):
        return
    target = " ".join((*step.command.words, *step.command.outputs, *_piped(index, steps)))
    if _KEYLIKE.search(target):
        yield at("key-unpinned", step, f"the key from {url} is trusted unseen")
    else:
        yield at("download-unchecked", step, f"{url} is used unchecked")


def _piped(index: int, steps: Sequence[Step]) -> list[str]:
    """The words of the commands that a download is piped into."""
    found: list[str] = []
    for step in steps[index + 1 :]:
        if step.command.before != "|":
            break
        found += [*step.command.words, *step.command.outputs]
    return found


def _received_key(step: Step) -> Iterator[LintFinding]:
    words = step.command.words
    if step.name == "apt-key" and {"add", "adv"} & set(words):
        yield at(
            "key-unpinned", step, "`apt-key` trusts a key for every repository", "signed-by=FILE, fingerprint checked"
        )
    keys = _option(words, "--recv-keys", "--recv-key", "--receive-keys") if step.name == "gpg" else None
    if keys is not None and not re.fullmatch(r"\$.*|(?:0x)?[0-9A-Fa-f]{40}", keys):
        yield at("key-unpinned", step, f"`{keys}` is not a full fingerprint")


def is_commit(text: str) -> bool:
    """Whether a text is a full commit."""
    return bool(_COMMIT.fullmatch(text))
