"""Runs the `config.py` files of a tree in one child process and hands back plain data.

The child (`child.main`) has no network and writes nothing. A file that hangs, crashes the interpreter or takes all
memory costs only itself: the child is then started again for the files after it.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import selectors
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.secrets import is_secret
from jetson_containers.platforms.platform import Arch, comparable_ubuntu
from jetson_containers.recipes import isolation, tree

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.platforms.platform import Platform

SECONDS = 5.0  # for one file; the whole of upstream's 187 take less than one
GRACE = 2.0  # seconds after which a file that withstands its own alarm is stopped from outside
LONGEST_ANSWER = 16 << 20  # bytes; the definitions of one directory
CHILD = Path(__file__).parent / "child" / "main.py"
PACKAGE = Path(__file__).resolve().parents[2]  # `jetson_containers`, of which the child imports
_SIGNALLED = 128  # exit statuses above it are signals, as shells and bubblewrap have them

# What upstream takes for a platform without L4T (facts of its table), so that recipes decide as they do there.
NO_L4T = ("39.1.0", "7.2")


@dataclass(frozen=True, kw_only=True)
class ConfigPyJob:
    """One directory with a `config.py`.

    `base` is the package before any file, `steps` the files in their order (`("data", mapping)` or
    `("python", path)`), `headers` the headers of Dockerfiles that named definitions have of their own, by file name.
    """

    directory: Path
    module: str
    base: Mapping[str, Any]
    steps: Sequence[tuple[str, Any]]
    headers: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class ConfigPyFailure:
    """Why a file gives no packages; `path` and `line` where it is known."""

    reason: str
    path: Path | None = None
    line: int | None = None


@dataclass(frozen=True, kw_only=True)
class ConfigPyAnswer:
    """What became of one job: its definitions, or a failure; `notes` are what it did that deserves a word."""

    definitions: tuple[Mapping[str, Any], ...] = ()
    failure: ConfigPyFailure | None = None
    notes: tuple[str, ...] = ()
    added: Mapping[str, str] = field(default_factory=dict)  # files for the build context, by absolute path


@dataclass(frozen=True, kw_only=True)
class ConfigPyOutcome:
    """The answers in the order of the jobs, and what they depend on besides the definitions themselves."""

    answers: tuple[ConfigPyAnswer, ...] = ()
    files: tuple[Path, ...] = ()  # files and directories that were read, other than Python's own
    variables: tuple[str, ...] = ()  # environment variables that were read; `*` is all of them


def run(
    jobs: Sequence[ConfigPyJob],
    roots: Sequence[Path],
    platform: Platform,
    *,
    known: Sequence[Mapping[str, Any]] = (),
    environ: Mapping[str, str] | None = None,
    seconds: float = SECONDS,
) -> ConfigPyOutcome:
    """Run the jobs. `known` are packages defined elsewhere that recipes may look up; they are available here."""
    if not jobs:
        return ConfigPyOutcome()
    values = dict(os.environ if environ is None else environ)
    withheld = sorted(name for name, value in values.items() if is_secret(name, value))
    target = facts(platform)
    readable = (PACKAGE, *map(_whole_tree, roots), *(job.directory for job in jobs))
    request: dict[str, Any] = {
        "facts": target,
        "roots": [str(root) for root in roots],
        "home": str(_home()),
        "readable": [str(path) for path in readable],
        "known": list(known),
        "environ": _of_target({name: value for name, value in values.items() if name not in withheld}, target),
        "withheld": withheld,
        "seconds": seconds,
    }
    return _Conversation(jobs, request, seconds, readable).hold()


def _home() -> Path | str:
    """The user's; "" where there is none."""
    try:
        return Path.home()
    except RuntimeError:
        return ""


def _whole_tree(root: Path) -> Path:
    """Where modules of the tree are looked for, of which only a part may be read."""
    return next((above for above in reversed(root.parents) if above.name == "packages"), root)


# Variables that choose the target upstream, and what of the facts they are.
_CHOOSING = {
    "CUDA_ARCH": "cuda_arch",
    "CUDA_VERSION": "cuda",
    "L4T_VERSION": "l4t",
    "LSB_RELEASE": "ubuntu",
    "PYTHON_VERSION": "python",
    "SYSTEM_ARCH": "machine",
}


def _of_target(environ: Mapping[str, str], target: Mapping[str, Any]) -> dict[str, str]:
    """The environment where variables that choose a target say what was chosen, `--target` included."""
    result = dict(environ)
    for name, fact in _CHOOSING.items():
        if result.get(name) and not (name == "PYTHON_VERSION" and result[name].startswith(target[fact])):
            result[name] = str(target[fact])
    return result


