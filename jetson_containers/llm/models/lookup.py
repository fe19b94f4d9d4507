"""What a model's name means: a repository of the hub, a directory or file, a well-known name, or `tiny`.

`find` says where a model is and how it gets there, for the commands that load it; `find_shape` only how large it is,
for `llm fit`, which also takes models that no container could see.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import JetsonError, NotReadyError, UsageError
from jetson_containers.core.suggest import did_you_mean
from jetson_containers.hub.transfer.errors import DownloadError
from jetson_containers.hub.transfer.reference import is_wanted, parse
from jetson_containers.llm.models import other_kinds, quantization_words, registry_model, weight_files
from jetson_containers.llm.models.config import from_hf
from jetson_containers.llm.models.known import configs, full_name
from jetson_containers.llm.models.other_kinds import OtherKindError
from jetson_containers.llm.models.repository import (
    NOT_WEIGHTS,
    all_but,
    check_place,
    gguf_meant,
    is_cached,
    model_name,
    not_needed,
    parts_of,
    require_file,
    shards_of,
    snapshot,
)
from jetson_containers.llm.models.shape import of_folder, of_path
from jetson_containers.llm.models.types import Model, ModelShape
from jetson_containers.llm.pipeline import manifest, steps
from jetson_containers.llm.pipeline.types import CommandStep, DownloadStep
from jetson_containers.sources import names
from jetson_containers.sources.names import SourceReference, short_form

if TYPE_CHECKING:
    from collections.abc import Callable

    from jetson_containers.core.settings import Settings
    from jetson_containers.hub.describe import ModelInfo
    from jetson_containers.hub.transfer.reference import Reference
    from jetson_containers.llm.models.config import ModelConfig
    from jetson_containers.llm.models.types import ModelHub

TINY = "/data/models/tiny-llama"
_HUB = "the hub"
TINY_CONTEXT = 512  # tokens, as make-tiny-model makes it
# What make_tiny_model.py makes.
_TINY_CONFIG = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 256, "intermediate_size": 512,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 512,
    "max_position_embeddings": TINY_CONTEXT, "tie_word_embeddings": False, "torch_dtype": "float32",
}  # fmt: skip
LONGEST_NAME = 1024  # characters; the hub's are shorter, and the pattern takes quadratic time
_QUANTIZED = re.compile(
    r"(?P<model>[^:]*(?:://[^:]*)?/[^:]*):(?P<quantization>(?:UD-)?I?Q[0-9][\w-]*|B?F16|F32|MXFP4\w*)",
    re.IGNORECASE,
)
_MLC_CONFIG = "mlc-chat-config.json"


def find(
    model: str,
    data: Path,
    hub: ModelHub,
    quantization: str = "",
    *,
    known: Callable[[str], ModelConfig | None] | None = None,
) -> Model:
    """Find the model of that name. `quantization` chooses among the files of a GGUF repository.

    With `known`, for a dry run, an unreachable hub is not an error: the shape is what the table of well-known models
    has, the commit stays open.

    Raises UsageError for a path that is missing, outside the data directory or not a model, and what
    `describe.describe` raises for a name of the hub (no such repository, gated, unreachable and not cached).
    """
    if model == "tiny":
        return _tiny()
    path = data / model.removeprefix("/data/").rstrip("/") if model.startswith("/data/") else Path(model.rstrip("/"))
    reference = reference_of(model)
    # A folder that happens to be called as an organization's model is not meant, where no container could see it.
    if model and path.exists() and (reference is None or _is_below(path, data)):
        return with_shape(_local(model, path, data), data)
    if model.startswith(("./", "../", "~/")):
        raise UsageError(f"{model} does not exist", hint=f"models are directories or .gguf files below {data}/models")
    if reference is None and not {"/", "@"} & set(model) and full_name(model):
        model = full_name(model)
        reference = reference_of(model)
    short = short_form(model) if reference is None else None
    if short is not None:
        return replace(_of_source(model, short, data, hub, quantization), meant=meaning(model, short))
    if isinstance(reference, SourceReference) and reference.source != names.MODELSCOPE:
        return _of_source(model, reference, data, hub, quantization)
    if reference is not None:
        try:
            return with_shape(_of_hub(model, reference, data, hub, quantization), data)
        except NotReadyError:
            if known is None or isinstance(reference, SourceReference):
                raise
            return _without_hub(model, reference, hub, known)
    raise _no_model(
        model,
        "give a Hugging Face name (org/model), a well-known name without org, a name of Ollama with its tag "
        "(llama3.2:1b), a directory or .gguf file below data/models, or `tiny`",
    )


def find_shape(name: str, load: Callable[[str], ModelConfig | ModelShape]) -> ModelShape:
    """Find the shape of the model of that name; only for a repository that no table has, `load` is asked.

    Raises UsageError for what is not a model, and what `load` raises.
    """
    path = Path(name)
    if path.exists():
        return of_path(path)
    known = full_name(name) if "@" not in name else ""
    if known:
        return ModelShape(name=known, config=from_hf(configs()[known], known), origin="facts/models.yaml")
    reference = reference_of(name) or short_form(name)
    of_source = isinstance(reference, SourceReference)  # whose names may end as a file's
    if reference is not None and (reference.file or of_source or not name.endswith(".gguf")):
        repository = replace(reference, file=None)
        found = load(str(reference))
        return found if isinstance(found, ModelShape) else ModelShape(name=str(repository), config=found, origin=_HUB)
    if name == "tiny":
        return ModelShape(name="tiny", config=from_hf(_TINY_CONFIG, "tiny"), origin="the script that makes it")
    raise _no_model(
        name,
        f"give a Hugging Face name (org/model), a directory, a .gguf file, one of the {len(configs())} names of "
        "docs/fit.md, or see `jetson-containers llm suggest`",
    )


def meaning(name: str, reference: SourceReference) -> str:
    """What a short name was taken for, where no table has it."""
    return f"`{name}` is taken for Ollama's model of that name, {reference}"


def _of_source(model: str, asked: SourceReference, data: Path, hub: ModelHub, quantization: str) -> Model:
    return with_shape(registry_model.find(model, asked, data, hub, quantization), data)


def _no_model(name: str, known: str) -> UsageError:
    listed = [each.rpartition("/")[2] for each in configs()]
    meant = did_you_mean(name, listed, count=3)
    asked = _words(name)
    if asked and (same := sorted((each for each in listed if asked <= _words(each)), key=len)):
        meant = f"did you mean {' or '.join(f'`{each}`' for each in same[:3])}?"
    return UsageError(f"no model `{name}`", hint=f"{meant}{meant and ' '}{known}")


def _words(name: str) -> frozenset[str]:
    """The letters and numbers of a model's name: `llama3.2:1b` has those of `Llama-3.2-1B`."""
    return frozenset(re.findall(r"[0-9]+(?:\.[0-9]+)*[a-z]*|[a-z]+", name.lower()))


