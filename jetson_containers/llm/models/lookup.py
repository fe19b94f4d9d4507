"""What a model's name means: the hub, a directory or GGUF file below data, something prepared earlier, or `tiny`."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from jetson_containers.core.errors import JetsonError, NotReadyError, UsageError
from jetson_containers.hub.transfer.problems import DownloadError
from jetson_containers.hub.transfer.reference import is_wanted, parse
from jetson_containers.llm.models import config as modelconfig
from jetson_containers.llm.models import known as knownmodels
from jetson_containers.llm.models import source as modelsource
from jetson_containers.llm.models import weight_files as weightfiles
from jetson_containers.llm.pipeline import manifest as manifests
from jetson_containers.llm.pipeline import steps as pipeline
from jetson_containers.llm.pipeline.steps import HostStep, Origin
from jetson_containers.llm.runtimes.interface import StepCommand

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jetson_containers.hub import ModelInfo
    from jetson_containers.hub.transfer.model import Entry
    from jetson_containers.hub.transfer.reference import Reference
    from jetson_containers.llm.models.config import ModelConfig

TINY = "/data/models/tiny-llama"
TINY_CONTEXT = 512  # tokens, as make-tiny-model makes it
# What no runtime here reads: other formats of the same weights, and pictures. Safetensors stand in for `.bin`.
NOT_WEIGHTS = (
    "*.gguf", "*.onnx", "onnx/*", "*.msgpack", "*.h5", "*.tflite", "original/*", "*.pth", "consolidated*", "*.png",
    "*.jpg",
)  # fmt: skip
_SHARD = re.compile(r"(?P<stem>.+)-\d{5}-of-(?P<count>\d{5})\.gguf")
_MLC_CONFIG = "mlc-chat-config.json"


class ModelHub(Protocol):
    """What is asked of the model hub; `hub` is the real one."""

    def describe(self, reference: str) -> ModelInfo:
        """Revision, files and config.json of a repository, without its weights. Raises as `hub.describe`."""
        ...

    def download(self, reference: str, *, ignore: tuple[str, ...]) -> Path:
        """Fetch what is missing; the directory or file on the host."""
        ...


@dataclass(frozen=True)
class Model:
    """A model as the pipeline starts from it.

    `path` is where it is, or will be, in the container. `prepared` names the runtime whose own format it is already in.
    `first` is the step that brings it there, with `host` when it is done on the host. `download` is in bytes.
    """

    asked: str
    name: str
    path: str
    identity: str
    config: ModelConfig | None = None
    prepared: str = ""
    first: StepCommand | None = None
    host: HostStep | None = None
    facts: dict[str, Any] = field(default_factory=dict)
    download: int = 0
    files: tuple[str, ...] = ()  # of the checkpoint, where they are known
    max_context: int = 0  # tokens, where no configuration says it
    maker: str = ""  # the runtime that quantized the checkpoint here, as its manifest says
    problem: str = ""  # why there is no `config` although there is a config.json
    kind: str = ""  # the model type it states all the same
    notes: tuple[str, ...] = ()  # what was not looked up

    @property
    def origin(self) -> Origin:
        """What the keys of all steps start from."""
        return Origin(self.path, self.identity)


def find(
    model: str,
    data: Path,
    hub: ModelHub,
    quantization: str = "",
    *,
    known: Callable[[str], ModelConfig | None] | None = None,
) -> Model:
    """Say what a name means. `quantization` chooses among the files of a GGUF repository.

    With `known`, for a dry run, a hub that cannot be asked is no error: the shape is what the table of well-known
    models says, the commit stays open.

    Raises UsageError for a path that is not there, lies outside the data directory or is no model, and what
    `hub.describe` raises for a name of the hub (no such repository, gated, unreachable and not cached).
    """
    if model == "tiny":
        return _tiny()
    path = data / model.removeprefix("/data/").rstrip("/") if model.startswith("/data/") else Path(model.rstrip("/"))
    reference = reference_of(model)
    # A folder that happens to be called as an organisation's model is not meant, where no container could see it.
    if model and path.exists() and (reference is None or _is_below(path, data)):
        return _local(model, path, data)
    if model.startswith(("./", "../", "~/")):
        raise UsageError(f"there is no {model}", hint=f"models are directories or .gguf files below {data}/models")
    if reference is None and not {"/", "@"} & set(model) and knownmodels.full_name(model):
        model = knownmodels.full_name(model)
        reference = reference_of(model)
    if reference is not None:
        try:
            return _of_hub(model, reference, data, hub, quantization)
        except NotReadyError:
            if known is None:
                raise
            return _unasked(model, reference, known)
    raise UsageError(
        f"no model `{model}`",
        hint="give a Hugging Face name (org/model), a well-known name without org, a directory or .gguf file below "
        "data/models, or `tiny`",
    )


def reference_of(model: str) -> Reference | None:
    """What is named at the hub: `org/model`, perhaps with `@revision` or a file of it, or its page; None for a path."""
    if "/" not in model or model.startswith(("/", ".", "~")):
        return None
    try:
        return parse(model)
    except DownloadError:
        return None


def _is_below(path: Path, data: Path) -> bool:
    return path.resolve().is_relative_to(data.resolve())


def _tiny() -> Model:
    make = StepCommand("make", ("make-tiny-model", "{output}"), (), TINY, intermediate=True, packages=("llama_cpp",))
    return Model("tiny", "tiny-llama", TINY, "tiny", first=make, facts={"model": "tiny"}, max_context=TINY_CONTEXT)


def _local(model: str, path: Path, data: Path) -> Model:
    resolved = path.resolve()
    if not _is_below(path, data):
        raise UsageError(
            f"`{model}` is outside the data directory {data}, containers do not see it",
            hint=f"move it below {data}/models, or choose another directory with JETSON_CONTAINERS_DATA",
        )
    inside = "/data/" + str(resolved.relative_to(data.resolve()))
    made = manifests.read(manifests.path_for(resolved))
    facts: dict[str, Any] = {"model": (made.facts.get("model") if made else None) or inside}
    identity = made.key if made else _hub_identity(resolved) or json.dumps(pipeline.identity_of(resolved))
    if resolved.is_file():
        if resolved.suffix != ".gguf":
            raise UsageError(f"`{model}` is no .gguf file and no model directory")
        return Model(model, resolved.stem, inside, identity, prepared="llama_cpp", facts=facts)
    if (resolved / _MLC_CONFIG).is_file() or (resolved / "params" / _MLC_CONFIG).is_file():
        files = tuple(path.name for place in (resolved, resolved / "params") for path in sorted(place.glob("*")))
        return Model(model, resolved.name, inside, identity, prepared="mlc", facts=facts, files=files)
    files = tuple(path.name for path in sorted(resolved.iterdir()))
    if "config.json" not in files and "adapter_config.json" in files:
        place = resolved / "adapter_config.json"
        modelconfig.from_hf(weightfiles.read_json(place), str(place))  # says what it is an adapter of
    weightfiles.refuse_other_kinds(files, model)
    if any(_is_weights(name) for name in files):
        weightfiles.require(files, files, model)
    name = _hub_name(resolved) or resolved.name
    config, problem = read_config(resolved / "config.json")
    kind = str(weightfiles.read_json(resolved / "config.json").get("model_type") or "")
    maker = str(made.facts.get("runtime", "")) if made and config and config.quantized else ""
    return Model(
        model, name, inside, identity, config=config, files=files, facts=facts, maker=maker, problem=problem, kind=kind
    )


def read_config(path: Path) -> tuple[ModelConfig | None, str]:
    """The shape of a local checkpoint; or None and why, where its config.json is not a known decoder's."""
    try:
        return modelsource.of_folder(path.parent), ""
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
    info = hub.describe(model)
    repository = info.id
    # A revision takes part only where it was asked for: a README that changed upstream must not cost 13 GB again.
    identity = f"hub:{repository}" + (f"@{info.commit}" if asked.revision else "")
    names = [entry.name for entry in info.files]
    plain = not info.is_gguf and not asked.file and _MLC_CONFIG not in names
    if plain and "adapter_config.json" not in names:
        weightfiles.refuse_other_kinds(names, model)
    config, problem, notes = _config_of(info) if plain else (None, "", ())
    if not plain:
        config = _config_of(info)[0] if info.config else None
    file = asked.file or (_gguf_for(info, quantization) if info.is_gguf else "")
    if file and file not in names:
        raise UsageError(f"`{repository}` has no file `{file}`", hint=", ".join(sorted(names)[:10]))
    shards = shards_of(file, names)
    file = shards[0] if shards else file  # from the first one llama.cpp finds the others
    ignore = _all_but(shards, names) if shards else () if file else _leave_out(names)
    wanted = [
        entry
        for entry in info.files
        if (entry.name == file if file and not shards else is_wanted(entry.name, (), ignore))
    ]
    if plain:
        weightfiles.require(names, [entry.name for entry in wanted], model)
    single = "" if shards else file
    reference = repository + (f"@{info.commit}" if info.commit else "") + (f"/{single}" if single else "")
    words = ("--include", ",".join(shards)) if shards else ()
    path, place = snapshot(repository, info.commit, file), snapshot(repository, info.commit)
    return Model(
        model,
        called(file) if file else repository.rpartition("/")[2],
        path,
        identity + (f"/{file}" if file else ""),
        config=config,
        prepared="llama_cpp" if file.endswith(".gguf") else "mlc" if _MLC_CONFIG in names else "",
        first=StepCommand("download", ("huggingface-downloader", reference, *words), (), path, intermediate=True),
        host=HostStep(
            is_done=lambda: _is_cached(data / place.removeprefix("/data/"), wanted),
            run=lambda: _check_place(hub.download(reference, ignore=ignore), data, place if shards else path),
        ),
        files=tuple(name for name in names if is_wanted(name, (), ignore)),
        facts={"model": repository, "revision": info.commit, **({"file": file} if file else {})},
        download=sum(entry.size for entry in wanted),
        problem=problem,
        kind=str((info.config or {}).get("model_type") or ""),
        notes=notes,
    )


