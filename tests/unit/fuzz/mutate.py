"""Nonsense made from honest inputs: other values in JSON, other bytes and words in texts."""

from __future__ import annotations

import copy
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

DEEP = 3000  # brackets: more than Python's stack allows

# ruff: noqa: E501 - the tables of nonsense

# What a field may hold that its reader does not expect.
VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 10**30, 10**400, 1.5, -0.0, 1e308, float("inf"), float("nan"),
    "", "x", "²", "٣", "\ud800", "\x00", "a\nb", "a" * 300, "9" * 5000, "../../x", "/etc/passwd", "http://[", "1.0.0.0.0.0",
    [], {}, [[]], [None], ["x", 1], {"a": 1}, {"": None}, [{}], [{"name": 5}],
)  # fmt: skip

WORDS: tuple[str, ...] = (
    "", " ", "\n", "\t", "\r\n", "\x00", "\ufeff", "\u2028", "²", "٣", "\ud800", ":", "::", "=", "==", "@", "/", "//", "..", "../", "\\", "\\\n",
    '"', "'", "`", "$", "${", "}", "{{", "}}", "{%", "%}", "[", "]", "{", "}", "<<", "<<EOF", "&a", "*a", "!!python/object:x", "!!int x",
    "|", ">", "-", "---", "#", "#---", "?", "%", "*", "+", "~", "^", "0", "-1", "1e999", "9" * 400, ".inf", ".nan", "null", "true", "latest",
    "sha256:", "r36.4", "cu126", "py3.10", "FROM", "RUN", "COPY --from=0", "ARG", "--", "-v", "--mount", "--gpus=all", "a" * 300,
)  # fmt: skip


def mutated_json(rng: random.Random, seed: Any) -> bytes:
    """A JSON text like `seed` with 1 to 4 places that hold something else."""
    if rng.random() < 0.02:
        return b"[" * DEEP if rng.random() < 0.5 else b'{"a":' * DEEP
    data = copy.deepcopy(seed)
    for _ in range(rng.randint(1, 4)):
        data = _changed(rng, data)
    return json.dumps(data).encode("utf-8")


def mutated_text(rng: random.Random, seed: str, others: Sequence[str] = ()) -> str:
    """A text like `seed` with 1 to 6 changes: cut, doubled, moved, and words of formats put in."""
    text = seed
    for _ in range(rng.randint(1, 6)):
        start = rng.randint(0, len(text))
        end = min(len(text), start + rng.choice((0, 1, 2, 5, 20, 200)))
        text = rng.choice(_TEXT_CHANGES)(rng, text, start, end, others)[:100_000]
    return text


def mutated_bytes(rng: random.Random, seed: bytes) -> bytes:
    """Bytes like `seed` with 1 to 8 changed, or cut, or with eight bytes that are no plausible count."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 8)):
        place = rng.randrange(len(data) + 1)
        kind = rng.randrange(4)
        if kind == 0 and place < len(data):
            data[place] = rng.randrange(256)
        elif kind == 1:
            data[place : place + 8] = rng.choice((b"\xff" * 8, b"\0" * 8, b"\xff" * 7 + b"\x7f", b"\0" * 7 + b"\x80"))
        elif kind == 2:
            del data[place:]
        else:
            data[place:place] = bytes(data[place : place + rng.choice((1, 8, 100))])
    return bytes(data)


def _changed(rng: random.Random, data: Any) -> Any:
    """The same with one value replaced, removed or renamed, at any depth."""
    if isinstance(data, dict) and data and rng.random() < 0.85:
        key = rng.choice(list(data))
        kind = rng.random()
        if kind < 0.1:
            del data[key]
        elif kind < 0.15:
            data[str(rng.choice(WORDS))] = data.pop(key)
        else:
            data[key] = _changed(rng, data[key])
        return data
    if isinstance(data, list) and data and rng.random() < 0.85:
        index = rng.randrange(len(data))
        if rng.random() < 0.1:
            data.insert(index, copy.deepcopy(data[index]))
        else:
            data[index] = _changed(rng, data[index])
        return data
    return copy.deepcopy(rng.choice(VALUES))


def _cut(rng: random.Random, text: str, start: int, end: int, others: Sequence[str]) -> str:
    return text[:start] + text[end:]


def _double(rng: random.Random, text: str, start: int, end: int, others: Sequence[str]) -> str:
    return text[:end] + text[start:end] * rng.choice((1, 2, 50)) + text[end:]


def _word(rng: random.Random, text: str, start: int, end: int, others: Sequence[str]) -> str:
    return text[:start] + rng.choice(WORDS) + text[start:]


def _instead(rng: random.Random, text: str, start: int, end: int, others: Sequence[str]) -> str:
    return text[:start] + rng.choice(WORDS) + text[end:]


def _letter(rng: random.Random, text: str, start: int, end: int, others: Sequence[str]) -> str:
    return text[:start] + chr(rng.choice((rng.randrange(32, 127), rng.randrange(0xD7FF)))) + text[start:]


def _mix(rng: random.Random, text: str, start: int, end: int, others: Sequence[str]) -> str:
    other = rng.choice(others) if others else text
    place = rng.randint(0, len(other))
    return text[:start] + other[place : place + 200] + text[end:]


_TEXT_CHANGES: tuple[Callable[[random.Random, str, int, int, Sequence[str]], str], ...] = (
    _cut, _double, _word, _instead, _letter, _mix,
)  # fmt: skip
