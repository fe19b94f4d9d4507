"""Definitions of upstream's format → `Package` objects. Nothing in them is a template.

Upstream knows names only. Here a name has a family and a version, and `-builder` (or any other ending after the name
of a sibling) makes a variant, so that one image has one of them.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import RecipeError, RequirementSyntaxError
from jetson_containers.core.text import shown
from jetson_containers.recipes import files, schema
from jetson_containers.recipes.package import MOST_PACKAGES, Package
from jetson_containers.recipes.requirement import Dependency
from jetson_containers.recipes.rules import holds, parse
from jetson_containers.recipes.upstream.merge import listed, switched_on

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.platforms.platform import Platform

_TEXTS = ("dockerfile", "network", "path", "postfix", "prefix", "timeout")
_FROM = re.compile(r"^[^\S\n]*FROM\s", re.MULTILINE | re.IGNORECASE)


@dataclass(kw_only=True)
class Directory:
    """Where definitions come from: their files in the order of reading, and what every one of them falls back to."""

    path: Path
    group: str
    files: tuple[Path, ...]
    postfix: str = ""  # upstream's default, which the recipe did not ask for
    tree: Path | None = None  # what no file of the recipe may lie outside of; its own directory if None
    notes: list[str] = field(default_factory=list)
    added: dict[Path, str] = field(default_factory=dict)  # files that reading them made for the build context
    _texts: dict[Path, str] = field(default_factory=dict)

    def text(self, file: Path) -> str:
        """A file's text, empty where it cannot be read."""
        try:
            return self.read(file)
        except RecipeError:
            return ""

    def read(self, file: Path) -> str:
        """A file's text, read once however many packages it defines. Raises RecipeError."""
        if file not in self._texts:
            self._texts[file] = files.read_text(file, tree=self.tree or self.path, errors="replace")
        return self._texts[file]

    def check_path(self, path: Path, written: str) -> None:
        """Raise RecipeError for a path of a recipe that leads out of the tree."""
        tree = self.tree or self.path
        if not files.is_inside(path, tree):
            raise self.error(f"`{shown(written)}` leads out of the package tree {tree}", written)

    def find(self, *needles: str) -> tuple[Path, int]:
        """Where the first of these texts that occurs is written; the beginning of the last file if none does."""
        for needle in needles:
            for file in reversed(self.files):
                position = self.text(file).find(needle) if needle else -1
                if position >= 0:
                    return file, self.text(file).count("\n", 0, position) + 1
        return (self.files[-1] if self.files else self.path), 1

    def error(self, message: str, *needles: str) -> RecipeError:
        """Make the error, at the line where one of these texts is written."""
        file, line = self.find(*needles)
        return RecipeError(message, path=file, line=line)


def make(
    definitions: Sequence[Mapping[str, Any]], directory: Directory
) -> tuple[list[Package], list[tuple[RecipeError, tuple[str, ...]]]]:
    """The packages of one directory, and the errors of those definitions that make none with the names they had."""
    packages: list[Package] = []
    errors: list[tuple[RecipeError, tuple[str, ...]]] = []
    if len(definitions) > MOST_PACKAGES:
        return [], [(directory.error(f"makes more than {MOST_PACKAGES} packages"), (directory.path.name,))]
    for definition in definitions:
        try:
            packages.append(_package(definition, directory))
        except RecipeError as error:
            name = str(definition.get("name"))
            aliases = [str(alias) for alias in listed(definition.get("alias"))]
            names = [name, name.partition(":")[0], *aliases, directory.path.name]
            errors.append((error, tuple(dict.fromkeys(names))))
        except (TypeError, ValueError, AttributeError, LookupError) as problem:  # a value of an unexpected type
            message = f"is not a definition: {shown(str(problem))}"
            errors.append((directory.error(message), (directory.path.name,)))
    return packages, errors


def one_per_name(packages: Sequence[Package], platform: Platform, notes: list[str]) -> list[Package]:
    """Of packages of one name the last that is available here, in the place of the first that is.

    `requires` is judged before names are: recipes define one name once for each range of platforms. Where none of
    them is available the last one stays, to say why.
    """
    here = [package for package in packages if is_available(package, platform)]
    result: dict[str, Package] = {}
    for package in here:
        if package.name in result:
            notes.append(f"`{package.name}` is defined twice here; the last definition counts")
        result[package.name] = package
    result.update({package.name: package for package in packages if package not in here and package.name not in result})
    return list(result.values())


def is_available(package: Package, platform: Platform) -> bool:
    """Whether a package is enabled and all that it requires holds."""
    return not package.disabled and holds(package.requires, platform)


