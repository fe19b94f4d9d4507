"""MLC LLM: models compiled to a library for one kind of GPU, by whichever of its two interfaces the image has."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from packaging.version import InvalidVersion, Version

from jetson_containers import tables, templates_mlc
from jetson_containers.errors import UsageError
from jetson_containers.runtimes import mlc_new, mlc_old, mlc_targets, tabled
from jetson_containers.runtimes.base import OK, Verdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jetson_containers.modelconfig import ModelConfig
    from jetson_containers.platforms import Platform
    from jetson_containers.runtimes.base import Job, ServeOptions, Service, StepCommand, Target
    from jetson_containers.runtimes.mlc_targets import Place

OLD_HELP = ("python3", "-m", "mlc_llm.build", "--help")
NEW_HELP = ("mlc_llm", "--help")
OLDEST_L4T = 35
OLDEST_CUDA = Version("12.6")  # outside L4T: for 36.2 and 36.3 there are images of 2024 with CUDA 12.2
# Commits that images are tagged with: before the old interface went (20efccb7, March 2024).
_OLD_COMMITS = ("51fb0f4", "607dc5a")
_WEIGHT_INDEX = ("tensor-cache.json", "ndarray-cache.json")  # renamed in September 2025


class Api(enum.Enum):
    """Which interface an image has."""

    OLD = "old"  # python3 -m mlc_llm.build; mlc_chat.ChatModule
    NEW = "new"  # mlc_llm convert_weight, gen_config, compile, serve


@dataclass(frozen=True)
class _Scheme:
    """One row of `quantizations` in facts/mlc.yaml. `sm` 0: any."""

    name: str
    bits: int
    group: int
    sm: int
    gpu: bool
    checkpoint: str
    types: tuple[str, ...]


class Mlc:
    """MLC LLM with `mlc_llm` or, in images for JetPack 5, `mlc_llm.build` and `mlc_chat`."""

    name = "mlc"
    summary = "MLC LLM: compiled for the GPU, the fastest decoding on Jetson"
    probes = (NEW_HELP, OLD_HELP, mlc_new.SERVE_HELP, mlc_new.CONFIG_HELP)

    def packages(self, platform: Platform) -> tuple[str, ...]:
        """Name what an image must hold. Raises UsageError for platforms that MLC was never built for."""
        reason = _no_image(platform)
        if reason:
            raise UsageError(f"no MLC on this platform: {reason}", hint=tabled.nearest(self.name, platform))
        return ("mlc",)

    def quantizations(self, target: Target) -> tuple[str, ...]:
        """List MLC's modes, the one we recommend for this device first."""
        api = api_of(target)
        names = tuple(_schemes(api))
        # what the tutorial uses; its kernels are not for Xavier, and later versions made q4f16_1 as fast
        first = "q4f16_ft" if api is Api.OLD and _newest_sm(target.platform) >= 80 else names[0]
        return (first, *(name for name in names if name != first))

    def check(self, job: Job) -> Verdict:
        """Judge the platform, the device, the mode, the architecture and the checkpoint, in this order."""
        try:
            place = mlc_targets.place_of(job)
            mlc_targets.translate_opt(job.opt)
            mlc_targets.translate_overrides(job.overrides)
        except UsageError as error:
            return no(error.message, error.hint or "")
        if job.prepared:
            return _judge_place(job, place) or _judge_prepared(job, place) or OK
        return (
            _judge_place(job, place)
            or _judge_scheme(job, place, self.quantizations(job.target)[0])
            or _judge_model(job)
            or OK
        )

    def notices(self, job: Job) -> tuple[str, ...]:
        """Say what was translated, limited or guessed for a job that `check` allows."""
        place = mlc_targets.place_of(job)
        found = list(mlc_targets.translate_opt(job.opt)[1])
        found += mlc_targets.translate_overrides(job.overrides)[1]
        scheme = self._mode(job)
        if job.quantization and scheme != job.quantization:
            found.append(f"`{job.quantization}` is called `{scheme}` in this version of MLC")
        if job.prepared:
            return (*found, *mlc_new.shape(job).notices)  # its template stands in its configuration
        if api_of(job.target) is Api.NEW:
            found += mlc_new.template(job).notices
        elif job.conv_template and job.conv_template != templates_mlc.old_template(job.name, job.config):
            found.append(
                "this version of MLC takes the conversation template by the model's name; --conv-template has no effect"
            )
        if job.system_lib_prefix and not place.static:
            found.append(f"--system-lib-prefix has no effect on `{place.name}`: its library is a shared one")
        return (*found, *mlc_new.shape(job).notices)

    def steps(self, job: Job) -> tuple[StepCommand, ...]:
        """List the steps of the interface that the image has."""
        sm = _newest_sm(job.target.platform)
        if api_of(job.target) is Api.OLD:
            return mlc_old.steps(job, self._mode(job), sm)
        return mlc_new.steps(job, self._mode(job), sm)

    def artefact(self, job: Job) -> str:
        """Name the directory of the weights; the library of `mlc_llm` is `library(job)`."""
        if api_of(job.target) is Api.OLD:
            return mlc_old.folder(job, self._mode(job))
        return mlc_new.folder(job, self._mode(job))

    def library(self, job: Job) -> str:
        """Name the compiled library."""
        if api_of(job.target) is Api.OLD:
            return mlc_old.library(job, self._mode(job))
        return mlc_new.library(job, self._mode(job))

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Serve with MLC's own server, or our driver of `mlc_chat` where MLC has none.

        Raises UsageError for a library that runs on another kind of machine.
        """
        place = mlc_targets.place_of(job)
        if place.host or place.name not in {"cuda", "vulkan"}:
            raise UsageError(
                f"a library for `{place.name}` does not run on this machine",
                hint="`jetson-containers llm compile` makes it; leave out --device to serve the model here",
            )
        if api_of(job.target) is Api.OLD:
            return mlc_old.serve(job, self._mode(job), options)
        return mlc_new.serve(job, self._mode(job), options)

    def _mode(self, job: Job) -> str:
        wanted = job.quantization or self.quantizations(job.target)[0]
        return _renamed(api_of(job.target), wanted)


def no(reason: str, instead: str = "") -> Verdict:
    """A refusal, with the nearest thing that works."""
    return Verdict(ok=False, reason=reason, instead=instead)


def api_of(target: Target) -> Api:
    """Decide by the image's version, else by what its programs print, else by the platform."""
    version = target.versions.get("mlc", "")
    if version:
        return Api.OLD if is_old(version) else Api.NEW
    if "--artifact-path" in target.probed.get(" ".join(OLD_HELP), ""):
        return Api.OLD
    if "convert_weight" in target.probed.get(" ".join(NEW_HELP), ""):
        return Api.NEW
    l4t = target.platform.l4t
    return Api.OLD if l4t is not None and l4t.major == OLDEST_L4T else Api.NEW


