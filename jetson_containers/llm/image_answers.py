"""What an image's own programs say, kept by image ID in the cache directory: asking costs a container's start each."""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING

from jetson_containers.core import json_text
from jetson_containers.core.errors import JetsonError
from jetson_containers.core.files import write_atomically
from jetson_containers.llm.containers import Containers
from jetson_containers.llm.request import runtime_named
from jetson_containers.llm.runtimes import support

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from jetson_containers.core.settings import Settings
    from jetson_containers.llm.context import LlmContext

_SECONDS = 60  # for one question of `fit`: importing vLLM takes half a minute on a small board
_MOST_BYTES = 4 << 20  # of one image's answers; help texts and lists of classes have some 100 KB


def ask(
    containers: Containers, probes: Sequence[Sequence[str]], image_id: str, seconds: float | None = None
) -> dict[str, str]:
    """What the image prints for each command line, from its kept answers where those have it.

    The containers have no network. One that takes longer than `seconds` is ended, and has not answered.
    """
    place = _place(containers.settings, image_id)
    known = _read(place) if image_id else {}
    answers = {
        " ".join(probe): containers.capture(probe, seconds=seconds) for probe in probes if " ".join(probe) not in known
    }
    # What docker could not start just now is not a property of the image, and must not be kept.
    known |= {probe: text for probe, text in answers.items() if text is not None}
    if answers and image_id:
        with contextlib.suppress(OSError):  # only a cache: it is asked again
            write_atomically(place, json.dumps(known))
    return known


def of_images_here(
    context: LlmContext, runtimes: Collection[str], settled: Collection[str] = ()
) -> dict[str, dict[str, str]]:
    """What the images here print of the models their runtimes load, by runtime, for `support.knows`.

    Only the local store is asked. For the `settled` runtimes no container is started: kept answers alone count.
    """
    found = {}
    for runtime in sorted(support.LISTINGS.keys() & set(runtimes)):
        with contextlib.suppress(JetsonError):  # without an engine or an image the tables decide
            if answers := _of_image_here(context, runtime, only_kept=runtime in settled):
                found[runtime] = answers
    return found


def _of_image_here(context: LlmContext, runtime: str, *, only_kept: bool) -> dict[str, str]:
    from jetson_containers.autotag import search

    packages = runtime_named(runtime).packages(context.platform)
    reference = search.find_here(packages, context.platform, context.engine, context.settings)
    image = context.engine().image(reference) if reference else None
    if reference is None or image is None or not image.id:
        return {}
    kept = _read(_place(context.settings, image.id))
    command = support.LISTINGS[runtime]
    if only_kept or " ".join(command) in kept:
        return kept
    context.console.info(f"asking the image `{reference}` which models it loads")
    containers = Containers(
        platform=context.platform, engine=context.engine(), settings=context.settings, console=context.console,
        image=reference, image_for=lambda _packages: reference,
    )  # fmt: skip
    return ask(containers, (command,), image.id, _SECONDS)


def _place(settings: Settings, image_id: str) -> Path:
    return settings.path("cache").expanduser() / "probes" / f"{image_id.removeprefix('sha256:')[:32]}.json"


def _read(place: Path) -> dict[str, str]:
    """The kept answers; what is damaged, too large or not a text is asked again."""
    try:
        if place.stat().st_size > _MOST_BYTES:
            return {}
        rows: Mapping[str, object] = json_text.parse(place.read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(rows, dict):
        return {}
    return {probe: text for probe, text in rows.items() if isinstance(text, str)}
