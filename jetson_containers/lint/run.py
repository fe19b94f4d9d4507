"""Check recipes: what they fetch is pinned and checked, failures show, and every platform can have them.

Findings carry a rule; `# lint: RULE reason` on or above the line declines one. Reads the trees, starts shellcheck
where it is installed, writes nothing.
"""

from __future__ import annotations

import contextlib
import fnmatch
from dataclasses import dataclass
from typing import TYPE_CHECKING

from jetson_containers.core.errors import NothingMatchedError, RecipeError
from jetson_containers.dockerfile import inject
from jetson_containers.lint import (
    rules_commands,
    rules_definition,
    rules_dockerfile,
    rules_platforms,
    rules_shared,
    rules_templates,
)
from jetson_containers.lint.files import Files, Step, Text
from jetson_containers.lint.findings import RULES, LintFinding, LintSeverity, finding, settle
from jetson_containers.lint.programs import Programs
from jetson_containers.lint.rules_platforms import Gathered
from jetson_containers.lint.shellcheck import MISSING, ShellCheck
from jetson_containers.plan import keys
from jetson_containers.platforms import detect
from jetson_containers.platforms.target import SUPPORTED_TARGETS
from jetson_containers.recipes import templating
from jetson_containers.recipes.catalog import load_each
from jetson_containers.recipes.files import LARGEST, is_file, read_text
from jetson_containers.recipes.package import read_directory, render
from jetson_containers.recipes.tree import scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.lint.files import Folder
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.recipes.package import Package

