"""The second table of docs/verified.md: models that were quantized, kept, loaded again and asked over HTTP.

Read from the manifests that the pipeline left in a data directory, and asked once more: what the tiny model has learnt
by heart must be in the answer. A row counts until a newer one is about the same runtime, quantization and platform.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from jetson_containers.llm.pipeline.manifest import Manifest

TITLE = "## Models"
QUESTION, LEARNT = "What is a Jetson?", "small computer with a GPU"
WEIGHTS = (".safetensors", ".gguf", ".bin")
YES, NO = "✓", "failed"
INTRO = f"""{TITLE}

The tiny model (`tiny`: it has learnt ten answers by heart) was quantized, kept, loaded again by the runtime's server
and asked over HTTP. Weights: bytes of the result over those of the model in 16 bits; embeddings, a sixth of it, stay as
they are. Answers: what it had learnt came back. To repeat a row:

    ./build.sh PACKAGE
    ./jetson-containers llm quantize tiny --runtime RUNTIME --quantization QUANTIZATION --samples 4 --threads 1
    .venv/bin/python tools/verified.py --models data
"""


@dataclass(frozen=True, kw_only=True)
class Made:
    """A row. `seconds` is how long it took, kernels compiled on first use included; `weights` a percentage."""

    runtime: str
    quantization: str
    platform: str
    package: str
    date: str
    seconds: str
    weights: str
    answers: str

    @property
    def place(self) -> tuple[str, str, str]:
        """What a newer row must be about to replace it."""
        return self.runtime, self.quantization, self.platform


HEADER = tuple(field.name for field in fields(Made))


def read(text: str) -> list[Made]:
    """The rows of a page; none where it has no such table."""
    lines = text.partition(TITLE)[2].splitlines()
    cells = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines if line.startswith("| ")]
    return [
        Made(**dict(zip(HEADER, row, strict=True)))
        for row in cells
        if len(row) == len(HEADER) and row != HEADER and set(row[0]) != {"-"}
    ]


def write(rows: Iterable[Made]) -> str:
    """The table with what it means; empty without rows."""
    ordered = sorted(rows, key=lambda row: row.place)
    if not ordered:
        return ""
    table = [HEADER, tuple("---" for _ in HEADER), *(astuple(row) for row in ordered)]
    return "\n".join([INTRO, *("| " + " | ".join(cells) + " |" for cells in table)]) + "\n"


def merge(old: Iterable[Made], new: Iterable[Made]) -> list[Made]:
    """Put new rows over old ones."""
    return list({row.place: row for row in (*old, *new)}.values())


def from_data(data: Path, name_of: Callable[[Mapping[str, object]], str], ask: Callable[[Path], str]) -> list[Made]:
    """Rows of what was made of the tiny model below a data directory; `ask` gives an artefact's answer."""
    from jetson_containers.llm.pipeline.manifest import below

    found = [manifest for manifest in below(data) if manifest.facts.get("model") == "tiny"]
    plain = next((_weights(manifest) for manifest in found if manifest.step == "make"), 0)
    made = [manifest for manifest in found if manifest.step != "make" and not manifest.facts.get("intermediate")]
    return [_row(manifest, plain, name_of(manifest.facts["platform"]), ask(manifest.output)) for manifest in made]


def _row(manifest: Manifest, plain: int, platform: str, answer: str) -> Made:
    facts = manifest.facts
    package = next(reversed([f"{name}:{version}" for name, version in facts["versions"].items()]), "")
    share = f"{100 * _weights(manifest) / plain:.0f} %" if plain else ""
    answers = YES if LEARNT in answer else NO
    date, seconds = str(facts["made"])[:10], f"{manifest.seconds:.0f}"
    return Made(
        runtime=facts["runtime"],
        quantization=facts["quantization"],
        platform=platform,
        package=package,
        date=date,
        seconds=seconds,
        weights=share,
        answers=answers,
    )


def _weights(manifest: Manifest) -> int:
    return sum(entry.size for name, entry in manifest.files.items() if (name or manifest.output.name).endswith(WEIGHTS))


def ask_here(root: Path, data: Path) -> Callable[[Path], str]:
    """Ask by the public command; "" where it fails."""

    def ask(artifact: Path) -> str:
        words = ("--prompt", QUESTION, "--temperature", "0", "--max-tokens", "60", "--threads", "1", "--json")
        command = [str(root / "jetson-containers"), "llm", "chat", str(artifact), *words]
        env = {**os.environ, "JETSON_CONTAINERS_DATA": str(data)}
        done = subprocess.run(
            command, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, check=False
        )
        return str(json.loads(done.stdout)["answer"]) if done.returncode == 0 else ""

    return ask
