"""All packages for a platform: names, aliases, globs, did-you-mean, and the reason why a package is absent."""

from __future__ import annotations

import fnmatch
import re
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from jetson_containers.core.errors import (
    JetsonError,
    NothingMatchedError,
    RecipeError,
    UnavailablePackageError,
    UnknownPackageError,
    UsageError,
    command,
)
from jetson_containers.core.settings import ROOT
from jetson_containers.core.suggest import closest
from jetson_containers.core.versions import in_series, same_version, version_key
from jetson_containers.recipes import files
from jetson_containers.recipes.cache import Absent, Contents, Key, file_for, identity_of, read, write
from jetson_containers.recipes.requirement import Dependency, is_range
from jetson_containers.recipes.tree import directory_hint, scan

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence, Set

    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.reader import Recipe
    from jetson_containers.recipes.tree import RecipeDirectory
    from jetson_containers.recipes.types import Package, RuleResult

__all__ = ["Absent", "Catalog", "load", "load_each", "preferred"]

T = TypeVar("T")

BUILT_IN = ROOT / "packages"

UPSTREAM_HINT = "; `--upstream master` also reads dusty-nv's packages, which have ROS and more for robots"
LIST_HINT = "`jetson-containers list` shows all packages, `jetson-containers search TEXT` looks in their descriptions"


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """The packages of some trees on one platform. `available` and `absent` are keyed by full name, sorted.

    `broken_names` maps the names that broken recipes would have had to the errors. `verdicts` are those of the rules
    that were judged when the trees were read.
    """

    platform: Platform
    available: Mapping[str, Package]
    absent: Mapping[str, Absent] = field(default_factory=dict)
    broken: tuple[RecipeError, ...] = ()
    notices: tuple[str, ...] = ()
    broken_names: Mapping[str, RecipeError] = field(default_factory=dict)
    verdicts: Mapping[str, RuleResult] = field(default_factory=dict, repr=False, compare=False)  # by the rule's text

    def find(self, name: str, *, asked_by: str = "") -> Package:
        """The one package of a name, alias, bare family (its default version) or `family:version`.

        A family without a default version here gives its newest; for `family:2.5` see `series`. Raises
        UnknownPackageError (did you mean, who asked), UnavailablePackageError (which rule), or the RecipeError of a
        package whose recipe is broken.
        """
        package = self.available.get(name) or self._aliases.get(name)
        if package is None and ":" not in name:
            package = next(iter(self.members(name)), None)
        if package is None:
            package = next(iter(self.series(name)), None)
        if package is None:
            raise self._not_found(name, asked_by)
        return package

    def match(self, patterns: Sequence[str]) -> list[Package]:
        """All packages matching any pattern, sorted; `!pattern` removes, `*`/`all` is everything.

        A pattern is matched against names and aliases; a bare family without a default gives all its versions.
        Raises NothingMatchedError naming the pattern that matched nothing.
        """
        wanted = [pattern for pattern in patterns if not pattern.startswith("!")]
        unwanted = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
        names = {package.name for pattern in wanted or ["*"] for package in self._matching(pattern)}
        names -= {package.name for pattern in unwanted for package in self._matching(pattern)}
        return [self.available[name] for name in sorted(names)]

    def family_of(self, name: str) -> str | None:
        """The family that a bare name or family alias means; None when there is none on any platform."""
        return name if name in self._families else self.family_aliases.get(name)

    def members(self, family: str) -> tuple[Package, ...]:
        """The available packages of a family or family alias, the preferred first."""
        return self._members.get(self.family_of(family) or "", ())

    def spelled(self, request: str) -> str:
        """A user's request as the packages spell it: case, blanks, `-` and `_` make no difference in name and version.

        An exact name comes first; patterns and unknown names stay. Raises UsageError where two packages may be meant.
        """
        mark, name, rest = re.fullmatch(r"(!?)([^:<>=!~]*)(.*)", request, re.DOTALL).groups()  # type: ignore[union-attr]
        family, version = self._spelled_name(name), rest.removeprefix(":")
        if rest.startswith(":") and f"{family}:{version}" not in self.available:
            rest = ":" + self._spelled_version(family, version.strip())
        return f"{mark}{family}{rest}"

    def _spelled_name(self, name: str) -> str:
        meant = self._families_by_fold.get(_folded(name), {})
        if name in meant or not meant:
            return name
        if len(families := sorted(set(meant.values()))) > 1:
            names = [next(word for word in sorted(meant) if meant[word] == family) for family in families]
            raise UsageError(
                f"`{name}` may mean {_listed([f'`{word}`' for word in names], 'or')}", hint="use the exact name"
            )
        return families[0] if families[0] in meant else min(meant)

    def _spelled_version(self, name: str, version: str) -> str:
        family = self.family_of(name) or ""
        known = [*self.members(family), *(item.package for item in self.absent_members(family))]
        tags = {tag for package in known for tag in (package.name.partition(":")[2],) if tag}
        meant = sorted(tag for tag in tags if _folded(tag) == _folded(version))
        if version in meant or not meant:
            return version
        if len(meant) > 1:
            names = [f"`{name}:{tag}`" for tag in meant]
            raise UsageError(f"`{name}:{version}` may mean {_listed(names, 'or')}", hint="use the exact name")
        return meant[0]

    def judged(self, package: Package) -> tuple[RuleResult, ...]:
        """The verdict on each of a package's rules, as they stand in its `requires`."""
        if all(rule in self.verdicts for rule in package.requires):
            return tuple(self.verdicts[rule] for rule in package.requires)
        from jetson_containers.recipes.rules import check_all

        return check_all(package.requires, self.platform)

    def has(self, name: str) -> bool:
        """Whether an available package has exactly this name or alias."""
        return name in self.available or name in self._aliases

    def series(self, name: str) -> tuple[Package, ...]:
        """The available packages that `family:2.5` means where none has exactly that name, the newest first.

        That is all of the series (`2.5.0`, `2.5.1`); of a whole version (`2.5.0`) the same one spelled otherwise, if
        there is one. Nothing where
        a package of exactly that name exists that this platform excludes, or whose recipe is broken.
        """
        if name in self.broken_names or name in self._absent_by_name:
            return ()
        family, _, tag = name.partition(":")
        return _of_series(self.members(family), tag)

    def in_range(self, request: str) -> tuple[Package, ...]:
        """The available packages that a range such as `family>=2.5` accepts; nothing for what is not a range."""
        if not is_range(request):
            return ()
        asked = Dependency.parse(request)
        return tuple(package for package in self.members(asked.family) if asked.accepts(package.version))

    def absent_of(self, name: str) -> list[Absent]:
        """What a name means among the packages that this platform excludes."""
        family, _, tag = name.partition(":")
        same = self.absent_members(self.family_of(family) or "")
        named = self._absent_by_name.get(name, [])
        if not tag:
            either = {item.package.name: item for item in (*same, *named)}
            return [either[key] for key in sorted(either)] if same and named else list(either.values())
        meant = {package.name for package in _of_series([item.package for item in same], tag)}
        return named or [item for item in same if item.package.name in meant]

    def absent_members(self, family: str) -> Sequence[Absent]:
        """The packages of a family that this platform excludes, in the order of `absent`."""
        return self._absent_by_family.get(family, ())

    def _matching(self, pattern: str) -> list[Package]:
        if pattern in {"", "*", "all"}:
            return list(self.available.values())
        named = {name: package for package in self.available.values() for name in (package.name, *package.aliases)}
        meant = {named[name].name for name in matching(named, pattern)}
        found = [package for package in self.available.values() if package.name in meant]
        found = found or list(self.members(pattern) or self.series(pattern) or self.in_range(pattern))
        if not found:
            reason = self._why_nothing(pattern)
            raise NothingMatchedError(f"no package here matches `{pattern}`", hint=reason)
        return found

    def _why_nothing(self, pattern: str) -> str:
        if is_range(pattern) and (members := self.members(Dependency.parse(pattern).family)):
            return f"available here: {', '.join(package.name for package in members)}"
        family = self.family_of(pattern)
        if family in self._absent_by_family:
            return f"`{family}` is absent on this platform; {_why(str(family))} says why"
        absent = matching(self.absent, pattern)
        absent = absent or [item.package.name for item in self.absent_of(pattern)]
        if absent:
            return f"absent on this platform: {', '.join(absent[:5])}; {_why(absent[0])} says why"
        return directory_hint(pattern) or self._suggestion(pattern) or f"{LIST_HINT}{UPSTREAM_HINT}"

    def _not_found(self, name: str, asked_by: str) -> JetsonError:
        """The error for a name that is not available: absent, broken, without that version, or unknown."""
        asked = f", which `{asked_by}` asks for," if asked_by else ""
        family = self.family_of(name.partition(":")[0])
        absent = self.absent_of(name)
        if absent:
            return _unavailable(name, asked, absent)
        broken = self.broken_names.get(name) or self.broken_names.get(name.partition(":")[0])
        if broken:
            return _asked_broken(broken, asked)
        if family is not None:
            versions = [package.name for package in self.members(family)]
            elsewhere = sorted(item.package.name for item in self.absent_members(family))
            details = [f"absent on this platform: {', '.join(elsewhere)}"] if elsewhere else []
            hint = f"there is {_listed(versions)}" if versions else f"{_why(family)} says why"
            return UnknownPackageError(f"package `{family}`{asked} has no `{name}`", hint=hint, details=details)
        hint = (not asked and directory_hint(name)) or self._suggestion(name, asked_by) or f"{LIST_HINT}{UPSTREAM_HINT}"
        return UnknownPackageError(f"there is no package `{name}`{asked.rstrip(',')}", hint=hint)

    def _suggestion(self, name: str, asked_by: str = "") -> str | None:
        """Name up to three similar packages, an alias with what it stands for; not those of who asks."""
        every = {*self._aliases, *self._families, *self.family_aliases, *self.available}
        if asker := self.family_of(asked_by.partition(":")[0]):
            every = {word for word in every if self._family_meant(word) != asker}
        words = {_folded(word): word for word in sorted(every) if ":" in name or ":" not in word}
        close = [words[word] for word in closest(_folded(name), words, 3)]
        family = _folded(name.partition(":")[0])  # `rust:apt` is not like `protobuf:apt`
        close = [word for word in close if closest(_folded(word.partition(":")[0]), [family])]
        if not close:
            return None
        return f"did you mean {_listed([self._described(word) for word in close], 'or')}?"

    def _family_meant(self, word: str) -> str | None:
        alias = self._aliases.get(word)
        return alias.family if alias else self.family_of(word.partition(":")[0])

    def _described(self, word: str) -> str:
        if word in self._families or word in self.available:
            return f"`{word}`"
        target = self._aliases.get(word)
        return f"`{word}` (alias of `{target.name if target else self.family_aliases[word]}`)"

    @cached_property
    def adaptable(self) -> bool:
        """Whether some package is of upstream's format, whose pins give way to nearer ones."""
        return any(package.adaptable for package in self.available.values())

    @cached_property
    def own(self) -> Catalog:
        """The packages of our own format only, as if no tree of upstream's format stood beside them."""
        return Catalog(
            platform=self.platform,
            available={name: package for name, package in self.available.items() if not package.adaptable},
            absent={name: absent for name, absent in self.absent.items() if not absent.package.adaptable},
        )

    @cached_property
    def _families(self) -> frozenset[str]:
        return frozenset(package.family for package in self._everything)

    @cached_property
    def _families_by_fold(self) -> Mapping[str, Mapping[str, str]]:
        """Every name without its version → the family it means, by how it reads without case, blanks, `-` and `_`."""
        found: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for package in self._everything:
            for name in (package.family, *package.family_aliases, *package.aliases):
                word = name.partition(":")[0]
                found[_folded(word)].setdefault(word, package.family)
        for name in self.broken_names:
            word = name.partition(":")[0]
            found[_folded(word)].setdefault(word, word)
        return found

    @cached_property
    def family_aliases(self) -> Mapping[str, str]:
        """Other names of whole families (`torch` → `pytorch`), on any platform."""
        pairs = ((alias, package.family) for package in preferred(self._everything) for alias in package.family_aliases)
        return _first_wins(pairs)

    @cached_property
    def _members(self) -> dict[str, tuple[Package, ...]]:
        members: defaultdict[str, list[Package]] = defaultdict(list)
        for package in preferred(self.available.values()):
            members[package.family].append(package)
        return {family: tuple(packages) for family, packages in members.items()}

    @cached_property
    def _aliases(self) -> dict[str, Package]:
        return _first_wins(
            (alias, package) for package in preferred(self.available.values()) for alias in package.aliases
        )

    @cached_property
    def _absent_by_family(self) -> Mapping[str, list[Absent]]:
        found: defaultdict[str, list[Absent]] = defaultdict(list)
        for item in self.absent.values():
            found[item.package.family].append(item)
        return dict(found)

    @cached_property
    def _absent_by_name(self) -> Mapping[str, list[Absent]]:
        """Also by alias."""
        found: defaultdict[str, list[Absent]] = defaultdict(list)
        for item in self.absent.values():
            for name in dict.fromkeys(_names(item.package)):
                found[name].append(item)
        return dict(found)

    @property
    def _everything(self) -> list[Package]:
        return [*self.available.values(), *(absent.package for absent in self.absent.values())]


