"""What a model says of itself, for `llm show`: of a file or folder here, or of a name, without its weights.

Of weights only the directories of tensors at the beginning of each file are read. "" and None: the model does not say.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.core import json_text, yaml_text
from jetson_containers.core.errors import JetsonError, NotReadyError, UsageError
from jetson_containers.hub.describe import open_model, weight_bytes
from jetson_containers.hub.transfer.reference import parse
from jetson_containers.hub.transfer.types import RepositoryFile
from jetson_containers.llm.fit.weights import parameters
from jetson_containers.llm.models import gguf, safetensors, weight_files
from jetson_containers.llm.models.config import from_hf, from_mlc
from jetson_containers.llm.models.known import full_name
from jetson_containers.llm.models.lookup import reference_of
from jetson_containers.llm.models.repository import MOST_SHARDS, is_one_model, parts_of, weights_of
from jetson_containers.sources.describe import open_source_model
from jetson_containers.sources.names import elsewhere, short_form

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import TypeVar

    from jetson_containers.core.console import Console
    from jetson_containers.core.settings import Settings
    from jetson_containers.hub.describe import RemoteModel
    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.llm.models.gguf import Tensor

    T = TypeVar("T")

_SMALL = 16 << 20  # bytes of a configuration, of which a tokenizer with many added tokens has some MB
_CARD = 4 << 20  # bytes of a README.md
_MLC = "mlc-chat-config.json"


@dataclass(frozen=True, kw_only=True)
class TensorKind:
    """The tensors of one type: how many, their elements, their bytes."""

    type: str
    tensors: int
    elements: int
    bytes: int


@dataclass(frozen=True, kw_only=True)
class FileSize:
    """A file of the model and its bytes."""

    name: str
    bytes: int


@dataclass(frozen=True, kw_only=True)
class ModelDetails:
    """A model. Counts are elements, `context` and `sliding_window` tokens; None and "": the model does not say.

    `parameters` are counted in the tensors of a GGUF file and follow from the configuration otherwise.
    `missing` says in sentences what could not be read, and why.
    """

    name: str
    origin: str
    commit: str = ""
    format: str = ""
    title: str = ""
    architecture: str = ""
    model_class: str = ""
    parameters: int | None = None
    layers: int | None = None
    hidden: int | None = None
    heads: int | None = None
    kv_heads: int | None = None
    head_dim: int | None = None
    vocabulary: int | None = None
    context: int | None = None
    sliding_window: int | None = None
    experts: int | None = None
    experts_used: int | None = None
    quantization: str = ""
    tokenizer: str = ""
    chat_template: str = ""
    license: str = ""
    weights_bytes: int | None = None
    types: tuple[TensorKind, ...] = ()
    files: tuple[FileSize, ...] = ()
    metadata: Mapping[str, Any] | None = None
    missing: tuple[str, ...] = ()


class ModelFiles(Protocol):
    """Where a model lies: its files, small ones whole, of large ones the beginning."""

    entries: Sequence[RepositoryFile]

    def small(self, name: str, longest: int) -> bytes:
        """A file of at most `longest` bytes; empty where there is none."""
        ...

    def head(self, name: str, read: Callable[[bytes], T], longest: int) -> T:
        """What `read` makes of the first bytes; it raises ValueError for too few of them."""
        ...


def details(name: str, quantization: str, settings: Settings, console: Console) -> ModelDetails:
    """What the model of that name, folder or file says of itself.

    `quantization` chooses among the GGUF files of a name. Raises UsageError for what is not a model, and what the hub
    or the source raises.
    """
    path = Path(name)
    if path.exists():
        return _of_path(path)
    if name == "tiny":
        hint = f"`jetson-containers llm chat tiny` makes it; then name its file below {settings.path('data')}/models"
        raise UsageError("`tiny` is made here, and has no page", hint=hint)
    known = full_name(name) if "@" not in name else ""
    reference = reference_of(known or name) or short_form(name)
    if reference is None or (name.endswith(".gguf") and not reference.file):
        raise UsageError(f"no model `{name}`", hint="give a Hugging Face name (org/model), a directory, a .gguf file")
    return _of_source(str(reference), quantization, settings, console)


def _of_source(name: str, quantization: str, settings: Settings, console: Console) -> ModelDetails:
    asked = elsewhere(name)
    reference = asked or parse(name)
    found = open_source_model(asked, settings, console) if asked else open_model(name, settings, console)
    info, files = found.info, _Remote(found)
    begun = ModelDetails(name=info.id, origin=asked.source if asked else "the hub", commit=info.commit)
    file = reference.file or (weights_of(info, quantization) if info.is_gguf and info.config is None else "")
    if file and file not in {entry.name for entry in info.files}:
        hint = ", ".join(entry.name for entry in info.files if entry.name.endswith(".gguf")) or None
        raise UsageError(f"`{info.id}` has no file `{file}`", hint=hint)
    if file.endswith(".gguf"):
        return _of_gguf(begun, files, file)
    config, beside = info.config or {}, info.beside
    begun = replace(begun, missing=() if config else (info.config_missing or "there is no config.json",))
    return _of_checkpoint(begun, files, config, beside)


class _Remote:
    """The files of a model at its source."""

    def __init__(self, model: RemoteModel) -> None:
        self.entries: Sequence[RepositoryFile] = model.info.files
        self.small = model.small
        self.head = model.head


class _Local:
    """The files of a folder here."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        found = sorted(path for path in folder.rglob("*") if path.is_file())
        self.entries: Sequence[RepositoryFile] = [
            RepositoryFile(name=path.relative_to(folder).as_posix(), size=path.stat().st_size, blob_id="")
            for path in found
        ]

    def small(self, name: str, longest: int) -> bytes:
        """See `ModelFiles`."""
        if not any(entry.name == name and entry.size <= longest for entry in self.entries):
            return b""
        return self.head(name, bytes, longest)

    def head(self, name: str, read: Callable[[bytes], T], longest: int) -> T:
        """See `ModelFiles`. Raises UsageError for a file that may not be read."""
        try:
            with (self._folder / name).open("rb") as file:
                return read(file.read(longest))
        except OSError as error:
            raise UsageError(f"{self._folder / name}: {error.strerror}") from error