def shards_of(file: str, names: list[str]) -> tuple[str, ...]:
    """All parts of a GGUF model that is split over several files, the first one first; none for a whole one."""
    part = _SHARD.fullmatch(file)
    if part is None:
        return ()
    matches = ((name, _SHARD.fullmatch(name)) for name in sorted(names))
    return tuple(name for name, other in matches if other and other.groups() == part.groups())


def called(file: str) -> str:
    """What a model in one file, or in several parts, is called."""
    part = _SHARD.fullmatch(file)
    return Path(part["stem"]).name if part else Path(file).stem


def _all_but(kept: tuple[str, ...], names: list[str]) -> tuple[str, ...]:
    from glob import escape

    return tuple(escape(name) for name in names if name not in kept)


def snapshot(repository: str, commit: str, file: str = "") -> str:
    """Where the hub's cache keeps a commit, or one file of it, as containers see it."""
    place = f"/data/models/huggingface/models--{repository.replace('/', '--')}/snapshots/{commit}"
    return f"{place}/{file}" if file else place


def _unasked(model: str, asked: Reference, known: Callable[[str], ModelConfig | None]) -> Model:
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
    note = f"the hub was not asked about {repository}: {stand_ins} for what it would say, and the format is a guess"
    return Model(
        model,
        called(file) if file and file != "FILE.gguf" else repository.rpartition("/")[2],
        path,
        f"hub:{repository}",
        config=shape,
        prepared=prepared,
        first=StepCommand("download", ("huggingface-downloader", model), (), path, intermediate=True),
        notes=(note if shape is None else note.partition(", and the")[0],),
    )


