"""Asks upstream's own resolver for the chains of one platform. `upstream_chains.py` runs this in a process of its own.

    python tools/upstream_resolver.py CHECKOUT < facts.json > chains.json

CHECKOUT is a copy that may be written to: some of upstream's recipes do so while they are read. The facts are those of
`jetson_containers.recipes.upstream.config_py.facts`. Only the standard library, PyYAML, packaging and requests are
needed; what else upstream imports is replaced, because nothing of it takes part in resolving. Upstream reads
directories in threads, so its answers depend on their timing; here the directories are read one by one, by name.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import socket
import sys
import threading
import time
import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Modules that upstream imports for its other commands, with the names it takes from them.
UNUSED = {"dockerhub_api": ["DockerHub"], "tabulate": ["tabulate"], "termcolor": ["colored", "cprint"], "wget": []}


class InlineThread:
    """A thread that has run when `start` returns."""

    def __init__(
        self, target: Callable[..., object], args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> None:
        self._call = lambda: target(*args, **(kwargs or {}))

    def start(self) -> None:
        """Run it."""
        self._call()

    def join(self) -> None:
        """There is nothing to wait for."""


class IdleExecutor:
    """Runs nothing: upstream checks all packages in processes whose results it never sees."""

    def __enter__(self) -> IdleExecutor:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def map(self, *_: object) -> list[object]:
        """Nothing."""
        return []


def main() -> int:
    """Print the chains of the platform on stdin."""
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        return 0
    facts = json.load(sys.stdin)
    answers = os.dup(1)
    os.dup2(2, 1)  # what recipes and their programs print
    prepare(facts)
    sys.path.insert(0, sys.argv[1])
    with os.fdopen(answers, "w", encoding="utf-8") as stream:
        json.dump(resolve_all(), stream)
    return 0


def prepare(facts: dict[str, Any]) -> None:
    """Have upstream's modules see the platform and neither the host, the network nor the clock."""
    os.environ.update(
        CUDA_VERSION=facts["cuda"],
        CUDA_ARCH=facts["cuda_arch"],
        L4T_VERSION=facts["l4t"],
        LSB_RELEASE=facts["ubuntu"],
        SYSTEM_ARCH=facts["machine"],
    )
    platform.machine = lambda: facts["machine"]
    for name, members in UNUSED.items():
        module = types.ModuleType(name)
        module.__dict__.update(dict.fromkeys(members, lambda *_, **__: ""))
        sys.modules[name] = module
    time.sleep = lambda _: None
    socket.create_connection = socket.getaddrinfo = refuse_network  # type: ignore[assignment]
    listdir = os.listdir
    os.listdir = lambda path=".": sorted(listdir(path))  # type: ignore[assignment]


def refuse_network(*_: object, **__: object) -> None:
    """Raise what a machine without network gives."""
    raise OSError("no network")


def resolve_all() -> dict[str, Any]:
    """The chain of each name that upstream resolves, and the reasons where it or a recipe fails."""
    from jetson_containers import packages as upstream

    broken: dict[str, str] = {}
    acts: dict[str, str] = {}
    with replaced(upstream, broken, acts):
        upstream.scan_packages()
    find = remembered(upstream.find_package)
    upstream.find_package = find
    chains, failed = {}, {}
    for name in list(upstream._PACKAGES):  # noqa: SLF001 - upstream has no other way to list them
        try:
            chains[name] = [find(found)["name"] for found in upstream.resolve_dependencies([name])]
        except Exception as error:  # noqa: BLE001 - what recipes put into `depends` is not checked before
            failed[name] = f"{type(error).__name__}: {error}"[:300]
    packages = upstream._PACKAGES.items()  # noqa: SLF001
    paths = {name: package["path"] for name, package in packages if "path" in package}
    return {"chains": chains, "failed": failed, "broken": broken, "acts": acts, "paths": paths}


@contextlib.contextmanager
def replaced(upstream: Any, broken: dict[str, str], acts: dict[str, str]) -> Iterator[None]:
    """Upstream's module without threads and processes; a recipe that fails costs only itself.

    `broken` receives the errors of recipes, `acts` the first program that a recipe starts while it is read.
    """
    configure = upstream.config_package
    reading: list[str] = []

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if reading and event in {"subprocess.Popen", "os.system", "os.posix_spawn", "os.exec"}:
            acts.setdefault(reading[-1], f"{event} {args[0]}"[:300])

    sys.addaudithook(watch)

    def configured(package: Any) -> Any:
        reading.append(package["path"])
        try:
            return configure(package)
        except Exception as error:  # noqa: BLE001 - recipes are programs, and raise what they like
            broken[package["path"]] = f"{type(error).__name__}: {error}"[:300]
            return []
        finally:
            reading.pop()

    upstream.config_package = configured
    upstream.threading = types.SimpleNamespace(Thread=InlineThread, Lock=threading.Lock)
    upstream.concurrent = types.SimpleNamespace(futures=types.SimpleNamespace(ProcessPoolExecutor=IdleExecutor))
    yield
    upstream.config_package = configure


def remembered(find: Callable[..., Any]) -> Callable[..., Any]:
    """Upstream's look-up of a name, done once per name: it compares every pattern with every package."""
    found: dict[str, Any] = {}

    def look_up(package: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(package, str) or args or kwargs:
            return find(package, *args, **kwargs)
        if package not in found:
            try:
                found[package] = find(package)
            except KeyError as error:
                found[package] = error
        if isinstance(found[package], KeyError):
            raise found[package]
        return found[package]

    return look_up


if __name__ == "__main__":
    sys.exit(main())