def with_shape(model: Model, data: Path) -> Model:
    """The same with the shape of its files, where it is in a runtime's own format and they are here."""
    place = data / model.path.removeprefix("/data/")
    if not model.prepared or not place.exists():
        return model
    try:
        return replace(model, shape=of_path(place))
    except UsageError:  # the runtime will say what is wrong with it
        return model


def as_typed(model: str, settings: Settings) -> str:
    """What a name on the command line stands for: the user's alias, and a path without `file:`."""
    found = model if full_name(model) else names.aliased(model, settings["model_aliases"])
    return names.local_path(found)


def split_quantization(model: str, quantization: str = "") -> tuple[str, str]:
    """Take a quantization of GGUF files off a name of the hub: `org/model-GGUF:Q8_0`, as other programs write it.

    Both as the runtimes spell them. Raises UsageError where another one is asked for besides.
    """
    model, quantization = names.of_hub(model), quantization_words.spelled(quantization)
    if model.startswith(("hf.co/", "huggingface.co/")) or model.lower().endswith(f"-gguf:{names.LATEST}"):
        model = model.removesuffix(f":{names.LATEST}")  # Ollama's word for the usual one
    match = _QUANTIZED.fullmatch(model) if len(model) <= LONGEST_NAME and not names.has_tags(model) else None
    if match is None:
        return model, quantization
    named = quantization_words.spelled(match["quantization"])
    if quantization and quantization.upper() != named.upper():
        raise UsageError(f"`{model}` names {named}, and `--quantization` {quantization}", hint="name one of them")
    return match["model"], named


def reference_of(model: str) -> Reference | None:
    """What is named at the hub: `org/model`, perhaps with `@revision` or a file of it, or its page; None for a path.

    With the scheme of another source it is a SourceReference. Raises UsageError for one that cannot be its name.
    """
    model = names.of_hub(model)
    elsewhere = names.parse(model)
    if elsewhere is not None:
        return elsewhere
    if "/" not in model or model.startswith(("/", ".", "~")):
        return None
    try:
        return parse(model)
    except DownloadError:
        return None


def _is_below(path: Path, data: Path) -> bool:
    return path.resolve().is_relative_to(data.resolve())