class _Conversation:
    """Asks child after child until every job has its answer; usually one is enough."""

    def __init__(
        self, jobs: Sequence[ConfigPyJob], request: Mapping[str, Any], seconds: float, readable: Sequence[Path]
    ) -> None:
        self._jobs = jobs
        self._command = [sys.executable, "-s", "-B", str(CHILD)]
        self._sandboxed = isolation.wrapped(self._command, readable)
        self._request = request
        self._patience = seconds + GRACE
        self._answers: dict[int, ConfigPyAnswer] = {}
        self._files: set[str] = set()
        self._variables: set[str] = set()

    def hold(self) -> ConfigPyOutcome:
        while len(self._answers) < len(self._jobs):
            self._ask([index for index in range(len(self._jobs)) if index not in self._answers])
        answers = tuple(self._answers[index] for index in range(len(self._jobs)))
        return ConfigPyOutcome(
            answers=answers,
            files=tuple(Path(file) for file in sorted(self._files | {str(isolation.program_file())})),
            variables=tuple(sorted(self._variables)),
        )

    def _ask(self, todo: Sequence[int]) -> None:
        """One child for all of these; if it dies, the job it was at is the one to blame."""
        jobs = [_encoded(self._jobs[index]) for index in todo]
        known = [*self._request["known"], *self._known_now()]
        running: int | None = None
        ended = "the reading of recipes ended at once"
        heard = False
        sandboxed = self._sandboxed
        with _Child(sandboxed or self._command, {**self._request, "jobs": jobs, "known": known}) as child:
            for message in child.messages(self._patience):
                heard = heard or not isinstance(message, str)
                if isinstance(message, str):
                    ended = message
                    break
                try:
                    event, place = _event(message, len(todo))
                    if event == "again" and running is not None and todo[running] in self._answers:
                        return  # what runs on in this child must not disturb the others
                    if event == "start":
                        running = place
                    elif event == "done" and place == running and todo[place] not in self._answers:
                        self._take(todo[place], message)
                    else:
                        raise ValueError(event)
                except (ValueError, TypeError, KeyError, LookupError, AttributeError):
                    ended = "wrote to the pipe on which recipes are answered"
                    break
            else:
                if all(index in self._answers for index in todo):
                    return
            refused = sandboxed and not heard and child.has_failed
        if refused:  # no file ran yet: the sandbox itself did not start
            self._sandboxed = None
            return
        left = [index for index in todo if index not in self._answers]
        blamed = todo[running] if running is not None else left[0] if left else todo[-1]
        self._answers[blamed] = ConfigPyAnswer(
            failure=ConfigPyFailure(reason=ended, path=_python_file(self._jobs[blamed]))
        )

    def _known_now(self) -> Iterator[Mapping[str, Any]]:
        for _, answer in sorted(self._answers.items()):
            yield from answer.definitions

    def _take(self, index: int, message: Mapping[str, Any]) -> None:
        """Keep an answer. Raises ValueError and the like for one that is none."""
        files, variables, notes = (_texts(message[key]) for key in ("files", "environ", "notes"))
        definitions = tuple(message.get("definitions", ()))
        if not all(isinstance(item, dict) and "name" in item for item in definitions):
            raise ValueError("definitions")
        error = message.get("error")
        failure = None
        if error:
            path = Path(error["path"]) if error["path"] else _python_file(self._jobs[index])
            failure = ConfigPyFailure(
                reason=str(error["reason"]), path=path, line=error["line"] if isinstance(error["line"], int) else None
            )
        self._files.update(files)
        self._variables.update(variables)
        self._answers[index] = ConfigPyAnswer(
            definitions=definitions, failure=failure, notes=notes, added=_added(message["added"])
        )


def _event(message: Mapping[str, Any], jobs: int) -> tuple[str, int]:
    """What a message says, and of which job. Raises ValueError and the like for one that is none."""
    event = next(name for name in ("start", "done", "again", "") if name in message or not name)
    place = message[event]
    if type(place) is not int or not 0 <= place < jobs:
        raise ValueError(event)
    return event, place


def _texts(items: Any) -> tuple[str, ...]:
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise TypeError(items)
    return tuple(items)


def _added(files: Any) -> dict[str, str]:
    """Files that helpers of upstream's made for the build context: text by path."""
    if not isinstance(files, dict) or not all(isinstance(item, str) for pair in files.items() for item in pair):
        raise TypeError(files)
    return files