def is_old(version: str) -> bool:
    """Whether a version or commit, as images are tagged with, has the old interface."""
    plain = version.removesuffix("-builder")
    if plain in _OLD_COMMITS:
        return True
    try:
        return Version(plain) < Version("0.1.1")
    except InvalidVersion:
        return False


def weights_complete(names: Iterable[str]) -> bool:
    """Whether the files of a directory are a model's whole weights: their index comes last, under either name."""
    return any(name in _WEIGHT_INDEX for name in names)


def _no_image(platform: Platform) -> str:
    if platform.l4t is not None and platform.l4t.major < OLDEST_L4T:
        return f"it needs L4T {OLDEST_L4T} or later, and this is L4T {platform.l4t}"
    if platform.cuda is None:
        return "it needs a GPU with CUDA"
    if platform.l4t is None and platform.cuda < OLDEST_CUDA:
        return f"it needs CUDA {OLDEST_CUDA} or later, and this is {platform.cuda}"
    return ""


def _newest_sm(platform: Platform) -> int:
    """The compute capability ×10 of the device: the chip's where it is known, else the newest images are built for."""
    if platform.soc:
        return tables.soc_sm(platform.soc)
    return max(platform.sm, default=0)


def _schemes(api: Api) -> Mapping[str, _Scheme]:
    rows = tables.load("mlc")["quantizations"][api.value]
    return {
        name: _Scheme(
            name,
            int(row["bits"]),
            int(row["group"]),
            int(row.get("sm", 0)),
            row.get("gpu") == "yes",
            row.get("checkpoint", ""),
            tuple(row.get("types", ())),
        )
        for name, row in rows.items()
    }


def _renamed(api: Api, mode: str) -> str:
    names: Mapping[str, str] = tables.load("mlc")["renamed"][api.value]
    return names.get(mode, mode)


def _judge_place(job: Job, place: Place) -> Verdict | None:
    platform = job.target.platform
    if reason := _no_image(platform):
        return no(f"MLC: {reason}", _other_runtime(job.config))
    if job.target.device == "cpu" and place.name == "cuda":
        return no("MLC compiles for GPUs, not for the CPU", _other_runtime(job.config))
    if api_of(job.target) is Api.OLD and not place.old:
        return no(f"MLC 0.1.0 compiles for no `{place.name}`", "--device vulkan")
    if job.system_lib_prefix and not mlc_targets.PREFIX.fullmatch(job.system_lib_prefix):
        plain = re.sub(r"\W", "_", job.system_lib_prefix)
        return no("a prefix of symbols holds letters, digits and `_` only", f"--system-lib-prefix {plain}")
    if lacking := mlc_targets.missing(place, job.target.probed):
        return no(f"`{place.name}`: " + "; ".join(tool.missing for tool in lacking), lacking[0].remedy)
    return None


