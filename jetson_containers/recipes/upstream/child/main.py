"""The child process that runs the `config.py` files of package trees, one after another.

Started by `config_py` as a script. It reads one JSON request from stdin and answers with one JSON
line per event on what was stdout: `{"start": i}` before a file runs, so that the parent knows which one never came
back, and `{"done": i, …}` after it. What recipes import as `jetson_containers` is a stub made here.

A recipe that looks up other packages (`find_package`) is run again when all others are known, so that the answer does
not depend on the order. No recipe sees what another one did: imports from the trees, paths, variables, the exported
values and the current directory, which is the recipe's own, are set back after each.
"""

from __future__ import annotations

import _thread
import copy
import fnmatch
import importlib
import json
import os
import platform
import signal
import sys
import traceback
import types
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.platforms.platform import Platform

HERE = Path(__file__).resolve().parent
PACKAGE = HERE.parents[2]  # `jetson_containers`
MAX_PASSES = 8
REFUSALS = frozenset({"NetworkRefusedError", "Refused"})  # which say it all themselves
LEAKED = frozenset(
    {"copy", "datetime", "fnmatch", "glob", "importlib", "json", "logging", "os", "platform", "pprint", "re", "shlex"}
    | {"shutil", "subprocess", "sys", "threading", "time", "traceback", "types", "yaml"}
)


class DeferredError(BaseException):
    """Other packages are asked for before all are known."""


class TimeIsUpError(BaseException):
    """The recipe takes too long."""


