"""transformers: our own OpenAI-compatible server around `generate`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.runtimes import support_table
from jetson_containers.llm.runtimes.calibration import OFFLINE
from jetson_containers.llm.runtimes.common import TableRuntime, context, listen_options, prefill, script, trust_options
from jetson_containers.llm.runtimes.interface import Service

if TYPE_CHECKING:
    from jetson_containers.llm.pipeline.types import CommandStep
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions


def service(job: Job, model: str, options: ServeOptions, *more: str) -> Service:
    """Build the command of container_scripts/transformers_server.py; it reads the key from the environment itself."""
    argv = [
        *script("transformers_server.py"), model, "--model-id", job.name, *listen_options(options),
        "--device", support_table.device(job.target), "--context", str(context(job)),
        "--prefill-chunk", str(prefill(job)),
        *more,
    ]  # fmt: skip
    if options.threads:
        argv += ["--threads", str(options.threads)]
    return Service(argv=(*argv, *trust_options(job)), model=job.name, env=OFFLINE, checked=True)


class Transformers(TableRuntime):
    """Every architecture, one request at a time, nothing prepared."""

    name = "transformers"
    summary = "the reference implementation: any architecture, slow, 16 bits"

    def steps(self, job: Job) -> tuple[CommandStep, ...]:
        """Nothing: the checkpoint is loaded as it is."""
        self.quantization(job)
        return ()

    def artifact(self, job: Job) -> str:
        """The checkpoint itself."""
        return job.source

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Serve the checkpoint in the wanted type; a quantized one brings its own."""
        dtype = "auto" if support_table.served_as_is(job) else self.quantization(job).name
        return service(job, job.source, options, "--dtype", dtype)
