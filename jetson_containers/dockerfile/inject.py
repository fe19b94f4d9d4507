"""Dockerfiles as data: parse, count layers, render, and add what the engine at hand can do.

A recipe is a plain Dockerfile that builds with the oldest builder we meet. What BuildKit adds (secret, bind and cache
mounts) is put in by `prepare`, which inserts lines and flags and leaves every other byte as it was written.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import NotReadyError, RecipeError, UsageError, command
from jetson_containers.core.text import is_number, shown
from jetson_containers.dockerfile.parser import (
    DEFAULT_PATH,
    FLAG,
    Instruction,
    directives,
    parse,
    split_lines,
    split_words,
    stages,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.dockerfile.parser import BuildStage

__all__ = ["Instruction", "parse"]  # names that belong to this module's interface although they stand below it

ARTIFACT_DIR = "/artifacts"  # where a compile part leaves what it made

# With mounts. The targets lie in /dev because that is a tmpfs of the build container: BuildKit leaves the directory
# it mounts on behind in the layer when it lies anywhere else (measured with engine 20.10 and /run), and a recipe's
# own `rm -rf ~/.cache` fails with "device or resource busy" when a cache is mounted there.
CA_SECRET_ID = "jetson_ca"  # noqa: S105 - the id of a secret, not a secret
CA_TARGET = "/dev/jetson/ca.crt"
WHEELS_SOURCE = ".jetson/wheels"  # the engine puts the wheels there in a staged context
WHEELS_TARGET = "/dev/jetson/wheels"

# Without mounts. COPY cannot write to /dev, so the bundle stands in /run until the stage's last instruction.
CA_COPY_SOURCE = ".jetson/ca.crt"  # the engine puts the bundle there in a staged context, mode 0644
CA_COPY_TARGET = "/run/jetson/ca.crt"
# wget and apt read no variable with a bundle's path, but one with the path of a file that names it.
CA_FILES = {"WGETRC": ("wgetrc", "ca_certificate = {}\n"), "APT_CONFIG": ("apt.conf", 'Acquire::https::CAInfo "{}";\n')}
CA_COPY_LAYERS = 2  # layers this adds to each stage: the COPY and the removal

CA_VARIABLES = (
    "PIP_CERT",
    "SSL_CERT_FILE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GIT_SSL_CAINFO",
    "NODE_EXTRA_CA_CERTS",
    "CARGO_HTTP_CAINFO",
)
PREDEFINED_ARGS = frozenset(
    name
    for lower in ("http_proxy", "https_proxy", "ftp_proxy", "no_proxy", "all_proxy")
    for name in (lower, lower.upper())
)

# The number of compile jobs must not be in the engine's cache key: another number makes the same image. A build
# argument is in the key of every builder. The address of an extra host is in none (BuildKit hashes only the name, the
# legacy builder neither; measured with engine 20.10), so the number is the last part of an address in /etc/hosts.
JOB_ARGS = ("MAX_JOBS", "CMAKE_BUILD_PARALLEL_LEVEL")
JOBS_HOST = "jetson-max-jobs"
MOST_JOBS = 255  # what fits into the last part of an address
HOSTS = "/etc/hosts"
JOBS_SECRET_ID = "jetson_jobs"  # noqa: S105 - where no extra host can be given, a file of the same form
JOBS_TARGET = "/dev/jetson/jobs"

# What the setting `mirrors` tells the commands (`mirror_script`) comes as a secret too: no address is in an image.
MIRRORS_SECRET_ID = "jetson_mirrors"  # noqa: S105 - the id of a secret, not a secret
MIRRORS_TARGET = "/dev/jetson/mirrors.sh"
_OWN_MOUNT = re.compile(r" --mount=\S*\btarget=/dev/jetson/\S*")
_READ_SCRIPT = f". {MIRRORS_TARGET}; "
_OWN_TRAP = "jetson_own_trap=1; "
_SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})
_ONLY_HEREDOC = re.compile(r"""<<-?["']?[^\s"'<]+["']?""")

_LAYERS = frozenset({"RUN", "COPY", "ADD", "WORKDIR"})
_MOUNT_TARGET = re.compile(r"(?:target|dst|destination)=([^,]+)")
_ROOT = frozenset({"", "0", "root", "0:0", "root:root"})


def layer_count(text: str, path: Path = DEFAULT_PATH) -> int:
    """Count the layers the final stage puts on its base, at most.

    RUN, COPY, ADD and WORKDIR each count as one. The legacy builder makes none for a WORKDIR, BuildKit always does
    (measured with engine 20.10: `len .RootFS.Layers`), and a limit must hold for both. A final stage that stands on
    an earlier stage of the same file has that stage's layers too.
    """
    found = stages(parse(text, path))
    named = {stage.name: stage for stage in found if stage.name}
    stage: BuildStage | None = found[-1]
    count = 0
    while stage is not None:
        count += sum(step.keyword in _LAYERS for step in stage.body)
        below = named.get(stage.base.lower())
        stage = below if below is not None and below.index < stage.index else None
    return count


def declared_args(text: str, path: Path = DEFAULT_PATH) -> frozenset[str]:
    """Name the build arguments a Dockerfile declares in any stage."""
    args = (step for step in parse(text, path) if step.keyword == "ARG")
    return frozenset(word.partition("=")[0] for step in args for word in split_words(step.value))


_RIGHTS = (  # flags of RUN that reach the host: only a user can allow them
    ("security", {"insecure"}, "security.insecure"),
    ("network", {"host"}, "network.host"),
    ("device", None, "device"),
)


def check_rights(text: str, path: Path = DEFAULT_PATH, user_flags: Sequence[str] = ()) -> None:
    """Raise RecipeError for a RUN that asks for rights of the host which `--build-flags` does not allow.

    What a RUN mounts or a COPY takes `from` is another image or stage, and never a file of the host.
    """
    allowed = " ".join(user_flags)
    for step in parse(text, path):
        for name, values, right in _RIGHTS:
            value = step.option(name) if step.keyword == "RUN" else None
            if value is None or (values is not None and value.strip("\"'") not in values) or right in allowed:
                continue
            raise RecipeError(
                f"`RUN --{name}={shown(value)}` asks for rights of the host, which only a user can give",
                path=path,
                line=step.line,
                hint=f"leave it out; for this build alone: {command('--build-flags', f'--allow {right}')}",
            )


def canonical(text: str, path: Path = DEFAULT_PATH) -> list[list[str]]:
    """Reduce a Dockerfile to what a builder reads, for content keys: no comments, blank lines or header.

    Each entry is the keyword, the joined value, and name and body of each heredoc; a `syntax` directive stays, since
    it chooses the language.
    """
    syntax = directives(split_lines(text)).get("syntax")
    head = [["#syntax", syntax]] if syntax else []
    return head + [
        [step.keyword, step.value, *(part for doc in step.heredocs for part in (doc.name, doc.body))]
        for step in parse(text, path)
    ]


def render(text: str, variables: Mapping[str, Any], path: Path = Path("Dockerfile.j2")) -> str:
    """Render a `Dockerfile.j2`: sandboxed Jinja2, an undefined variable is a RecipeError with its line.

    Sets and mappings are sorted first, so that the same variables give the same bytes. A comment is `{## … ##}`,
    because Jinja's own `{#` is what bash writes for a length: `${#list[@]}`.
    """
    import jinja2

    from jetson_containers.recipes import sandbox
    from jetson_containers.recipes.budget import bounded

    environment = sandbox.TemplateEnvironment(
        trim_blocks=True, lstrip_blocks=True, comment_start_string="{##", comment_end_string="##}"
    )
    try:
        with bounded():
            return environment.compiled("\n".join(split_lines(text))).render(_stable(dict(variables)))
    except jinja2.TemplateSyntaxError as error:
        raise RecipeError(error.message or "template syntax error", path=path, line=error.lineno) from error
    except sandbox.FAILURES as error:
        raise RecipeError(shown(str(error)), path=path, line=_template_line(error)) from error


def render_artifact(text: str, path: Path = Path("Dockerfile.build")) -> str:
    """Append a final stage that holds only `/artifacts` of the last one, so that the image that travels is small.

    The last stage gets a name when it has none.
    """
    lines = split_lines(text)
    last = stages(parse(text, path))[-1]
    name = last.name
    if name is None:
        name = "jetson-artifacts"
        lines[last.start.end - 1] += f" AS {name}"
    body = "\n".join(lines).rstrip("\n")
    return f"{body}\n\nFROM scratch\nCOPY --from={name} {ARTIFACT_DIR} {ARTIFACT_DIR}\n"


def build_args_for(
    *, mounts: bool, ca_bundle: bool = False, wheelhouse: str | bool = False, index_url: str = ""
) -> dict[str, str]:
    """Name the build arguments whose ARG lines `prepare` adds, with their values.

    `wheelhouse` is the http URL of the wheels for a builder without mounts, else whether there is a wheelhouse.
    Raises UsageError for an index URL with credentials: build arguments stay in an image's history.
    """
    found: dict[str, str] = {}
    if ca_bundle:
        bundle = Path(CA_TARGET if mounts else CA_COPY_TARGET)
        found |= dict.fromkeys(CA_VARIABLES, str(bundle))
        found |= {variable: str(bundle.with_name(name)) for variable, (name, _) in CA_FILES.items()}
    if wheelhouse:
        found["PIP_FIND_LINKS"] = WHEELS_TARGET if mounts else str(wheelhouse)
    if index_url:
        check_index(index_url)
        found["PIP_INDEX_URL"] = index_url
    return found


def check_index(url: str) -> None:
    """Raise UsageError for an index URL with credentials: logs show it, and with the legacy builder images do."""
    if "@" in url.partition("://")[2].partition("/")[0]:
        raise UsageError(
            "the index URL holds credentials, which stay readable in logs and, with an old builder, in the image",
            hint="use an index without credentials, or a wheelhouse: `--wheelhouse DIR`",
        )


def prepare(
    text: str,
    *,
    mounts: bool,
    ca_bundle: bool = False,
    wheelhouse: bool = False,
    index_url: bool = False,
    variables: Mapping[str, str] | None = None,
    base_user: str = "",
    path: Path = DEFAULT_PATH,
) -> str:
    """Add what the engine can do to a plain Dockerfile; without a feature the text comes back unchanged.

    With `mounts` each RUN (but none of ONBUILD) gets a secret mount for the CA bundle, which leaves nothing behind,
    and a bind mount for the wheels. A stage whose every RUN reads the script of `with_mirrors` finds the CA bundle
    there, so that its text and its cache key are the same without one.

    Without `mounts` the bundle is copied in after each FROM of a stage that runs something and removed by the
    stage's last instruction, as root; wheels come from a URL (`build_args_for`). `base_user` is the user of the base
    image, which the stage is left with. Every RUN sees the `variables`, unless an ENV sets one of them.

    ARG lines are added only for the features asked for, and never ENV: nothing stays in the image, and BuildKit 20.10
    would set an ARG without a value to the empty string, which OpenSSL takes for a bundle without certificates.
    Raises NotReadyError when the text itself needs BuildKit (`RUN --mount`, heredocs) and `mounts` is false.
    """
    steps = parse(text, path)
    if not mounts:
        _refuse_buildkit_only(steps, path)
    lines = split_lines(text)
    after: dict[int, list[str]] = {}
    for stage, users in _with_users(stages(steps), base_user):
        if not stage.runs:
            continue
        copies = ca_bundle and not mounts
        alone = [step for step in stage.body if step.keyword == "RUN" and not _reads_script(step)]
        bundle = ca_bundle and bool(alone)
        args = _arg_lines(mounts=mounts, ca_bundle=bundle, wheelhouse=wheelhouse, index_url=index_url)
        args += [f"ARG {name}={quoted(value)}" for name, value in sorted((variables or {}).items())]
        after[stage.start.end] = [_ca_copy()] * copies + args
        if copies:
            after.setdefault(stage.body[-1].end, []).extend(_removal(users[-1]))
        flags = _mount_flags(ca_bundle=bundle, wheelhouse=wheelhouse) if mounts else []
        for step in stage.body:
            if step.keyword == "RUN":
                lines[step.line - 1] = _with_flags(lines[step.line - 1], step, flags)
    return "\n".join(_woven(lines, after))


def _reads_script(step: Instruction) -> bool:
    return any(f"id={MIRRORS_SECRET_ID}," in flag for flag in step.flags)


def takes_jobs(text: str, path: Path = DEFAULT_PATH) -> bool:
    """Whether a Dockerfile wants to know its number of compile jobs."""
    return not declared_args(text, path).isdisjoint(JOB_ARGS)


def is_job_number(name: str, value: str) -> bool:
    """Whether a build argument is a number of compile jobs: it changes how something is built, not what it is."""
    return name in JOB_ARGS and is_number(value)


def jobs_host(jobs: int) -> str:
    """The extra host of a build that tells the number of compile jobs.

    >>> jobs_host(6)
    'jetson-max-jobs:0.0.0.6'
    """
    return f"{JOBS_HOST}:0.0.0.{min(jobs, MOST_JOBS)}"


def jobs_file(jobs: int) -> str:
    """Tell the number of compile jobs in a file, as a line of /etc/hosts."""
    name, _, address = jobs_host(jobs).partition(":")
    return f"{address} {name}\n"


def with_jobs(text: str, path: Path = DEFAULT_PATH, *, secret: bool = False) -> str:
    """Let every RUN after an ARG of `JOB_ARGS` read the number of compile jobs first (`jobs_host`).

    With `secret` they read it from a secret file (`jobs_file`): the content of secrets is in no cache key either.

    The text is the same for every number. Lines are changed, none is added or removed. A RUN in JSON form goes through
    /bin/sh for it; a script in a language of its own (a shebang, a SHELL that is not a shell) is left as it is.
    """
    lines = split_lines(text)
    for stage in stages(parse(text, path)):
        names = _job_names(stage)
        for step in stage.body:
            _read_jobs(lines, step, names.get(step.line, ()), JOBS_TARGET if secret else HOSTS)
    return "\n".join(lines)


def with_mirrors(text: str, path: Path = DEFAULT_PATH, *, everywhere: bool = True) -> str:
    """Let every RUN read a script first, a secret file with the mirrors and the CA bundle: the text names neither.

    The text is the same whatever the script does, so it is given where nothing is set as well: then the script is
    empty. Lines are changed, none is added or removed. A script in a language of its own is left as it is; unless
    `everywhere`, so is a RUN in JSON form of a stage that shows no shell.
    """
    lines = split_lines(text)
    for stage in stages(parse(text, path)):
        shell = "sh"
        wraps = everywhere or _shows_shell(stage)
        for step in stage.body:
            shell = _shell_after(step, shell)
            if step.keyword == "RUN" and (wraps if _exec_form(step) is not None else shell in _SHELLS):
                own = "trap" in step.value or any("trap" in doc.body for doc in step.heredocs)
                script = f"{_OWN_TRAP if own else ''}{_READ_SCRIPT}"
                if _put_before(lines, step, script, replaced=False):
                    _mount_secret(lines, step, MIRRORS_SECRET_ID, MIRRORS_TARGET)
    return "\n".join(lines)


def _shows_shell(stage: BuildStage) -> bool:
    """Whether a command of the stage goes through /bin/sh, which is there then."""
    runs = [step for step in stage.body if step.keyword in {"RUN", "SHELL"}]
    return bool(runs) and runs[0].keyword == "RUN" and _exec_form(runs[0]) is None


def reads_script(text: str) -> bool:
    """Whether a RUN of a text that `with_mirrors` made reads the script."""
    return f"id={MIRRORS_SECRET_ID}," in text


def mounts_ca_bundle(text: str) -> bool:
    """Whether a RUN of a text that `prepare` made mounts the CA bundle itself."""
    return f"id={CA_SECRET_ID}," in text


def without_script(line: str) -> str:
    """A line of a builder's output as the recipe has it: without what `with_mirrors` put before a command.

    >>> without_script("#5 [2/3] RUN --mount=type=secret,id=jetson_mirrors,target=/dev/jetson/mirrors.sh,mode=0444 . /dev/jetson/mirrors.sh; make")
    '#5 [2/3] RUN make'
    """  # noqa: E501 - as BuildKit prints it
    mount = f"{_secret_mount(MIRRORS_SECRET_ID, MIRRORS_TARGET)} "
    return line.replace(mount, "").replace(f"{_OWN_TRAP}{_READ_SCRIPT}", "").replace(_READ_SCRIPT, "")


def _shell_after(step: Instruction, shell: str) -> str:
    """The name of the program that reads the RUNs behind this instruction."""
    if step.keyword != "SHELL":
        return shell
    return Path(step.words[0]).name if step.words else ""


def _job_names(stage: BuildStage) -> dict[int, tuple[str, ...]]:
    """Map the line of each RUN to the job arguments it sees: declared above it, and not set by an ENV."""
    declared: dict[str, None] = {}
    shell = "sh"
    found = {}
    for step in stage.body:
        words = [word.partition("=")[0] for word in split_words(step.value)]
        shell = _shell_after(step, shell)
        if step.keyword == "ARG":
            declared.update(dict.fromkeys(name for name in words if name in JOB_ARGS))
        elif step.keyword == "ENV":
            for name in words if re.match(r"\S+=", step.value) else words[:1]:
                declared.pop(name, None)
        elif step.keyword == "RUN" and (shell in _SHELLS or _exec_form(step) is not None):
            found[step.line] = tuple(declared)
    return found


def _exec_form(step: Instruction) -> list[str] | None:
    """The words of a RUN in JSON form."""
    try:
        words = json_text.parse(step.arguments)
    except ValueError:
        return None
    return words if isinstance(words, list) and all(isinstance(word, str) for word in words) else None


def _read_jobs(lines: list[str], step: Instruction, names: Sequence[str], source: str) -> None:
    """Change the lines of a RUN, so that it reads its number of jobs first."""
    if not names:
        return
    values = " ".join(f'{name}="${{jetson_ip##*.}}"' for name in names)
    script = (
        f'while read -r jetson_ip jetson_name; do case "$jetson_name" in {JOBS_HOST}) {values} ;; esac;'
        f" done <{source}; export {' '.join(names)}; "
    )
    if _put_before(lines, step, script, replaced=True) and source == JOBS_TARGET:
        _mount_secret(lines, step, JOBS_SECRET_ID, JOBS_TARGET)


def _put_before(lines: list[str], step: Instruction, script: str, *, replaced: bool) -> bool:
    """Put a script before what a RUN does; false for one in a language of its own, which is left as it is.

    `replaced` says that a RUN in JSON form takes the place of the shell that reads the script.
    """
    first, last = step.line - 1, step.end
    text = "\n".join(lines[first:last])
    start = _arguments_start(text, directives(lines).get("escape", "\\"))
    if start is None:
        return False
    words = _exec_form(step)
    if words is not None:
        command = json.dumps(["/bin/sh", "-c", f'{script}{"exec " if replaced else ""}"$@"', "sh", *words])
        text = text[:start] + command + "\n" * text.count("\n", start)
    elif len(step.heredocs) == 1 and _ONLY_HEREDOC.fullmatch(step.arguments):
        if step.heredocs[0].body.startswith("#!"):  # a program of its own, in whatever language
            return False
        head, _, body = text[start:].partition("\n")
        text = f"{text[:start]}{head}\n{script}{body}"  # in front of the first line of the script
    else:
        text = text[:start] + script + text[start:]
    lines[first:last] = text.split("\n")
    return True


def _secret_mount(name: str, target: str) -> str:
    return f"--mount=type=secret,id={name},target={target},mode=0444"


def _mount_secret(lines: list[str], step: Instruction, name: str, target: str) -> None:
    mount = _secret_mount(name, target)
    first = step.line - 1
    lines[first] = re.sub(r"^(\s*RUN)", rf"\1 {mount}", lines[first], count=1, flags=re.IGNORECASE)


def _arguments_start(text: str, escape: str) -> int | None:
    """Find where the arguments of a RUN begin, behind its flags and continuation lines."""
    gap = rf"(?:[ \t]|{re.escape(escape)}[ \t]*\n(?:[ \t]*(?:#[^\n]*)?\n)*)"
    found = re.match(rf"\s*RUN(?:{gap}+{FLAG.pattern})*{gap}+", text, re.IGNORECASE)
    return found.end() if found else None


def _stable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _stable(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, (list, tuple)):
        return [_stable(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted(value)
    return value


def _template_line(error: BaseException) -> int | None:
    """Find the template's line: Jinja2 gives the frames of a template the template's own line numbers."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == "<template>":
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _refuse_buildkit_only(steps: Sequence[Instruction], path: Path) -> None:
    for step in steps:
        what = "a heredoc" if step.heredocs else "`RUN --mount`" if step.option("mount") else ""
        if what:
            raise NotReadyError(
                f"{path}:{step.line}: {what} needs BuildKit, and this engine's client builds without it",
                hint="install buildx (`apt-get install docker-buildx`), or a Docker client with BuildKit inside",
            )


