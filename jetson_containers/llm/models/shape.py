"""The shape of a model, read from its files (`config.json`, .gguf, an MLC artifact) or from the hub's `config.json`."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from jetson_containers.core import json_text
from jetson_containers.core.errors import NotReadyError, UsageError
from jetson_containers.hub.transfer.reference import is_wanted, parse
from jetson_containers.llm.fit import weights
from jetson_containers.llm.models import gguf, other_kinds, weight_files
from jetson_containers.llm.models.config import from_hf, from_mlc
from jetson_containers.llm.models.repository import gguf_meant, is_one_model, not_needed, parts_of, require_file
from jetson_containers.llm.models.types import ModelShape

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.hub.describe import ModelInfo
    from jetson_containers.llm.models.config import ModelConfig

_MLC = "mlc-chat-config.json"
_LABEL = re.compile(
    r"(?<![A-Za-z0-9])((?:UD-)?[IT]?Q[0-9](?:_[0-9A-Z]+)*|B?F16|F32|MXFP4(?:_\w+)?)(?![A-Za-z0-9])", re.IGNORECASE
)


def remote(name: str, quantization: str, settings: Settings, console: Console) -> ModelShape:
    """The shape of a model that is not here: of the headers of its GGUF files, else of its `config.json`.

    `quantization` chooses among several files. Raises NotReadyError where there is neither, UsageError, and what the
    hub or the source raises.
    """
    from jetson_containers.hub.describe import open_model
    from jetson_containers.sources.describe import open_source_model
    from jetson_containers.sources.names import elsewhere

    asked = elsewhere(name)
    reference = asked or parse(name)
    model = open_source_model(asked, settings, console) if asked else open_model(name, settings, console)
    info = model.info
    if not info.is_gguf:
        require_file(info, reference.file or "")
        repository = str(replace(reference, file=None))
        if _MLC in {entry.name for entry in info.files} and "model_config" in (info.config or {}):
            return _of_mlc(info.config or {}, repository, "the hub")
        return ModelShape(name=repository, config=_of_info(info, repository), origin="the hub")
    names = [entry.name for entry in info.files]
    file = gguf_meant(info, reference.file or "", quantization)
    if file not in names or not file.endswith(".gguf"):
        raise UsageError(f"`{name}` has no GGUF file of that name")

    def header(part: str) -> gguf.GgufFile:
        return model.head(part, lambda first: gguf.parse_begun(first, f"{info.id}/{part}"), gguf.HEADER_LIMIT)

    try:
        found = gguf.joined([header(part) for part in parts_of(file, names)])
    except ValueError as error:
        raise UsageError(str(error)) from error
    # What was asked for chose the file; a name such as UD-Q4_K_XL says more of it than its header, which has Q4_K_M.
    return _of_header(found, info.id, f"{info.id}/{file}", quantization)


def from_hub(reference: str, settings: Settings, console: Console) -> ModelConfig:
    """Fetch `config.json` alone. Raises NotReadyError where there is none, and what the hub raises."""
    from jetson_containers.hub.describe import describe

    return _of_info(describe(reference, settings, console), reference)


def _of_info(info: ModelInfo, reference: str) -> ModelConfig:
    if info.config is None and not info.is_gguf and not info.config_missing.startswith("config.json"):
        weight_files.refuse_other_kinds([entry.name for entry in info.files], reference)
    if info.config is None and info.config_missing.startswith("config.json "):
        raise UsageError(f"{reference}: {info.config_missing}")
    if info.config is None:
        hint = "for a model of .gguf files, specify the original model, or download one of the files and specify that"
        raise NotReadyError(
            f"{reference}: {info.config_missing or 'there is no config.json'}", hint=hint if info.is_gguf else None
        )
    config = from_hf(info.config, f"{reference}: config.json", info.beside)
    names = [entry.name for entry in info.files]
    weight_files.refuse_unreadable(names, [name for name in names if is_wanted(name, (), not_needed(names))], reference)
    config = replace(config, silent=config.silent or other_kinds.silent("", "", names))
    return weight_files.checked(config, weight_files.total((entry.name, entry.size) for entry in info.files))


def of_folder(folder: Path) -> ModelConfig:
    """The shape of a local checkpoint, with what its weight files say. Raises UsageError where it has none."""
    path = folder / "config.json"
    try:
        raw: Any = json_text.parse(path.read_text(encoding="utf-8"), python=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if not isinstance(raw, dict):
        raise UsageError(f"{path}: not a JSON object")
    beside = weight_files.read_json(folder / "hf_quant_config.json")
    return weight_files.checked(from_hf(raw, str(path), beside), weight_files.in_folder(folder))


def of_path(path: Path) -> ModelShape:
    """The shape of a directory or file. Raises UsageError where it does not hold a model."""
    if path.is_file():
        return _of_gguf(path) if path.suffix == ".gguf" else _of_json(path, path.stem)
    if not path.is_dir():
        raise UsageError(f"`{path}` is neither a file nor a directory")
    for name in (_MLC, "config.json"):
        for folder in (path, path / "params"):  # the second: artifacts of MLC's old API
            if (folder / name).is_file():
                return _of_json(folder / name, path.resolve().name)
    files = sorted(path.glob("*.gguf"))
    if is_one_model([file.name for file in files]):
        return _of_gguf(files[0])
    adapter = path / "adapter_config.json"
    if adapter.is_file():
        from_hf(weight_files.read_json(adapter), str(adapter))  # says what it is an adapter of
    if not files:
        weight_files.refuse_other_kinds((entry.name for entry in path.iterdir()), str(path))
    raise UsageError(f"`{path}` holds {len(files)} .gguf files: specify one of them")


def _of_json(path: Path, name: str) -> ModelShape:
    try:
        data: Any = json_text.parse(path.read_text(encoding="utf-8"), python=True)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: cannot be read: {error}") from error
    if not isinstance(data, dict):
        raise UsageError(f"{path}: not a JSON object")
    if path.name == "config.json":
        return ModelShape(name=name, config=of_folder(path.parent), origin=str(path))
    if path.name != _MLC:
        return ModelShape(name=name, config=from_hf(data, str(path)), origin=str(path))
    return _of_mlc(data, name, str(path))


def _of_mlc(data: Mapping[str, Any], name: str, origin: str) -> ModelShape:
    config = from_mlc(data, origin)
    method = config.quantized.method.removeprefix("mlc:") if config.quantized else ""
    return ModelShape(
        name=name,
        config=config,
        origin=origin,
        quantization=method,
        context=config.max_position,
        held=None,
        runtimes=("mlc",),
    )


def _of_gguf(path: Path) -> ModelShape:
    parts = parts_of(path.name, [file.name for file in path.parent.glob("*.gguf")] if path.parent.is_dir() else [])
    return _of_header(gguf.joined([gguf.read(path.parent / part) for part in parts]), path.stem, str(path))


def _of_header(file: gguf.GgufFile, name: str, origin: str, quantization: str = "") -> ModelShape:
    config = gguf.model_config(file, origin)
    named = _LABEL.findall(origin.rpartition("/")[2])
    return ModelShape(
        name=name,
        config=config,
        origin=origin,
        quantization=quantization or file.file_type or (named[-1].upper() if named else ""),
        context=0,
        held=weights.of_file(file, config),
        runtimes=("llama_cpp",),
    )
