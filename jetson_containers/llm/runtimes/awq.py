"""AWQ: llm-compressor, which writes compressed-tensors; AutoAWQ in images that hold nothing newer.

llm-compressor's image serves with transformers, which makes 16-bit tensors of the compressed ones (`memory_bits` of the
table): where memory is short, serve what it made with vLLM, or quantize with `gptq` to `awq-int4`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.runtimes import calibration, support_table
from jetson_containers.llm.runtimes.common import TableRuntime, script, trust_options
from jetson_containers.llm.runtimes.transformers import service

if TYPE_CHECKING:
    from jetson_containers.llm.pipeline.types import CommandStep
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Service


class Awq(TableRuntime):
    """Activation-aware 4-bit weights; what llm-compressor makes is also what vLLM and LMDeploy serve best."""

    name = "awq"
    summary = "AWQ: activation-aware 4-bit weights (llm-compressor, AutoAWQ)"
    calibrates = calibration.NAMED

    def steps(self, job: Job) -> tuple[CommandStep, ...]:
        """Quantize with the library of the image."""
        wanted = self.quantization(job)
        if support_table.served_as_is(job):
            return ()
        where = support_table.device(job.target)
        if self.row(job).kind == "autoawq":
            words: tuple[str, ...] = (*script("awq_quantize.py"), job.source, "{output}", "--group-size", "128")
        else:
            method = "gptq" if wanted.name.endswith("gptq") else "awq"
            words = (
                *script("llmcompressor_quantize.py"),
                job.source,
                "{output}",
                "--method",
                method,
                "--device",
                where,
            )
        argv = (*words, *calibration.arguments(job), *trust_options(job))
        return (calibration.step(job, argv, self.output_path(job)),)

    def artifact(self, job: Job) -> str:
        """The quantized checkpoint, or the source where it is one."""
        return job.source if support_table.served_as_is(job) else self.output_path(job)

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Serve in the image that quantized."""
        library = ("--library", "auto_awq") if self.row(job).kind == "autoawq" else ()
        return service(job, self.artifact(job), options, "--dtype", "auto", *library)
