"""The catalog as a folder of pages: an index with search and filters, a page per family, and the fit of models.

Every page works from a file, and without scripts but for filters and the chart. Registries are not asked: their tags
are those of the lists that are kept or shipped, with the date of the list.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import date
from functools import cached_property
from typing import TYPE_CHECKING, Any

from jetson_containers import __version__
from jetson_containers.core.errors import JetsonError, RegistryError
from jetson_containers.export import drawing
from jetson_containers.pages import families, render
from jetson_containers.plan.keys import remembering
from jetson_containers.plan.plan import PlanOptions
from jetson_containers.plan.request import Request, assemble
from jetson_containers.platforms import detect, tables
from jetson_containers.platforms.platform import release
from jetson_containers.recipes.docs import about

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.pages.families import Family
    from jetson_containers.platforms.platform import Platform
    from jetson_containers.recipes.catalog import Catalog
    from jetson_containers.registry.types import ImageRepository, Tag, TagListing

FOLDED_FROM = 12  # tags of a repository; more are folded
LONGEST_ABOUT = 110  # letters in the index


@dataclass(frozen=True, kw_only=True)
class SiteTarget:
    """A platform of the catalog; `boards` are ids of those that run it."""

    name: str
    title: str
    jetpack: str
    boards: tuple[str, ...]
    platform: Platform


@dataclass(frozen=True, kw_only=True)
class TagRow:
    """A tag of a registry; `age` in words, counted to the day the page is made."""

    name: str
    arch: str
    pushed: str
    age: str
    size: int | None


@dataclass(frozen=True, kw_only=True)
class RepositoryTags:
    """What a list has of a repository, newest first; `fetched` is the date of the list."""

    reference: str
    fetched: str
    rows: tuple[TagRow, ...]


@dataclass(frozen=True, kw_only=True)
class SiteFamily:
    """A family with all its page needs. `cells` are versions by target, `""` where it cannot be."""

    family: Family
    file: str
    about: str  # as long as fits in the index
    whole: str
    words: str
    cells: Mapping[str, str]
    reasons: Mapping[str, str]
    tags: tuple[RepositoryTags, ...]
    graph: str
    graph_of: str  # the target that the graph is drawn for

    @property
    def name(self) -> str:
        """The family's name."""
        return self.family.name

    @cached_property
    def depends(self) -> tuple[str, ...]:
        """The packages that the main one names."""
        return tuple(map(str, self.family.main.depends))


@dataclass(frozen=True, kw_only=True)
class SiteSource:
    """What a site is made of. `list_tags` gives what is known of a repository without a network."""

    catalogs: Mapping[str, Catalog]
    namespaces: Sequence[ImageRepository]
    list_tags: Callable[[ImageRepository], TagListing]
    today: date


def pages(source: SiteSource, fit: Mapping[str, Any]) -> dict[str, str]:
    """All pages by their file names. `fit` is a grid of `fit_grid`."""
    targets = tuple(sorted(map(_target, source.catalogs), key=_newest_first))
    found = _site_families(source)
    named = {each.name: each.file for each in found}
    common = {"tool": __version__, "today": source.today.isoformat()}
    boards = sorted({board for target in targets for board in target.boards})
    made = {
        "index.html": render.page(
            "site_index.html.j2",
            families=found,
            targets=targets,
            boards=[tables.boards()[board] for board in boards],
            jetpacks=sorted({target.jetpack for target in targets if target.jetpack}, key=_number, reverse=True),
            **common,
        ),
        "models.html": render.page("site_models.html.j2", grid=fit, **common),
    }
    for each in found:
        made[each.file] = render.page(
            "site_family.html.j2",
            each=each,
            targets=targets,
            named=named,
            used_by=[other for other in found if _needs(other, each.name)],
            version=families.tag,
            folded_from=FOLDED_FROM,
            **common,
        )
    return made


def write(folder: Path, made: Mapping[str, str]) -> None:
    """Write the pages. Raises NotReadyError."""
    for name, text in made.items():
        render.write(folder / name, text)


def _number(jetpack: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"[0-9]{1,6}", jetpack))


def _newest_first(target: SiteTarget) -> tuple[int, ...]:
    """Boards before servers and PCs, the newest L4T first; else as they stand."""
    return tuple(-part for part in target.platform.l4t.release) if target.platform.l4t else (0,)


