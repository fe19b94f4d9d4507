"""MLC LLM: models compiled to a library for one kind of GPU, by whichever of its two interfaces the image has."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.version import InvalidVersion, Version

from jetson_containers.core.errors import UsageError
from jetson_containers.core.facts import load_facts
from jetson_containers.llm.runtimes import common, limits, support_table
from jetson_containers.llm.runtimes.interface import OK, JobVerdict
from jetson_containers.llm.runtimes.mlc import devices, mlc_chat, mlc_llm
from jetson_containers.llm.runtimes.mlc.mlc_llm import AWQ
from jetson_containers.platforms import tables

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from jetson_containers.llm.models.config import ModelConfig, Quantized
    from jetson_containers.llm.pipeline.types import Step
    from jetson_containers.llm.runtimes.interface import Job, ServeOptions, Service, Target
    from jetson_containers.llm.runtimes.mlc.devices import DeviceTarget
    from jetson_containers.platforms.platform import Platform

OLD_HELP = ("python3", "-m", "mlc_llm.build", "--help")
NEW_HELP = ("mlc_llm", "--help")
OLDEST_L4T = 35
OLDEST_CUTLASS = 80  # compute capability ×10 that the kernels of q4f16_ft and FlashAttention are written for
OLDEST_CUDA = Version("12.6")  # outside L4T: for 36.2 and 36.3 there are images of 2024 with CUDA 12.2
OLDEST_PYTHON = Version("3.10")  # of the image without CUDA
# Commits that images are tagged with: before the old interface went (20efccb7, March 2024).
_OLD_COMMITS = ("51fb0f4", "3feed05", "c30348a", "5584cac", "607dc5a")
_NEW_COMMITS = (
    "3403a4e", "9336b4a", "6da6aca", "385cef2", "cf7ae82", "d2118b3", "46f9bc4", "bad02b4", "de560d2", "d1ea69a",
    "79d603f",
)  # fmt: skip
_WEIGHT_INDEX = ("tensor-cache.json", "ndarray-cache.json")  # renamed in September 2025


class Api(enum.Enum):
    """Which interface an image has."""

    OLD = "old"  # python3 -m mlc_llm.build; mlc_chat.ChatModule
    NEW = "new"  # mlc_llm convert_weight, gen_config, compile, serve


@dataclass(frozen=True, kw_only=True)
class _Scheme:
    """One row of `quantizations` in facts/mlc.yaml. `sm` 0: any; `group` as in mlc_tables.yaml, 0: none."""

    name: str
    bits: int
    group: int
    sm: int
    gpu: bool
    checkpoint: str


class Mlc:
    """MLC LLM with `mlc_llm` or, in images for JetPack 5, `mlc_llm.build` and `mlc_chat`."""

    name = "mlc"
    summary = "MLC LLM: compiled for the GPU, the fastest decoding on Jetson"
    probes = (NEW_HELP, OLD_HELP, mlc_llm.SERVE_HELP, mlc_llm.CONFIG_HELP)

    def packages(self, platform: Platform) -> tuple[str, ...]:
        """Name what an image must hold. Raises UsageError for platforms that MLC was never built for."""
        reason = _no_image(platform)
        if reason:
            raise UsageError(f"no MLC on this platform: {reason}", hint=common.nearest(self.name, platform))
        return ("mlc",)

    def quantizations(self, target: Target) -> tuple[str, ...]:
        """List MLC's modes, the one we recommend for this device first."""
        api = api_of(target)
        names = tuple(_schemes(api))
        # what the tutorial uses; its kernels are not for Xavier, and later versions made q4f16_1 as fast
        first = "q4f16_ft" if api is Api.OLD and newest_sm(target.platform) >= 80 else names[0]
        return (first, *(name for name in names if name != first))

    def check(self, job: Job) -> JobVerdict:
        """Judge the platform, the device, the mode, the architecture and the checkpoint, in this order."""
        try:
            place = devices.device_target_of(job)
            devices.translate_opt(job.opt)
            devices.translate_overrides(job.overrides)
        except UsageError as error:
            return refuse(error.message, error.hint or "")
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
        place = devices.device_target_of(job)
        found = list(devices.translate_opt(job.opt)[1])
        found += devices.translate_overrides(job.overrides)[1]
        scheme = self._mode(job)
        if job.quantization and scheme != job.quantization:
            found.append(f"`{job.quantization}` is called `{scheme}` in this version of MLC")
        if job.prepared:
            return (*found, *mlc_llm.shape(job).notices)  # its template stands in its configuration
        if api_of(job.target) is Api.NEW:
            found += mlc_llm.template(job).notices
            if scheme == AWQ and not job.files:
                found.append("the names of the checkpoint's files are not known here: a single file is assumed")
        else:
            found += mlc_chat.template_notices(job)
        if job.system_lib_prefix and not place.static:
            found.append(f"--system-lib-prefix has no effect on `{place.name}`: its library is a shared one")
        return (*found, *mlc_llm.shape(job).notices)

    def steps(self, job: Job) -> tuple[Step, ...]:
        """List the steps of the interface that the image has."""
        sm = newest_sm(job.target.platform)
        if api_of(job.target) is Api.OLD:
            return mlc_chat.steps(job, self._mode(job), sm)
        return mlc_llm.steps(job, self._mode(job), sm)

    def artifact(self, job: Job) -> str:
        """Name the directory of the weights; the library of `mlc_llm` is `library(job)`."""
        if api_of(job.target) is Api.OLD:
            return mlc_chat.folder(job, self._mode(job))
        return mlc_llm.folder(job, self._mode(job))

    def library(self, job: Job) -> str:
        """Name the compiled library."""
        if api_of(job.target) is Api.OLD:
            return mlc_chat.library(job, self._mode(job))
        return mlc_llm.library(job, self._mode(job))

    def serve(self, job: Job, options: ServeOptions) -> Service:
        """Serve with MLC's own server, or our server around `mlc_chat` where MLC has none.

        Raises UsageError for a library that runs on another kind of machine.
        """
        place = devices.device_target_of(job)
        if place.host or place.name not in {"cuda", "vulkan", "cpu"}:
            raise UsageError(
                f"a library for `{place.name}` does not run on this machine",
                hint="`jetson-containers llm compile` makes it; leave out --device to serve the model here",
            )
        if api_of(job.target) is Api.OLD:
            return mlc_chat.serve(job, self._mode(job), options)
        return mlc_llm.serve(job, self._mode(job), options)

    def _mode(self, job: Job) -> str:
        wanted = job.quantization or self.quantizations(job.target)[0]
        return _renamed(api_of(job.target), wanted)


