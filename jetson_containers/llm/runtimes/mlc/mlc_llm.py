"""MLC's present interface: `mlc_llm convert_weight` → `gen_config` → `compile`, then `serve`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from jetson_containers.core.facts import load_facts
from jetson_containers.llm.pipeline.types import CommandStep
from jetson_containers.llm.runtimes.interface import SCRIPTS_DIR, JobVerdict, Service
from jetson_containers.llm.runtimes.mlc import conv_templates, devices

if TYPE_CHECKING:
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Target
    from jetson_containers.llm.runtimes.mlc.devices import DeviceTarget

ROOT = "/data/models/mlc/dist"  # upstream's layout, which its demos and documentation name
HOME = {
    "MLC_LLM_HOME": "/data/models/mlc/cache"
}  # what is fetched or compiled on first use would go with the container
CONTEXT = 4096  # tokens by default: the model's own maximum (131072 for Llama 3.1) does not fit a board
GPU_MEMORY = 0.85  # MLC's own default, set so that the printed command says it
AWQ = "q4f16_autoawq"
# The files by which weights are found, an index before a single file, which may be a part of it.
_WEIGHTS = ("model.safetensors.index.json", "model.safetensors", "pytorch_model.bin.index.json", "pytorch_model.bin")
SERVE_HELP = ("mlc_llm", "serve", "--help")
CONFIG_HELP = ("mlc_llm", "gen_config", "--help")  # lists the conversation templates


@dataclass(frozen=True, kw_only=True)
class CompiledShape:
    """What memory the compiled model plans for, in tokens; `window` 0 where attention does not slide."""

    context: int
    window: int
    chunk: int
    batch: int
    notices: tuple[str, ...] = ()

    @property
    def limit(self) -> int:
        """Tokens that one sequence keeps in the cache."""
        return self.window or self.context


def shape(job: Job) -> CompiledShape:
    """Decide context, window, chunk and batch: the job's, else the documentation's for the target, else ours."""
    place = devices.device_target_of(job)
    given, _ = devices.translate_overrides(job.overrides)
    largest = job.config.max_position if job.config else 0
    context = (
        int(given.get("context_window_size", 0)) or job.context or place.context or min(CONTEXT, largest or CONTEXT)
    )
    notices = []
    if 0 < largest < context:
        notices.append(f"the model was trained for {largest} tokens; the context of {context} is limited to that")
        context = largest
    if place.context and context > place.context:
        notices.append(
            f"MLC's documentation gives `{place.name}` a context of {place.context}; {context} may not fit its memory"
        )
    window = int(given.get("sliding_window_size", 0)) or _window(job, place, context)
    limit = window or context
    chunk = int(given.get("prefill_chunk_size", 0)) or job.prefill_chunk
    chunk = chunk or (place.window_chunk if window or _slides(job) else 0) or devices.CHUNK
    batch = int(given.get("max_batch_size", 0)) or max(job.max_batch, 1)
    return CompiledShape(context=context, window=window, chunk=min(chunk, limit), batch=batch, notices=tuple(notices))


def _slides(job: Job) -> bool:
    return job.config is not None and job.config.model_type in load_facts("mlc")["sliding"]


def _window(job: Job, place: DeviceTarget, context: int) -> int:
    """The sliding window: asked for, documented for phones, or the model's own, which a short context makes shorter."""
    if job.sliding_window:
        return job.sliding_window
    if not _slides(job) or job.config is None:
        return 0
    if place.window and job.context in {0, place.context}:
        return place.window
    return min(job.config.sliding_window, context)


def known_templates(target: Target) -> frozenset[str]:
    """What the image has; empty where it was not asked."""
    return conv_templates.choices(target.probed.get(" ".join(CONFIG_HELP), ""))


def template(job: Job) -> conv_templates.TemplateChoice:
    """The conversation template of a job, of those the image has."""
    return conv_templates.choose(job.name, job.config, job.conv_template, known_templates(job.target))