def _target(name: str) -> SiteTarget:
    platform = detect.parse_target(name)
    row = release(platform)
    boards = [board.id for board in tables.boards().values() if platform.l4t and board.boots(platform.l4t)]
    if row and platform.jetpack:
        title = f"JetPack {platform.jetpack}"
    elif platform.arch.value == "x86_64":
        title = f"PC, CUDA {platform.cuda}" if platform.cuda else "PC, CPU"
    else:
        title = f"L4T {platform.l4t}" if platform.l4t else "Arm server"
    return SiteTarget(name=name, title=title, jetpack=platform.jetpack or "", boards=tuple(boards), platform=platform)


def _site_families(source: SiteSource) -> list[SiteFamily]:
    with remembering():
        return [_site_family(family, source) for family in families.of(source.catalogs)]


def _site_family(family: Family, source: SiteSource) -> SiteFamily:
    text = about(family.main)
    words = {family.name, family.main.group, text, *family.main.family_aliases}
    words |= {word for package in family.packages for word in (package.name, *package.aliases)}
    available = {target: family.available.get(target, ()) for target in source.catalogs}
    graph, graph_of = _graph(family, source.catalogs)
    return SiteFamily(
        family=family,
        file=f"package-{re.sub(r'[^A-Za-z0-9_.-]', '_', family.name)}.html",
        about=text if len(text) <= LONGEST_ABOUT else f"{text[:LONGEST_ABOUT].rpartition(' ')[0]} …",
        whole=text,
        words=" ".join(sorted(words)).lower(),
        cells={target: families.tag(found[0]) if found else "" for target, found in available.items()},
        reasons={target: "" if found else family.reason(target) for target, found in available.items()},
        tags=tuple(_tags({family.name, *family.main.family_aliases}, source)),
        graph=graph,
        graph_of=graph_of,
    )


def _graph(family: Family, catalogs: Mapping[str, Catalog]) -> tuple[str, str]:
    """The drawing of a family's plan, and for which target: the first that it can be planned for."""
    for target in (*families.SHOWN_FIRST, *catalogs):
        if not family.available.get(target):
            continue
        catalog = catalogs[target]
        try:
            made = assemble(Request(packages=(family.name,)), catalog.platform, _always(catalog), PlanOptions())
        except JetsonError:
            continue
        return drawing.svg(made.plans), target
    return "", ""


def _always(catalog: Catalog) -> Callable[[Platform], Catalog]:
    return lambda _platform: catalog


def _tags(names: Iterable[str], source: SiteSource) -> Iterable[RepositoryTags]:
    spelled = sorted(
        {spelling for name in names for spelling in (name, name.replace("_", "-"), name.replace("-", "_"))}
    )
    for place in source.namespaces:
        for name in spelled:
            if not re.fullmatch(r"[a-z0-9]+([._-]+[a-z0-9]+)*", name):
                continue
            try:
                listing = source.list_tags(place.child(name))
            except RegistryError:
                continue
            if listing.tags:
                rows = sorted(listing.tags, key=lambda tag: (tag.pushed, tag.tag), reverse=True)
                yield RepositoryTags(
                    reference=listing.repository.reference,
                    fetched=listing.fetched[:10],
                    rows=tuple(_row(tag, source.today) for tag in rows),
                )


def _row(tag: Tag, today: date) -> TagRow:
    return TagRow(name=tag.tag, arch=tag.arch or "", pushed=tag.pushed[:10], age=age(tag.pushed, today), size=tag.bytes)


def age(pushed: str, today: date) -> str:
    """How old a push is: `20 days`, `7 months`, `2 years`; empty where the date is not known.

    >>> age("2024-03-01", date(2026, 5, 1))
    '2 years'
    """
    try:
        days = (today - date.fromisoformat(pushed[:10])).days
    except ValueError:
        return ""
    for name, length in (("year", 365.25), ("month", 30.44)):
        if days >= 2 * length:
            return f"{int(days / length)} {name}s"
    return f"{max(days, 0)} day{'' if days == 1 else 's'}"


def _needs(other: SiteFamily, name: str) -> bool:
    main = other.family.main
    return any(need.family == name for need in main.depends)