class Runner:
    """Runs the jobs of one request and answers through `send`."""

    def __init__(self, request: Mapping[str, Any], send: Callable[[Mapping[str, Any]], None]) -> None:
        self.restore: Callable[[], None] = lambda: None  # sets what recipes import back to what it was
        self._jobs: Sequence[Mapping[str, Any]] = request["jobs"]
        self._facts = request["facts"]
        self._limit = float(request["seconds"])
        self._roots = tuple(os.path.join(root, "") for root in request["roots"])  # noqa: PTH118 - a prefix of texts
        self._send = send
        self._known = [(self._place(item["path"]), [item]) for item in request["known"]]
        self._notes: list[str] = []
        self._files: set[str] = set()
        self._directory = ""
        self._added: dict[str, str] = {}
        self._may_find = False
        self._deferred = False
        self._refused = ""
        self._platform: Platform | None = None
        from jetson_containers.recipes.upstream.child import environment

        self.clock = environment.Clock()
        self.environ = environment.RecordedEnvironment(request["environ"], request["withheld"], self.warn)
        self._environ = dict(request["environ"])
        self._finder = environment.PackagesFinder(request["roots"], self.opened)
        self._finder.bases = {
            file: job["base"] for job in self._jobs for kind, file in job["steps"] if kind == "python"
        }
        self._libraries = tuple(os.path.join(entry, "") for entry in sys.path if entry)  # noqa: PTH118 - as above
        self._path = list(sys.path)
        self._modules: set[str] = set()
        self._leave = os._exit
        self._threads = _thread._count()  # noqa: SLF001 - see where it is compared

    def warn(self, text: str) -> None:
        """Note something about the recipe that runs."""
        where = self._where()
        note = f"{where}: {text}" if where else text
        if note not in self._notes:
            self._notes.append(note)

    def refused(self, what: str) -> None:
        """Note what the recipe asked for and did not get."""
        self._refused = self._refused or what
        self.warn(f"asked for {what}, which recipes cannot have while they are read")

    def add(self, path: Any, text: str) -> None:
        """Take a file that a helper of upstream's writes: it goes into what is built and not into the tree."""
        place = os.path.abspath(os.fspath(path))  # noqa: PTH100 - the recipe's own directory is the current one
        if not place.startswith(os.path.join(self._directory, "")):  # noqa: PTH118 - a prefix of texts
            self.refused(f"writing `{path}`")
            raise PermissionError(f"reading a recipe may not run or write anything: writing `{path}`")
        self._added[place] = text

    def opened(self, path: str) -> None:
        """Note a file or directory that was read, other than Python's own, because the answer depends on it."""
        path = os.path.abspath(path)  # noqa: PTH100 - a text, for every file that is opened
        if path.startswith(self._roots) or not path.startswith((*self._libraries, "/dev/", "/proc/", "/sys/")):
            self._files.add(path)

    def run(self) -> None:
        """Run all jobs; those that look up others again, until nothing new is found."""
        sys.meta_path.insert(0, self._finder)
        self._modules = set(sys.modules)
        waiting = [index for index in range(len(self._jobs)) if not self._attempt(index, final=False)]
        for _ in range(MAX_PASSES):
            self._may_find = True
            left = [index for index in waiting if not self._attempt(index, final=False)]
            if not left or len(left) == len(waiting):
                waiting = left
                break
            waiting = left
        for index in waiting:
            self._attempt(index, final=True)

    def find(self, patterns: Sequence[str], skip: Sequence[str]) -> dict[str, Any]:
        """Packages by patterns over names and aliases, in the order of the trees. Raises KeyError."""
        if not self._may_find:
            self._deferred = True
            raise DeferredError
        places = sorted(self._known, key=lambda entry: entry[0])
        everything = [item for _, items in places for item in items]
        here = [item for item in everything if self.is_available(item)]
        found: dict[str, Any] = {}
        for pattern in patterns or ["*"]:
            matching = [item for item in here if pattern in {"", "*", "all"} or _matches(item, pattern)]
            if not matching:
                self._deferred = True
                raise KeyError(f"couldn't find package:  {pattern}")
            found.update({item["name"]: copy.deepcopy(item) for item in matching})
        return {
            name: item for name, item in found.items() if not any(fnmatch.fnmatchcase(name, entry) for entry in skip)
        }

    def _place(self, directory: str) -> tuple[int, tuple[str, ...]]:
        """Where a directory stands in the order of the trees."""
        tree = next((index for index, root in enumerate(self._roots) if f"{directory}/".startswith(root)), -1)
        return tree, Path(directory).parts

    def is_available(self, definition: Mapping[str, Any]) -> bool:
        """Whether a definition is enabled and its requirements hold on the target."""
        from jetson_containers.recipes.upstream.child import availability

        return availability.is_available(definition, self._target())

    def base_image(self) -> str:
        """The image that builds start from on the target."""
        from jetson_containers.platforms.platform import default_base_image

        return default_base_image(self._target())

    def repository(self) -> str:
        """The directory above the packages of the first tree."""
        root = Path(self._roots[0]) if self._roots else Path(self._directory)
        return str(root.parent if root.name == "packages" else root)

    def _target(self) -> Platform:
        from jetson_containers.recipes.upstream.child import availability

        if self._platform is None:
            self._platform = availability.platform_of(self._facts["exact"])
        return self._platform

    def _attempt(self, index: int, *, final: bool) -> bool:
        """Run one job; False when it must wait for others."""
        self._send({"start": index})
        self._notes, self._deferred, self._refused = [], False, ""
        self._directory, self._added = self._jobs[index]["directory"], {}
        answer: dict[str, Any] = {}
        signal.setitimer(signal.ITIMER_REAL, self._limit)
        try:
            answer["definitions"] = self._definitions(self._jobs[index])
        except BaseException as error:  # noqa: BLE001 - whatever a recipe raises is its own failure only
            answer["error"] = self._explained(error)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            self._reset()
        if self._deferred and not final and ("error" in answer or not self._may_find):
            return False
        answer.update(
            done=index, notes=self._notes, files=sorted(self._files), environ=self._reads(), added=self._added
        )
        self._send(answer)
        self._known.append((self._place(self._jobs[index]["directory"]), answer.get("definitions", [])))
        if _thread._count() > self._threads:  # noqa: SLF001 - what has no name in `threading` counts as well
            self._send({"again": index})
            self._leave(0)
        return True

    def _definitions(self, job: Mapping[str, Any]) -> list[dict[str, Any]]:
        from jetson_containers.recipes.upstream import merge

        os.chdir(job["directory"])
        package: Any = copy.deepcopy(job["base"])
        for kind, value in job["steps"]:
            if kind == "python":
                package = self._execute(job, value, package)
            elif isinstance(package, dict):
                merge.apply_data(package, value, lambda name: job["headers"].get(name, {}))
            else:
                raise merge.Malformed("`config.py` makes several packages, so no further file can be merged")
        parent = {key: value for key, value in job["base"].items() if key in merge.KEYS}
        return [merge.clean(item) for item in merge.flatten(package, parent, self._notes)]

    def _execute(self, job: Mapping[str, Any], file: str, package: Any) -> Any:
        name = job["module"]
        self._finder.place(name, Path(job["directory"]))
        module = types.ModuleType(f"{name}.{Path(file).stem}")
        module.__file__ = file
        module.__package__ = name
        module.__dict__["package"] = package
        sys.modules[module.__name__] = module
        self._files.add(file)
        exec(compile(Path(file).read_bytes(), file, "exec"), module.__dict__)  # noqa: S102 - that is the task
        if "package" not in module.__dict__:
            raise NameError("`package` is gone when the file ends")
        return module.__dict__["package"]

    def _explained(self, error: BaseException) -> dict[str, Any]:
        """File, line and reason of a failure: the last place in the trees that it went through."""
        if isinstance(error, SyntaxError) and error.filename:
            return {"path": error.filename, "line": error.lineno, "reason": f"{type(error).__name__}: {error.msg}"}
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(self._roots)]
        if isinstance(error, TimeIsUpError):
            reason = f"takes longer than {self._limit:g} s"
        else:
            kind, text = type(error).__name__, _text(error).strip().splitlines()
            said = text[0] if text else ""
            reason = said if kind == "Malformed" else f"{kind}: {said}" if said else kind
            if self._refused and not any(base.__name__ in REFUSALS for base in type(error).__mro__):
                reason += f" (recipes cannot have {self._refused})"
        last = frames[-1] if frames else None
        return {"path": last.filename if last else None, "line": last.lineno if last else None, "reason": reason}

    def _where(self) -> str:
        frame = sys._getframe(1)  # noqa: SLF001 - as the traceback module does, without reading any source
        while frame is not None:
            if frame.f_code.co_filename.startswith(self._roots):
                return f"{frame.f_code.co_filename}:{frame.f_lineno}"
            if frame.f_back is None:
                break
            frame = frame.f_back
        return ""

    def _reads(self) -> list[str]:
        return sorted(self.environ.read)

    def _reset(self) -> None:
        """What one recipe sets, changes or imports from the trees is not visible to another."""
        dict.clear(self.environ)
        dict.update(self.environ, self._environ)
        os.environ = self.environ  # type: ignore[assignment] # noqa: B003 - a recipe may have put another one there
        sys.path[:] = self._path
        if self._finder not in sys.meta_path:
            sys.meta_path.insert(0, self._finder)
        new = set(sys.modules) - self._modules
        own = {name for name in new if name.partition(".")[0] == "packages" or self._is_of_trees(sys.modules[name])}
        for name in own:
            del sys.modules[name]
        self._modules |= new - own
        self.clock.reset()
        self.restore()

    def _is_of_trees(self, module: Any) -> bool:
        return str(getattr(module, "__file__", None) or "").startswith(self._roots)