def _package(values: Mapping[str, Any], directory: Directory) -> Package:
    name = str(values["name"])
    if not schema.is_name(name, upstream=True):
        raise directory.error(f"`{shown(name)}` is not a package name", name)
    for key in _TEXTS:
        if isinstance(values.get(key), dict | list):
            raise directory.error(f"`{key}` of `{name}` must be text, and is a {type(values[key]).__name__}", key)
    for key in schema.JOINED:
        if any(isinstance(item, dict | list) for item in listed(values.get(key))):
            raise directory.error(f"`{key}` of `{name}` must be text or a list of texts", key)
    family, _, tag = name.partition(":")
    path = _path(values, directory)
    aliases = _aliases(values, directory)
    default = not tag or family in aliases
    bare = tuple(alias for alias in aliases if ":" not in alias and alias != family)
    postfix = values.get("postfix")
    file, line = directory.find(
        f'"{name}"', f"'{name}'", f"{name}:", f"'{tag}'", f'"{tag}"', f"name: {name}", "package"
    )
    return Package(
        name=name,
        family=family,
        version=tag or None,
        variant=None,
        path=path,
        dockerfile=_dockerfile(values, path, directory),
        default=default,
        aliases=aliases,
        depends=_depends(values, name, directory),
        requires=_requires(values, name, directory),
        build_args=_build_args(values, name, directory),
        build_flags=_build_flags(values, directory),
        test=_tests(values, path, directory),
        group=schema.joined(values.get("group"), "group") or directory.group,
        docs=_docs(values, path, directory),
        notes=schema.joined(values.get("notes"), "notes"),
        license=schema.joined(values.get("license"), "license"),
        memory_per_job=_number(values, "memory_per_job", schema.size, directory),
        coexist=switched_on(values.get("coexist")),
        gpu_at_build=switched_on(values.get("gpu_at_build")),
        network=_network(values, directory),
        timeout=_number(values, "timeout", schema.seconds, directory),
        prefix=str(values.get("prefix") or ""),
        postfix=None if postfix is None or postfix == directory.postfix else str(postfix),
        origin=f"{file}:{line}",
        family_aliases=bare if default else (),
        disabled=switched_on(values.get("disabled")),
        adaptable=True,
        added={
            file.relative_to(path).as_posix(): text
            for file, text in directory.added.items()
            if file.is_relative_to(path)
        },
    )


def _path(values: Mapping[str, Any], directory: Directory) -> Path:
    path = directory.path / str(values.get("path") or "")
    directory.check_path(path, str(values.get("path") or "path"))
    if not files.is_directory(path):
        raise directory.error(f"`path` is `{shown(str(path))}`, which is not a directory", "path")
    return path


def _build_flags(values: Mapping[str, Any], directory: Directory) -> str:
    text = " ".join(str(item) for item in listed(values.get("build_flags")))
    try:
        schema.build_flags(text)
    except ValueError as error:
        raise directory.error(f"`build_flags`: {error}", "build_flags") from None
    return text


def _tests(values: Mapping[str, Any], path: Path, directory: Directory) -> tuple[str, ...]:
    written = listed(values.get("test"))
    if any(isinstance(item, dict | list) for item in written):
        raise directory.error(f"`test` of `{shown(str(values['name']))}` must be text or a list of texts", "test")
    tests = tuple(str(item) for item in written if item)
    for test in tests:
        directory.check_path(path / files.program(test), test)
    return tests


def _docs(values: Mapping[str, Any], path: Path, directory: Directory) -> str:
    docs = schema.joined(values.get("docs"), "docs")
    if docs.endswith(".md"):
        directory.check_path(path / docs, docs)
    return docs


def _network(values: Mapping[str, Any], directory: Directory) -> str | None:
    network = str(values.get("network") or "")
    if network not in schema.NETWORKS:
        message = f"`network` must be {schema.ValueKind.NETWORK.value}, and is `{shown(network)}`"
        raise directory.error(message, "network")
    return network or None


def _aliases(values: Mapping[str, Any], directory: Directory) -> tuple[str, ...]:
    aliases = [str(alias) for alias in listed(values.get("alias")) if alias]
    for alias in aliases:
        if not schema.is_name(alias, upstream=True):
            raise directory.error(f"the alias `{shown(alias)}` is not a package name", alias)
    return tuple(dict.fromkeys(alias for alias in aliases if alias != values["name"]))


def _dockerfile(values: Mapping[str, Any], path: Path, directory: Directory) -> str | None:
    """The file to build; None for a meta package, which has no file or one that builds nothing."""
    name = values.get("dockerfile")
    if not name:
        return None
    directory.check_path(path / str(name), str(name))
    if not files.is_there(path / str(name)):
        raise directory.error(f"`{shown(str(name))}` is not there", str(name))
    text = directory.read(path / str(name))
    lines = (line.strip() for line in text.splitlines())
    if not _FROM.search(text) and any(line and not line.startswith("#") for line in lines):
        raise RecipeError("no `FROM` in this Dockerfile", path=path / str(name))
    return str(name) if _FROM.search(text) else None


