"""The package is there with its compiled extension and all that it imports. Exit status 77: loading it needs the GPU driver."""

import ast
import ctypes
import importlib
import importlib.metadata
import importlib.util
import re
import sys
from pathlib import Path


def imports(file, root):
    """What a file imports whatever happens: paths in the package, and names outside it."""
    for statement in ast.parse(file.read_text(encoding="utf-8")).body:  # not those in a `try` or a function
        if isinstance(statement, ast.Import):
            names = [alias.name for alias in statement.names]
        elif isinstance(statement, ast.ImportFrom) and not statement.level:
            names = [statement.module, *("%s.%s" % (statement.module, alias.name) for alias in statement.names)]
        elif isinstance(statement, ast.ImportFrom):
            base = file.parents[statement.level - 1].joinpath(*(statement.module or "").split("."))
            yield from (base, *(base / alias.name for alias in statement.names))
            continue
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            yield root.joinpath(*rest) if first == root.name else first


def missing(root):
    """The modules outside the package that its modules import and that are not there."""
    seen, ahead, outside = set(), [root], set()
    while ahead:
        path = ahead.pop()
        file = next((at for at in (path / "__init__.py", path.with_suffix(".py")) if at.is_file()), None)
        if file is None or file in seen:
            continue
        seen.add(file)
        for found in imports(file, root):
            (ahead.append if isinstance(found, Path) else outside.add)(found)
    return sorted(name for name in outside if importlib.util.find_spec(name) is None)


def unmet(name):
    """What the package says that it needs and that is not installed; imports in a `try` do not tell."""
    for requirement in importlib.metadata.requires(name) or []:
        wanted, _, marker = requirement.partition(";")
        distribution = re.match(r"[\w.-]+", wanted)[0]
        try:
            assert "extra" in marker or importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError:
            yield distribution


def main():
    name = next(name for name in ("exllamav3", "exllamav2") if importlib.util.find_spec(name))
    print(name, importlib.metadata.version(name))
    print(Path("/opt/sources/exllama").read_text().strip())
    assert importlib.util.find_spec(name + "_ext"), "no compiled extension"
    absent = missing(Path(importlib.util.find_spec(name).submodule_search_locations[0]))
    assert not absent, "imported and not installed: " + ", ".join(absent)
    absent = list(unmet(name))
    assert not absent, "needed and not installed: " + ", ".join(absent)
    # what is imported in a `try`: where it is missing, models with linear attention end while they answer
    assert name != "exllamav3" or importlib.util.find_spec("triton"), (
        "attention is written in Triton, which is not installed"
    )
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        print("needs a GPU: there is no driver (libcuda.so.1) in this container")
        sys.exit(77)
    importlib.import_module("torch")
    importlib.import_module(name + "_ext")


if __name__ == "__main__":
    main()