def _of_path(path: Path) -> ModelDetails:
    if path.is_file():
        if path.suffix != ".gguf":
            raise UsageError(f"`{path}` is neither a .gguf file nor a model directory")
        return _of_gguf(ModelDetails(name=path.stem, origin=str(path)), _Local(path.parent), path.name)
    files, begun = _Local(path), ModelDetails(name=path.resolve().name, origin=str(path))
    names = [entry.name for entry in files.entries]
    config = next((name for name in ("config.json", _MLC, f"params/{_MLC}") if name in names), "")
    held = [name for name in names if name.endswith(".gguf") and "/" not in name]
    if not config and is_one_model(held):
        return _of_gguf(begun, files, held[0])
    if not config and held:
        raise UsageError(f"`{path}` holds {len(held)} .gguf files: specify one of them", hint=", ".join(held[:8]))
    if not config:
        weight_files.refuse_other_kinds(names, str(path))
    said = weight_files.read_json(path / config)
    if config != "config.json":
        return _of_mlc(begun, files, said, str(path / config))
    return _of_checkpoint(begun, files, said, weight_files.read_json(path / "hf_quant_config.json"))


def _of_gguf(begun: ModelDetails, files: ModelFiles, file: str) -> ModelDetails:
    names = [entry.name for entry in files.entries]
    parts = parts_of(file, names)
    whole = gguf.joined([_header(files, part, begun.name) for part in parts])
    said, tensors = whole.metadata, whole.tensors
    try:
        config = gguf.model_config(whole, f"{begun.name}/{file}")
        shape, problem = _shape(config), ""
    except UsageError as error:  # a picture encoder, an adapter: what it says is worth seeing all the same
        shape, problem = {}, error.message
    text = {key: str(said.get(key) or "") for key in _GGUF_TEXTS}
    return replace(
        begun,
        format="gguf",
        title=text["general.name"],
        quantization=whole.file_type,
        tokenizer=" ".join(filter(None, (text["tokenizer.ggml.model"], text["tokenizer.ggml.pre"]))),
        chat_template=text["tokenizer.chat_template"],
        license=text["general.license"] or (_license(files) if begun.commit else ""),
        types=_kinds(tensors),
        files=_sizes(entry for entry in files.entries if entry.name in parts),
        metadata={key: _shown(value) for key, value in said.items()},
        missing=(problem,) if problem else (),
        **{
            **shape,
            "architecture": text["general.architecture"],
            "weights_bytes": sum(tensor.size for tensor in tensors),
            "parameters": sum(math.prod(tensor.shape) for tensor in tensors),
        },
    )


_GGUF_TEXTS = (
    "general.name", "general.architecture", "general.license", "tokenizer.ggml.model", "tokenizer.ggml.pre",
    "tokenizer.chat_template",
)  # fmt: skip


def _header(files: ModelFiles, file: str, model: str) -> gguf.GgufFile:
    try:
        return files.head(file, lambda first: gguf.parse_begun(first, f"{model}/{file}"), gguf.HEADER_LIMIT)
    except ValueError as error:
        raise UsageError(str(error)) from error


def _shown(value: Any) -> Any:
    """A value of the metadata; of a long array how many items it has."""
    return f"{value.length} items" if isinstance(value, gguf.Counted) else value


def _of_mlc(begun: ModelDetails, files: ModelFiles, said: Mapping[str, Any], origin: str) -> ModelDetails:
    config = from_mlc(said, origin)
    method = config.quantized.method.removeprefix("mlc:") if config.quantized else ""
    sizes = _sizes(files.entries)
    held = sum(file.bytes for file in sizes if Path(file.name).name.startswith("params_shard_"))
    return replace(
        begun, format="mlc", quantization=method, files=sizes, weights_bytes=held or None, **_shape(config)
    )  # fmt: skip