def load(trees: Sequence[Path], platform: Platform, *, cache: Path | None = None) -> Catalog:
    """Read the trees (an earlier tree wins a duplicate name, with a notice) for one platform.

    `cache` is a directory for the content-keyed index. A broken recipe disables only itself. Raises ConfigError
    for a tree that is not there.
    """
    candidates = scan(trees)
    roots = [Path(tree).expanduser().absolute() for tree in trees]
    if cache is None:
        return _catalog(_read(candidates, platform, roots), platform)
    identity = identity_of(trees, platform)
    file = file_for(cache, identity)
    key = Key(candidates, identity)
    contents = read(file, key)
    if contents is None:
        key.take()
        contents = _read(candidates, platform, roots)
        write(file, key, contents)
    return _catalog(contents, platform)


def load_each(trees: Sequence[Path], platforms: Iterable[Platform]) -> Iterator[Catalog]:
    """Read the trees for one platform after the other, as `load` does without a cache; each recipe is read once."""
    candidates = list(scan(trees))
    roots = [Path(tree).expanduser().absolute() for tree in trees]
    recipes: dict[Path, Recipe | None] = {}
    for platform in platforms:
        yield _catalog(_read(candidates, platform, roots, recipes), platform)


def preferred(packages: Iterable[Package]) -> list[Package]:
    """Sort packages, the preferred first: plain before variants, the default, then the newest, then by name.

    Of a family that our format has, what upstream's format adds comes last. A package called just like a family with
    versions is a user's own, and what the bare name means.
    """
    by_name = sorted(packages, key=lambda package: package.name)
    newest = sorted(by_name, key=lambda package: version_key(package.version), reverse=True)
    ours = {package.family for package in by_name if not package.adaptable}
    return sorted(
        newest,
        key=lambda package: (
            package.variant is not None,
            package.adaptable and package.family in ours,
            not package.default,
            not package.replaces or package.version is not None,
        ),
    )