def judge_template(job: Job) -> JobVerdict | None:
    """Refuse a template that is not there, and a chat model for which none is known."""
    known = known_templates(job.target)
    wanted = job.conv_template
    gone = wanted in set(conv_templates.registered("old")) - set(conv_templates.registered())
    if wanted and (wanted not in known if known else gone):
        close = conv_templates.alternatives(wanted, known)
        missing = f"this MLC has no conversation template `{wanted}`"
    else:
        close, missing = [], template(job).missing
    if not missing:
        return None
    there = "|".join(sorted(known or conv_templates.registered()))
    every = f"{there} ({conv_templates.PLAIN} continues text, without roles)"
    return JobVerdict(ok=False, reason=missing, instead=f"--conv-template {close[0] if close else every}")


def folder(job: Job, mode: str) -> str:
    """Where weights, tokenizer and configuration are, or go."""
    return job.source if job.prepared else f"{ROOT}/{job.name}-{mode}-MLC"


def library(job: Job, mode: str) -> str:
    """Where the compiled library goes."""
    return f"{ROOT}/libs/{_library_name(job, mode)}"


def _library_name(job: Job, mode: str) -> str:
    """Named after model and mode; a directory that is converted already is named after both."""
    stem = job.name.removesuffix("-MLC") if job.prepared else f"{job.name}-{mode}"
    return devices.library(stem, devices.device_target_of(job))


def steps(job: Job, mode: str, sm: int) -> tuple[CommandStep, ...]:
    """Weights and configuration share a directory, and serve all targets; the library is for one."""
    compiled = _compile(job, mode, sm)
    return (compiled,) if job.prepared else (_convert(job, mode, sm), _configure(job, mode), compiled)


def _convert(job: Job, mode: str, sm: int) -> CommandStep:
    device = "cuda" if job.target.device == "cuda" and job.target.platform.has_gpu else "cpu"
    argv = ["mlc_llm", "convert_weight", job.source, "--quantization", mode, "--device", device]
    if mode == AWQ:
        argv += ["--source", f"{job.source}/{weight_file(job) or _WEIGHTS[1]}", "--source-format", "awq"]
    # the kernels' layout of these weights is that of the GPU that arranged them
    options = {"sm": str(sm)} if mode == "q4f16_ft" else {}
    return CommandStep(
        name="convert",
        argv=(*argv, "-o", "{output}"),
        inputs=(job.source,),
        output=folder(job, mode),
        options=options,
        env=HOME,
        merge=True,
    )


def weight_file(job: Job) -> str:
    """The file by which MLC finds weights of AWQ: it takes no directory for them. Empty where there is none."""
    found = [name for name in _WEIGHTS if name in job.files]
    single = [name for name in job.files if name.endswith(".safetensors") and not re.search(r"/|-of-", name)]
    return found[0] if found else single[0] if len(single) == 1 else ""


def _configure(job: Job, mode: str) -> CommandStep:
    planned = shape(job)
    argv = ["mlc_llm", "gen_config", job.source, "--quantization", mode]
    argv += ["--conv-template", template(job).template]
    # the documentation gives one or the other: a window makes the context endless
    if planned.window:
        argv += ["--sliding-window-size", str(planned.window)]
    else:
        argv += ["--context-window-size", str(planned.context)]
    argv += ["--prefill-chunk-size", str(planned.chunk), "--max-batch-size", str(planned.batch)]
    return CommandStep(
        name="config",
        argv=(*argv, "-o", "{output}"),
        inputs=(job.source,),
        output=folder(job, mode),
        env=HOME,
        merge=True,
    )


