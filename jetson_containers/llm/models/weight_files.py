"""The weight files of a checkpoint: which they are, what they hold, and what that says of a computed size.

Files are measured, a configuration is interpreted: where the two disagree, the files count.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import UsageError
from jetson_containers.llm.fit import weights
from jetson_containers.llm.fit.constants import GIB
from jetson_containers.llm.models import other_kinds

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from jetson_containers.llm.models.config import ModelConfig

# A file of weights that is loaded by its name, whole or in parts: model.safetensors, pytorch_model-00001-of-00002.bin.
_PART = re.compile(r"(?P<stem>[^/]+?)(-[0-9]+-of-[0-9]+)?\.(?P<end>safetensors|bin)")
_NUMBERED = re.compile(r"(?P<stem>[^/]+?)-(?P<number>[0-9]{5})-of-(?P<count>[0-9]{5})\.(?P<end>safetensors|bin)")
_MOST_PARTS = 2000
_USUAL = ("model", "pytorch_model")
_NO_WEIGHTS = re.compile(r"training_args|optimizer|scheduler|rng_state|random_states|adapter_|^consolidated|tokenizer")
_OTHER_FORMATS = re.compile(r"\.(pth|pt|ckpt|onnx|h5|msgpack|tflite|npz|nemo|safetensors|bin|gguf)$")
_INDEXES = ("model.safetensors.index.json", "pytorch_model.bin.index.json")
_CLOSE = 0.10  # difference between configuration and files that biases, norms and rounding explain
# Below this the files are not the weights of the model: placeholders of Git LFS, or a part of the download.
_LEAST = 0.05


def total(files: Iterable[tuple[str, int]]) -> int:
    """Bytes of the weights that are loaded, of (name, size); 0 where there are none that are read here."""
    groups: dict[tuple[str, str], int] = {}
    for name, size in files:
        part = _PART.fullmatch(name)
        if part and not _NO_WEIGHTS.search(name):
            place = (part["end"], part["stem"])
            groups[place] = groups.get(place, 0) + size
    for end in ("safetensors", "bin"):
        stems = [stem for kind, stem in groups if kind == end]
        usual = [stem for stem in stems if stem in _USUAL]
        if stems:
            return sum(groups[end, stem] for stem in (usual[:1] or stems))
    return 0


def in_folder(folder: Path) -> int:
    """Bytes of the weights of a local checkpoint: what its index says, else the files; 0 where there are none."""
    for name in _INDEXES:
        index = read_json(folder / name)
        size = index.get("metadata", {}).get("total_size") if isinstance(index.get("metadata"), dict) else None
        if isinstance(size, (int, float)) and size > 0:
            return int(size)
    return total((path.name, path.stat().st_size) for path in folder.iterdir() if path.is_file())


def read_json(path: Path) -> Mapping[str, Any]:
    """An object of a file; an empty one where there is none."""
    try:
        found = json_text.parse(path.read_text(encoding="utf-8"), python=True)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def checked(config: ModelConfig, held: int) -> ModelConfig:
    """The shape with what the weight files say of its size, of which `held` are the bytes (0: not known)."""
    if held <= 0:
        return config
    expected = weights.stored_bytes(config)
    if config.quantized is None and not config.dtype:  # 16 bits or 32, whichever the files are closer to
        expected = min((expected, 2 * expected), key=lambda size: abs(held - size))
    ratio = held / expected
    if ratio < _LEAST:
        return config
    if abs(ratio - 1) <= _CLOSE:
        return replace(config, unread=())
    return replace(config, scale=config.scale * ratio, measured=_sentence(config, held, expected))


def _sentence(config: ModelConfig, held: int, expected: float) -> str:
    files = f"the weight files hold {held / GIB:.1f} GiB"
    if config.quantized is not None and not config.quantized.stored:
        return f"{files}; the number of bits that {config.quantized.method} stores is unknown, so the files count"
    more = "more" if held > expected else "less"
    named = f" ({', '.join(f'`{name}`' for name in config.unread[:3])} is unknown)" if config.unread else ""
    return f"{files}, {abs(held / expected - 1):.0%} {more} than follows from the configuration{named}: the files count"


def require(names: Iterable[str], wanted: Iterable[str], model: str) -> None:
    """Raises UsageError where none of the `wanted` files holds weights, or a part of them is missing."""
    listed = list(names)
    refuse_unreadable(listed, wanted, model)
    if not any(_OTHER_FORMATS.search(name) for name in listed):
        raise UsageError(f"`{model}` has no weights", hint="Is it the repository of a dataset, or of code?")


def refuse_unreadable(names: Iterable[str], wanted: Iterable[str], model: str) -> None:
    """Raises UsageError where there are weights, but none that is loaded, or not all parts of them."""
    weights_ = [name for name in wanted if name.endswith((".safetensors", ".bin")) and not _NO_WEIGHTS.search(name)]
    if weights_:
        return _refuse_missing_parts(weights_, model)
    others = [name for name in names if _OTHER_FORMATS.search(name)]
    if not others:
        return None
    shown = ", ".join(others[:4]) + (" …" if len(others) > 4 else "")
    raise UsageError(
        f"`{model}` has no weights in a supported format: {shown}",
        hint="use a conversion of the model to safetensors or PyTorch's pytorch_model.bin",
    )


def _refuse_missing_parts(names: Iterable[str], model: str) -> None:
    """Raises UsageError for a checkpoint in numbered files of which some are not there."""
    there: dict[tuple[str, int, str], set[int]] = {}
    for name in names:
        part = _NUMBERED.fullmatch(name)
        if part and part["stem"] in _USUAL:
            there.setdefault((part["stem"], int(part["count"]), part["end"]), set()).add(int(part["number"]))
    for (stem, count, end), found in there.items():
        missing = [number for number in range(1, min(count, _MOST_PARTS) + 1) if number not in found]
        if missing:
            raise UsageError(
                f"`{model}` has {len(found)} of the {count} files of its weights: "
                f"{stem}-{missing[0]:05}-of-{count:05}.{end} is missing",
                hint="all parts are needed: download it again, or ask who published it",
            )


def refuse_other_kinds(names: Iterable[str], model: str) -> None:
    """Raises UsageError for what has no config.json of a language model because it is something else."""
    there = set(names)
    if "config.json" in there:
        return
    if "model_index.json" in there:
        raise UsageError(
            f"`{model}` is a diffusion pipeline (model_index.json), not a language model",
            hint="`jetson-containers run` with diffusers or comfyui serves such models",
        )
    if "adapter_config.json" in there:
        raise UsageError(
            f"`{model}` is an adapter, not a model", hint="merge it into the model it was trained on first"
        )
    other_kinds.refuse_files(there, model)
    hint = "a Hugging Face checkpoint, a directory made by MLC, or one .gguf file is needed"
    raise UsageError(f"`{model}` holds no config.json, so it is not a known kind of model", hint=hint)
