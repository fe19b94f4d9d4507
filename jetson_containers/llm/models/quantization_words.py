"""Quantizations as people type them: the names that the runtimes have for them, and what may be meant. Pure."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING

from jetson_containers.core.suggest import closest
from jetson_containers.llm.fit import constants

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_SAME = {"float16": "fp16", "half": "fp16", "bfloat16": "bf16", "float32": "fp32", "float": "fp32"}
_METHODS = {  # words that name what makes them, and in which runtime's table their names are
    "bnb": "bitsandbytes", "bitsandbytes": "bitsandbytes", "gptq": "gptq", "awq": "awq", "exl2": "exllamav2",
    "exl3": "exllama", "exllama": "exllama", "exllamav2": "exllamav2", "exllamav3": "exllama", "gguf": "llama_cpp",
    "mlc": "mlc",
}  # fmt: skip
_MOST = 5  # names of one runtime that are suggested


def spelled(text: str) -> str:
    """The name that a runtime has for what was typed: case, blanks, `-`, `_` and the end `.gguf` make no difference.

    What no runtime has a name for stays as it is: repositories have files of further kinds, `UD-Q4_K_XL`.

    >>> spelled("q4km"), spelled("float16"), spelled("4bpw"), spelled("UD-Q4_K_XL")
    ('Q4_K_M', 'fp16', '4.0bpw', 'UD-Q4_K_XL')
    """
    typed = text.strip()
    if names := _spellings().get(typed.lower()):
        return next(iter(names)) if len(names) == 1 else typed
    if width := re.fullmatch(r"([0-9])(?:\.([0-9]))?\s*bpw", typed.lower()):
        return f"{width[1]}.{width[2] or 0}bpw"
    return _SAME.get(typed.lower()) or _folded_names().get(_folded(typed), typed)


def meant(text: str) -> str:
    """A hint about names that may be meant; empty where there is none.

    A width (`4bit`) has the first name of each runtime, a method (`exl3`) those of its runtime.
    """
    word = text.strip().lower()
    if width := re.fullmatch(r"(?:int|w|q|fp|f)?\s*-?([2-8])[\s_-]*(?:b|bits?)?", word):
        return _listed({name: _of_width(row, int(width[1]))[:1] for name, row in constants.runtimes().items()})
    method = re.match(r"[a-z]+(?:v?[23](?![0-9]))?", word)
    if method and (runtime := _METHODS.get(method[0]) or _METHODS.get(method[0].rstrip("23"))):
        return _listed({runtime: list(_names(constants.runtime(runtime)))[:_MOST]})
    known = {lower: min(names) for lower, names in _spellings().items()}
    start = [name for name in known.values() if _folded(name).startswith(_folded(word))] if word else []
    near = start or [known[name] for name in closest(word, known, 3)]
    return f"did you mean {' or '.join(f'`{name}`' for name in dict.fromkeys(near[:_MOST]))}?" if near else ""


def _listed(found: Mapping[str, Iterable[str]]) -> str:
    having: dict[str, list[str]] = {}
    for runtime, names in found.items():
        for name in names:
            having.setdefault(name, []).append(runtime)
    named = [f"`{name}` ({', '.join(of)})" for name, of in having.items()]
    return f"there is {', '.join(named)}" if named else ""


def _of_width(runtime: constants.RuntimeConstants, bits: int) -> list[str]:
    return [name for name, kind in _names(runtime).items() if bits <= _bits(kind) < bits + 1]


def _bits(kind: str) -> float:
    """The bits of a weight of the linear layers, of a format or of a file type of llama.cpp."""
    if kind in constants.formats():
        return constants.formats()[kind].linear
    return constants.blocks()[constants.file_types()[kind].base][0] if kind in constants.file_types() else 0.0


def _names(runtime: constants.RuntimeConstants) -> dict[str, str]:
    """Every name that a runtime has on some release → its format, those that are proposed first."""
    found: dict[str, str] = {}
    for variant in reversed(runtime.variants):
        found |= {name: kind for name, (kind, _) in variant.formats.items() if name not in found}
    for variant in runtime.variants:
        found |= {name: kind for name, (kind, _) in variant.accepted.items() if name not in found}
    return found


@functools.cache
def _spellings() -> Mapping[str, frozenset[str]]:
    """A name in lower case → how the runtimes spell it: `BF16` is llama.cpp's, `bf16` that of others."""
    found: dict[str, set[str]] = {}
    for runtime in constants.runtimes().values():
        for name in _names(runtime):
            found.setdefault(name.lower(), set()).add(name)
    return {lower: frozenset(names) for lower, names in found.items()}


@functools.cache
def _folded_names() -> Mapping[str, str]:
    """Without what makes no difference → the name, where only one is left so."""
    found: dict[str, set[str]] = {}
    for names in _spellings().values():
        for name in names:
            found.setdefault(_folded(name), set()).add(name)
    return {fold: next(iter(names)) for fold, names in found.items() if len(names) == 1}


def _folded(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.strip().lower().removesuffix(".gguf"))
