"""Request → candidates → verdicts → one image, with the reasons.

The order of `--prefer` decides first (default: local, registry, build): an image that is here and runs is used although
a registry may have a newer one, since it costs no download and works without network; `--prefer registry,local`
turns that round. What comes first within a source: see `ranking`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from jetson_containers.autotag.ranking import ImageChoice, decide, merge
from jetson_containers.autotag.sources import LocalSource, RegistrySource
from jetson_containers.autotag.types import ImageCandidate, ImageSource, SourceKind, Wanted
from jetson_containers.core.console import human_bytes
from jetson_containers.core.copies import many_objects
from jetson_containers.core.errors import (
    EnginePermissionError,
    JetsonError,
    NoCompatibleImageError,
    NotReadyError,
    RegistryError,
    UsageError,
    command,
)
from jetson_containers.core.suggest import closest
from jetson_containers.engine import transfer_progress
from jetson_containers.registry import snapshot
from jetson_containers.registry.listing import Listings, in_few_lines
from jetson_containers.registry.types import ImageRepository

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from jetson_containers.autotag.ranking import Judged
    from jetson_containers.autotag.types import Names
    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import ContainerEngine
    from jetson_containers.platforms.platform import Platform

NATIVE = "native"  # the word of `prefer` that names no source


@dataclass(frozen=True, kw_only=True)
class AutotagOptions:
    """What a user may say about the choice. Make it with `options`, which reads the words of the command line."""

    order: tuple[SourceKind, ...] = (SourceKind.LOCAL, SourceKind.REGISTRY, SourceKind.BUILD)
    registries: tuple[ImageRepository, ...] = ()
    native: bool = False  # native CUDA before a newer version that needs cuda-compat
    pin: bool = False  # answer with the digest
    quiet: bool = False  # never ask
    where: tuple[str, ...] = ()  # the options that say for which machine, for commands that are suggested
    offline: bool = False  # a download is neither offered nor done
    yes: bool = False  # build or pull without asking
    explain: bool = False  # look everywhere, and show every candidate
    aliases: Names | None = field(default=None, compare=False)  # further names, asked when a name finds nothing
    contents: Names | None = field(default=None, compare=False)  # families inside an image that has no labels


def options(
    settings: Settings,
    *,
    prefer: Sequence[str] = (),
    disable: Sequence[str] = (),
    user: str = "",
    registries: Sequence[str] = (),
    **more: Any,
) -> AutotagOptions:
    """Make `AutotagOptions` of command-line words; the rest as in the class.

    A source that `prefer` does not list is not used, as upstream has it; its word `native` is not a source, but means
    native CUDA before newer versions. `user` is a namespace on Docker Hub
    (or below each of `registries`). Raises UsageError for a word that is not a source or registry.
    """
    native = any(word.lower() == NATIVE for word in prefer)
    order = tuple(dict.fromkeys(_kind(word) for word in prefer if word.lower() != NATIVE)) or AutotagOptions.order
    off = {_kind(word) for word in disable}
    named = tuple(registries)
    if user:
        named = tuple(f"{base.rstrip('/')}/{user}" for base in named) or (user,)
    places = tuple(ImageRepository.parse(name) for name in named or settings["registries"])
    return AutotagOptions(
        order=tuple(kind for kind in order if kind not in off), registries=places, native=native,
        **{"offline": bool(settings["offline"]), **more},
    )  # fmt: skip


def _kind(word: str) -> SourceKind:
    try:
        return SourceKind(word.lower())
    except ValueError:
        known = ", ".join(kind.value for kind in SourceKind)
        raise UsageError(f"unknown source of images `{word}`", hint=f"sources: {known}") from None


def sources(
    settings: Settings, engine: Callable[[], ContainerEngine], chosen: AutotagOptions
) -> tuple[ImageSource, ...]:
    """Make the sources the options allow; nothing is asked yet."""
    made: list[ImageSource] = []
    for kind in chosen.order:
        if kind is SourceKind.LOCAL:
            made.append(LocalSource(engine))
        elif kind is SourceKind.REGISTRY:
            made.append(RegistrySource(Listings.of(settings), chosen.registries))
    return tuple(made)


def choose(
    request: Sequence[str], host: Platform, places: Sequence[ImageSource], chosen: AutotagOptions
) -> ImageChoice:
    """Decide among what the sources have, in their order; the rest is not asked once one has an answer.

    With `explain` all are asked; the choice is the same. Raises UsageError for an empty or wrong request.
    """
    search = ImageSearch(request, host, places, chosen)
    choices: list[ImageChoice] = []
    for source in places:
        choices.append(search.of(source.kind))
        if choices[-1].image and not chosen.explain:
            break
    return merge(request, host, choices)


def parse(request: Sequence[str], aliases: Names | None = None) -> tuple[Wanted, ...]:
    """Read a request, with further names of each package. Raises UsageError when it is empty or wrong."""
    if not request:
        raise UsageError("no package given", hint="`autotag llama_cpp`")
    return tuple(Wanted.parse(text, aliases) for text in request)


def find(
    request: Sequence[str],
    host: Platform,
    engine: ContainerEngine | Callable[[], ContainerEngine],
    settings: Settings,
    console: Console,
    chosen: AutotagOptions | None = None,
    *,
    build: Callable[[Sequence[str]], str] | None = None,
) -> str:
    """Find one image, or build it when that is allowed; the reference, with its digest if pinned.

    Asks only on a terminal, and not with `quiet`: before a pull (saying the size) and before a build. Without a
    terminal a registry's image is the answer as it is (`docker run` pulls it) and nothing is built, unless `yes`.
    `build` gets the request and returns the image it made. Raises NoCompatibleImageError with the table of refusals,
    RegistryError when nothing is known because no registry could be asked.
    """
    chosen = chosen or options(settings)
    get_engine = engine if callable(engine) else lambda: engine
    places = sources(settings, get_engine, chosen)
    search = ImageSearch(request, host, places, chosen, lambda choice: _announce(choice, console))
    if chosen.explain:
        explain(search.everything(), console)
    for kind in chosen.order:
        if kind is SourceKind.BUILD:
            image = _build(request, host, chosen, console, build)
        else:
            image = _take(search.of(kind), get_engine, chosen, console)
        if image:
            return image
    raise refusal(search.everything(), chosen.where)


def find_here(
    request: Sequence[str], host: Platform, engine: Callable[[], ContainerEngine], settings: Settings
) -> str | None:
    """The image of the local store that answers a request; None where there is none. No registry is asked.

    Raises UsageError for an empty or wrong request.
    """
    best = choose(request, host, (LocalSource(engine),), options(settings, prefer=("local",))).best
    return best.reference if best else None


class ImageSearch:
    """The sources of one request, each asked only when its turn comes.

    Aliases are tried when nothing at all has the name itself: knowing them means reading every recipe, which a
    request that has an answer need not wait for.
    """

    def __init__(
        self,
        request: Sequence[str],
        host: Platform,
        places: Sequence[ImageSource],
        chosen: AutotagOptions,
        say: Callable[[ImageChoice], None] = lambda _choice: None,
    ) -> None:
        self._request, self._host, self._chosen, self._say = request, host.require_known(), chosen, say
        self._wanted = parse(request)  # a wrong request is refused before anybody is asked
        self._places = {source.kind: source for source in places}
        self._choices: dict[SourceKind, ImageChoice] = {}
        self._widened = False

    def of(self, kind: SourceKind) -> ImageChoice:
        """What one source has; `say` hears of it the first time. By aliases, all sources answer together."""
        if kind not in self._choices:
            self._choices[kind] = self._ask(kind)
            self._say(self._choices[kind])
            if len(self._choices) == len(self._places) and self._widen():
                self._choices = {place: self._ask(place) for place in self._places}
        return self.everything() if self._widened else self._choices[kind]

    def everything(self) -> ImageChoice:
        """What all sources have, ranked in their order."""
        for kind in self._places:
            if kind not in self._choices:
                self.of(kind)
        return merge(self._request, self._host, [self._choices[kind] for kind in self._places])

    def _ask(self, kind: SourceKind) -> ImageChoice:
        chosen = self._chosen
        with many_objects():
            found = self._places[kind].find(self._wanted, self._host)
            return decide(self._request, self._wanted, self._host, found, chosen.contents, native=chosen.native)

    def _widen(self) -> bool:
        if self._chosen.aliases is None or not all(choice.is_empty for choice in self._choices.values()):
            return False
        wider = parse(self._request, self._chosen.aliases)
        self._widened = wider != self._wanted
        self._wanted = wider
        return self._widened


def _announce(choice: ImageChoice, console: Console) -> None:
    for note in choice.notes:
        console.detail(note)
    for notice in in_few_lines(choice.notices):
        console.info(f"note: {notice}")
    for problem in choice.problems if choice.image else ():
        if isinstance(problem, RegistryError):
            console.info(f"note: {problem.message}")


def _take(
    choice: ImageChoice, engine: Callable[[], ContainerEngine], chosen: AutotagOptions, console: Console
) -> str | None:
    """The answer of a choice; None when there is none, or the user does not want to download it."""
    best = choice.best
    if best is None:
        return None
    image = pinned(best, console) if chosen.pin else best.reference
    if best.kind is SourceKind.LOCAL or chosen.offline:
        return image
    about = ", ".join(filter(None, (best.facts.pushed, human_bytes(best.facts.size) if best.facts.size else "")))
    wants = chosen.yes
    if not wants and console.interactive and not chosen.quiet and _has_engine(engine):
        wants = console.confirm(f"Found {image}{f' ({about})' if about else ''}; pull it?", default=True)
        if not wants:
            return None
    if wants:
        console.info(f"pulling {image}{f' ({about})' if about else ''}")
        transfer_progress.pull(engine(), image, console, platform=choice.platform.docker_platform)
    return image


def _has_engine(engine: Callable[[], ContainerEngine]) -> bool:
    """Whether there is an engine that could pull; without one there is nothing to ask about."""
    try:
        engine().images()
    except NotReadyError:
        return False
    return True


def _build(
    request: Sequence[str],
    host: Platform,
    chosen: AutotagOptions,
    console: Console,
    build: Callable[[Sequence[str]], str] | None,
) -> str | None:
    if build is None:
        return None
    names = " ".join(request)
    if not chosen.yes and (
        chosen.quiet or not console.interactive
        or not console.confirm(f"No image of {names} runs here ({summary(host)}); build it?")
    ):  # fmt: skip
        return None
    return build(request)


def pinned(candidate: ImageCandidate, console: Console) -> str:
    """The reference with its digest; for an image no registry has, its id, which only this machine knows."""
    if candidate.digest:
        return f"{candidate.reference.partition('@')[0]}@{candidate.digest}"
    if candidate.image_id:
        console.warning(
            f"{candidate.reference} has no digest, since no registry has it; its ID is valid on this machine only",
            hint=command("jetson-containers", "push", candidate.reference),
        )
        return candidate.image_id
    raise UsageError(
        f"the digest of {candidate.reference} is not known", hint="run it without --offline, or without --pin"
    )


def summary(host: Platform) -> str:
    """A platform in a few words: `L4T 36.4.3, tegra, CUDA 12.6`."""
    parts = (f"L4T {host.l4t}" if host.l4t else "", host.arch.value, f"CUDA {host.cuda}" if host.cuda else "no CUDA")
    return ", ".join(filter(None, parts))


def refusal(choice: ImageChoice, where: Sequence[str] = ()) -> JetsonError:
    """The error for a request without an answer. When no source could be asked, that is the error instead."""
    names, again = " ".join(choice.request), (*where, *choice.request)
    similar: list[str] = []
    if choice.image:
        message = f"{choice.image} fits but was declined, and nothing was built"
    elif choice.is_empty:
        for problem in choice.problems:
            if isinstance(problem, RegistryError):
                return problem
        message = f"no image of {names} is known"
        similar = [_similar(wanted) for wanted in parse(choice.request)]
    else:
        message = f"no image of {names} can run here ({summary(choice.platform)})"
    return NoCompatibleImageError(
        message,
        details=[
            *refusals(choice.candidates, again),
            *(problem.message for problem in choice.problems),
            *filter(None, similar),
        ],
        hint=_engine_first(choice)
        or f"build one with {command('./build.sh', *again)}, or run {command('./autotag', '-y', *again)}",
    )


def _similar(wanted: Wanted) -> str:
    """A question about names of published images that resemble one of which none is known."""
    near = closest(wanted.name, snapshot.names() - {wanted.name}, 2, likeness=0.75)
    return f"there are images of {' and '.join(f'`{name}`' for name in near)}" if near else ""


def _engine_first(choice: ImageChoice) -> str | None:
    """What helps when the engine may not be used: nothing can be built before that."""
    return next((problem.hint for problem in choice.problems if isinstance(problem, EnginePermissionError)), None)


def refusals(judged: Iterable[Judged], request: Sequence[str] = ("PACKAGE",)) -> list[str]:
    """Why images are refused: the nearest, then one line per rule with how many it refuses and the nearest of them."""
    refused = [entry for entry in judged if not entry.verdict.ok]
    if not refused:
        return []
    by_rule: dict[str, list[Judged]] = {}
    for entry in refused:
        by_rule.setdefault(entry.verdict.rule, []).append(entry)
    first = refused[0]
    lines = [f"nearest: {first.candidate.reference}: {first.verdict.reason}"]
    if len(refused) == 1:
        return lines
    width = max(len(rule) for rule in by_rule)
    for rule, entries in by_rule.items():
        example = entries[0]
        count = f"{len(entries)} image{'s' if len(entries) > 1 else ''}"
        like = f"as {example.candidate.reference}: {example.verdict.reason}"
        lines.append(f"{rule:<{width}}  {count}, {like if example is not first else 'with the nearest'}")
    return [*lines, f"{command('./autotag', '--explain', *request)} shows each"]


def explain(choice: ImageChoice, console: Console) -> None:
    """Show every candidate with its verdict on stderr: stdout is for the one line."""
    rows = [
        (
            str(entry.rank or "-"),
            entry.candidate.reference,
            entry.candidate.facts.source,
            entry.candidate.facts.pushed or "-",
            human_bytes(entry.candidate.facts.size) if entry.candidate.facts.size else "-",
            "yes" if entry.verdict.ok else f"no: {entry.verdict.rule}",
            entry.verdict.reason,
        )
        for entry in choice.candidates
    ]
    console.info(f"{' '.join(choice.request)} for {summary(choice.platform)}: {len(rows)} candidates")
    console.table(("rank", "image", "source", "pushed", "size", "runs here", "reason"), rows)
