"""How a checkpoint is quantized, in bits per weight: `quantization_config`, or NVIDIA's `hf_quant_config.json`.

A width that is not understood is 0, for unknown: sizes then come from the weight files.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_UNKNOWN = "unknown"
_WIDEST = 32  # bits of a weight
# Scales of the four-bit floating-point formats: one byte for 32 weights, one for 16.
_STORED = {"mxfp4": 4.25, "nvfp4": 4.5}
# Methods whose name alone says the width.
_WIDTHS: Mapping[str, float] = {
    "fp8": 8, "fbgemm_fp8": 8, "finegrained_fp8": 8, "eetq": 8, "mxfp8": 8, "bitnet": 2, "mxfp4": 4, "nvfp4": 4,
}  # fmt: skip
# Bits of what is stored beside the scale of a group: MLX's bias; the scales of bitsandbytes without double quantization
# have 32 bits.
_ZEROS = {"mlx": 16, "bitsandbytes": 16}
_MOST_LAYERS = 4096  # that are looked at
_BLOCK = 64  # weights that bitsandbytes gives one scale
# Names of block formats that say no width, by their beginning: AutoRound's `data_type`.
_BLOCK_TYPES = {"mx_fp": "mxfp4", "nv_fp": "nvfp4"}
# Names the same method goes by.
_SAME = {"fbgemm_fp8": "fp8", "finegrained_fp8": "fp8", "modelopt_fp4": "modelopt", "modelopt_mixed": "modelopt"}


@dataclass(frozen=True, kw_only=True)
class Quantized:
    """How the weights of a checkpoint are stored. `bits` 0: not understood. `group` 0: unknown or per channel.

    `form` names a number format with its own scales (mxfp4, nvfp4, fp8). `head`: bits of the output matrix.
    `experts_only`: all that is not an expert's stays at 16 bits. `key` is what was not understood.
    """

    method: str  # gptq, awq, compressed-tensors, bitsandbytes, modelopt, mxfp4, exl3, mlc:…, gguf:…
    bits: float
    group: int = 0
    form: str = ""
    head: float = 16.0
    experts_only: bool = False

    @property
    def stored(self) -> float:
        """Bits per weight with scales: f16 ones, and zeros of as many bits where the method has them; 0: unknown."""
        if self.form in _STORED:
            return _STORED[self.form]
        if not self.bits:
            return 0.0
        if self.method in {"exl2", "exl3", "bitnet", "aqlm"}:
            return self.bits  # an average that counts everything, or no scales but of whole rows
        zeros = self.bits if self.method in {"gptq", "awq", "hqq"} else _ZEROS.get(self.method, 0) if self.group else 0
        scaled = self.bits < 8 or self.group
        return self.bits + ((16 + zeros) / (self.group or 128) if scaled else 0)

    @property
    def label(self) -> str:
        """A short name: gptq-4bit, exl3-2.65bit, nvfp4."""
        if self.form in _STORED:
            return self.form
        return f"{self.method}-{self.bits:g}bit" if self.bits else f"{self.method} of unknown width"

    @property
    def described(self) -> str:
        """For a sentence: `gptq, 4 bits`."""
        if not self.bits:
            return f"{self.method}, with an unknown number of bits"
        name = f"{self.method} {self.form}" if self.form and self.form != self.method else self.method
        return f"{name}, {self.bits:g} bits"


def read_quantized(raw: object, beside: object = None) -> Quantized | None:
    """What `quantization_config` says, or what the file of NVIDIA's Model Optimizer `beside` config.json says."""
    if isinstance(raw, dict) and raw:
        return _of(raw)
    if isinstance(beside, dict) and isinstance(beside.get("quantization"), dict):
        return _of({**beside["quantization"], "quant_method": "modelopt"})
    return None


def _of(raw: Mapping[str, Any]) -> Quantized | None:
    stated = str(raw.get("quant_method") or ("modelopt" if raw.get("quant_algo") else "")).lower()
    method = _SAME.get(stated, stated) or _unnamed(raw)
    group = _whole(raw, "group_size", "q_group_size", "weight_block_size")
    bits = _number(raw, "bits", "w_bit", "nbits", "wbits", "weight_bits") or _WIDTHS.get(stated, 0)
    form = method if method in _STORED else _block_format(raw, bits)
    if method == "bitsandbytes":
        bits = 4 if raw.get("load_in_4bit") else 8 if raw.get("load_in_8bit") or not bits else bits
        group = _BLOCK if bits == 4 and not raw.get("bnb_4bit_use_double_quant") else 0
    elif method == "modelopt":
        form, bits = _algorithm(str(raw.get("quant_algo") or ""))
        if raw.get("quant_algo") is None and not any(_schemes(raw)):
            return None  # only the KV cache is quantized
    elif method == "aqlm":
        bits = _codebook_bits(raw)
    if not bits:
        bits, group, form = _nested(raw, group)
    head = _number(raw, "head_bits") or _number(raw, "lm_head_bits") or (bits if raw.get("lm_head") is True else 16.0)
    return Quantized(method=method, bits=bits, group=group, form=form, head=head, experts_only=method == "mxfp4")


