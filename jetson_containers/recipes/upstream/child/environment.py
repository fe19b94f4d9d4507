"""What a `config.py` finds around it: the environment, and the modules of its tree. Child process only."""

from __future__ import annotations

import copy
import importlib.abc
import importlib.machinery
import select
import selectors
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator, Mapping, Sequence


class RecordedEnvironment(dict[str, str]):
    """The environment recipes see; it notes what they read, because their answer depends on it."""

    def __init__(self, values: Mapping[str, str], withheld: Sequence[str], warn: Callable[[str], None]) -> None:
        super().__init__(values)
        self.read: set[str] = set()
        self._withheld = frozenset(withheld)
        self._warn = warn

    def _note(self, name: object) -> None:
        self.read.add(str(name))
        if name in self._withheld:
            self._warn(f"the variable `{name}` looks like a secret: recipes are not given it")

    def __getitem__(self, name: str) -> str:
        self._note(name)
        return super().__getitem__(name)

    def __contains__(self, name: object) -> bool:
        self._note(name)
        return super().__contains__(name)

    def get(self, name: str, default: Any = None) -> Any:
        """As a dict does, noted."""
        self._note(name)
        return super().get(name, default)

    def __iter__(self) -> Iterator[str]:
        self.read.add("*")
        return super().__iter__()

    def items(self) -> Any:
        """As a dict does, noted."""
        self.read.add("*")
        return super().items()

    def copy(self) -> dict[str, str]:
        """As a dict does, noted."""
        self.read.add("*")
        return dict(super().items())