__all__ = ["RULES", "LintFinding", "LintSeverity", "Report", "lint"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """All findings, sorted by file and line; `notices` say what could not be checked."""

    findings: tuple[LintFinding, ...]
    packages: int  # directories looked at
    notices: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether there is an error."""
        return any(item.severity is LintSeverity.ERROR for item in self.findings)


def lint(
    trees: Sequence[Path],
    patterns: Sequence[str] = (),
    *,
    targets: Sequence[str] = SUPPORTED_TARGETS,
    shellcheck: bool = True,
) -> Report:
    """Check the packages of the trees that match a pattern (name, family, alias or directory), by default all.

    `targets` are the platforms whose closures are checked. Raises NothingMatchedError, ConfigError for a tree that
    is not there, TargetError.
    """
    catalogs = dict(zip(targets, load_each(trees, map(detect.parse_target, targets)), strict=True))
    wanted = _selected(trees, catalogs.values(), patterns)
    files = Files()
    members = _by_folder(wanted, catalogs.values())
    folders = {path: files.folder(path, rules_shared.shared_of(members[path])) for path in sorted(wanted)}
    scripts = sorted({script for folder in folders.values() for script in folder.scripts if shellcheck})
    checker = ShellCheck([script for script in scripts if script.stat().st_size <= LARGEST])
    found = list(_each(folders, members, _families_without_pip_cache(_everything(catalogs.values()))))
    if not patterns:
        found += rules_shared.unused_in_trees(trees, _everything(catalogs.values()))
    reported = {(item.file, item.line) for item in found if item.rule == "recipe-broken"}  # met again on each platform
    with keys.remembering():
        together = list(_together(trees, catalogs, frozenset(wanted), Programs(files)))
    found += [item for item in together if item.rule != "recipe-broken" or (item.file, item.line) not in reported]
    found += checker.findings()
    for item in found:
        if is_file(item.file) and item.file not in files.texts:
            with contextlib.suppress(RecipeError):  # which is what the finding says
                files.text(item.file)
    notices = (MISSING,) if shellcheck and not checker.available else ()
    shared = {path for folder in folders.values() for path in folder.shared.values()}
    mine = {
        path: text
        for path, text in files.texts.items()
        if path in shared or any(path.is_relative_to(folder) for folder in wanted)
    }
    return Report(findings=tuple(settle(found, mine)), packages=len(wanted), notices=notices)


def _everything(catalogs: Iterable[Catalog]) -> list[Package]:
    """Every package on any platform, once per definition; where it is available before where it is not."""
    loaded = list(catalogs)
    found: dict[tuple[Path, str], Package] = {}
    for package in (
        *(package for catalog in loaded for package in catalog.available.values()),
        *(item.package for catalog in loaded for item in catalog.absent.values()),
    ):
        found.setdefault((package.path, package.name), package)
    return list(found.values())


def _selected(trees: Sequence[Path], catalogs: Iterable[Catalog], patterns: Sequence[str]) -> set[Path]:
    loaded = list(catalogs)
    packages = _everything(loaded)
    folders = {package.path for package in packages}
    for error in (error for catalog in loaded for error in catalog.broken):
        folders.add(error.path if error.path.is_dir() else error.path.parent)
    if not patterns:
        return folders
    names = [(name, folder.name) for folder in folders for name in [folder]]
    result: set[Path] = set()
    for pattern in patterns:
        by_name = {
            package.path
            for package in packages
            if any(fnmatch.fnmatchcase(n, pattern) for n in (package.name, package.family, *package.aliases))
        }
        by_path = {
            folder for folder, name in names if name == pattern or str(folder).endswith(f"/{pattern.strip('/')}")
        }
        if not by_name | by_path:
            shown = ", ".join(str(tree) for tree in trees)
            raise NothingMatchedError(
                f"no package of {shown} matches `{pattern}`", hint="`jetson-containers list --all`"
            )
        result |= by_name | by_path
    return result


def _by_folder(wanted: Iterable[Path], catalogs: Iterable[Catalog]) -> dict[Path, list[Package]]:
    """The packages of each directory, none where its recipe is broken."""
    found: dict[Path, list[Package]] = {path: [] for path in wanted}
    for package in _everything(catalogs):
        if package.path in found:
            found[package.path].append(package)
    return found


def _each(
    folders: dict[Path, Folder], members: Mapping[Path, Sequence[Package]], quiet: frozenset[str]
) -> Iterator[LintFinding]:
    """Rules that look at one package at a time; in the images of the families `quiet` pip keeps no cache."""
    for path, folder in folders.items():
        try:
            yield from _folder(folder, members[path], quiet)
        except RecipeError as error:
            where = f"{error.path}:{error.line}" if error.line else str(error.path)
            yield finding("recipe-broken", error.path, error.line or 0, error.message.removeprefix(f"{where}: "))


def _folder(folder: Folder, packages: Sequence[Package], quiet: frozenset[str]) -> Iterator[LintFinding]:
    judged: set[Path] = set()
    for package in packages:
        yield from rules_definition.check(package, folder)
    if packages:
        yield from rules_definition.check_folder(folder, packages[0])
        yield from rules_templates.check(packages[0])
    yield from rules_shared.missing(packages)
    dockerfiles_of_it = list(_dockerfiles(folder, packages, quiet))
    yield from rules_shared.unused(packages, [text for text, _, _ in dockerfiles_of_it], folder)
    for text, kept, off in dockerfiles_of_it:
        judged |= {step.file for run in text.instructions if run.keyword == "RUN" for step in text.steps_of(run)}
        yield from rules_dockerfile.check(text, kept=kept, pip_cache_is_off=off)
    for script in folder.scripts:
        if script not in judged:
            yield from rules_commands.everywhere([Step(command, script) for command in folder.files.script(script)])


def _dockerfiles(
    folder: Folder, packages: Sequence[Package], quiet: frozenset[str]
) -> Iterator[tuple[Text, bool, bool]]:
    """Each Dockerfile of the versions here once; whether its image is kept, and whether pip's cache is off in it."""
    roles: dict[str, tuple[bool, bool, Package]] = {}
    for package in packages:
        off = any(need.family in quiet for need in package.depends)
        if package.dockerfile:
            kept, was_off, owner = roles.get(package.dockerfile, (True, True, package))
            roles[package.dockerfile] = (kept, was_off and off, owner)
        if package.artifacts:
            roles.setdefault(package.artifacts.dockerfile, (False, True, package))
    for name, (kept, off, owner) in sorted(roles.items()):
        path = folder.path / name
        text = folder.files.text(path)
        if name.endswith(".j2"):
            text = _rendered(text, owner, path)
        yield Text(path=path, text=text, folder=folder), kept, off


def _rendered(text: str, package: Package, path: Path) -> str:
    """A template as it is on the first platform that has the package; a rule that fits none would not be rendered."""
    for target in SUPPORTED_TARGETS:
        platform = detect.parse_target(target)
        variables = templating.context(platform, package.version)
        try:
            return inject.render(text, variables, path)
        except RecipeError as error:
            failure = error
    raise failure


def _families_without_pip_cache(packages: Sequence[Package]) -> frozenset[str]:
    """Families in whose images pip keeps no cache: they set PIP_NO_CACHE_DIR, or stand on one that does."""
    setting = {package.family for package in packages if _sets_no_cache(package)}
    while True:
        more = {
            package.family
            for package in packages
            if package.family not in setting and any(need.family in setting for need in package.depends)
        }
        if not more:
            return frozenset(setting)
        setting |= more


def _sets_no_cache(package: Package) -> bool:
    path = package.path / (package.dockerfile or "")
    try:
        return package.dockerfile is not None and "PIP_NO_CACHE_DIR" in read_text(path)
    except RecipeError:
        return False  # the rules that read it say so


def _together(
    trees: Sequence[Path], catalogs: dict[str, Catalog], wanted: frozenset[Path], programs: Programs
) -> Iterator[LintFinding]:
    """Rules that look at packages together."""
    gathered = Gathered()
    for target, catalog in catalogs.items():
        rules_platforms.check(catalog, target, wanted, gathered, programs)
    yield from gathered.findings(len(catalogs))
    first = next(iter(catalogs.values())).platform
    yield from rules_platforms.duplicates(_as_read(trees, first), wanted)


def _as_read(trees: Sequence[Path], platform: Platform) -> list[Package]:
    """All definitions, those that lose their name to another included. Names do not depend on the platform."""
    result: list[Package] = []
    for candidate in scan(trees):
        try:
            recipe = read_directory(candidate.path, group=candidate.group, nested=candidate.nested, tree=candidate.tree)
            result += render(recipe, platform) if recipe else ()
        except RecipeError:
            continue  # reported by the catalog
    return result