def refuse(reason: str, instead: str = "") -> JobVerdict:
    """A refusal, with the nearest thing that works."""
    return JobVerdict(ok=False, reason=reason, instead=instead)


def api_of(target: Target) -> Api:
    """Decide by the image's version, else by what its programs print, else by the platform."""
    old = is_old(target.versions.get("mlc", ""))
    if old is not None:
        return Api.OLD if old else Api.NEW
    if "--artifact-path" in target.probed.get(" ".join(OLD_HELP), ""):
        return Api.OLD
    if "convert_weight" in target.probed.get(" ".join(NEW_HELP), ""):
        return Api.NEW
    l4t = target.platform.l4t
    return Api.OLD if l4t is not None and l4t.major == OLDEST_L4T else Api.NEW


def is_old(version: str) -> bool | None:
    """Whether a version or commit, as images are tagged with, has the old interface; None where it does not tell."""
    plain = version.removesuffix("-builder")
    if any(plain.startswith(commit) for commit in (*_OLD_COMMITS, *_NEW_COMMITS)):
        return plain.startswith(_OLD_COMMITS)
    try:
        return Version(plain) < Version("0.1.1")
    except InvalidVersion:
        return None


def weights_complete(names: Iterable[str]) -> bool:
    """Whether the files of a directory are a model's whole weights: their index comes last, under either name."""
    return any(name in _WEIGHT_INDEX for name in names)


def _no_image(platform: Platform) -> str:
    if platform.l4t is not None and platform.l4t.major < OLDEST_L4T:
        return f"it needs L4T {OLDEST_L4T} or later, and this is L4T {platform.l4t}"
    if platform.cuda is None:
        return f"without a GPU it needs Python {OLDEST_PYTHON} or later" if platform.python < OLDEST_PYTHON else ""
    if platform.l4t is None and platform.cuda < OLDEST_CUDA:
        return f"it needs CUDA {OLDEST_CUDA} or later, and this is {platform.cuda}"
    return ""


