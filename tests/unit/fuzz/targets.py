"""The readers of outside data, each with honest inputs to start from and what it may raise.

A reader either gives a value or raises what its docstring names: JetsonError with a sentence, or for the readers of
single values ValueError. Everything else is a defect that a stranger could cause.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jetson_containers.core.errors import JetsonError
from tests.unit.fuzz.mutate import mutated_bytes, mutated_json, mutated_text

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

# ruff: noqa: E501 - the table of honest inputs

HERE = Path(__file__).resolve().parents[1]
ROOT = HERE.parents[1]
DIGEST = "sha256:" + "ab" * 32
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass(frozen=True, kw_only=True)
class Target:
    """`read` takes what `make` made of the seeds; `allowed` is what it may raise."""

    name: str
    seeds: tuple[Any, ...]
    make: Callable[[random.Random, tuple[Any, ...]], Any]
    read: Callable[[Any], object]
    allowed: tuple[type[BaseException], ...] = field(default=(JetsonError,))


def as_json(rng: random.Random, seeds: tuple[Any, ...]) -> bytes:
    """A JSON text like one of the seeds."""
    return mutated_json(rng, rng.choice(seeds))


def as_text(rng: random.Random, seeds: tuple[Any, ...]) -> str:
    """A text like one of the seeds."""
    return mutated_text(rng, rng.choice(seeds), seeds)


def as_bytes(rng: random.Random, seeds: tuple[Any, ...]) -> bytes:
    """Bytes like one of the seeds."""
    return mutated_bytes(rng, rng.choice(seeds))


@cache
def workplace() -> Path:
    """A folder of this process for readers that want a file; it goes with the process."""
    folder = tempfile.TemporaryDirectory(prefix="jetson-containers-fuzz-")
    _KEPT.append(folder)
    return Path(folder.name)


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def written(data: Any, name: str = "input") -> Path:
    """The input as a file."""
    path = workplace() / name
    path.write_bytes(data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass"))
    return path


# upstream


def _index_files(data: bytes) -> object:
    from jetson_containers.updates.index import final_versions

    return final_versions(data)


def _index_vulnerabilities(data: bytes) -> object:
    from jetson_containers.updates.index import known_vulnerabilities

    return known_vulnerabilities(data)


def _tags(text: str) -> object:
    from jetson_containers.updates.tags import newest_like

    words = text.split()
    return [newest_like(word, words) for word in words[:3]]


# signatures

_PUBLIC_KEY = """-----BEGIN PUBLIC KEY-----
MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAELigCnlLNKgOglRTx1D7JhI7eRw99
QolE9Jo4QUxnbMy5nUuBL+UZF9qqfm/Dg1BNeHRThHzWh2ki9vAEgWEDOw==
-----END PUBLIC KEY-----
"""


def _signature_list(data: bytes) -> object:
    from jetson_containers.core import checked, json_text
    from jetson_containers.signing.signatures import listed

    return listed(checked.mapping(json_text.parse(data)))


def _signature_payload(data: bytes) -> object:
    from jetson_containers.signing.signatures import signed_digest

    return signed_digest(data)


def _sealed_key(data: bytes) -> object:
    from jetson_containers.signing.keys import Sealed

    return Sealed.parse(data)


def _public_key(text: str) -> object:
    from jetson_containers.signing.keys import PublicKey

    return PublicKey.read(written(text)).verifies(b"signature", b"payload")


# registries


class _Answers:
    """A transport that gives one body to every question."""

    def __init__(self, bodies: tuple[bytes, ...], headers: dict[str, str] | None = None) -> None:
        self.bodies, self.headers, self.asked = bodies, headers or {}, 0

    def base_url(self, host: str) -> str:
        return f"https://{host}"

    def check_url(self, url: str) -> None:
        """Every address is allowed."""

    def request(self, method: str, url: str, *, want_json: bool = False, **_: Any) -> Any:
        from jetson_containers.registry.http import Response
        from jetson_containers.registry.types import UnreachableError

        body = self.bodies[min(self.asked, len(self.bodies) - 1)]
        self.asked += 1
        answer = Response(status=200, headers=self.headers, body=body, url=url)
        if want_json:
            try:
                answer.json()
            except ValueError:
                raise UnreachableError("the answer is not JSON", hint="") from None
        return answer


def _client(*bodies: bytes, **headers: str) -> Any:
    from jetson_containers.registry.client import RegistryClient

    return RegistryClient(_Answers(bodies, headers), lambda _host: None)  # type: ignore[arg-type]


def _repository() -> Any:
    from jetson_containers.registry.types import ImageRepository

    return ImageRepository.parse("registry.local:5000/team/mlc")


def _registry_tags(data: bytes) -> object:
    return [_client(data).tags(_repository()), _client(data).repositories(_repository())]


def _registry_inspect(data: bytes) -> object:
    from jetson_containers.images import labels

    found = _client(data).inspect(_repository(), "latest", "arm64")
    return found and labels.read(found.labels)


def _registry_config(data: bytes) -> object:
    import hashlib

    from jetson_containers.images import compat, labels
    from jetson_containers.images.name import ImageName

    digest = "sha256:" + hashlib.sha256(data).hexdigest()
    manifest = {"mediaType": "application/vnd.oci.image.manifest.v1+json", "config": {"digest": digest, "size": 7}}
    found = _client(json.dumps(manifest).encode(), data).inspect(_repository(), "latest", "arm64")
    if found is None:
        return None
    facts = compat.facts_of(ImageName.parse("mlc:0.20.0-r36.4"), found.labels, docker_arch=found.architecture)
    return labels.read(found.labels), compat.compatible(facts, _orin())


def _hub_listing(data: bytes) -> object:
    from jetson_containers.registry import dockerhub

    return dockerhub.list_tags(_Answers((data, b'{"results": []}')), _repository())  # type: ignore[arg-type]


def _hub_repositories(data: bytes) -> object:
    from jetson_containers.registry import dockerhub

    return dockerhub.list_repositories(_Answers((data, b'{"results": []}')), "team")  # type: ignore[arg-type]


def _kept_listing(data: bytes) -> object:
    from jetson_containers.registry.listing import Listings
    from jetson_containers.registry.types import RegistryError

    listings = Listings(workplace() / "lists", _no_client, offline=True)
    path = listings._path(_repository())
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    try:
        return listings.get(_repository())
    except RegistryError:
        return None


def _no_client() -> Any:
    raise AssertionError("offline asks nobody")


def _docker_config(data: bytes) -> object:
    from jetson_containers.core.docker_login import docker_credentials

    written(data, "config.json")
    return docker_credentials("registry.local:5000", {"DOCKER_CONFIG": str(workplace()), "PATH": "/nowhere"})


def _challenge(text: str) -> object:
    from jetson_containers.registry.auth import parse_challenge

    return parse_challenge(text)


@cache
def _orin() -> Any:
    from jetson_containers.platforms.detect import parse_target

    return parse_target("r36.4.0")


# models and hub


def _model_config(data: bytes) -> object:
    from jetson_containers.llm.fit import weights
    from jetson_containers.llm.models import shape

    return weights.stored_bytes(shape._of_json(written(data, "config.json"), "m").config)


def _gguf(data: bytes) -> object:
    from jetson_containers.llm.models import gguf

    return gguf.model_config(gguf.parse(data))


def _weight_index(data: bytes) -> object:
    from jetson_containers.llm.models import weight_files

    folder = workplace() / "checkpoint"
    folder.mkdir(exist_ok=True)
    (folder / "model.safetensors.index.json").write_bytes(data)
    return weight_files.in_folder(folder)


def _hub_reference(text: str) -> object:
    from jetson_containers.hub.transfer import reference

    return reference.parse(text)


def _hub_tree(data: bytes) -> object:
    from jetson_containers.hub.transfer.reference import parse
    from jetson_containers.hub.transfer.store import CachedRepository

    store = CachedRepository(workplace() / "hub", parse("org/model"))
    place = store.path / "trees" / f"{COMMIT}.json"
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(data)
    return store.listing(COMMIT)


def _hub_entries(data: bytes) -> object:
    from jetson_containers.hub.transfer import entries

    try:
        rows = json.loads(data)
    except (ValueError, RecursionError):
        return None
    rows = rows if isinstance(rows, list) else [rows]
    return entries.checked_entries(
        entries.checked_entry(*((row[:4] if isinstance(row, list) else [row, 1, 2, 3]) + [None] * 3)[:4])
        for row in rows
    )


def _manifest(data: bytes) -> object:
    from jetson_containers.llm.pipeline import manifest

    return manifest.read(written(data, "model.gguf.manifest.json"))


def _prompts(data: bytes) -> object:
    from jetson_containers.llm import bench

    return bench.read_prompts(written(data, "prompts.json"))


def _server_events(data: bytes) -> object:
    from jetson_containers.llm import client

    return list(client.events([b"data: " + data + b"\n", b"data: [DONE]\n"]))  # type: ignore[arg-type]


def _server_request(data: bytes) -> object:
    from jetson_containers.container_scripts.openai_protocol import CompletionRequest

    try:
        body = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(body, dict):
        return None
    return [_refused(lambda chat=chat: CompletionRequest(body, model_id="m", chat=chat)) for chat in (True, False)]  # type: ignore[misc,call-arg]


def _refused(read: Callable[[], object]) -> object:
    from jetson_containers.container_scripts.openai_protocol import BadRequest

    try:
        return read()
    except BadRequest as error:
        return error


def _model_name(text: str) -> object:
    from jetson_containers.llm.models import lookup

    return lookup.split_quantization(text), lookup.reference_of(text)


# models of other sources


def _source_name(text: str) -> object:
    from jetson_containers.sources import names

    found = names.elsewhere(text)
    if found is not None:
        again = names.of_folder(found.source, found.folder)
        assert again is not None
        assert again.folder == found.folder
        assert "/" not in found.folder
    return found, names.of_hub(text), names.has_tags(text)


def _source_folder(text: str) -> object:
    from jetson_containers.sources import names

    return [names.of_folder(source, text) for source in names.SOURCES]


def _source_manifest(name: str) -> Callable[[bytes], object]:
    """A reader of manifests that a registry gives for a model; its configuration is the same bytes."""

    def read(data: bytes) -> object:
        from jetson_containers.sources import names
        from jetson_containers.sources.oci import ArtifactSource
        from jetson_containers.sources.ollama import OllamaSource

        reference = names.parse(name)
        assert reference is not None
        kind = OllamaSource if reference.source == names.OLLAMA else ArtifactSource
        return kind(_client(data), reference.host, say=lambda _text: None).files_of(reference)

    return read


def _source_files(data: bytes) -> object:
    from jetson_containers.sources import modelscope

    files, commit = modelscope.read_files(data)
    return commit or modelscope.made_commit(files)


# names, versions, platforms


def _image_name(text: str) -> object:
    from jetson_containers.images import compat
    from jetson_containers.images.name import ImageName

    name = ImageName.parse(text)
    return name, compat.compatible(compat.facts_of(name), _orin())


def _labels(data: bytes) -> object:
    from jetson_containers.images import compat, labels
    from jetson_containers.images.name import ImageName

    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    found = (
        {str(key): value if isinstance(value, str) else json.dumps(value) for key, value in found.items()}
        if isinstance(found, dict)
        else {}
    )
    return labels.read(found), compat.compatible(compat.facts_of(ImageName.parse("mlc:latest"), found), _orin())


def _target(text: str) -> object:
    from jetson_containers.platforms.target import from_target

    return from_target(text)


def _versions(text: str) -> object:
    from jetson_containers.core import versions

    return (
        versions.pep440(text),
        versions.version_key(text),
        versions.same_version("1.0", text),
        versions.in_series(text, "1.0"),
    )


def _rule(text: str) -> object:
    from jetson_containers.recipes import rules

    return rules.check(text, _orin())


def _dependency(text: str) -> object:
    from jetson_containers.recipes.requirement import Dependency

    return Dependency.parse(text, patterns=True).accepts("1.2.3")


def _host(text: str) -> object:
    from jetson_containers.platforms import host

    root = workplace() / "host"
    for name in (
        "etc/os-release",
        "etc/nv_tegra_release",
        "proc/meminfo",
        "usr/local/cuda/version.json",
        "proc/driver/nvidia/version",
    ):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return host.read(root)


# settings and files of ours


def _settings(text: str) -> object:
    from jetson_containers.core import settings

    return settings.load({}, env={}, files=(written(text, "config.yaml"),), root=workplace())


def _settings_environment(data: bytes) -> object:
    from jetson_containers.core import settings

    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    env = {str(name): str(value).replace("\0", "") for name, value in found.items()}
    return settings.load({}, env=env, files=(), root=workplace())


def _dotenv(text: str) -> object:
    from jetson_containers.core import settings

    return settings.read_dotenv(written(text, ".env"))


def _build_state(data: bytes) -> object:
    from jetson_containers.builder.state import BuildState

    state = BuildState(workplace() / "state")
    state.file.parent.mkdir(parents=True, exist_ok=True)
    state.file.write_bytes(data)
    return state.seconds, state.sizes


def _base_record(data: bytes) -> object:
    from jetson_containers.builder import known_base
    from jetson_containers.core import settings

    folder = workplace() / "cache"
    folder.mkdir(exist_ok=True)
    (folder / known_base.RECORD).write_bytes(data)
    return known_base.predict(_orin(), settings.load({"cache": str(folder)}, env={}, files=()))


def _log(text: str) -> object:
    from jetson_containers.core import diagnosis

    lines = text.splitlines()
    return diagnosis.diagnose(lines, exit_code=1), diagnosis.relevant(lines)


# engines


def _engine_image(data: bytes) -> object:
    from jetson_containers.engine.probe import ProbeAnswer
    from jetson_containers.engine.queries import Queries, local_image

    answer = ProbeAnswer(exit_code=0, out=data.decode("utf-8"), err="")
    return [local_image(found) for found in Queries(lambda *_: answer)._inspect("x")]


def _engine_message(text: str) -> object:
    from jetson_containers.engine.messages import translate

    return translate(text, "building")


def _bake_progress(data: bytes) -> object:
    from jetson_containers.engine.bake_progress import BakeProgress

    progress = BakeProgress(["a", "b"], lambda *_: None, lambda *_: None)
    progress.line(data.decode("utf-8"))
    return progress.failed(), progress.finished()


def _cdi(text: str) -> object:
    from jetson_containers.engine.cdi import _devices_of

    return _devices_of(written(text, "nvidia.yaml"))


def _image_check(data: bytes) -> object:
    from jetson_containers.builder import image_check

    return image_check.judge(image_check.parse(data.decode("utf-8")), [87], cuda=None, tegra=True)


def _docker_options(text: str) -> object:
    from jetson_containers.launch import docker_options

    return docker_options.parse(text.split(" "))


# recipes


def _dockerfile(text: str) -> object:
    from jetson_containers.dockerfile import inject, parser

    steps = parser.parse(text)
    return [
        parser.stages(steps), [(step.words, step.flags) for step in steps], inject.layer_count(text), inject.declared_args(text),
        inject.canonical(text), inject.prepare(text, mounts=True), inject.with_jobs(text), inject.check_rights(text),
    ]  # fmt: skip


def _recipe_header(text: str) -> object:
    from jetson_containers.recipes import reader

    return reader.read_header(text.encode("utf-8", "replace").decode(), Path("Dockerfile"))  # files hold nothing else


def _recipe(text: str) -> object:
    from jetson_containers.recipes import package, reader

    folder = workplace() / "tree" / "recipe"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = reader.read_directory(folder, tree=folder.parent)
    return found and package.render(found, _orin())


def _recipe_config(text: str) -> object:
    from jetson_containers.recipes import package, reader

    folder = workplace() / "tree" / "configured"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN true\n")
    (folder / "config.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    found = reader.read_directory(folder, tree=folder.parent)
    return found and package.render(found, _orin())


def _upstream_json(data: bytes) -> object:
    from jetson_containers.recipes.upstream.data import definition

    return definition(written(data, "config.json"), workplace())


def _template(text: str) -> object:
    from jetson_containers.recipes import templating

    return templating.render(text, templating.context(_orin(), "1.2.3"))


def _shell(text: str) -> object:
    from jetson_containers.lint import shell

    return shell.commands(text), shell.assignments(shell.commands(text))


def _lock(text: str) -> object:
    from jetson_containers.recipes import locks

    return locks.pins(text)


def _build_record(data: bytes) -> object:
    """Read a record, show it, and compare it with an honest one in both directions."""
    from jetson_containers.builder import records
    from jetson_containers.pages import build_report
    from tests.unit.pages.made_builds import usual

    path = workplace() / "record.json"
    path.write_bytes(data)
    found = records.read(path)
    build_report.text(usual(), found, {})
    return build_report.text(found, usual(), {})


def _mirrors(data: bytes) -> object:
    from jetson_containers.core import mirrors

    return mirrors.parse(data.decode("utf-8"))


# honest inputs

_MODEL = {
    "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "hidden_size": 2048, "intermediate_size": 6144,
    "num_hidden_layers": 4, "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "vocab_size": 151936,
    "num_experts": 128, "num_experts_per_tok": 8, "moe_intermediate_size": 768, "decoder_sparse_step": 1, "mlp_only_layers": [],
    "tie_word_embeddings": False, "torch_dtype": "bfloat16", "max_position_embeddings": 40960, "sliding_window": None,
    "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 128, "config_groups": {"g": {"weights": {"num_bits": 4}}}},
}  # fmt: skip
_MODEL_NESTED = {
    "architectures": ["Gemma3nForConditionalGeneration"], "model_type": "gemma3n",
    "text_config": {
        "model_type": "gemma3n_text", "hidden_size": 2048, "intermediate_size": [8192, 8192, 8192, 8192], "num_hidden_layers": 4,
        "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 256, "vocab_size": 262400, "vocab_size_per_layer_input": 262144,
        "hidden_size_per_layer_input": 256, "layer_types": ["sliding_attention", "full_attention"] * 2, "sliding_window": 512,
        "num_kv_shared_layers": 2, "laurel_rank": 64, "altup_num_inputs": 4,
    },
    "vision_config": {"hidden_size": 2048, "num_hidden_layers": 2}, "audio_config": {"hidden_size": 1536, "conf_num_hidden_layers": 2},
}  # fmt: skip
_PLATFORM = {
    "l4t": "36.4.0",
    "jetpack": "6.1",
    "cuda": "12.6",
    "arch": "aarch64",
    "python": "3.10",
    "distro": "22.04",
    "sm": [87],
}
_LABELS = {
    "io.jetson-containers.role": "final", "io.jetson-containers.name": "mlc:0.20.0", "io.jetson-containers.key": "ab" * 32,
    "io.jetson-containers.packages": '["mlc:0.20.0","python:3.10"]', "io.jetson-containers.platform": json.dumps(_PLATFORM),
    "io.jetson-containers.tests": '{"test.sh": {"exit": 0}}', "org.opencontainers.image.ref.name": "mlc:0.20.0",
}  # fmt: skip
_IMAGE = {
    "Id": DIGEST, "RepoTags": ["mlc:r36.4"], "RepoDigests": [f"mlc@{DIGEST}"], "Created": "2026-11-01T00:00:00Z", "Size": 5,
    "Architecture": "arm64", "Config": {"Labels": _LABELS, "Env": ["A=b"], "Cmd": ["sh"]},
}  # fmt: skip
_HEADER = """#---
# name: thing
# group: llm
# alias: [other, more]
# requires: ['>=r36', '>=py310']
# depends: [python, 'numpy>=1.26', cuda]
# test: test.sh
# docs: |
#   A thing. `{{ version }}`
#---
ARG BASE_IMAGE
FROM ${BASE_IMAGE} AS base
ARG THING_VERSION MAX_JOBS
ENV A=b "C=d e"
RUN --mount=type=cache,target=/root/.cache <<EOF
pip install thing==$THING_VERSION
EOF
COPY --from=base --chown=0:0 ["a", "/b"]
RUN ["sh", "-c", "make -j$MAX_JOBS"] \\
    && true