def _catalog(contents: Contents, platform: Platform) -> Catalog:
    return Catalog(
        platform=platform,
        available={package.name: package for package in contents.available},
        absent={absent.package.name: absent for absent in contents.absent},
        broken=tuple(error for error, _ in contents.broken),
        notices=contents.notices,
        broken_names=_first_wins((name, error) for error, names in contents.broken for name in names),
        verdicts=contents.verdicts,
    )


def _read(
    candidates: Iterable[RecipeDirectory],
    platform: Platform,
    roots: Sequence[Path],
    known: dict[Path, Recipe | None] | None = None,
) -> Contents:
    """Read every candidate, in its own format, and join the packages in the order of the candidates.

    `known` are recipes of our own format that were read before; those that are read now come to it.
    """
    from jetson_containers.recipes.package import read_directory, render
    from jetson_containers.recipes.upstream import reader

    known = {} if known is None else known
    listed = list(candidates)
    drafts = reader.drafts(listed, roots, platform)
    ours: dict[Path, tuple[Package, ...]] = {}
    trees = {candidate.path: candidate.tree for candidate in listed}
    broken = {path: [(error, _names_of_broken(path, trees[path]))] for path, error in drafts.broken.items()}
    for candidate in listed:
        if candidate.path in broken or candidate.path in drafts.items or candidate.path in drafts.none:
            continue
        try:
            if candidate.path not in known:
                known[candidate.path] = read_directory(
                    candidate.path, group=candidate.group, nested=candidate.nested, tree=candidate.tree
                )
            recipe = known[candidate.path]
            ours[candidate.path] = render(recipe, platform) if recipe else ()
        except RecipeError as error:
            broken[candidate.path] = [(error, _names_of_broken(candidate.path, candidate.tree))]
    found = reader.read([*drafts.items.values()], roots, platform, [item for items in ours.values() for item in items])
    packages = {**ours, **{path: tuple(items) for path, items in found.packages.items()}}
    notices = [*drafts.notices, *found.notices]
    return _joined(listed, packages, {**broken, **found.broken}, notices, found.inputs, platform, roots[:1])


