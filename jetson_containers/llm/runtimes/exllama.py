"""ExLlamaV3 (EXL3), which calibrates on text that is part of its package."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.calibration import OFFLINE
from jetson_containers.llm.runtimes.common import TableRuntime, context, listen_options, prefill, script
from jetson_containers.llm.runtimes.interface import Service

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions

_HEAD_BITS = "6"  # of the output layer, both converters' default


class ExLlama(TableRuntime):
    """Any number of bits per weight, halves included; one GPU, short latency."""

    name = "exllama"
    summary = "ExLlamaV3: EXL3 weights with 2 to 8 bits"
    generation = "3"
    batches = True

    def steps(self, job: Job) -> tuple[CommandStep, ...]:
        """Convert; the working directory of the conversion is dropped when it has succeeded."""
        wanted = self.quantization(job)
        if support_table.served_as_is(job):
            return ()
        argv = (
            *script("exllama_convert.py"), job.source, "{output}", "--generation", self.generation,
            "--bits", wanted.name.removesuffix("bpw"), "--head-bits", _HEAD_BITS, *self._rows(job),
        )  # fmt: skip
        return (
            CommandStep(
                name="quantize",
                argv=argv,
                inputs=(job.source,),
                output=self.output_path(job),
                env=OFFLINE,
                result="model",
            ),
        )

    def _rows(self, job: Job) -> tuple[str, ...]:
        return ("--samples", str(job.samples)) if job.samples else ()

    def artifact(self, job: Job) -> str:
        """The converted checkpoint, or the source where it is one."""
        return job.source if support_table.served_as_is(job) else self.output_path(job)

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Serve with a cache of exactly the context (times the batch)."""
        argv = (
            *script("exllama_server.py"), self.artifact(job), "--model-id", job.name, *listen_options(options),
            "--generation", self.generation, "--context", str(context(job)),
            "--max-batch", str(job.max_batch), "--prefill-chunk", str(prefill(job)),
        )  # fmt: skip
        return Service(argv=argv, model=job.name, env=OFFLINE, checked=True)
