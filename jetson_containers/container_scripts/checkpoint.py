"""Hugging Face directories: what a quantizer leaves out is copied, and what it made is checked."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import argparse

_WEIGHTS = (".safetensors", ".bin", ".pt", ".pth", ".gguf", ".h5", ".msgpack", ".onnx")
_OWN = ("config.json", "README.md")


def config(directory: str) -> dict[str, Any]:
    """Read config.json; empty where there is none."""
    path = Path(directory, "config.json")
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found


def method(directory: str) -> str:
    """How the checkpoint is quantized (`quant_method`); empty when it is not."""
    found = config(directory).get("quantization_config") or {}
    return str(found.get("quant_method") or "")


def end_tokens(directory: str) -> list[int]:
    """The tokens that end an answer, of generation_config.json and config.json: chat models have several."""
    found: list[int] = []
    for name in ("generation_config.json", "config.json"):
        path = Path(directory, name)
        value = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
        found += [token for token in (value if isinstance(value, list) else [value]) if isinstance(token, int)]
    return list(dict.fromkeys(found))


def loaded_as(dtype: Any) -> dict[str, Any]:
    """The argument of `from_pretrained` that sets the type of the weights, whose name changed in transformers 4.56."""
    import transformers

    version = tuple(int(part) for part in transformers.__version__.split(".")[:2])
    return {"dtype" if version >= (4, 56) else "torch_dtype": dtype}


def complete(source: str, output: str) -> None:
    """Copy the tokenizer, chat template and code files that are missing in `output`, byte for byte."""
    for path in sorted(Path(source).iterdir()):
        target = Path(output, path.name)
        made = path.suffix in _WEIGHTS or path.name in _OWN or path.name.endswith(".index.json")
        if path.is_file() and not made and not target.exists():
            shutil.copyfile(str(path), str(target))


def verify(output: str, *methods: str) -> None:
    """Stop when the result is not quantized: a library that was never asked to saves the model as it was."""
    found = method(output)
    if found not in methods:
        wanted = " or ".join(methods)
        sys.exit(f"{output} is not quantized: its config.json says {found or 'nothing'} instead of {wanted}")
    total = sum(path.stat().st_size for path in Path(output).iterdir() if path.suffix in _WEIGHTS)
    if not total:
        sys.exit(f"{output} holds no weights")
    sys.stderr.write(f"{output}: {found}, {total / 2**20:.0f} MiB of weights\n")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The words every quantizer has."""
    parser.add_argument("source", help="checkpoint, a Hugging Face directory")
    parser.add_argument("output", help="directory that is made")
    parser.add_argument("--trust-remote-code", action="store_true", help="run the code that comes with the checkpoint")