def newest_sm(platform: Platform) -> int:
    """The compute capability ×10 of the device: the chip's where it is known, else the newest images are built for."""
    if platform.soc:
        return tables.soc_sm(platform.soc)
    return max(platform.sm, default=0)


def _schemes(api: Api) -> Mapping[str, _Scheme]:
    rows = load_facts("mlc")["quantizations"][api.value]
    sources = load_facts("mlc_tables")[api.value]["quantizations"]
    return {
        name: _Scheme(
            name=name,
            bits=int(row["bits"]),
            group=int(sources[name].get("group", 0)),
            sm=int(row.get("sm", 0)),
            gpu=row.get("gpu") == "yes",
            checkpoint=row.get("checkpoint", ""),
        )
        for name, row in rows.items()
    }


def _renamed(api: Api, mode: str) -> str:
    names: Mapping[str, str] = load_facts("mlc")["renamed"][api.value]
    return names.get(mode, mode)


def _judge_place(job: Job, place: DeviceTarget) -> JobVerdict | None:
    platform = job.target.platform
    if reason := _no_image(platform):
        return refuse(f"MLC: {reason}", _other_runtime(job.config))
    if api_of(job.target) is Api.OLD and not place.old:
        instead = _other_runtime(job.config) if place.name == "cpu" else "--device vulkan"
        return refuse(f"MLC 0.1.0 does not compile for `{place.name}`", instead)
    if job.system_lib_prefix and not devices.PREFIX.fullmatch(job.system_lib_prefix):
        plain = re.sub(r"\W", "_", job.system_lib_prefix)
        return refuse("a symbol prefix may only have letters, digits and `_`", f"--system-lib-prefix {plain}")
    if lacking := devices.missing(place, job.target.probed):
        return refuse(f"`{place.name}`: " + "; ".join(tool.missing for tool in lacking), lacking[0].remedy)
    return None


def _judge_prepared(job: Job, place: DeviceTarget) -> JobVerdict | None:
    if job.files and not weights_complete(job.files):
        return refuse(
            f"{job.name} has MLC's configuration, but its weights are incomplete: "
            f"{' or '.join(_WEIGHT_INDEX)} is missing",
            "the unquantized model",
        )
    if api_of(job.target) is Api.OLD and place.name != "cuda":
        return refuse("MLC 0.1.0 compiles while it quantizes; this model is quantized already", "the unquantized model")
    return None


def _judge_scheme(job: Job, place: DeviceTarget, default: str) -> JobVerdict | None:
    api = api_of(job.target)
    schemes = _schemes(api)
    asked = _renamed(api, job.quantization or default)
    if asked not in schemes:
        nearest = load_facts("mlc")["replaced"].get(asked, default)
        possible = nearest in schemes and limits.quantizes("mlc", api.value, nearest, job.config)
        nearest = nearest if possible else default
        return refuse(f"this version of MLC has no quantization `{asked}`", f"--quantization {nearest}")
    scheme = schemes[asked]
    sm = newest_sm(job.target.platform)
    if scheme.sm and place.name != "cuda":
        return refuse(f"`{asked}` has kernels for CUDA only, not for {place.name}", "--quantization q4f16_1")
    if scheme.sm > sm:
        device = tables.gpu_name(sm) or "this device"
        reason = (
            f"`{asked}` needs a GPU of compute capability {scheme.sm / 10:.1f} or newer, and {device} has {sm / 10:.1f}"
        )
        return refuse(reason, f"--quantization {'q4f16_1' if scheme.bits == 4 else 'q0f16'}")
    if scheme.gpu and job.target.device == "cpu":
        return refuse(f"`{asked}` is arranged by the GPU while it quantizes", "--quantization q4f16_1")
    return _judge_checkpoint(job, scheme)