def _gguf_for(info: ModelInfo, quantization: str) -> str:
    """The file with the quantization in a repository of GGUF files. Raises UsageError listing what there is."""
    files = sorted(entry.name for entry in info.files if entry.name.endswith(".gguf") and "mmproj" not in entry.name)
    wanted = (quantization or "Q4_K_M").lower()
    found = [name for name in files if re.search(rf"(?<![a-z0-9]){re.escape(wanted)}(?![a-z0-9_])", name.lower())]
    if len(found) == 1 or (found and "-of-" in found[0]):
        return found[0]
    if len(files) == 1 and not quantization:
        return files[0]
    raise UsageError(
        f"`{info.id}` has {len(found) or 'no'} GGUF file{'s' if len(found) > 1 else ''} with {wanted.upper()}",
        hint="name one: " + ", ".join(f"{info.id}/{name}" for name in files[:8]),
    )


def _leave_out(names: list[str]) -> tuple[str, ...]:
    has_safetensors = any(re.fullmatch(r"(?!adapter_|consolidated)[^/]+\.safetensors", name) for name in names)
    return (*NOT_WEIGHTS, *(("*.bin", "*.pt") if has_safetensors else ()))


def _is_cached(place: Path, wanted: Sequence[Entry]) -> bool:
    """Whether every file that is wanted is there with its size."""
    try:
        return bool(wanted) and all((place / entry.name).stat().st_size == entry.size for entry in wanted)
    except OSError:
        return False


def _check_place(came: Path, data: Path, path: str) -> None:
    expected = data / path.removeprefix("/data/")
    if came.resolve() != expected.resolve():
        raise NotReadyError(f"the download went to {came} instead of {expected}", hint="is HF_HUB_CACHE set elsewhere?")


def _config_of(info: ModelInfo) -> tuple[ModelConfig | None, str, tuple[str, ...]]:
    """The shape with what the weight files say; or why it is not understood, or not to be had.

    Raises UsageError for an adapter, which no runtime takes for a model.
    """
    if not info.config:
        reason = getattr(info, "config_missing", "") or "there is none"
        return None, "", (f"its config.json was not read ({reason}): nothing is known of its size",)
    if "peft_type" in info.config:
        modelconfig.from_hf(info.config, f"{info.id}/adapter_config.json")
    try:
        config = modelconfig.from_hf(info.config, f"{info.id}/config.json", getattr(info, "beside", None))
    except JetsonError as error:
        return None, error.message, ()
    held = weightfiles.total((entry.name, entry.size) for entry in info.files)
    return weightfiles.checked(config, held), "", ()
