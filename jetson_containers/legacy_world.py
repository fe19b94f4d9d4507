"""What a `config.py` finds around it: the environment, and the modules of its tree. Child process only."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import types
    from collections.abc import Callable, Iterator, Mapping, Sequence


class Environment(dict[str, str]):
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

    def __init__(self, roots: Sequence[str]) -> None:
        self._roots = [Path(root) for root in roots]
        self.directories: dict[str, Path] = {}  # module name → directory, of recipes whose name is no module's
        self._code: dict[str, types.CodeType] = {}  # modules are run anew for every recipe, but compiled once

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
        return None

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> None:
        """Leave it to Python."""

    def exec_module(self, module: types.ModuleType) -> None:
        """Run the file from its source."""
        origin = module.__spec__.origin if module.__spec__ else None
        if origin:
            module.__file__ = origin
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