def _tiny() -> Model:
    make = CommandStep(
        name="make",
        argv=("make-tiny-model", "{output}"),
        inputs=(),
        output=TINY,
        intermediate=True,
        packages=("llama_cpp",),
    )
    return Model(
        asked="tiny",
        name="tiny-llama",
        path=TINY,
        identity="tiny",
        first=make,
        facts={"model": "tiny"},
        max_context=TINY_CONTEXT,
    )


def _local(model: str, path: Path, data: Path) -> Model:
    resolved = path.resolve()
    if not _is_below(path, data):
        raise UsageError(
            f"`{model}` is outside the data directory {data}, containers do not see it",
            hint=f"move it below {data}/models, or choose another directory with JETSON_CONTAINERS_DATA",
        )
    inside = "/data/" + str(resolved.relative_to(data.resolve()))
    made = manifest.read(manifest.path_for(resolved))
    facts: dict[str, Any] = {"model": (made.facts.get("model") if made else None) or inside}
    identity = made.key if made else _hub_identity(resolved) or json.dumps(steps.identity_of(resolved))
    if resolved.is_file():
        if resolved.suffix != ".gguf":
            raise UsageError(f"`{model}` is neither a .gguf file nor a model directory")
        return Model(asked=model, name=resolved.stem, path=inside, identity=identity, prepared="llama_cpp", facts=facts)
    if (resolved / _MLC_CONFIG).is_file() or (resolved / "params" / _MLC_CONFIG).is_file():
        files = tuple(path.name for place in (resolved, resolved / "params") for path in sorted(place.glob("*")))
        return Model(
            asked=model, name=resolved.name, path=inside, identity=identity, prepared="mlc", facts=facts, files=files
        )
    files = tuple(path.name for path in sorted(resolved.iterdir()))
    if "config.json" not in files and "adapter_config.json" in files:
        place = resolved / "adapter_config.json"
        from_hf(weight_files.read_json(place), str(place))  # says what it is an adapter of
    weight_files.refuse_other_kinds(files, model)
    if any(_is_weights(name) for name in files):
        weight_files.require(files, files, model)
    name = _hub_name(resolved) or resolved.name
    config, problem = read_config(resolved / "config.json")
    kind = str(weight_files.read_json(resolved / "config.json").get("model_type") or "")
    maker = str(made.facts.get("runtime", "")) if made and config and config.quantized else ""
    return Model(
        asked=model,
        name=name,
        path=inside,
        identity=identity,
        config=config,
        files=files,
        facts=facts,
        maker=maker,
        problem=problem,
        kind=kind,
    )


def read_config(path: Path) -> tuple[ModelConfig | None, str]:
    """The shape of a local checkpoint; or None and why, where its config.json is not a known decoder's."""
    try:
        return of_folder(path.parent), ""
    except OtherKindError:
        raise
    except UsageError as error:
        return None, error.message


def _is_weights(name: str) -> bool:
    return name.endswith((".pth", ".pt", ".ckpt", ".onnx", ".h5", ".msgpack", ".safetensors", ".bin"))


def _hub_name(path: Path) -> str:
    """The model's name where the directory is a snapshot of the hub's cache, whose own name is a commit."""
    repository = path.parent.parent.name
    return repository.rpartition("--")[2] if repository.startswith("models--") else ""


def _hub_identity(path: Path) -> str:
    """What a snapshot of the hub's cache is called by its name, so that both ways to say it share what is made."""
    repository = path.parent.parent
    if path.parent.name != "snapshots" or not repository.name.startswith("models--"):
        return ""
    name = "hub:" + repository.name.removeprefix("models--").replace("--", "/")
    try:
        newest = (repository / "refs" / "main").read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        newest = ""
    return name if newest == path.name else f"{name}@{path.name}"