def _depends(values: Mapping[str, Any], name: str, directory: Directory) -> tuple[Dependency, ...]:
    result = []
    for item in listed(values.get("depends")):
        if not isinstance(item, str):
            raise directory.error(f"`depends` of `{name}` holds a {type(item).__name__}, not a package name", "depends")
        if not item.strip():
            continue
        try:
            result.append(Dependency.parse(item, patterns=True))
        except RequirementSyntaxError as error:
            raise directory.error(f"`depends` of `{name}`: {error.message}", item) from None
    return tuple(dict.fromkeys(result))


def _requires(values: Mapping[str, Any], name: str, directory: Directory) -> tuple[str, ...]:
    rules = tuple(str(item).strip() for item in listed(values.get("requires")))
    for rule in rules:
        try:
            parse(rule)
        except RequirementSyntaxError as error:
            raise directory.error(f"`requires` of `{name}`: {error.message}", rule) from None
    return tuple(rule for rule in rules if rule)


def _build_args(values: Mapping[str, Any], name: str, directory: Directory) -> dict[str, str]:
    given = values.get("build_args") or {}
    if not isinstance(given, dict):
        raise directory.error(f"`build_args` of `{name}` must map names to values", "build_args")
    result = {}
    for key, value in given.items():
        if value is None:
            directory.notes.append(f"`{name}`: the build argument `{key}` is None, so the Dockerfile's default holds")
        else:
            result[str(key)] = str(value)
    return result


def _number(values: Mapping[str, Any], key: str, read: Callable[[str], int | None], directory: Directory) -> int | None:
    text = values.get(key)
    if text is None or text == "":
        return None
    number = read(str(text))
    if number is None:
        raise directory.error(f"`{key}` cannot be `{text}`", key)
    return number


def with_families(packages: Mapping[str, Package]) -> dict[str, Package]:
    """The packages of a catalog, by name, those of upstream's format with their families and variants.

    What stands on another version of its own family (`cuda:12.6-samples` on `cuda:12.6`) is not a version of it but a
    family of its own.
    """
    mine = {name: package for name, package in packages.items() if package.adaptable}
    further = [package for package in packages.values() if not package.adaptable]
    for indirect in (False, True):  # what stands on a sibling directly leads others astray, so it goes first
        reach = Reach([*mine.values(), *further], indirect=indirect)
        for family, group in _grouped(mine.values()).items():
            above = [package for package in group if package.version and reach.leads_to(package, family)]
            if len(above) < len(group):  # else a true cycle, for the resolver to report
                mine.update({package.name: _apart(package) for package in above})
    for group in _grouped(mine.values()).values():
        siblings = {package.version for package in group}
        mine.update({package.name: _variant(package, siblings) for package in group if package.family != package.name})
    return {**packages, **mine}


def _grouped(packages: Iterable[Package]) -> dict[str, list[Package]]:
    groups: defaultdict[str, list[Package]] = defaultdict(list)
    for package in packages:
        groups[package.family].append(package)
    return dict(groups)


def _apart(package: Package) -> Package:
    return replace(package, family=package.name, default=False, family_aliases=())


def _variant(package: Package, siblings: set[str | None]) -> Package:
    tag = package.version or ""
    for match in reversed(list(re.finditer("-", tag))):
        version, variant = tag[: match.start()], tag[match.end() :]
        if version in siblings and variant:
            return replace(package, version=version, variant=variant, default=False, family_aliases=())
    return package


class Reach:
    """Which families a family needs in the end, whatever versions are taken."""

    def __init__(self, packages: Sequence[Package], *, indirect: bool) -> None:
        self._indirect = indirect
        self._names: dict[str, str] = {}
        for package in packages:
            for name in (package.family, *package.family_aliases, *package.aliases, package.name):
                self._names.setdefault(name, package.family)
        self._needs: defaultdict[str, set[str]] = defaultdict(set)
        for package in packages:
            self._needs[package.family] |= {self._family(item) for item in package.depends}
        self._known: dict[str, frozenset[str]] = {}

    def leads_to(self, package: Package, family: str) -> bool:
        """Whether a package needs a family: directly, or through others too."""
        needs = {self._family(item) for item in package.depends}
        return family in needs or (self._indirect and any(family in self._closure(need) for need in needs))

    def families(self, package: Package) -> frozenset[str]:
        """All families that a package needs, directly or through others."""
        needs = frozenset(self._family(item) for item in package.depends)
        return needs.union(*(self._closure(need) for need in needs))

    def _family(self, dependency: Dependency) -> str:
        exact = f"{dependency.family}:{dependency.version}" if dependency.version else dependency.family
        return self._names.get(exact) or self._names.get(dependency.family, dependency.family)

    def _closure(self, family: str) -> frozenset[str]:
        if family not in self._known:
            seen: set[str] = set()
            todo = list(self._needs.get(family, ()))
            while todo:
                need = todo.pop()
                if need not in seen:
                    seen.add(need)
                    todo += self._needs.get(need, ())
            self._known[family] = frozenset(seen)
        return self._known[family]