def _compile(job: Job, mode: str, sm: int) -> CommandStep:
    place = devices.device_target_of(job)
    config = f"{folder(job, mode)}/mlc-chat-config.json"
    host = job.host or ("" if place.preset else place.host)
    argv = ["mlc_llm", "compile", config, "--device", place.device]
    if host:
        argv += ["--host", host]
    argv += ["--opt", devices.translate_opt(job.opt)[0]]
    if job.system_lib_prefix and place.static:
        argv += ["--system-lib-prefix", job.system_lib_prefix]
    if overrides := _overrides(job):
        argv += ["--overrides", devices.join_settings(overrides)]
    name = _library_name(job, mode)
    return CommandStep(
        name="compile",
        # the suffix decides what is made, so the temporary name must be the directory's
        argv=(*argv, "-o", "{output}/" + name),
        inputs=(config,),
        output=library(job, mode),
        options=compile_options(job, place, sm),
        env=HOME,
        result=name,
    )


def _overrides(job: Job) -> dict[str, str]:
    """The user's; and for a configuration that others made, what we would have written into it."""
    given, _ = devices.translate_overrides(job.overrides)
    if not job.prepared:
        return given
    planned = shape(job)
    limit = "sliding_window_size" if planned.window else "context_window_size"
    ours = {limit: planned.limit, "prefill_chunk_size": planned.chunk, "max_batch_size": planned.batch}
    return {**{key: str(value) for key, value in ours.items()}, **given}


def compile_options(job: Job, place: DeviceTarget, sm: int) -> dict[str, str]:
    """What a library depends on beside its command."""
    return {
        "sm": str(sm) if place.name == "cuda" else "",
        "mlc": job.target.versions.get("mlc", ""),
        "device": place.name,
        "host": job.host or place.host or job.target.platform.machine,
    }


def serve(job: Job, mode: str, options: ServeOptions) -> Service:
    """MLC's own server. A key goes through our driver: MLC takes it in the argv, which every user can read."""
    planned = shape(job)
    model = folder(job, mode)
    device = devices.device_target_of(job).device
    arguments = [model, "--device", device, *_library_option(job.target, library(job, mode))]
    arguments += ["--mode", _mode(planned), *_limits(job.target, planned)]
    arguments += ["--host", options.host, "--port", str(options.port)]
    if options.api_key:
        return Service(argv=("python3", f"{SCRIPTS_DIR}/mlc_serve.py", *arguments), model=model, env=HOME)
    # it listens once the model is loaded, and has no path for health
    return Service(argv=("mlc_llm", "serve", *arguments), model=model, health="/v1/models", env=HOME)


def _mode(planned: CompiledShape) -> str:
    if planned.batch == 1:
        return "interactive"
    return "local" if planned.batch <= 4 else "server"


def _library_option(target: Target, path: str) -> tuple[str, str]:
    return ("--model-lib-path" if _first_spelling(target, "--model-lib-path") else "--model-lib", path)


def _limits(target: Target, planned: CompiledShape) -> list[str]:
    total = planned.limit * planned.batch
    if _first_spelling(target, "--max-batch-size"):
        return [
            *("--max-batch-size", str(planned.batch), "--max-total-seq-length", str(total)),
            *("--prefill-chunk-size", str(planned.chunk), "--gpu-memory-utilization", f"{GPU_MEMORY:g}"),
        ]
    settings: dict[str, object] = {"max_num_sequence": planned.batch, "max_total_seq_length": total}
    settings |= {"sliding_window_size" if planned.window else "context_window_size": planned.limit}
    settings |= {"prefill_chunk_size": planned.chunk, "gpu_memory_utilization": f"{GPU_MEMORY:g}"}
    return ["--overrides", devices.join_settings(settings)]


def _first_spelling(target: Target, option: str) -> bool:
    """Whether `mlc_llm serve` still has an option of spring 2024; what the image prints decides, else its version."""
    printed = target.probed.get(" ".join(SERVE_HELP), "")
    if "--mode" in printed:
        return option in printed and not (option == "--max-batch-size" and "--overrides" in printed)
    try:
        return Version(target.versions.get("mlc", "")) < Version("0.1.2")
    except InvalidVersion:
        return False
