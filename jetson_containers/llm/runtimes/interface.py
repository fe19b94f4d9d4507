"""What the pipeline needs of an LLM runtime: pure descriptions of commands, no effects.

A runtime gets a `Job` (which model, how, on what) and answers with a verdict, the steps that prepare the artifact, and
the command that serves it with the OpenAI-compatible protocol; `chat` and `bench` are clients of that server.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.llm.pipeline.types import Step
    from jetson_containers.platforms.platform import Platform

# Where containers find the programs of `jetson_containers/container_scripts`, mounted read-only for every step and
# server: Python 3.8, the standard library and the runtime's own packages, so that images of others work too.
SCRIPTS_DIR = "/run/jetson-containers/drivers"


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where the steps and the server run.

    `versions`: the packages of the image by family (`{"mlc": "0.20.0", "pytorch": "2.8"}`), from its labels or its
    tag. `probed`: what the image's programs printed, by the command line of `Runtime.probes`, stdout and stderr
    together; empty for a dry run without an image, where the newest spelling is assumed.
    """

    platform: Platform
    device: str = "cuda"  # or "cpu"
    versions: Mapping[str, str] = field(default_factory=dict)
    probed: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Job:
    """One question to a runtime. Zero or empty means: the runtime's default for this model; `context` is always given.

    `source` is the checkpoint as the container sees it: a Hugging Face directory or a `.gguf` file. `name` names
    what is made of it. `context`, `prefill_chunk` and `sliding_window` are tokens, `max_batch` sequences. `files`
    are the names in the checkpoint, where they are known.
    """

    source: str
    name: str
    config: ModelConfig | None
    quantization: str
    target: Target
    prepared: bool = False  # the source is in the runtime's own format already: nothing is quantized any more
    context: int = 0
    prefill_chunk: int = 0
    sliding_window: int = 0
    max_batch: int = 1
    conv_template: str = ""
    device: str = ""  # of compiled artifacts, where it is another than the target's: vulkan, metal, android …
    host: str = ""  # LLVM triple of the machine that will load it
    opt: str = ""  # O0 … O3 or the runtime's own list of switches
    overrides: str = ""
    system_lib_prefix: str = ""
    calibration: str = ""  # data set or text file for the methods that calibrate
    samples: int = 0
    files: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class JobVerdict:
    """Whether a runtime can do a job. When not: why, and the nearest thing that is possible."""

    ok: bool
    reason: str = ""
    instead: str = ""


OK = JobVerdict(ok=True)


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """Where the server listens, and names. The key's value comes by the environment variable `API_KEY`, never here."""

    port: int
    host: str = "127.0.0.1"
    threads: int = 0
    api_key: bool = False
    metrics: bool = False  # that the server counts for `/metrics`, where its runtime has an option for that


@dataclass(frozen=True, kw_only=True)
class Service:
    """A server in a container: OpenAI-compatible below `/v1` on the port it was given.

    `model` is what requests must say as `model`; `health` a path that answers 200 once the model is loaded.
    """

    argv: tuple[str, ...]
    model: str
    health: str = "/health"
    key_env: str = "API_KEY"  # the variable from which the server takes its key
    measure: Mapping[str, object] = field(
        default_factory=dict
    )  # added to requests that measure: no early end, no cache
    env: Mapping[str, str] = field(default_factory=dict)
    checked: bool = False  # it checks where requests come from and bounds them, as our own servers do
    open_paths: tuple[str, ...] = ()  # beside `health`, what needs no key: the files of its own page


class Runtime(Protocol):
    """A runtime turns a job into exact commands. Everything here is pure."""

    name: str
    summary: str  # one line for listings
    probes: tuple[tuple[str, ...], ...]  # command lines whose output tells which spelling the image has

    def packages(self, platform: Platform) -> tuple[str, ...]:
        """Name what an image must hold, for autotag. Raises UsageError where the platform can have none."""
        ...

    def quantizations(self, target: Target) -> tuple[str, ...]:
        """List the runtime's own names, the default first."""
        ...

    def check(self, job: Job) -> JobVerdict:
        """Judge architecture × quantization × device before anything is downloaded."""
        ...

    def notices(self, job: Job) -> tuple[str, ...]:
        """Say what was translated, limited or guessed for a job that `check` allows."""
        ...

    def steps(self, job: Job) -> tuple[Step, ...]:
        """List the steps from checkpoint to artifact, in order; none where the checkpoint is served as it is."""
        ...

    def artifact(self, job: Job) -> str:
        """Name what the server loads: the last step's output, or the source."""
        ...

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Build the server's command. Context, prefill chunk and batch are always set where the server has them."""
        ...
