"""bitsandbytes: NF4, FP4 and LLM.int8 checkpoints, served by transformers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.calibration import OFFLINE
from jetson_containers.llm.runtimes.common import TableRuntime, script, trust_options
from jetson_containers.llm.runtimes.transformers import service

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Service


class Bitsandbytes(TableRuntime):
    """NF4 and LLM.int8, made once and kept, so that later starts read a quarter or half of the bytes."""

    name = "bitsandbytes"
    summary = "4-bit NF4 and LLM.int8 without calibration"

    def steps(self, job: Job) -> tuple[CommandStep, ...]:
        """Quantize while loading, then save."""
        wanted = self.quantization(job)
        if support_table.served_as_is(job):
            return ()
        where = support_table.device(job.target)
        argv = (
            *script("bnb_quantize.py"), job.source, "{output}", "--type", wanted.name, "--device", where,
            *trust_options(job),
        )  # fmt: skip
        return (
            CommandStep(
                name="quantize",
                argv=argv,
                inputs=(job.source,),
                output=self.output_path(job),
                env=OFFLINE,
            ),
        )

    def artifact(self, job: Job) -> str:
        """The saved checkpoint, or the source where it is one."""
        return job.source if support_table.served_as_is(job) else self.output_path(job)

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Serve the saved checkpoint; its configuration says how it is quantized."""
        return service(job, self.artifact(job), options, "--dtype", "auto")