def _judge_prepared(job: Job, place: Place) -> Verdict | None:
    if job.files and not weights_complete(job.files):
        return no(
            f"{job.name} has MLC's configuration, but not its whole weights: {' or '.join(_WEIGHT_INDEX)} is missing",
            "the unquantized model",
        )
    if api_of(job.target) is Api.OLD and place.name != "cuda":
        return no("MLC 0.1.0 compiles while it quantizes; this model is quantized already", "the unquantized model")
    return None


def _judge_scheme(job: Job, place: Place, default: str) -> Verdict | None:
    api = api_of(job.target)
    schemes = _schemes(api)
    asked = _renamed(api, job.quantization or default)
    if asked not in schemes:
        nearest = tables.load("mlc")["replaced"].get(asked, default)
        nearest = nearest if nearest in schemes else default
        return no(f"this version of MLC has no quantization `{asked}`", f"--quantization {nearest}")
    scheme = schemes[asked]
    sm = _newest_sm(job.target.platform)
    if scheme.sm and place.name != "cuda":
        return no(f"`{asked}` has kernels for CUDA only, not for {place.name}", "--quantization q4f16_1")
    if scheme.sm > sm:
        device = tables.gpu_name(sm) or "this device"
        reason = (
            f"`{asked}` needs a GPU of compute capability {scheme.sm / 10:.1f} or newer, and {device} has {sm / 10:.1f}"
        )
        return no(reason, f"--quantization {'q4f16_1' if scheme.bits == 4 else 'q0f16'}")
    if scheme.gpu and job.target.device == "cpu":
        return no(f"`{asked}` is arranged by the GPU while it quantizes", "--quantization q4f16_1")
    return _judge_checkpoint(job, scheme)


def _judge_checkpoint(job: Job, scheme: _Scheme) -> Verdict | None:
    if job.source.endswith(".gguf"):
        return no("MLC reads Hugging Face checkpoints, no .gguf files", "--runtime llama_cpp")
    config = job.config
    if config is None:
        return None
    made = config.quantized
    if scheme.types and config.model_type not in scheme.types:
        return no(f"`{scheme.name}` is for {', '.join(scheme.types)} only", "--quantization q4f16_1")
    if scheme.checkpoint and (made is None or made.method != scheme.checkpoint):
        has = f"this one is {made.method}" if made else "this one is not quantized"
        reason = f"`{scheme.name}` takes over an {scheme.checkpoint.upper()} checkpoint, and {has}"
        return no(reason, "--quantization q4f16_1")
    if scheme.checkpoint == "awq" and made and (made.bits, made.group) != (4, scheme.group):
        reason = (
            f"`{scheme.name}` needs 4 bits in groups of {scheme.group}, the checkpoint has {made.bits} in {made.group}"
        )
        return no(reason, _other_runtime(config))
    if made is not None and not scheme.checkpoint:
        return no(f"the checkpoint is quantized already ({made.method}), MLC cannot do it again", _takes(job))
    return None


def _takes(job: Job) -> str:
    """What to do with a checkpoint that is quantized already."""
    made = job.config.quantized if job.config else None
    for name, scheme in _schemes(api_of(job.target)).items():
        fits = not scheme.types or (job.config and job.config.model_type in scheme.types)
        if made and scheme.checkpoint == made.method and fits:
            return f"--quantization {name}"
    return "the unquantized model"


def _judge_model(job: Job) -> Verdict | None:
    config = job.config
    known_templates = mlc_new.known_templates(job.target)
    if job.conv_template and known_templates and job.conv_template not in known_templates:
        close = templates_mlc.near(job.conv_template, known_templates) or [templates_mlc.PLAIN]
        return no(f"this MLC has no conversation template `{job.conv_template}`", f"--conv-template {close[0]}")
    if config is None:
        return None
    api = api_of(job.target)
    known: Mapping[str, Any] = tables.load("architectures")["mlc"]
    if config.model_type not in known[api.value]:
        reason = (
            f"MLC {'0.1.0' if api is Api.OLD else ''}".strip()
            + f" does not know the architecture `{config.model_type}`"
        )
        if api is Api.OLD and config.model_type in known[Api.NEW.value]:
            reason += "; that of JetPack 6 does"
        return no(reason, _other_runtime(config))
    if config.kv_heads and config.heads % config.kv_heads:
        return no(f"{config.heads} heads do not divide among {config.kv_heads} key-value heads", _other_runtime(config))
    return None


def _other_runtime(config: ModelConfig | None) -> str:
    """The runtime that runs nearly everywhere, where it knows the architecture."""
    known = tables.load("architectures")["llama_cpp"]["gguf"]
    if config is None or config.model_type in known:
        return "--runtime llama_cpp --quantization Q4_K_M"
    return "--runtime transformers"