def _joined(
    candidates: Sequence[RecipeDirectory],
    found: Mapping[Path, Sequence[Package]],
    broken: Mapping[Path, Sequence[tuple[RecipeError, tuple[str, ...]]]],
    remarks: Sequence[str],
    inputs: Mapping[str, str],
    platform: Platform,
    built_in: Sequence[Path],
) -> Contents:
    """All packages under their names; the first of two of the same name is the one.

    In upstream's format it is the first that is available here: `requires` is judged before names are. In ours, one of
    a directory that the user added comes before one of the `built_in` tree.
    """
    packages: dict[str, Package] = {}
    notices = list(remarks)
    added: set[str] = set()  # names defined in directories that the user added
    for candidate in candidates:
        for package in _from(candidate, found):
            first = packages.setdefault(package.name, package)
            if candidate.tree not in built_in and first is package:
                added.add(package.name)
            if first is package:
                continue
            own = not first.adaptable and not package.adaptable
            if own and candidate.tree not in built_in and first.name not in added and _is_here(package, platform):
                packages[package.name] = replace(package, replaces=first.origin)
                added.add(package.name)
                notices.append(f"`{first.name}` of {first.origin} is ignored: {package.origin} takes its place")
            elif (
                first.adaptable and package.adaptable and not _is_here(first, platform) and _is_here(package, platform)
            ):
                packages[package.name] = package
            else:
                notices.append(f"`{package.name}` of {package.origin} is ignored: {first.origin} defines it already")
    packages |= _called_like_a_family(packages, added, platform)
    if any(package.adaptable for package in packages.values()):
        from jetson_containers.recipes.upstream.names import settled, without_patterns
        from jetson_containers.recipes.upstream.packages import with_families

        packages, about_patterns = without_patterns(packages, platform)
        packages, about_aliases = settled(with_families(packages), platform)
        notices += [*about_patterns, *about_aliases]
    further: Mapping[str, str] = {}
    if added or any(package.adaptable for package in packages.values()):
        packages, further = _on_our_base_stages(packages, candidates, found, added, platform)
    available, absent, verdicts = _sorted_out(packages, platform)
    errors = tuple(error for candidate in candidates for error in broken.get(candidate.path, ()))
    return Contents(
        available=available,
        absent=absent,
        broken=errors,
        notices=(*notices, *_alias_notices(available)),
        inputs={**inputs, **further},
        verdicts=verdicts,
    )


