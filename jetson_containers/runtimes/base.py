"""What the pipeline needs of an LLM runtime: pure descriptions of commands, no effects."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class StepCommand:
    """One step inside the runtime's image.

    `inputs` and `output` are paths as the container sees them (below `/data`). `{output}` in `argv` is replaced by a
    temporary name that becomes `output` only when the command has succeeded. `options` take part in the step's key.
    """

    name: str
    argv: tuple[str, ...]
    inputs: tuple[str, ...]
    output: str
    options: Mapping[str, str] = field(default_factory=dict)
    network: bool = False
    token: bool = False  # whether the step needs the hub token


@dataclass(frozen=True)
class ChatOptions:
    """How one answer is made. `threads` 0 lets the runtime decide."""

    prompt: str
    max_tokens: int = 128
    context: int = 2048
    threads: int = 0
    seed: int | None = None
    gpu_layers: int | None = None


class Runtime(Protocol):
    """A runtime turns (model directory, quantization, options) into exact commands."""

    name: str
    packages: tuple[str, ...]
    default_quantization: str

    def prepare(self, source: str, name: str, quantization: str) -> tuple[StepCommand, ...]:
        """List the steps from a Hugging Face directory to the artefact that is served. Raises UsageError."""
        ...

    def chat(self, artefact: str, options: ChatOptions) -> tuple[str, ...]:
        """Build the argv of one chat turn with the artefact."""
        ...

    def answer(self, output: str, prompt: str) -> str:
        """Cut what the model said out of what the program printed."""
        ...

    def tokens_per_second(self, output: str) -> float | None:
        """Decode speed in tokens/s as the runtime itself printed it; None when it did not."""
        ...