class PackagesFinder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds `packages.<path>` in the trees; directories need no `__init__.py`, and nothing is cached on disk."""

    def __init__(self, roots: Sequence[str], missed: Callable[[str], None]) -> None:
        self._missed = missed  # hears where a module would have been
        self._roots = [Path(root) for root in roots]
        self.directories: dict[str, Path] = {}  # module name → directory, of recipes whose name is not a module's
        self.bases: dict[str, Mapping[str, Any]] = {}  # what `package` is where another recipe imports a `config.py`
        self._code: dict[str, types.CodeType] = {}  # modules are run anew for every recipe, but compiled once

    def place(self, name: str, directory: Path) -> None:
        """Say where the recipe's module lies, and those above it: a directory `a.b` is the module `a_b`."""
        self.directories.clear()
        while "." in name:
            self.directories[name] = directory
            name, directory = name.rpartition(".")[0], directory.parent

    def find_spec(
        self, fullname: str, path: object = None, target: object = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a file or directory of the trees; None for any other module."""
        del path, target
        if fullname.partition(".")[0] != "packages":
            return None
        for place in self._places(fullname):
            file = place.with_name(place.name + ".py")
            if file.is_file():
                return importlib.machinery.ModuleSpec(fullname, self, origin=str(file))
            if place.is_dir():
                spec = importlib.machinery.ModuleSpec(fullname, self, is_package=True)
                spec.submodule_search_locations = [str(place)]
                init = place / "__init__.py"
                spec.origin = str(init) if init.is_file() else None
                return spec
        for place in self._places(fullname):
            self._missed(f"{place}.py")
            self._missed(str(place))
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the file from its source."""
        origin = module.__spec__.origin if module.__spec__ else None
        if origin:
            module.__file__ = origin
            if origin in self.bases:
                module.__dict__["package"] = copy.deepcopy(self.bases[origin])
            if origin not in self._code:
                self._code[origin] = compile(Path(origin).read_bytes(), origin, "exec")
            exec(self._code[origin], module.__dict__)  # noqa: S102 - that is what importing means

    def _places(self, fullname: str) -> Iterator[Path]:
        if fullname in self.directories:
            yield self.directories[fullname]
        parent, _, last = fullname.rpartition(".")
        if parent in self.directories:
            yield self.directories[parent] / last
        parts = fullname.split(".")[1:]
        for root in self._roots:
            yield root.joinpath(*parts)
            if parts and (root / "packages").is_dir():
                yield root.joinpath("packages", *parts)
            for above in root.parents:  # a part of a tree is read: what it imports may lie in another part
                if above.name == "packages":
                    yield above.joinpath(*parts)


class Clock:
    """Waiting that takes no time: a recipe that pauses between attempts at the network comes to what it does without.

    What would be waited for is added to what clocks show, so that a loop until a deadline ends as well. As long as
    there are other threads, whatever one waits for may come from them, and that takes its time.
    """

    YIELD = 0.005  # seconds a pause takes at most while other threads run

    def __init__(self) -> None:
        self._own = threading.local()  # each thread has waited for itself
        self._sleep = time.sleep
        self._left: set[threading.Thread] = set()  # by recipes that have ended: nobody waits for these

    def reset(self) -> None:
        """Show the real time again, to a recipe that has no threads yet."""
        self._own.ahead = 0.0
        self._left = set(threading.enumerate())

    def pause(self, seconds: float) -> None:
        """Be `time.sleep`."""
        if seconds < 0:
            raise ValueError("sleep length must be non-negative")
        self._sleep(0 if self._alone() else min(seconds, self.YIELD))
        self._wait(seconds)

    def install(self) -> None:
        """Put it in the place of whatever waits or tells the time, in the modules that are loaded already too."""
        new: dict[Any, Any] = {time.sleep: self.pause, select.select: self._for_select(select.select)}
        for name in ("time", "monotonic", "perf_counter"):
            new[getattr(time, name)] = self._shown(getattr(time, name), 1)
            new[getattr(time, f"{name}_ns")] = self._shown(getattr(time, f"{name}_ns"), 10**9)
        for module in list(sys.modules.values()):
            for name, value in list(getattr(module, "__dict__", {}).items()):
                if type(value) is _BUILTIN and value in new:
                    setattr(module, name, new[value])
        threading.Condition.wait = self._for_condition(threading.Condition.wait)  # type: ignore[method-assign]
        for kind in _SELECTORS:
            if hasattr(selectors, kind):
                found = getattr(selectors, kind)
                found.select = self._for_selector(found.select)

    def _wait(self, seconds: float) -> None:
        self._own.ahead = getattr(self._own, "ahead", 0.0) + seconds

    def _alone(self) -> bool:
        return not {*threading.enumerate()} - self._left - {threading.current_thread()}

    def _shown(self, clock: Callable[[], Any], unit: int) -> Callable[[], Any]:
        def shown() -> Any:
            ahead = getattr(self._own, "ahead", 0.0) * unit
            return clock() + (ahead if unit == 1 else int(ahead))

        return shown

    def _for_condition(self, wait: Callable[..., bool]) -> Callable[..., bool]:
        def waits(condition: threading.Condition, timeout: float | None = None) -> bool:
            if timeout is None or timeout <= 0 or not self._alone():
                return wait(condition, timeout)
            self._wait(timeout)
            return wait(condition, 0)

        return waits

    def _for_select(self, wait: Callable[..., Any]) -> Callable[..., Any]:
        def waits(read: Any, write: Any, special: Any, timeout: float | None = None) -> Any:
            if timeout is None or timeout <= 0 or not self._alone():
                return wait(read, write, special, *([] if timeout is None else [timeout]))
            ready = wait(read, write, special, 0)
            if not any(ready):
                self._wait(timeout)
            return ready

        return waits

    def _for_selector(self, wait: Callable[..., Any]) -> Callable[..., Any]:
        def waits(selector: selectors.BaseSelector, timeout: float | None = None) -> Any:
            if timeout is None or timeout <= 0 or not self._alone():
                return wait(selector, timeout)
            ready = wait(selector, 0)
            if not ready:
                self._wait(timeout)
            return ready

        return waits


_BUILTIN = type(time.sleep)
_SELECTORS = ("SelectSelector", "PollSelector", "EpollSelector", "DevpollSelector", "KqueueSelector")