"""
_CONFIG = """args:
  THING_VERSION: "{{ version }}"
depends: [python]
memory_per_job: 1.5G
timeout: 2h
versions:
  - version: 1.2.0
    default: '>=r36'
    aliases: [old]
    requires: ['>=cu126', '!=sm72']
    args: {A: "{{ cuda }}"}
    source: {git: https://example.org/x, commit: 0123456789abcdef0123456789abcdef01234567}
  - version: 1.1.0
    requires: cpu
variants:
  - name: slim
    args: {B: 1}
"""
_PYTHON_LOCK = (
    "# made by\nnumpy==1.26.4 \\\n    --hash=sha256:"
    + "ab" * 32
    + "\nother @ https://example.org/o.whl --hash=sha256:"
    + "cd" * 32
    + "\n"
)
_LOG = """Step 3/7 : RUN pip install thing
 ---> Running in 0123456789ab
Collecting thing
  Downloading thing-1.0.whl (10 MB) 50% ETA 0:01
ERROR: Could not find a version that satisfies the requirement thing (from versions: none)
c++: fatal error: Killed signal terminated program cc1plus
The command '/bin/sh -c pip install thing' returned a non-zero code: 1
"""


def _record() -> dict[str, Any]:
    from tests.unit.pages.made_builds import usual

    return json.loads(json.dumps(usual().to_json()))  # type: ignore[no-any-return]


@cache
def _gguf_seeds() -> tuple[bytes, ...]:
    return ((HERE / "gguf" / "by-gguf-py.gguf").read_bytes()[:65536],)


def targets() -> tuple[Target, ...]:
    """All of them."""
    value_error = (JetsonError, ValueError)
    from jetson_containers.hub.transfer.entries import ListingError
    from jetson_containers.hub.transfer.errors import DownloadError
    from jetson_containers.recipes.templating import TemplateFailure

    def row(name: str, seeds: Any, make: Any, read: Any, allowed: Any = (JetsonError,)) -> Target:
        return Target(name=name, seeds=tuple(seeds), make=make, read=read, allowed=allowed)

    oci = "application/vnd.oci.image.manifest.v1+json"
    manifest = {"mediaType": oci, "config": {"digest": DIGEST, "size": 7}, "layers": [{"digest": DIGEST, "size": 9}]}
    index = {
        "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"digest": DIGEST, "platform": {"architecture": "arm64", "os": "linux"}}],
    }
    hub_row = {
        "name": "r36.4.0", "tag_last_pushed": "2026-01-02T03:04:05Z", "full_size": 5, "digest": DIGEST,
        "images": [{"architecture": "arm64", "size": 5, "digest": DIGEST}],
    }  # fmt: skip
    kept = {
        "schema": 1, "repository": "registry.local:5000/team/mlc", "fetched": "2026-01-02T03:04:05Z", "etag": "x",
        "tags": [{"tag": "r36.4.0", "pushed": "2026-01-02", "bytes": 5, "arch": "arm64", "digest": DIGEST, "labels": _LABELS}],
    }  # fmt: skip
    return (
        row("registry-tags", [{"name": "x", "tags": ["r36.4.0", "latest"], "repositories": ["team/mlc"]}], as_json, _registry_tags),
        row("registry-manifest", [manifest, index], as_json, _registry_inspect),
        row("registry-config", [{"architecture": "arm64", "created": "2026", "config": {"Labels": _LABELS}}], as_json, _registry_config),
        row("registry-hub-listing", [{"results": [hub_row], "next": "https://x/y?page=2"}], as_json, _hub_listing),
        row("registry-hub-names", [{"results": [{"name": "mlc", "pull_count": 5}], "next": None}], as_json, _hub_repositories),
        row("registry-kept-listing", [kept], as_json, _kept_listing),
        row("registry-challenge", ['Bearer realm="https://a/t",service="r",scope="repository:x:pull"', 'Basic realm="x"'], as_text, _challenge),
        row("docker-config", [{"auths": {"registry.local:5000": {"auth": "YTpi"}}, "credHelpers": {"x": "y"}, "credsStore": "z"}], as_json, _docker_config),
        row("model-config", [_MODEL, _MODEL_NESTED], as_json, _model_config),
        row("model-gguf", _gguf_seeds(), as_bytes, _gguf),
        row("model-weight-index", [{"metadata": {"total_size": 5}, "weight_map": {"a": "model-00001-of-00002.safetensors"}}], as_json, _weight_index),
        row("model-name", ["org/model:Q4_K_M", "hf.co/org/model@main", "llama3.2:1b", "https://x/y/z.gguf", "ms://a/b"], as_text, _model_name, (JetsonError, DownloadError)),
        row("hub-reference", ["org/model", "hf://org/model@rev/path/file.gguf", "https://x.y/org/model/tree/main"], as_text, _hub_reference, (DownloadError,)),
        row("hub-kept-list", [{"format_version": 1, "files": {"a.json": {"size": 5, "blob_id": COMMIT}, "b/c.gguf": {"lfs_size": 9, "size": 1, "blob_id": COMMIT, "lfs_sha256": "ab" * 32}}}], as_json, _hub_tree, (DownloadError,)),
        row("hub-entries", [[["a.json", 5, COMMIT, None], ["b/c.gguf", 9, COMMIT, "ab" * 32]]], as_json, _hub_entries, (ListingError,)),
        row("llm-manifest", [{"step": "quantize", "key": "k", "files": {"": {"size": 5, "sha256": "ab" * 32}}, "seconds": 2}], as_json, _manifest),
        row("llm-prompts", [["a", {"text": "b"}, {"prompt": "c"}]], as_json, _prompts),
        row("llm-server-events", [{"choices": [{"delta": {"content": "x"}, "finish_reason": None}], "usage": {"prompt_tokens": 5}}], as_json, _server_events),
        row("llm-server-request", [{"model": "m", "messages": [{"role": "user", "content": [{"type": "text", "text": "x"}]}], "prompt": "p", "max_tokens": 5, "stop": ["a"], "stream": True, "stream_options": {}}], as_json, _server_request),
        row("source-name", ["ollama://llama3.2:1b", f"oci://ghcr.io/a/b:1@{DIGEST}", "ms://org/name@v1/x.gguf", "llama3.2:1b", "https://modelscope.cn/models/a/b/file/view/v1/c"], as_text, _source_name),
        row("source-folder", ["registry.ollama.ai+library+llama3.2+1b", "a~5000+b+sha256~" + "ab" * 32, "modelscope.cn+org+name"], as_text, _source_folder),
        row("source-ollama-manifest", [{"layers": [{"mediaType": "application/vnd.ollama.image.model", "digest": DIGEST, "size": 5}, {"mediaType": "application/vnd.ollama.image.license", "digest": DIGEST, "size": 5}], "config": {"digest": DIGEST, "size": 7}}], as_json, _source_manifest("ollama://llama3.2:1b"), (JetsonError, DownloadError)),
        row("source-oci-manifest", [{"layers": [{"mediaType": "application/vnd.docker.ai.gguf.v3", "digest": DIGEST, "size": 5}, {"mediaType": "a/b", "digest": DIGEST, "size": 5, "annotations": {"org.opencontainers.image.title": "x.gguf"}}], "config": {"digest": DIGEST, "size": 7}}], as_json, _source_manifest("oci://ghcr.io/a/b:1"), (JetsonError, DownloadError)),
        row("source-modelscope-files", [{"Code": 200, "Data": {"Files": [{"Path": "a/b.gguf", "Type": "blob", "Size": 5, "Sha256": "ab" * 32, "Revision": COMMIT}], "LatestCommitter": {"Id": "", "ShortId": "01234567"}}}], as_json, _source_files, value_error),
        row("image-name", ["dustynv/mlc:0.1.0-r36.2.0", "registry:5000/x/llama_cpp:b9016-r36.4-cu126-22.04", f"a/b@{DIGEST}"], as_text, _image_name, value_error),
        row("image-labels", [_LABELS], as_json, _labels),
        row("platform-target", ["r36.4.0-cu126-py3.10", "x86_64,cu128", "jp6.1,orin-nx-16gb", "sbsa,ubuntu24.04"], as_text, _target),
        row("version", ["1.2.3", "b9016", "2.5.0.post1+cu126", "humble-desktop"], as_text, _versions),
        row("recipe-rule", [">=r36", "!=sm72", "==36.4.*", "jp6", "ubuntu22.04", ">=cu126,<cu130"], as_text, _rule),
        row("recipe-dependency", ["numpy>=1.26,<2", "tvm:0.24.dev0", "python*"], as_text, _dependency, value_error),
        row("host-files", ["# R36 (release), REVISION: 4.0, GCID: 1", 'ID=ubuntu\nVERSION_ID="22.04"', "MemTotal: 5 kB", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  570.124.06  x"], as_text, _host),
        row("settings-file", ["jobs: 4\noffline: true\nregistries: [docker.io/dustynv]\nmirrors: {git: {'https://a/': 'https://b/'}}\ncache: /x"], as_text, _settings),
        row("settings-environment", [{"JETSON_CONTAINERS_JOBS": "4", "JETSON_CONTAINERS_OFFLINE": "1", "MAX_JOBS": "2"}], as_json, _settings_environment),
        row("settings-dotenv", ["A=b\nexport C='d e'\n# x\nHF_TOKEN=\"x\""], as_text, _dotenv),
        row("build-state", [{"seconds": {"a": 5.5}, "sizes": {"a": 10}}], as_json, _build_state),
        row("base-image-record", [{"ubuntu:22.04": {"reference": "a", "digest": DIGEST, "made": True, "distro": "ubuntu", "version": "22.04", "origin": "x"}}], as_json, _base_record),
        row("build-log", [_LOG], as_text, _log),
        row("engine-image", [_IMAGE], as_json, _engine_image),
        row("engine-message", [_LOG, "Error response from daemon: No such image: x", "permission denied while trying to connect"], as_text, _engine_message),
        row("engine-bake-progress", [{"vertexes": [{"digest": DIGEST, "name": "[a 1/2] RUN x", "started": "2026-01-02T03:04:05.1Z", "completed": "2026-01-02T03:04:06Z", "error": ""}], "logs": [{"vertex": DIGEST, "data": "eA=="}]}], as_json, _bake_progress),
        row("image-check-answer", [{"files": 5, "missing": {"/a": ["b.so"]}, "programs": ["x"], "gpu_code": {"/a": {"code": ["sm_87"], "ptx": ["90"]}}, "imports": {"torch": {"status": "ok", "said": ""}}, "complete": True}], as_json, _image_check),
        row("cdi-specification", ["cdiVersion: 0.5.0\nkind: nvidia.com/gpu\ndevices:\n- name: '0'\n- name: all\n"], as_text, _cdi),
        row("docker-options", ["-it --rm -v /a:/b --gpus all -e A=b --mount type=bind,src=/a,dst=/b image cmd -x"], as_text, _docker_options),
        row("dockerfile", [_HEADER], as_text, _dockerfile),
        row("recipe-header", [_HEADER], as_text, _recipe_header),
        row("recipe", [_HEADER], as_text, _recipe),
        row("recipe-config", [_CONFIG], as_text, _recipe_config),
        row("recipe-upstream-json", [{"name": "x", "alias": ["y"], "depends": ["python"], "dockerfile": "Dockerfile", "build_args": {"A": "b"}, "requires": ">=36", "test": ["t.sh"]}], as_json, _upstream_json),
        row("recipe-template", ["{{ version }}{% if cuda %}x{% endif %}", "{% for i in sm %}{{ i }}{% endfor %}"], as_text, _template, (JetsonError, TemplateFailure)),
        row("build-record", [_record()], as_json, _build_record),
        row("recipe-lock", [_PYTHON_LOCK], as_text, _lock),
        row("lint-shell", ['set -e; A=b make -j4 <<EOF > x\ny\nEOF\nfor i in a b; do echo "$(x $i)"; done'], as_text, _shell),
        row("index-files", [{"files": [{"filename": "a_b-1.2-py3-none-any.whl", "yanked": False}, {"filename": "a-2.0rc1.tar.gz", "yanked": "broken"}]}], as_json, _index_files, value_error),
        row("index-vulnerabilities", [{"vulnerabilities": [{"id": "PYSEC-2026-1", "withdrawn": None, "fixed_in": ["1.3"]}]}], as_json, _index_vulnerabilities, value_error),
        row("git-tags", ["v1.2 v1.10 b9016 release-3.0.0 nightly", "r36.4.0 1.0 1.0.0"], as_text, _tags, ()),
        row("signature-list", [{"layers": [{"mediaType": "application/vnd.dev.cosign.simplesigning.v1+json", "size": 200, "digest": DIGEST, "annotations": {"dev.cosignproject.cosign/signature": "AAAA"}}]}], as_json, _signature_list, value_error),
        row("signature-payload", [{"critical": {"identity": {"docker-reference": "a/b"}, "image": {"docker-manifest-digest": DIGEST}, "type": "cosign container image signature"}, "optional": None}], as_json, _signature_payload, value_error),
        row("signature-private-key", [{"kdf": {"name": "scrypt", "params": {"N": 65536, "r": 8, "p": 1}, "salt": "AAAA"}, "cipher": {"name": "nacl/secretbox", "nonce": "A" * 32}, "ciphertext": "AAAA"}], as_json, _sealed_key, value_error),
        row("signature-public-key", [_PUBLIC_KEY], as_text, _public_key),
        row("mirrors-setting", [{"git": {"https://a/": "https://b/"}, "python": "https://c/"}], as_json, _mirrors, (JetsonError, ValueError, TypeError)),
    )  # fmt: skip
