"""MLC's first interface, of images for JetPack 5: `python3 -m mlc_llm.build`, and `mlc_chat` to run what it made."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jetson_containers.llm.pipeline.types import CommandStep, LinkStep
from jetson_containers.llm.runtimes.interface import SCRIPTS_DIR, Service
from jetson_containers.llm.runtimes.mlc import conv_templates, devices
from jetson_containers.llm.runtimes.mlc.mlc_llm import ROOT, compile_options, shape

if TYPE_CHECKING:
    from jetson_containers.llm.pipeline.types import Step
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions
    from jetson_containers.llm.runtimes.mlc.devices import DeviceTarget

AMPERE = 80  # compute capability ×10 from which CUTLASS attention and FlashAttention work


def folder(job: Job, mode: str) -> str:
    """The directory of one build: weights below `params`, the library beside it."""
    return job.source if job.prepared else f"{ROOT}/{job.name}-{mode}"


def library(job: Job, mode: str) -> str:
    """Where the compiled library is."""
    stem = job.name if job.prepared else f"{job.name}-{mode}"
    return f"{folder(job, mode)}/{devices.library(stem, devices.device_target_of(job))}"


def steps(job: Job, mode: str, sm: int) -> tuple[Step, ...]:
    """The model is named after its directory, which on the hub's cache is a revision: hence the link.

    Nothing is left to do for a build that was made before, here or on a larger machine.
    """
    if job.prepared:
        return ()
    link = f"{ROOT}/models/{job.name}"
    return (
        LinkStep(name="link", target=job.source, output=link),
        _build(job, mode, sm, link),
    )


def _build(job: Job, mode: str, sm: int, link: str) -> CommandStep:
    place = devices.device_target_of(job)
    planned = shape(job)
    argv = ["python3", "-m", "mlc_llm.build", "--model", link, "--quantization", mode]
    argv += ["--artifact-path", "{output}", "--max-seq-len", str(planned.context)]
    if planned.window:
        argv += ["--sliding-window", str(planned.window), "--prefill-chunk-size", str(planned.chunk)]
    argv += ["--target", place.old, "--use-cache", "1"]
    if any(name.endswith(".safetensors") for name in job.files):
        argv.append("--use-safetensors")  # read tensor by tensor; a .bin file is read into memory completely
    if place.name == "cuda":
        argv += _switches(job, sm)
    name = f"{job.name}-{mode}"
    return CommandStep(
        name="build",
        argv=tuple(argv),
        inputs=(link,),
        output=folder(job, mode),
        options={**compile_options(job, place, sm), **_host_option(place)},
        result=name,
    )


def _host_option(place: DeviceTarget) -> dict[str, str]:
    return {"host": place.host} if place.host else {}


def _switches(job: Job, sm: int) -> list[str]:
    """`--opt` in the words of this interface; without it everything the GPU can."""
    value, _ = devices.translate_opt(job.opt)
    on = dict(pair.split("=") for pair in value.split(";")) if "=" in value else _PRESETS[value]
    argv = []
    if on.get("cudagraph", "0") == "1":
        argv.append("--use-cuda-graph")
    cutlass = on.get("cutlass", "0") == "1" and sm >= AMPERE
    if cutlass:
        argv.append("--use-flash-attn-mqa")
    else:
        argv += ["--no-cutlass-attn", "--no-cutlass-norm"]
    if on.get("cublas_gemm", "0") == "0":
        argv.append("--no-cublas")
    return argv


_PRESETS: dict[str, dict[str, str]] = {
    "O0": {},
    "O1": {"cublas_gemm": "1", "cutlass": "1"},
    "O2": {"cublas_gemm": "1", "cutlass": "1", "cudagraph": "1"},
    "O3": {"cublas_gemm": "1", "cutlass": "1", "cudagraph": "1"},
}


def serve(job: Job, mode: str, options: ServeOptions) -> Service:
    """Our server over `mlc_chat.ChatModule`, one answer at a time."""
    argv = ["python3", f"{SCRIPTS_DIR}/mlc_old_server.py", folder(job, mode), "--model-lib", library(job, mode)]
    argv += ["--model-id", job.name, "--host", options.host, "--port", str(options.port)]
    return Service(argv=tuple(argv), model=job.name, checked=True)


def no_template(job: Job) -> str:
    """Why a model could not be loaded: any name of a template is written, and only those that are there are found."""
    template = conv_templates.old_template(job.name, job.config)
    if not template or template in conv_templates.registered("old"):
        return ""
    return f"MLC 0.1.0 takes the conversation template by the model's name, and has no `{template}` for `{job.name}`"


def template_notices(job: Job) -> list[str]:
    """Say where the template is another than was asked for, or none in particular."""
    template = conv_templates.old_template(job.name, job.config)
    if job.conv_template and job.conv_template != template:
        return [
            "this version of MLC takes the conversation template by the model's name; --conv-template has no effect"
        ]
    if template == "llama_default" and conv_templates.is_chat_model(job.name):
        return [f"this version of MLC does not know how `{job.name}` converses; it takes `{template}`, for any Llama"]
    return []