def _of_hub(model: str, asked: Reference, data: Path, hub: ModelHub, quantization: str) -> Model:
    info = hub.describe(str(asked) if isinstance(asked, SourceReference) else model)
    repository = info.id
    # A revision takes part only where it was asked for: a README that changed upstream must not cost 13 GB again.
    identity = f"hub:{repository}" + (f"@{info.commit}" if asked.revision else "")
    names = [entry.name for entry in info.files]
    asked = _of_whole(asked, info)
    plain = not info.is_gguf and not asked.file and _MLC_CONFIG not in names
    if plain and "adapter_config.json" not in names:
        weight_files.refuse_other_kinds(names, model)
    config, problem, notes = _config_of(info) if plain else (None, "", ())
    if not plain:
        config = _config_of(info)[0] if info.config else None
    file = gguf_meant(info, asked.file or "", quantization) if info.is_gguf else asked.file or ""
    require_file(info, file)
    shards = parts_of(file, names) if shards_of(file, names) else ()
    file = shards[0] if shards else file  # from the first one llama.cpp finds the others
    ignore = all_but(shards, names) if shards else () if file else not_needed(names)
    wanted = [
        entry
        for entry in info.files
        if (entry.name == file if file and not shards else is_wanted(entry.name, (), ignore))
    ]
    if plain:
        weight_files.require(names, [entry.name for entry in wanted], model)
    single = "" if shards else file
    reference = repository + (f"@{info.commit}" if info.commit else "") + (f"/{single}" if single else "")
    words = ("--include", ",".join(shards)) if shards else ()
    prepared = "llama_cpp" if file.endswith(".gguf") else "mlc" if _MLC_CONFIG in names else ""
    folder = getattr(info, "folder", "")
    path, place = (snapshot(repository, info.commit, name, folder) for name in (file, ""))
    program = ("jetson-containers", "download") if isinstance(asked, SourceReference) else ("huggingface-downloader",)

    return Model(
        asked=model,
        name=model_name(file) if file else repository.rpartition("/")[2],
        path=path,
        identity=identity + (f"/{file}" if file else ""),
        config=config,
        prepared=prepared,
        first=DownloadStep(
            argv=(*program, reference, *words),
            output=path,
            size=sum(entry.size for entry in wanted),
            is_done=lambda: is_cached(data / place.removeprefix("/data/"), wanted),
            fetch=lambda: check_place(hub.download(reference, ignore=ignore), data, place if shards else path),
            served=bool(prepared),
        ),
        files=tuple(name for name in names if is_wanted(name, (), ignore)),
        facts={"model": repository, "revision": info.commit, **({"file": file} if file else {})},
        problem=problem,
        kind=str((info.config or {}).get("model_type") or ""),
        notes=notes,
    )


def _of_whole(asked: Reference, info: ModelInfo) -> Reference:
    """The repository where a file of its checkpoint is named, as the address of the file's page: all are loaded."""
    names = {entry.name for entry in info.files}
    loaded = asked.file in names and not (asked.file or "").endswith(".gguf")
    return replace(asked, file=None) if loaded else asked


def _fetch_later(hub: ModelHub, model: str) -> None:
    hub.download(model, ignore=NOT_WEIGHTS)


def _without_hub(model: str, asked: Reference, hub: ModelHub, known: Callable[[str], ModelConfig | None]) -> Model:
    """A name of the hub that could not be looked up, well enough to print the commands.

    A repository that is called after a format is taken for one in it: there is nothing to convert.
    """
    file, repository = asked.file or "", asked.repo
    if not file and re.search(r"[-_.]gguf$", repository, re.IGNORECASE):
        file = "FILE.gguf"
    prepared = "llama_cpp" if file.endswith(".gguf") else "mlc" if re.search(r"[-_]MLC$", repository) else ""
    path = snapshot(repository, "COMMIT", file)
    stand_ins = "COMMIT and FILE stand" if file == "FILE.gguf" else "COMMIT stands"
    shape = known(repository)
    note = f"{repository} was not looked up on the hub: {stand_ins} for its answer, and the format is a guess"
    return Model(
        asked=model,
        name=model_name(file) if file and file != "FILE.gguf" else repository.rpartition("/")[2],
        path=path,
        identity=f"hub:{repository}",
        config=shape,
        prepared=prepared,
        first=DownloadStep(
            argv=("huggingface-downloader", model),
            output=path,
            is_done=lambda: False,
            fetch=lambda: _fetch_later(hub, model),
            served=bool(prepared),
        ),
        notes=(note if shape is None else note.partition(", and the")[0],),
    )


def _config_of(info: ModelInfo) -> tuple[ModelConfig | None, str, tuple[str, ...]]:
    """The shape with what the weight files say; or why it cannot be read.

    Raises UsageError for an adapter, or another kind of model, which no runtime takes for a language model.
    """
    if not info.config and info.config_missing.startswith("config.json "):
        raise UsageError(f"{info.id}: {info.config_missing}")
    if not info.config:
        reason = getattr(info, "config_missing", "") or "there is none"
        return None, "", (f"its config.json was not read ({reason}): its size is unknown",)
    if "peft_type" in info.config:
        from_hf(info.config, f"{info.id}/adapter_config.json")
    try:
        config = from_hf(info.config, f"{info.id}/config.json", getattr(info, "beside", None))
    except OtherKindError:
        raise
    except JetsonError as error:
        return None, error.message, ()
    held = weight_files.total((entry.name, entry.size) for entry in info.files)
    config = replace(config, silent=config.silent or other_kinds.silent("", "", (entry.name for entry in info.files)))
    return weight_files.checked(config, held), "", ()
