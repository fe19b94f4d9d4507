"""What the local store holds, asked through the docker client: one list and one inspect, however many images there are.

Where the engine's socket is at hand, the questions about single images go there instead (`api`): a build asks several
for each stage. The Docker SDK could answer too, but importing it takes longer than all of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from jetson_containers.core import checked, json_text
from jetson_containers.core.errors import NotReadyError, command
from jetson_containers.core.text import is_number
from jetson_containers.engine import api
from jetson_containers.engine.interface import HistoryEntry, LocalImage
from jetson_containers.engine.messages import translate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from jetson_containers.engine.probe import ProbeAnswer

_FIELDS = ("Id", "RepoTags", "RepoDigests", "Architecture", "Created", "Size", "Config")
# One line per image. What is left out (layers, storage paths) is most of an image with many layers.
_LAYERS = '{"Id":{{json .Id}},"Layers":{{json .RootFS.Layers}}}'
_HISTORY = '{"Size":{{json .Size}},"CreatedBy":{{json .CreatedBy}}}'
_FORMAT = "{" + ",".join(f'"{name}":{{{{json .{name}}}}}' for name in _FIELDS) + "}"


def local_image(attributes: Mapping[str, Any]) -> LocalImage:
    """Read the engine's description of an image. Raises NotReadyError for one that no engine gives."""
    try:
        config = checked.mapping(attributes.get("Config") or {})
        return LocalImage(
            id=checked.text(attributes.get("Id")),
            references=tuple(map(checked.text, checked.items(attributes.get("RepoTags") or []))),
            labels=checked.texts(config.get("Labels")),
            architecture=checked.text(attributes.get("Architecture") or ""),
            created=checked.text(attributes.get("Created") or ""),
            size=checked.number(attributes.get("Size") or 0),
            digests=tuple(map(checked.text, checked.items(attributes.get("RepoDigests") or []))),
        )
    except ValueError as error:
        raise unreadable(error) from error


def unreadable(error: ValueError) -> NotReadyError:
    """The error for an answer of the engine that is none."""
    return NotReadyError(f"the engine's answer cannot be read: {error}", hint=command("docker", "version"))


class Queries:
    """Raw answers in the form of the engine's API (`/images/ID/json`), with the fields of `_FIELDS`.

    `ask` runs the docker client with some arguments; `get` asks the engine itself for a path of its API and returns
    status and content, or None where only the client can ask.
    """

    def __init__(
        self, ask: Callable[..., ProbeAnswer], get: Callable[[str], tuple[int, Any] | None] = lambda _path: None
    ) -> None:
        self._ask = ask
        self._get = get

    def inspect(self, reference: str) -> dict[str, Any] | None:
        """One image, None when there is none."""
        return next(iter(self._inspect(reference)), None)

    def search(self, labels: Mapping[str, str]) -> list[dict[str, Any]]:
        """All images that have these labels; one that is removed meanwhile is left out."""
        filters = [word for name, value in labels.items() for word in ("--filter", f"label={name}={value}")]
        answer = self._ask("image", "ls", "--quiet", "--no-trunc", *filters)
        if answer.exit_code != 0:
            raise translate(answer.err or answer.out, "listing images")
        ids = dict.fromkeys(answer.out.split())
        return self._inspect(*ids) if ids else []

    def named(self, references: Sequence[str]) -> list[dict[str, Any]]:
        """Those of some images that are there."""
        return self._inspect(*references) if references else []

    def layers(self, ids: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The layers of images by their IDs, bottom first."""
        rows = self._rows(_LAYERS, *ids) if ids else []
        # The API has them one level deeper than our line of the client.
        return {str(row["Id"]): tuple((row.get("RootFS") or row).get("Layers") or ()) for row in rows}

    def history(self, reference: str) -> tuple[HistoryEntry, ...]:
        """The instructions an image was made by, newest first; nothing where it is not there."""
        status, content = self._get(api.image_path(reference, "history")) or (0, None)
        if api.is_missing(status, content):
            return ()
        if status == api.OK:
            return _entries(content)
        answer = self._ask("history", "--no-trunc", "--human=false", "--format", _HISTORY, reference)
        if is_missing(answer):
            return ()
        if answer.exit_code != 0:
            raise translate(answer.err or answer.out, f"asking for the layers of `{reference}`")
        return _entries(answer.out.splitlines())

    def tag(self, source: str, target: str) -> None:
        """Give a name."""
        self._do("image", "tag", source, target, what=f"naming `{source}` `{target}`")

    def remove(self, reference: str, *, keep_parents: bool = False) -> None:
        """Take a name away, and with the last name the image."""
        more = ["--no-prune"] if keep_parents else []
        self._do("image", "rm", *more, reference, what=f"removing `{reference}`")

    def _inspect(self, *references: str) -> list[dict[str, Any]]:
        return self._rows(_FORMAT, *references)

    def _rows(self, template: str, *references: str) -> list[dict[str, Any]]:
        """Those of some images that are there: the client prints them, and complains about the others."""
        got = self._got(references)
        if got is not None:
            return got
        answer = self._ask("image", "inspect", "--format", template, *references)
        if answer.exit_code != 0 and not is_missing(answer):
            raise translate(answer.err or answer.out, "asking for images")
        try:
            return [checked.mapping(json_text.parse(line)) for line in answer.out.splitlines() if line.strip()]
        except ValueError as error:
            raise unreadable(error) from error

    def _got(self, references: Sequence[str]) -> list[dict[str, Any]] | None:
        """The same from the engine itself; None where the client has to be asked."""
        rows = []
        for reference in references:
            status, content = self._get(api.image_path(reference, "json")) or (0, None)
            if status == api.OK and isinstance(content, dict):
                rows.append(content)
            elif not api.is_missing(status, content):
                return None
        return rows

    def _do(self, *args: str, what: str) -> None:
        answer = self._ask(*args)
        if answer.exit_code != 0:
            raise translate(answer.err or answer.out, what)


def _entries(rows: object) -> tuple[HistoryEntry, ...]:
    try:
        return tuple(map(_entry, checked.items(rows)))
    except ValueError as error:
        raise unreadable(error) from error


def _entry(row: object) -> HistoryEntry:
    """Read an instruction: a line of the client, which has sizes as texts, or an entry of the API."""
    found = checked.mapping(json_text.parse(row) if isinstance(row, str) else row)
    size = checked.text(found.get("Size")) if isinstance(row, str) else str(checked.number(found.get("Size")))
    if not is_number(size):
        raise ValueError(f"no size of a layer: {size[:40]}")
    from jetson_containers.dockerfile.inject import without_script

    command = checked.text(found.get("CreatedBy")).replace("\t", " ")  # as the client has it
    return HistoryEntry(command=without_script(command), size=int(size))


def is_missing(answer: ProbeAnswer) -> bool:
    """Whether a question failed only because an image is not there."""
    complaints = [line.lower() for line in answer.err.splitlines() if line.strip()]
    return answer.exit_code != 0 and bool(complaints) and all("no such image" in line for line in complaints)