def _with_users(found: Sequence[BuildStage], base_user: str) -> Iterator[tuple[BuildStage, list[str]]]:
    """Pair each stage with its users in turn: the one inherited from the stage or base image below, then its own."""
    ends: dict[str, str] = {}
    for stage in found:
        below = base_user if "$" in stage.base else ""
        users = [ends.get(stage.base.lower(), below)]
        users += [step.value for step in stage.body if step.keyword == "USER"]
        if stage.name:
            ends[stage.name] = users[-1]
        yield stage, users


def ca_files(*, mounts: bool) -> dict[str, str]:
    """Files that tell programs where the CA bundle is, by name; they stand beside it."""
    bundle = CA_TARGET if mounts else CA_COPY_TARGET
    return {name: text.format(bundle) for name, text in CA_FILES.values()}


def ca_secret_id(name: str) -> str:
    """The id of the secret that holds one of the `ca_files`."""
    return f"{CA_SECRET_ID}_{name.replace('.', '_')}"


def _ca_copy() -> str:
    sources = [CA_COPY_SOURCE, *(str(Path(CA_COPY_SOURCE).with_name(name)) for name in ca_files(mounts=False))]
    return f"COPY {' '.join(sources)} {Path(CA_COPY_TARGET).parent}/"


def _removal(user: str) -> list[str]:
    remove = f'RUN ["rm", "-rf", "{Path(CA_COPY_TARGET).parent}"]'  # JSON form: whatever SHELL the recipe has set
    return [remove] if user in _ROOT else ["USER 0", remove, f"USER {user}"]


