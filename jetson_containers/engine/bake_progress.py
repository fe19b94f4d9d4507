"""What `docker buildx bake` reports (`--progress rawjson`), told stage by stage in the words of a plain build.

One vertex (a command of a Dockerfile) is reported by each target that stands on it, in any order and under each one's
name: it belongs to the lowest of them. Of a vertex that a lower one claims later, everything is told again there.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

EXPORTING = "exporting to "
DOCKERFILE = ".Dockerfile"  # end of the name of each target's Dockerfile; an error names the file
_NAME = re.compile(r"\[([\w-]+)(?: ([^\]]*))?\] (.*)", re.DOTALL)
_SOURCE = re.compile(rf"^([\w-]+){re.escape(DOCKERFILE)}:[0-9]+$")
_CANCELED = re.compile(r"context canceled|code = Canceled")


@dataclass(kw_only=True)
class _Vertex:
    owner: int  # index of the target it belongs to
    number: int  # in the lines of its owner, from 1
    title: str  # as a plain build shows it
    started: str = ""
    completed: bool = False
    cached: bool = False
    error: str = ""
    unfinished: bytes = b""  # beginning of a line of output
    lines: list[str] = field(default_factory=list)


class BakeProgress:
    """Takes in output line by line; `on_line` is told lines of a target, `on_built` that its image is in the store."""

    def __init__(
        self, targets: Sequence[str], on_line: Callable[[str, str], None], on_built: Callable[[str], None]
    ) -> None:
        self.text: list[str] = []  # everything but events: errors of buildx itself
        self._targets = list(targets)
        self._index = {name: index for index, name in enumerate(targets)}
        self._on_line = on_line
        self._on_built = on_built
        self._open: list[str] = []  # lines of an event that is printed over several
        self._vertices: dict[str, _Vertex] = {}
        self._numbers = dict.fromkeys(range(len(targets)), 0)

    def line(self, text: str) -> None:
        """Take in a line; buildx 0.13 prints an event over many lines, later ones over one."""
        if self._open or text == "{":
            self._open.append(text)
            if text != "}":
                return
            text, self._open = "\n".join(self._open), []
        event = _parsed(text)
        if event is None:
            self.text.append(text)
            return
        for vertex in _rows(event, "vertexes"):
            self._vertex(vertex)
        for log in _rows(event, "logs"):
            self._log(log)

    def failed(self) -> str | None:
        """The target at whose own command (or file, or image) the build failed; None when that is none of them."""
        named = [found[1] for found in map(_SOURCE.match, self.text) if found and found[1] in self._index]
        if named:
            return min(named, key=self._index.__getitem__)
        broken = [v.owner for v in self._vertices.values() if v.error and not _CANCELED.search(v.error)]
        return self._targets[min(broken)] if broken else None

    def told(self, target: str) -> str:
        """Everything that was said of the failure of a target: its commands' output, then buildx's own words."""
        index = self._index[target]
        own = [line for v in self._vertices.values() if v.owner == index for line in v.lines]
        return "\n".join([*own, *self.text])

    def finished(self) -> set[str]:
        """Targets all of whose own commands are complete."""
        own: dict[int, list[bool]] = {}
        for vertex in self._vertices.values():
            if not vertex.title.startswith(EXPORTING):
                own.setdefault(vertex.owner, []).append(vertex.completed and not vertex.error)
        return {self._targets[index] for index, done in own.items() if all(done)}

    def _vertex(self, data: Mapping[str, Any]) -> None:
        name = str(data.get("name", ""))
        match = _NAME.fullmatch(name)
        index = self._index.get(match[1]) if match else None
        title = name
        if match and index is not None:
            title = f"[{match[2]}] {match[3]}" if match[2] else match[3]
        elif len(self._targets) == 1:
            index = 0
        if index is None:
            return  # reading the definition itself
        vertex = self._owned(str(data.get("digest")), index, title)
        self._follow(vertex, data)

    def _owned(self, digest: str, index: int, title: str) -> _Vertex:
        vertex = self._vertices.get(digest)
        if vertex is not None and index >= vertex.owner:
            return vertex
        self._numbers[index] += 1
        if vertex is None:
            vertex = self._vertices[digest] = _Vertex(owner=index, number=self._numbers[index], title=title)
            return vertex
        before, number = vertex.number, self._numbers[index]
        vertex.owner, vertex.number, vertex.title = index, number, title
        kept = [re.sub(rf"^#{before}\b", f"#{number}", line) for line in vertex.lines]
        vertex.lines = []
        for position, line in enumerate(kept):
            self._say(vertex, f"#{number} {title}" if position == 0 else line)
        return vertex

    def _follow(self, vertex: _Vertex, data: Mapping[str, Any]) -> None:
        if data.get("started") and not vertex.started:
            vertex.started = str(data["started"])
            self._say(vertex, f"#{vertex.number} {vertex.title}")
        error = str(data.get("error") or "")
        if error and not vertex.error:
            vertex.error = error
            self._flush(vertex)
            if not _CANCELED.search(error):
                self._say(vertex, f"#{vertex.number} ERROR: {error}")
        # A command is reported as complete by each target that has it, and when its cached layers are fetched as well.
        if vertex.completed and data.get("cached") and not vertex.cached:
            self._say(vertex, f"#{vertex.number} CACHED")
        vertex.cached = vertex.cached or bool(data.get("cached"))
        if data.get("completed") and not vertex.completed and not error:
            vertex.completed = True
            self._flush(vertex)
            spent = _seconds(vertex.started, str(data["completed"]))
            self._say(vertex, f"#{vertex.number} {'CACHED' if vertex.cached else f'DONE {spent:.1f}s'}")
            if vertex.title.startswith(EXPORTING):
                self._on_built(self._targets[vertex.owner])

    def _log(self, log: Mapping[str, Any]) -> None:
        vertex = self._vertices.get(str(log.get("vertex")))
        if vertex is None:
            return
        try:
            data = base64.b64decode(str(log.get("data") or ""))
        except ValueError:  # binascii.Error among them
            return
        *whole, vertex.unfinished = (vertex.unfinished + data).split(b"\n")
        for raw in whole:
            self._output(vertex, raw, str(log.get("timestamp") or ""))

    def _flush(self, vertex: _Vertex) -> None:
        if vertex.unfinished:
            self._output(vertex, vertex.unfinished, "")
            vertex.unfinished = b""

    def _output(self, vertex: _Vertex, raw: bytes, timestamp: str) -> None:
        text = raw.decode("utf-8", errors="replace").rstrip("\r").rsplit("\r", 1)[-1]
        self._say(vertex, f"#{vertex.number} {_seconds(vertex.started, timestamp):.3f} {text}")

    def _say(self, vertex: _Vertex, line: str) -> None:
        vertex.lines.append(line)
        self._on_line(self._targets[vertex.owner], line)


def _parsed(text: str) -> dict[str, Any] | None:
    if not text.startswith("{"):
        return None
    try:
        event = json_text.parse(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) else None


def _rows(event: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a list; whatever else buildx may print there is left out, for it only reports progress."""
    rows = event.get(name)
    return [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []


def _seconds(start: str, end: str) -> float:
    """Seconds between two times as buildx writes them: RFC 3339 with nanoseconds, which Python 3.10 does not read."""
    moments = [
        re.match(r"([0-9]{4}-[0-9][0-9]-[0-9][0-9]T[0-9][0-9]:[0-9][0-9]:[0-9][0-9])(\.[0-9]{1,6})?", text)
        for text in (start, end)
    ]
    if moments[0] is None or moments[1] is None:
        return 0.0
    first, last = (datetime.fromisoformat(m[1]).timestamp() + float(m[2] or 0) for m in moments if m)
    return max(0.0, last - first)
