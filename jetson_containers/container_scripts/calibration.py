"""Text that a quantizer measures activations on, as rows of tokens.

`builtin` needs no network: the language reference that is part of Python (`pydoc_data.topics`), half a million
characters of English prose and code. Else a text file (`.jsonl`: the key `text` of each line) or a named data set.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

BUILTIN = "builtin"
# repository, configuration, files; always the training part and its column `text`
DATASETS: dict[str, tuple[str, str | None, str | None]] = {
    "wikitext2": ("Salesforce/wikitext", "wikitext-2-raw-v1", None),
    "c4": ("allenai/c4", None, "en/c4-train.00000-of-01024.json.gz"),
}
_ENOUGH = 6  # characters a token has at most on average: no more text is read than is needed


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--calibration --samples --length`."""
    names = ", ".join(sorted(DATASETS))
    parser.add_argument("--calibration", default=BUILTIN, help=f"`{BUILTIN}`, a text file, or one of {names}")
    parser.add_argument("--samples", type=int, default=128, help="pieces of text (default: 128)")
    parser.add_argument("--length", type=int, default=512, help="tokens of each (default: 512)")


def read(source: str, characters: int = 1 << 30) -> str:
    """The text, at least `characters` of it where there is as much. Ends the program when there is none."""
    if source == BUILTIN:
        return _builtin()
    if source in DATASETS:
        return _dataset(source, characters)
    path = Path(source)
    if not path.is_file():
        sys.exit(f"no calibration text `{source}`: neither a file nor one of {BUILTIN}, {', '.join(sorted(DATASETS))}")
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.suffix == ".jsonl":
        text = "\n\n".join(str(json.loads(line).get("text", "")) for line in text.splitlines() if line.strip())
    return text


def rows(tokenizer: Any, source: str, samples: int, length: int) -> list[list[int]]:
    """`samples` windows of `length` tokens at random places, the same on every run.

    Ends the program when the text is shorter than one window.
    """
    text = read(source, samples * length * _ENOUGH)
    tokens = list(tokenizer(text, add_special_tokens=False)["input_ids"])
    if len(tokens) < length:
        sys.exit(f"the calibration text `{source}` has {len(tokens)} tokens, one sample needs {length}")
    choose = random.Random(0)  # noqa: S311 - reproducible, not secret
    starts = [choose.randint(0, len(tokens) - length) for _ in range(samples)]
    sys.stderr.write(f"calibration: {samples} x {length} of {len(tokens)} tokens of {source}\n")
    return [tokens[start : start + length] for start in starts]


def _builtin() -> str:
    try:
        from pydoc_data.topics import topics
    except ImportError:
        sys.exit("this Python is without its language reference: name a text file with --calibration")
    return "\n\n".join(topics[name] for name in sorted(topics))


def _dataset(name: str, characters: int) -> str:
    try:
        from datasets import load_dataset
    except ImportError:
        sys.exit(f"`{name}` needs the package `datasets`, which this image lacks; `{BUILTIN}` needs nothing")
    repository, configuration, files = DATASETS[name]
    data = load_dataset(repository, configuration, data_files=files, split="train", streaming=True)
    found: list[str] = []
    size = 0
    for entry in data:
        found.append(str(entry["text"]))
        size += len(found[-1])
        if size >= characters:
            break
    return "\n\n".join(found)