def _unnamed(raw: Mapping[str, Any]) -> str:
    """The method of a configuration that names none: old bitsandbytes, and MLX, which states group and width only."""
    if raw.get("load_in_4bit") or raw.get("load_in_8bit"):
        return "bitsandbytes"
    return "mlx" if {"bits", "group_size"} <= raw.keys() else _UNKNOWN


def _block_format(raw: Mapping[str, Any], bits: float) -> str:
    """A four-bit block format that stands beside a width: AutoRound's `data_type`, MLX's `mode`."""
    if bits != 4:
        return ""
    mode, kind = str(raw.get("mode") or ""), str(raw.get("data_type") or "")
    found = next((form for start, form in _BLOCK_TYPES.items() if kind.startswith(start)), "")
    return mode if mode in _STORED else found


def _codebook_bits(raw: Mapping[str, Any]) -> float:
    """AQLM: the bits of all codebooks' indices over the weights that one index stands for."""
    indices = _number(raw, "nbits_per_codebook") * _number(raw, "num_codebooks")
    weights = (_whole(raw, "in_group_size") or 1) * (_whole(raw, "out_group_size") or 1)
    return indices / weights if indices / weights <= _WIDEST else 0.0


def _algorithm(name: str) -> tuple[str, float]:
    """The format and width that Model Optimizer's name of an algorithm stands for."""
    upper = name.upper()
    if "NVFP4" in upper or upper == "FP4":
        return "nvfp4", 4
    if "MXFP4" in upper:
        return "mxfp4", 4
    if "FP8" in upper:
        return "fp8", 8
    found = re.match(r"W([0-9]+)A|INT([0-9]+)", upper)
    return "", float(found[1] or found[2]) if found else 0


def _nested(raw: Mapping[str, Any], group: int) -> tuple[float, int, str]:
    """Widths that stand deeper: the groups of compressed-tensors, HQQ's parameters, names such as int4_weight_only.

    Of several widths the largest is taken: which layers have which is only in the weight files.
    """
    found: list[tuple[float, int, str]] = []
    for scheme in _schemes(raw):
        bits = _number(scheme, "num_bits", "nbits", "bits") or (4 if str(scheme.get("dtype")) == "fp4" else 0)
        size = _whole(scheme, "group_size") or group
        floating = bits == 4 and (str(scheme.get("type") or "") == "float" or str(scheme.get("dtype")) == "fp4")
        form = ("nvfp4" if size == 16 else "mxfp4" if size == 32 else "") if floating else ""
        if bits:
            found.append((bits, size, form))
    if found:
        return max(found)
    for text in _texts(raw):
        if named := re.search(r"(nvfp4|mxfp4)", text.lower()):
            return 4, group, named[1]
        if named := re.search(r"(?:^|[^a-z])u?(?:int|float|fp|nf)_?([2-8])(?![0-9])", text.lower()):
            return float(named[1]), group, ""
    return 0.0, group, ""


def _schemes(raw: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    groups = raw.get("config_groups")
    for scheme in groups.values() if isinstance(groups, dict) else ():
        weights = scheme.get("weights") if isinstance(scheme, dict) else None
        if isinstance(weights, dict):
            yield weights
    yield from _layer_schemes(raw)
    inner = raw.get("quant_config")  # hqq: one for all, or one for each kind of layer
    layers = [each for each in inner.values() if isinstance(each, dict)] if isinstance(inner, dict) else []
    for holder in (raw, inner if isinstance(inner, dict) else {}, *layers[:_MOST_LAYERS]):
        found = holder.get("weight_quant_params")
        if isinstance(found, dict):
            yield found
    whole = raw.get("global_quant_config")  # Quark
    if isinstance(whole, dict) and isinstance(whole.get("weight"), dict):
        yield whole["weight"]


def _layer_schemes(raw: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The formats of single layers, in the words of `config_groups`: Model Optimizer with mixed precision."""
    layers = raw.get("quantized_layers")
    for layer in list(layers.values())[:_MOST_LAYERS] if isinstance(layers, dict) else ():
        form, bits = _algorithm(str(layer.get("quant_algo") or "")) if isinstance(layer, dict) else ("", 0)
        if bits:
            floating = {"type": "float", "group_size": 16 if form == "nvfp4" else 32} if form in _STORED else {}
            yield {"num_bits": bits, **floating}


def _texts(raw: Mapping[str, Any]) -> Iterator[str]:
    """What names a type: torchao's `quant_type`, quanto's `weights`, Quark's `dtype`, deeper ones too."""
    for key, value in raw.items():
        if isinstance(value, str) and key in {
            "weights",
            "weight_dtype",
            "forward_dtype",
            "quant_type",
            "dtype",
            "type",
            "_type",
            "format",
        }:
            yield value
        elif isinstance(value, dict) and key in {"quant_type", "default", "global_quant_config", "weight", "_data"}:
            yield from _texts(value)


def _number(raw: Mapping[str, Any], *keys: str) -> float:
    """The first key with a plausible width, whole or not (exl2 and exl3 mix widths)."""
    for key in keys:
        value = raw.get(key)
        if isinstance(value, str) and re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,4})?", value):
            value = float(value)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and 0 < value <= _WIDEST:
            return value
    return 0


def _whole(raw: Mapping[str, Any], *keys: str) -> int:
    for key in keys:
        value = raw.get(key)
        if isinstance(value, int) and not isinstance(value, bool) and value > 0:
            return value
    return 0