def _from(candidate: RecipeDirectory, found: Mapping[Path, Sequence[Package]]) -> list[Package]:
    """The packages of a directory, with the tree they come from where that is not the built-in one."""
    packages = list(found.get(candidate.path, ()))
    if candidate.tree == BUILT_IN:
        return packages
    return [replace(package, further_tree=str(candidate.tree)) for package in packages]


def _on_our_base_stages(
    packages: dict[str, Package],
    candidates: Sequence[RecipeDirectory],
    found: Mapping[Path, Sequence[Package]],
    added: Set[str],
    platform: Platform,
) -> tuple[dict[str, Package], Mapping[str, str]]:
    """The packages, those written for upstream's base stages with what stands for these here; and the files read."""
    from jetson_containers.recipes.upstream import base_stages, forms

    ours = {name for name in base_stages.CONTRACTS if name in packages and name not in added}
    here = {name for name in ours if _is_here(packages[name], platform)}
    plain = {
        package.name
        for candidate in candidates
        for package in found.get(candidate.path, ())
        if here and package.name in added and not package.adaptable and forms.is_plain(candidate)
    }
    provided = base_stages.with_base_stages(packages, plain, here, platform)
    return provided.packages, provided.inputs


def _called_like_a_family(packages: Mapping[str, Package], added: Set[str], platform: Platform) -> dict[str, Package]:
    """Packages that the user added under the bare name of a built-in family with versions, which they stand for now."""
    built_in = [package for package in packages.values() if package.name not in added and not package.adaptable]
    usual = {package.family: package for package in reversed(preferred(built_in)) if package.version}
    return {
        name: replace(package, replaces=usual[name].origin)
        for name, package in packages.items()
        if name in added and name in usual and not package.adaptable and _is_here(package, platform)
    }


