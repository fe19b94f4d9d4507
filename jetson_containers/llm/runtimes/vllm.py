"""vLLM: `vllm serve` of a Hugging Face directory, plain or quantized already."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.runtimes import support, support_table
from jetson_containers.llm.runtimes.calibration import OFFLINE
from jetson_containers.llm.runtimes.common import TableRuntime, context, listen_options, prefill, trust_options
from jetson_containers.llm.runtimes.interface import Service

if TYPE_CHECKING:
    from jetson_containers.llm.pipeline.types import CommandStep
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions

# The weights' type as it is loaded; kernels of AWQ and GPTQ compute in half precision.
_DTYPE = {"fp16": "float16", "bf16": "bfloat16"}


class Vllm(TableRuntime):
    """Serves many users at once; takes its share of the memory whatever the model needs."""

    name = "vllm"
    batches = True
    summary = "paged attention and batching; quantized checkpoints as they are"
    probes: tuple[tuple[str, ...], ...] = (support.LISTINGS["vllm"],)

    def steps(self, job: Job) -> tuple[CommandStep, ...]:
        """Nothing: fp8 is made while loading."""
        self.quantization(job)
        return ()

    def artifact(self, job: Job) -> str:
        """The checkpoint itself."""
        return job.source

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Build `vllm serve` with its share of memory, context, batch and prefill always set."""
        wanted = self.quantization(job)
        share = support_table.gpu_memory(job.target.platform)
        argv = [
            "vllm", "serve", job.source, "--served-model-name", job.name, *listen_options(options),
            "--gpu-memory-utilization", f"{share:.2f}", "--max-model-len", str(context(job)),
            "--max-num-seqs", str(job.max_batch), "--max-num-batched-tokens", str(max(prefill(job), job.max_batch)),
        ]  # fmt: skip
        if not support_table.served_as_is(job):
            argv += ["--quantization", "fp8"] if wanted.name == "fp8" else ["--dtype", _DTYPE[wanted.name]]
        if support_table.saves_memory(job.target.platform):
            argv.append("--enforce-eager")
        argv += trust_options(job)
        measure = {"ignore_eos": True}
        return Service(argv=tuple(argv), model=job.name, key_env="VLLM_API_KEY", measure=measure, env=OFFLINE)