class _Child:
    """One child process and the lines it answers."""

    def __init__(self, command: Sequence[str], request: Mapping[str, Any]) -> None:
        self._command = command
        # The word in front of each answer, which a recipe that writes to whatever file is open does not know.
        self._word = secrets.token_hex(16)
        self._request = json.dumps({**request, "word": self._word}).encode()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> _Child:
        self._process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # One hash seed: the order of a set that a recipe makes a list of is the same every time.
            env={
                "LC_ALL": "C.UTF-8",
                "PATH": os.environ.get("PATH", os.defpath),
                "PYTHONHASHSEED": "0",
                "PYTHONSAFEPATH": "1",
            },
            cwd="/",
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.kill()
            for stream in (self._process.stdin, self._process.stdout):
                if stream is not None:
                    stream.close()
            self._process.wait()

    @property
    def has_failed(self) -> bool:
        """Whether it has ended by itself with an error; one that is only slow has not."""
        return bool(self._process and self._process.poll())

    def messages(self, patience: float) -> Iterator[dict[str, Any] | str]:
        """The answers as they come; a text at the end says how it ended if it did not end well."""
        process = self._process
        assert process is not None and process.stdin is not None and process.stdout is not None  # noqa: PT018, S101
        try:
            process.stdin.write(self._request)
            process.stdin.close()
        except BrokenPipeError:
            pass
        buffer = bytearray()
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)
            deadline = time.monotonic() + patience
            while True:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    yield f"takes longer than {patience - GRACE:g} s and cannot be interrupted"
                    return
                data = os.read(process.stdout.fileno(), 1 << 16)
                if not data:
                    break
                searched = len(buffer)
                buffer += data
                if b"\n" not in data:
                    if searched > LONGEST_ANSWER:
                        yield f"answers with more than {LONGEST_ANSWER >> 20} MiB"
                        return
                    continue
                *lines, rest = bytes(buffer).split(b"\n")
                buffer = bytearray(rest)
                for line in lines:
                    message = _message(line, self._word)
                    yield message
                    if isinstance(message, str):
                        return
                deadline = time.monotonic() + patience  # answers only: anything else has ended the conversation
        try:
            code = process.wait(max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            yield "closed the pipe on which recipes are answered"
            return
        if code:
            yield f"ended the process that reads recipes ({_death(code)})"


def _message(line: bytes, word: str) -> dict[str, Any] | str:
    """One answer of the child, or what is wrong with it."""
    said, _, text = line.partition(b" ")
    try:
        message = json_text.parse(text) if said == word.encode() else None
    except (ValueError, RecursionError):
        message = None
    return message if isinstance(message, dict) else "wrote to the pipe on which recipes are answered"


def _death(code: int) -> str:
    signal = -code if code < 0 else code - _SIGNALLED
    return f"signal {signal}" if signal > 0 else f"exit code {code}"


def _python_file(job: ConfigPyJob) -> Path:
    return next((Path(value) for kind, value in job.steps if kind == "python"), job.directory)


def _encoded(job: ConfigPyJob) -> dict[str, Any]:
    return {
        "directory": str(job.directory),
        "module": job.module,
        "base": dict(job.base),
        "steps": [[kind, str(value) if kind == "python" else value] for kind, value in job.steps],
        "headers": dict(job.headers),
    }


def facts(platform: Platform) -> dict[str, Any]:
    """The platform as upstream's recipes see it; versions are text.

    A platform without L4T is the newest JetPack to them, and one without CUDA has CUDA 0.0, both as upstream has it.
    """
    cuda = platform.cuda
    ubuntu = platform.distro_version if platform.distro == "ubuntu" else comparable_ubuntu(platform)
    return {
        "l4t": str(platform.l4t) if platform.l4t else NO_L4T[0],
        "jetpack": _number(platform.jetpack if platform.l4t else None) or NO_L4T[1],
        "cuda": f"{cuda.major}.{cuda.minor}" if cuda else "0.0",
        "python": f"{platform.python.major}.{platform.python.minor}",
        "sm": list(platform.sm),
        "machine": platform.machine,
        "cuda_arch": "tegra-aarch64" if platform.arch is Arch.TEGRA else platform.machine,
        "ubuntu": ubuntu,
        "exact": platform.build_facts(),
    }


def _number(jetpack: str | None) -> str:
    """`6.0` of `6.0 DP`: recipes compare it as a version."""
    match = re.match(r"[0-9]+(?:\.[0-9]+)*", jetpack or "")
    return match[0] if match else ""


def inputs(
    outcome: ConfigPyOutcome, files: Sequence[Path] = (), environ: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What the outcome and these files depend on besides what stands beside them: `file:PATH`, `env:NAME`, stamped."""
    names = [f"file:{file}" for file in (*outcome.files, *files)] + [f"env:{name}" for name in outcome.variables]
    return {name: stamp(name, environ) for name in names}


def stamp(name: str, environ: Mapping[str, str] | None = None) -> str:
    """What an input is now: times, size and a digest of a file or directory; a digest of a variable's value."""
    kind, _, what = name.partition(":")
    if kind == "file":
        return f"{_times(what)} {tree.file_digest(Path(what))}"
    values = os.environ if environ is None else environ
    value = repr(sorted(values.items())) if what == "*" else values.get(what)
    return "-" if value is None else hashlib.sha256(value.encode(errors="surrogateescape")).hexdigest()[:16]


def is_unchanged(name: str, before: str) -> bool:
    """Whether an input is what it was: a file whose times are other ones may be."""
    kind, _, what = name.partition(":")
    times, _, digest = before.partition(" ")
    if kind == "file":
        return times == _times(what) or digest == tree.file_digest(Path(what))
    return stamp(name) == before


def _times(file: str) -> str:
    try:
        stat = Path(file).stat()
    except OSError:
        return "-"
    return f"{stat.st_size}:{stat.st_mtime_ns}:{stat.st_ctime_ns}"