def _arg_lines(*, mounts: bool, ca_bundle: bool, wheelhouse: bool, index_url: bool) -> list[str]:
    """Declare what the RUNs need; paths are defaults, so that callers need not pass them."""
    words = [f"{name}={value}" for name, value in build_args_for(mounts=mounts, ca_bundle=ca_bundle).items()]
    if wheelhouse:
        words.append(f"PIP_FIND_LINKS={WHEELS_TARGET}" if mounts else "PIP_FIND_LINKS")
    if index_url:
        words.append("PIP_INDEX_URL")
    return [f"ARG {' '.join(words)}"] if words else []


def as_written(line: str) -> str:
    """A line of a build's output without the mounts that are ours: they hide the recipe's own instruction.

    >>> as_written("#5 [2/2] RUN --mount=type=secret,id=jetson_ca,target=/dev/jetson/ca.crt,mode=0444 make")
    '#5 [2/2] RUN make'
    """
    return _OWN_MOUNT.sub("", line)


def quoted(value: str) -> str:
    """A value in double quotes, as a Dockerfile reads them."""
    escaped = re.sub(r'([\\"$])', r"\\\1", value)
    return f'"{escaped}"'


def _mount_flags(*, ca_bundle: bool, wheelhouse: bool) -> list[str]:
    flags = []
    if ca_bundle:
        secrets = {CA_SECRET_ID: CA_TARGET}
        secrets |= {ca_secret_id(name): str(Path(CA_TARGET).with_name(name)) for name in ca_files(mounts=True)}
        flags += [
            f"--mount=type=secret,id={key},target={path},mode=0444,required=true" for key, path in secrets.items()
        ]
    if wheelhouse:
        flags.append(f"--mount=type=bind,source={WHEELS_SOURCE},target={WHEELS_TARGET}")
    return flags


def _with_flags(line: str, step: Instruction, flags: Sequence[str]) -> str:
    """Insert the mounts after the keyword, but none over a target the recipe mounts something on itself."""
    used = {path for flag in step.flags for path in _MOUNT_TARGET.findall(flag)}
    new = [flag for flag in flags if used.isdisjoint(_MOUNT_TARGET.findall(flag))]
    return re.sub(r"^(\s*RUN)", lambda found: " ".join([found[1], *new]), line, count=1, flags=re.IGNORECASE)


def _woven(lines: Sequence[str], after: Mapping[int, Sequence[str]]) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        yield line
        yield from after.get(number, ())