def _is_here(package: Package, platform: Platform) -> bool:
    """Whether a package is enabled and all that it requires holds."""
    from jetson_containers.recipes.rules import check_all

    return not package.disabled and all(rule.ok for rule in check_all(package.requires, platform))


def _sorted_out(
    packages: Mapping[str, Package], platform: Platform
) -> tuple[tuple[Package, ...], tuple[Absent, ...], dict[str, RuleResult]]:
    """What is available, what is not and why, and the verdict on every rule by its text."""
    from jetson_containers.recipes.rules import check_all, explain

    available, absent = [], []
    verdicts: dict[str, RuleResult] = {}
    for _, package in sorted(packages.items()):
        rules = check_all(package.requires, platform)
        verdicts |= {rule.rule: rule for rule in rules}
        if package.disabled:
            absent.append(Absent(package=package, reason="disabled", rules=rules))
        elif all(rule.ok for rule in rules):
            available.append(package)
        else:
            absent.append(Absent(package=package, reason=explain(rules), rules=rules))
    return tuple(available), tuple(absent), verdicts


def _alias_notices(available: Sequence[Package]) -> list[str]:
    """Names that two packages claim; which one gets it is `preferred`'s decision, and a real name always wins."""
    names = {package.name for package in available}
    claims: defaultdict[str, list[str]] = defaultdict(list)
    for package in preferred(available):
        for alias in package.aliases:
            claims[alias].append(package.name)
    notices = []
    for alias, claimants in sorted(claims.items()):
        owners = [alias, *claimants] if alias in names else claimants
        if len(owners) > 1:
            notices.append(f"`{alias}` is claimed by {_listed(owners[1:])} too; it means `{owners[0]}`")
    return notices