def _matches(definition: Mapping[str, Any], pattern: str) -> bool:
    names = [definition["name"], *(definition.get("alias") or ())]
    return any(fnmatch.fnmatchcase(str(name), pattern) for name in names)


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - a recipe's own exception class may be broken as well
        return ""


def _time_is_up(*_: object) -> None:
    raise TimeIsUpError


def _install_stub(namespace: Mapping[str, Any], submodules: Sequence[str]) -> Callable[[], None]:
    """Make `jetson_containers` and its modules for recipes; the result sets all names back to what they are now."""
    stub = sys.modules["jetson_containers"]
    modules = {name: types.ModuleType(f"jetson_containers.{name}") for name in submodules}
    sys.modules.update({module.__name__: module for module in modules.values()})
    stub.__dict__.update(modules, __all__=[*namespace, *submodules, *LEAKED], __getattr__=_leaked)
    del stub.__dict__["logging"]  # upstream's own star imports leave the standard one under this name

    def restore() -> None:
        fresh = {
            name: copy.copy(value) if isinstance(value, list | dict) else value for name, value in namespace.items()
        }
        for module in (stub, *modules.values()):
            module.__dict__.update(fresh)

    restore()
    return restore


def _leaked(name: str) -> Any:
    """Standard modules that upstream's package happens to hand on, because its own files import them."""
    if name not in LEAKED:
        raise AttributeError(f"module 'jetson_containers' has no attribute '{name}'")
    return importlib.import_module(name)


def _answer_pipe(word: str) -> Callable[[Mapping[str, Any]], None]:
    """Keep stdout for answers only: what recipes print goes nowhere."""
    answers = os.dup(1)
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)

    def send(message: Mapping[str, Any]) -> None:
        data = f"{word} {json.dumps(message)}\n".encode()
        while data:
            data = data[os.write(answers, data) :]

    return send


def main() -> None:
    """Serve one request."""
    request = json.loads(sys.stdin.buffer.read())
    send = _answer_pipe(request.pop("word"))
    stub = types.ModuleType("jetson_containers")
    stub.__path__ = [str(PACKAGE)]  # so that our own modules are found below the stub
    sys.modules["jetson_containers"] = stub
    from jetson_containers.recipes.upstream.child import guard, helpers
    from jetson_containers.recipes.upstream.child.stub import SUBMODULES, namespace

    sys.path[:] = [entry for entry in sys.path if entry != str(HERE)]
    runner = Runner(request, send)
    facts, environ = request["facts"], runner.environ
    names = {
        **helpers.namespace(facts, environ, runner.repository(), runner.is_available, runner.base_image),
        **namespace(facts, environ, runner.find, runner.warn, runner.refused, runner.add),
    }
    runner.restore = _install_stub(names, SUBMODULES)
    os.environ = runner.environ  # type: ignore[assignment] # noqa: B003 - recipes get this one and no other
    _pretend(str(request["facts"]["machine"]))
    sys.dont_write_bytecode = True
    signal.signal(signal.SIGALRM, _time_is_up)
    runner.clock.install()
    leave = os._exit
    guard.limit_resources()
    readable = (*request["readable"], sys.prefix, sys.base_prefix, *sys.path)
    guard.install(runner.refused, runner.opened, request["home"], readable)
    runner.run()
    leave(0)  # whatever threads recipes have started


def _pretend(machine: str) -> None:
    """Have Python say that this is the target's machine."""
    host = os.uname()
    os.uname = lambda: os.uname_result((*host[:4], machine))
    platform.machine = lambda: machine


if __name__ == "__main__":
    main()
