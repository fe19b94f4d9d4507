"""GPTQ: AutoGPTQ on JetPack 5, GPTQModel everywhere else, which also makes AWQ checkpoints and runs them in 4 bits."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.runtimes import calibration, support_table
from jetson_containers.llm.runtimes.common import TableRuntime, script, trust_options
from jetson_containers.llm.runtimes.transformers import service

if TYPE_CHECKING:
    from jetson_containers.llm.pipeline.types import CommandStep
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Service


class Gptq(TableRuntime):
    """Calibrated 2- to 8-bit weights."""

    name = "gptq"
    summary = "GPTQ: calibrated 4-bit weights (AutoGPTQ, GPTQModel)"
    calibrates = calibration.NAMED

    def steps(self, job: Job) -> tuple[CommandStep, ...]:
        """Quantize with text to measure on; without `quantize(examples)` nothing would be quantized."""
        wanted = self.quantization(job)
        if support_table.served_as_is(job):
            return ()
        method = "awq" if wanted.name.startswith("awq-") else "gptq"
        bits, _, group = wanted.name.removeprefix("awq-").removeprefix("int").partition("-g")
        where = support_table.device(job.target)
        argv = (
            *script("gptq_quantize.py"), job.source, "{output}", "--library", self.row(job).family, "--method", method,
            "--bits", bits, "--group-size", group or "128", *calibration.arguments(job), "--device", where,
            *trust_options(job),
        )  # fmt: skip
        return (calibration.step(job, argv, self.output_path(job)),)

    def artifact(self, job: Job) -> str:
        """The quantized checkpoint, or the source where it is one."""
        return job.source if support_table.served_as_is(job) else self.output_path(job)

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Serve with the library that quantizes: transformers alone does not read GPTQ."""
        return service(job, self.artifact(job), options, "--dtype", "auto", "--library", self.row(job).family)