def _names_of_broken(path: Path, tree: Path) -> tuple[str, ...]:
    """The names a broken recipe was meant to have: its directory's, and what its header says as plain text."""
    names = [path.name]
    for file in sorted(path.glob("[Dd]ockerfile*")):
        try:
            text = files.read_text(file, tree=tree, errors="replace")
        except RecipeError:
            continue
        match = re.search(r"^#[ \t]*name:[ \t]*['\"]?([\w.+-]{1,256})", text, re.MULTILINE)
        names += [match[1]] if match else []
    return tuple(dict.fromkeys(names))


def _unavailable(name: str, asked: str, absent: Sequence[Absent]) -> UnavailablePackageError:
    only = absent[0]
    if len(absent) == 1:
        message = f"package `{name}`{asked} is not available on this platform: {only.reason}"
        details: list[str] = []
    else:
        message = f"no version of `{name}`{asked} is available on this platform"
        details = [f"{item.package.name}: {item.reason}" for item in absent]
    hint = f"{_why(only.package.name)} shows every rule; `--target` builds for another platform"
    return UnavailablePackageError(message, hint=hint, details=details)


def _asked_broken(error: RecipeError, asked: str) -> RecipeError:
    """The recipe's own error, with who wanted the package, and what to do."""
    hint = error.hint or "correct that line; `jetson-containers list` works meanwhile, without this recipe"
    where = f"{error.path}:{error.line}" if error.line else str(error.path)
    message = error.message.removeprefix(f"{where}: ") + (f" (in a package{asked.rstrip(',')})" if asked else "")
    return RecipeError(message, path=error.path, line=error.line, hint=hint)


def _of_series(packages: Sequence[Package], tag: str) -> tuple[Package, ...]:
    """The packages of one family that a tag means although none has that name; a variant only where it is named."""
    whole = len(tag.partition("-")[0].split(".")) > 2
    for means in (same_version, in_series) if whole else (_is_meant,):
        for plain in (True, False):
            found = [
                package
                for package in packages
                if (package.variant is None) is plain
                and tag.endswith(ending := f"-{package.variant}" if package.variant else "")
                and means(tag.removesuffix(ending), package.version)
            ]
            if found:
                return tuple(sorted(found, key=lambda package: version_key(package.version), reverse=True))
    return ()


def _is_meant(asked: str, version: str | None) -> bool:
    return same_version(asked, version) or in_series(asked, version)


def _names(package: Package) -> tuple[str, ...]:
    return (package.name, *package.aliases)


def _why(name: str) -> str:
    return command("jetson-containers", "why", name)


def _first_wins(pairs: Iterable[tuple[str, T]]) -> dict[str, T]:
    result: dict[str, T] = {}
    for key, value in pairs:
        result.setdefault(key, value)
    return result


def matching(names: Iterable[str], pattern: str) -> list[str]:
    """The names that a pattern such as `torch*` fits as it stands; without any, those it fits however it is spelled.

    >>> matching(["torch2trt", "torch_tensorrt"], "Torch-*")
    ['torch_tensorrt']
    """
    known = list(names)
    exact = [name for name in known if fnmatch.fnmatchcase(name, pattern)]
    return exact or [name for name in known if fnmatch.fnmatchcase(_folded(name), _folded(pattern))]


def _folded(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _listed(names: Sequence[str], last: str = "and") -> str:
    """`a`, `b` and `c`; names that carry their own backticks keep them."""
    quoted = [name if name.startswith("`") else f"`{name}`" for name in names]
    return f" {last} ".join([", ".join(quoted[:-1]), quoted[-1]]) if len(quoted) > 1 else "".join(quoted)
