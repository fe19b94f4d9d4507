"""`list`, `show`, `search`, `why`, `tree`: questions to the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from jetson_containers.cli.app import App, command
from jetson_containers.core.console import human_bytes
from jetson_containers.core.errors import JetsonError, NothingMatchedError

if TYPE_CHECKING:
    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package


def _row(package: Package, absent: str | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {
        "name": package.name,
        "family": package.family,
        "version": package.version,
        "aliases": list(package.aliases),
        "group": package.group,
        "depends": [str(dependency) for dependency in package.depends],
        "requires": list(package.requires),
        "path": str(package.path),
    }
    if absent is not None:
        row["absent"] = absent
    return row


@command("list")
@click.argument("patterns", nargs=-1, metavar="[PATTERN]...")
@click.option("--all", "show_all", is_flag=True, help="Also list the packages that are absent here, with the reason.")
def list_packages(app: App, *, patterns: tuple[str, ...], show_all: bool) -> None:
    """List the packages for the platform.

    Example: jetson-containers list 'llama*' --target r36.4.3
    """
    import fnmatch

    catalog = app.catalog
    patterns = tuple(map(catalog.spelled, patterns))
    rows = [_row(package) for package in (catalog.match(patterns) if patterns else catalog.available.values())]
    if show_all:
        rows += [
            _row(absent.package, absent.reason)
            for name, absent in catalog.absent.items()
            if not patterns or any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
        ]
    if app.console.as_json:
        app.console.result_json(rows)
        return
    for row in rows:
        app.console.result(row["name"] + (f"  (absent: {row['absent']})" if "absent" in row else ""))


@command()
@click.argument("name")
def show(app: App, *, name: str) -> None:
    """Show one package: versions, dependencies, sources, docs.

    Example: jetson-containers show llama_cpp
    """
    from jetson_containers.recipes import docs

    package = app.catalog.find(app.catalog.spelled(name))
    data = {
        **_row(package),
        "default": package.default,
        "docs": package.docs,
        "notes": package.notes,
        "license": package.license,
        "source": dict(package.source),
        "build_args": dict(package.build_args),
        "test": list(package.test),
        "memory_per_job": package.memory_per_job,
        "artifacts": package.artifacts.dockerfile if package.artifacts else None,
        "versions": [p.name for p in app.catalog.available.values() if p.family == package.family],
        "origin": package.origin,
        "tree": package.tree_name,
    }
    if app.console.as_json:
        app.console.result_json(data)
        return
    data["docs"] = docs.about(package)
    if package.memory_per_job:
        data["memory_per_job"] = human_bytes(package.memory_per_job)
    rows = [(key, _cell(value)) for key, value in data.items() if value not in (None, "", [], {})]
    app.console.table(("field", "value"), rows, to_result=True)


def _cell(value: Any) -> str:
    """A value as people write it: lists with commas, what is below a name in parentheses behind it."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(
            f"{key} ({_cell(item)})" if isinstance(item, (dict, list, tuple)) else f"{key}={item}"
            for key, item in value.items()
        )
    if isinstance(value, (list, tuple)):
        return ", ".join(_cell(item) for item in value)
    return " ".join(str(value).split())


@command()
@click.argument("text")
def search(app: App, *, text: str) -> None:
    """Search names, aliases, groups and docs.

    Example: jetson-containers search gguf
    """
    from jetson_containers.recipes import docs

    words = text.lower().split()
    found = [package for package in app.catalog.available.values() if all(word in _haystack(package) for word in words)]
    if not found:
        raise NothingMatchedError(f"no package mentions `{text}`", hint="`jetson-containers list` shows them all")
    if app.console.as_json:
        app.console.result_json([_row(package) for package in found])
        return
    rows = [(p.name, p.group, docs.about(p)) for p in found]
    app.console.table(("package", "group", "docs"), rows, to_result=True)


def _haystack(package: Package) -> str:
    from jetson_containers.recipes import docs

    words = (package.name, *package.aliases, package.group, docs.whole(package), package.notes)
    return " ".join(words).lower()


@command()
@click.argument("name")
def why(app: App, *, name: str) -> None:
    """Explain why a package is absent, or which packages require it.

    Example: jetson-containers why cuda --target cpu
    """
    from jetson_containers.recipes.why import explain_package

    data = explain_package(app.catalog, app.catalog.spelled(name))
    refused = _refusal(app.catalog, data["package"]) if data["available"] else None
    if app.console.as_json:
        app.console.result_json({**data, "refused": refused.message if refused else None})
        return
    state = "available" if data["available"] else "absent"
    app.console.result(f"{data['package']} is {state} on this platform{', but cannot be built' if refused else ''}")
    if refused:
        for line in (refused.message, *refused.details):
            app.console.result(f"  no   {line}")
    for rule in data["rules"]:
        app.console.result(f"  {'yes' if rule['ok'] else 'no '}  {rule['rule']}: {rule['reason']}")
    if data["required_by"]:
        app.console.result(f"  required by: {', '.join(data['required_by'])}")


def _refusal(catalog: Catalog, name: str) -> JetsonError | None:
    """Why a package that is available cannot be planned all the same: something it needs is missing, or too much.

    The built-in recipes are planned by the tests for every target, so that for them resolving is enough.
    """
    from jetson_containers.resolver import solve

    try:
        resolution = solve.solve(catalog, (name,))
        if any(package.further_tree for package in resolution.packages):
            _plan_alone(catalog, name)
    except JetsonError as error:
        return error
    return None


def _plan_alone(catalog: Catalog, name: str) -> None:
    from jetson_containers.plan.plan import PlanOptions
    from jetson_containers.plan.request import Request, assemble

    assemble(Request(packages=(name,)), catalog.platform, lambda _: catalog, PlanOptions())


@command()
@click.argument("names", nargs=-1, required=True)
def tree(app: App, *, names: tuple[str, ...]) -> None:
    """Show what packages depend on; the order in brackets is the build order.

    Where packages come from several trees, those that are not built in are followed by their directory.

    Example: jetson-containers tree llama_cpp
    """
    from jetson_containers.resolver import solve

    names = tuple(map(app.catalog.spelled, names))
    resolution = solve.solve(app.catalog, names)
    if app.console.as_json:
        app.console.result_json(
            {
                "request": list(names),
                "packages": [package.name for package in resolution.packages],
                "depends": {name: list(depends) for name, depends in resolution.depends.items()},
                "trees": {package.name: package.tree_name for package in resolution.packages},
            }
        )
        return
    position = {package.name: str(index) for index, package in enumerate(resolution.packages, 1)}
    if len({package.tree_name for package in resolution.packages}) > 1:
        position |= {p.name: f"{position[p.name]}, {p.further_tree}" for p in resolution.packages if p.further_tree}
    for package in resolution.packages:
        if not resolution.pulled_by.get(package.name) or package.name in resolution.requested:
            for line in _branch(package.name, resolution.depends, position, "", set()):
                app.console.result(line)


def _branch(name: str, depends: Any, position: dict[str, str], indent: str, seen: set[str]) -> list[str]:
    again = name in seen
    lines = [f"{indent}{name} [{position.get(name, '-')}]{' …' if again and depends.get(name) else ''}"]
    seen.add(name)
    for child in () if again else depends.get(name, ()):
        lines += _branch(child, depends, position, indent + "  ", seen)
    return lines