def _judge_checkpoint(job: Job, scheme: _Scheme) -> JobVerdict | None:
    if job.source.endswith(".gguf"):
        return refuse("MLC reads Hugging Face checkpoints, not .gguf files", "--runtime llama_cpp")
    config = job.config
    if config is None:
        return None
    made = config.quantized
    if (made is None or scheme.checkpoint) and (refused := _judge_kind(job, scheme, config)):
        return refused
    if scheme.checkpoint and (made is None or made.method != scheme.checkpoint):
        has = f"this one is {made.method}" if made else "this one is not quantized"
        reason = f"`{scheme.name}` takes over an {scheme.checkpoint.upper()} checkpoint, and {has}"
        return refuse(reason, "--quantization q4f16_1")
    if scheme.checkpoint and made and (made.bits, _group(made)) != (scheme.bits, scheme.group):
        needs, has = _groups(scheme.bits, scheme.group), _groups(made.bits, _group(made))
        return refuse(f"`{scheme.name}` needs {needs}, the checkpoint has {has}", _takeover(job))
    if scheme.name == AWQ and job.files and not mlc_llm.weight_file(job):
        wanted = "model.safetensors or its index"
        return refuse(
            f"`{scheme.name}` is read from one file of weights or an index; {wanted} is missing", _alternative(job)
        )
    if made is not None and not scheme.checkpoint:
        return refuse(f"the checkpoint is quantized already ({made.method}), MLC cannot do it again", _takeover(job))
    return None


def _takeover(job: Job) -> str:
    """What to do with a checkpoint that is quantized already."""
    made = job.config.quantized if job.config else None
    api = api_of(job.target)
    for name, scheme in _schemes(api).items():
        same = made and (made.method, made.bits, _group(made)) == (scheme.checkpoint, scheme.bits, scheme.group)
        if same and limits.quantizes("mlc", api.value, name, job.config):
            return f"--quantization {name}"
    return _alternative(job)


def _alternative(job: Job) -> str:
    other = support_table.nearest("mlc", job)
    return f"{other}, or the unquantized model" if other else "the unquantized model"


def _group(made: Quantized) -> int:
    """As MLC counts: -1 is a whole row."""
    return made.group or -1


def _groups(bits: float, group: int) -> str:
    return f"{bits:g} bits in groups of {group}" if group > 0 else f"{bits} bits with one scale per row"


def _judge_kind(job: Job, scheme: _Scheme, config: ModelConfig) -> JobVerdict | None:
    """Not every model can be quantized in every way: each has its list in MLC's source."""
    api = api_of(job.target)
    if config.model_type not in limits.families("mlc", api.value):
        return None  # the architecture itself is refused, with a better reason
    if limits.quantizes("mlc", api.value, scheme.name, config):
        return None
    reason = f"MLC does not quantize the architecture `{config.model_type}` to `{scheme.name}`"
    if scheme.checkpoint:
        return refuse(f"{reason}, only {tables.listing(limits.having(api.value, scheme.name))}", _takeover(job))
    sm = newest_sm(job.target.platform)
    possible = [
        each
        for each in _schemes(api).values()
        if not each.checkpoint and each.sm <= sm and limits.quantizes("mlc", api.value, each.name, config)
    ]
    nearest = min(possible, key=lambda each: abs(each.bits - scheme.bits)).name
    return refuse(f"{reason}; it can to {tables.listing(each.name for each in possible)}", f"--quantization {nearest}")


def _judge_model(job: Job) -> JobVerdict | None:
    config = job.config
    api = api_of(job.target)
    if api is Api.NEW and (refused := mlc_llm.judge_template(job)):
        return refused
    if config is None:
        return None
    if config.model_type not in limits.families("mlc", api.value):
        reason = (
            f"MLC {'0.1.0' if api is Api.OLD else ''}".strip()
            + f" does not know the architecture `{config.model_type}`"
        )
        if api is Api.OLD and config.model_type in limits.families("mlc", Api.NEW.value):
            reason += "; that of JetPack 6 does"
        return refuse(reason, _other_runtime(config))
    if api is Api.OLD and (reason := mlc_chat.no_template(job)):
        return refuse(reason, _other_runtime(config))
    if config.kv_heads and config.heads % config.kv_heads:
        return refuse(
            f"{config.heads} heads do not divide among {config.kv_heads} key-value heads", _other_runtime(config)
        )
    return None


def _other_runtime(config: ModelConfig | None) -> str:
    """The runtime that runs nearly everywhere, where it knows the architecture."""
    known = load_facts("architectures")["llama_cpp"]["gguf"]
    if config is None or config.model_type in known:
        return "--runtime llama_cpp --quantization Q4_K_M"
    return "--runtime transformers"
