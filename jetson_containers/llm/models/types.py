"""What a model's name stands for: where the model is, or its shape alone."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.llm.pipeline.types import Origin

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.hub.describe import ModelInfo
    from jetson_containers.llm.fit.weights import Weights
    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.llm.pipeline.types import Step


class ModelHub(Protocol):
    """What is asked of the model hub; `jetson_containers.hub` is the real one."""

    def describe(self, reference: str) -> ModelInfo:
        """Revision, files and config.json of a repository, without its weights. Raises as `describe.describe`."""
        ...

    def download(self, reference: str, *, ignore: tuple[str, ...]) -> Path:
        """Fetch what is missing; the directory or file on the host."""
        ...

    def shape(self, reference: str, quantization: str) -> ModelShape:
        """What the header of a file says of which nothing is here; `quantization` chooses among several files.

        Raises as `models.shape.remote`.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """A model of which the sizes are known. `quantization` and `held` are set where they are fixed already.

    `context` is what an artifact was compiled for, 0 where that is open; `runtimes` empty: any of them. `origin` says
    where the shape comes from.
    """

    name: str
    config: ModelConfig
    origin: str
    quantization: str = ""
    context: int = 0
    held: Weights | None = None
    runtimes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model as the pipeline starts from it.

    `path` is where it is, or will be, in the container. `prepared` names the runtime whose own format it already has;
    its `shape` is then read from its files, once they are here. `first` is the step that brings it there.
    """

    asked: str
    name: str
    path: str
    identity: str
    config: ModelConfig | None = None
    prepared: str = ""
    shape: ModelShape | None = None
    first: Step | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    files: tuple[str, ...] = ()  # of the checkpoint, where they are known
    max_context: int = 0  # tokens, where no configuration says it
    maker: str = ""  # the runtime that quantized the checkpoint here, as its manifest says
    problem: str = ""  # why there is no `config` although there is a config.json
    kind: str = ""  # the model type it states all the same
    notes: tuple[str, ...] = ()  # what was not looked up
    meant: str = ""  # what a short name was taken for, in one sentence

    @property
    def origin(self) -> Origin:
        """What the keys of all steps start from."""
        return Origin(path=self.path, identity=self.identity)