def _of_checkpoint(
    begun: ModelDetails, files: ModelFiles, config: Mapping[str, Any], beside: Mapping[str, Any] | None
) -> ModelDetails:
    shape: dict[str, Any] = {}
    problems = list(begun.missing)
    if config:
        try:
            read = from_hf(config, f"{begun.name}: config.json", beside)
            shape = {**_shape(read), "quantization": _quantization(read)}
        except JetsonError as error:  # another kind of model, or an adapter: its files are worth seeing all the same
            problems.append(error.message)
            shape = {"architecture": str(config.get("model_type") or config.get("peft_type") or "")}
    types, problem = _safetensors(files, begun.name)
    held = weight_bytes(files.entries)
    kind = next(iter(held), "")
    tokenizer = _object(files, "tokenizer_config.json")
    return replace(
        begun,
        format=kind,
        weights_bytes=held.get(kind),
        types=types,
        tokenizer=str(tokenizer.get("tokenizer_class") or ""),
        chat_template=_template(files, tokenizer),
        license=_license(files),
        files=_sizes(files.entries),
        missing=(*problems, *filter(None, (problem,))),
        **shape,
    )


def _shape(config: ModelConfig) -> dict[str, Any]:
    """The fields that follow from a shape; those that it does not state are None."""
    return {
        "architecture": config.family,
        "model_class": config.architecture,
        "parameters": parameters(config),
        "layers": config.layers,
        "hidden": config.hidden,
        "heads": config.heads or None,
        "kv_heads": config.kv_heads or None,
        "head_dim": config.head_dim,
        "vocabulary": config.vocab,
        "context": config.max_position or None,
        "sliding_window": config.sliding_window or None,
        "experts": config.experts or None,
        "experts_used": config.experts_used or None,
    }


def _quantization(config: ModelConfig) -> str:
    """How a checkpoint is stored: its method with the bits, else the type of its numbers."""
    if config.quantized is None:
        return config.dtype
    bits = f"{config.quantized.bits:g} bits" if config.quantized.bits else "bits not understood"
    return f"{config.quantized.method}, {bits}"


def _kinds(tensors: Iterable[Tensor]) -> tuple[TensorKind, ...]:
    """What each type takes, the largest first."""
    found: dict[str, list[Tensor]] = {}
    for tensor in tensors:
        found.setdefault(tensor.type, []).append(tensor)
    kinds = [
        TensorKind(
            type=kind,
            tensors=len(group),
            elements=sum(math.prod(tensor.shape) for tensor in group),
            bytes=sum(tensor.size for tensor in group),
        )
        for kind, group in found.items()
    ]
    return tuple(sorted(kinds, key=lambda kind: (-kind.bytes, kind.type)))


def _safetensors(files: ModelFiles, model: str) -> tuple[tuple[TensorKind, ...], str]:
    """The types in all safetensors files that are loaded; or none, and why."""
    wanted = [entry.name for entry in files.entries if weight_files.total([(entry.name, entry.size)])]
    wanted = [name for name in wanted if name.endswith(".safetensors")]
    if len(wanted) > MOST_SHARDS:
        return (), f"{len(wanted)} files of weights: the types of tensors were not read"
    found: list[Tensor] = []
    for name in wanted:
        origin = f"{model}/{name}"
        try:
            found += files.head(name, lambda first: safetensors.parse_begun(first, origin), safetensors.HEADER_LIMIT)  # noqa: B023
        except (NotReadyError, UsageError) as error:  # offline, gated, or a pointer of Git LFS
            return (), f"the types of tensors were not read: {error.message}"
        except ValueError as error:
            return (), f"the types of tensors were not read: {error}"
    return _kinds(found), ""


def _object(files: ModelFiles, name: str) -> Mapping[str, Any]:
    """A small JSON object; empty where there is none, or none that can be read."""
    try:
        found = json_text.parse(files.small(name, _SMALL) or b"{}", python=True)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _template(files: ModelFiles, tokenizer: Mapping[str, Any]) -> str:
    """The chat template: of its own file, else of the tokenizer, the one called `default` among several."""
    own = files.small("chat_template.jinja", _SMALL).decode("utf-8", errors="replace")
    said = tokenizer.get("chat_template")
    if own or isinstance(said, str):
        return own or str(said)
    several = (
        {each.get("name"): each.get("template") for each in said if isinstance(each, dict)}
        if isinstance(said, list)
        else {}
    )
    return str(several.get("default") or next(filter(None, several.values()), ""))


def _license(files: ModelFiles) -> str:
    """The license that the head of README.md names; `other` with the name the author gave it."""
    text = files.small("README.md", _CARD).decode("utf-8", errors="replace").replace("\r\n", "\n")
    if not text.startswith("---\n"):
        return ""
    try:
        said = yaml_text.parse(text[4:].partition("\n---")[0])
    except ValueError:
        return ""
    if not isinstance(said, dict):
        return ""
    named = said.get("license_name") if said.get("license") == "other" else said.get("license")
    return ", ".join(map(str, named)) if isinstance(named, list) else str(named or said.get("license") or "")


def _sizes(entries: Iterable[RepositoryFile]) -> tuple[FileSize, ...]:
    return tuple(FileSize(name=entry.name, bytes=entry.size) for entry in entries)
