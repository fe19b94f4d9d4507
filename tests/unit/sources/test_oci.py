"""Artifacts of registries of containers, from a server that speaks their protocol."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.unit.sources.helpers import WEIGHTS, run

if TYPE_CHECKING:
    from tests.modelserver import ModelServer

Capture = pytest.CaptureFixture[str]
GGUF = "application/vnd.docker.ai.gguf.v3"
RAW = "application/octet-stream"
TITLE = "org.opencontainers.image.title"


def files_of(item: dict[str, Any]) -> list[str]:
    return sorted(file["name"] for file in item["files"])


@pytest.mark.usefixtures("data")
def test_oci_model_of_docker_is_downloaded_with_its_template(capsys: Capture, server: ModelServer) -> None:
    """The GGUF layer, the license and the chat template of a Docker model arrive under names that say what it is."""
    layers = [
        server.layer(GGUF, WEIGHTS),
        server.layer("application/vnd.docker.ai.license", b"MIT"),
        server.layer("application/vnd.docker.ai.license", b"BSD"),
        server.layer("application/vnd.docker.ai.chat.template.jinja", b"{{ x }}"),
        server.layer("application/vnd.docker.ai.unknown", b"?"),
    ]
    config = server.layer("application/vnd.docker.ai.model.config.v0.1+json", b'{"config": {"quantization": "Q8_0"}}')
    server.add_manifest("ai/smollm2", "135M", layers, config=config)
    server.token_wanted = True
    (item,) = json.loads(run(capsys, "download", f"oci://{server.host}/ai/smollm2:135M", "--json")[0])
    assert files_of(item) == ["LICENSE", "LICENSE.2", "chat_template.jinja", "smollm2-135M-Q8_0.gguf"]
    assert Path(item["path"], "smollm2-135M-Q8_0.gguf").read_bytes() == WEIGHTS


@pytest.mark.usefixtures("data")
def test_oci_artifact_of_oras_is_known_by_its_title(capsys: Capture, server: ModelServer) -> None:
    """A layer whose annotation names a .gguf file is one, whatever its media type."""
    layers = [
        server.layer(RAW, WEIGHTS, annotations={TITLE: "dir/model.GGUF"}),
        server.layer(RAW, b"x", annotations={TITLE: "README.md"}),
    ]
    digest = server.add_manifest("team/model", "v1", layers)
    (item,) = json.loads(run(capsys, "download", f"oci://{server.host}/team/model@{digest}", "--json")[0])
    assert files_of(item) == ["model.gguf"]
    run(capsys, "llm", "rm", "-y", f"oci://{server.host}/team/model@{digest}")


@pytest.mark.usefixtures("data")
@pytest.mark.parametrize("titled", [True, False])
def test_oci_split_model_is_served_from_its_first_part(capsys: Capture, server: ModelServer, titled: bool) -> None:
    """Several layers of weights are the parts of one model, from the first of which llama.cpp finds the others."""
    layers = []
    for number in (1, 2):
        name = f"big-{number:05d}-of-00002.gguf"
        more = {"annotations": {TITLE: name}} if titled else {}
        layers.append(server.layer(GGUF, WEIGHTS + bytes([number]), **more))
    server.add_manifest("ai/big", "70b", layers)
    argv = (
        "llm",
        "chat",
        f"oci://{server.host}/ai/big:70b",
        "--prompt",
        "hi",
        "--dry-run",
        "--json",
        "--target",
        "cpu",
    )
    artifact = json.loads(run(capsys, *argv)[0])["artefact"]
    assert artifact.endswith("/big-00001-of-00002.gguf" if titled else "/big-70b-00001-of-00002.gguf")


@pytest.mark.usefixtures("data")
def test_oci_index_of_one_artifact_stands_for_it(capsys: Capture, server: ModelServer) -> None:
    """An index with one entry is followed, its digest compared; one with several is refused."""
    digest = server.add_manifest("ai/x", "inner", [server.layer(GGUF, WEIGHTS)])
    server.add_body("ai/x", "one", json.dumps({"manifests": [{"digest": digest}]}).encode())
    server.add_body("ai/x", "two", json.dumps({"manifests": [{"digest": digest}] * 2}).encode())
    assert run(capsys, "download", f"oci://{server.host}/ai/x:one")[0]
    _, err = run(capsys, "download", f"oci://{server.host}/ai/x:two", code=4)
    assert "stands for 2 images" in err
    server.manifests["ai/x", digest] = server.manifests["ai/x", "two"]
    server.manifests["ai/x", "other"] = server.manifests["ai/x", "one"]
    _, err = run(capsys, "download", f"oci://{server.host}/ai/x:other", code=4)
    assert "does not have that content" in err


@pytest.mark.parametrize(
    ("layer", "words", "code"),
    [
        ({"annotations": {TITLE: "../../../etc/cron.d/x.gguf"}}, "is not a relative path", 1),
        ({"annotations": {TITLE: "/etc/x.gguf"}}, "is not a relative path", 1),
        ({"annotations": {TITLE: "a\\b.gguf"}}, "is not a relative path", 1),
        ({"annotations": {TITLE: 7}}, "no text where one is expected", 1),
        (
            {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "annotations": {TITLE: "x.gguf"}},
            "no GGUF file",
            3,
        ),
        ({"mediaType": "application/vnd.docker.ai.safetensors"}, "no GGUF file.*safetensors", 3),
        ({"digest": "sha512:" + "0" * 128}, "is not a sha256", 1),
    ],
)
def test_oci_hostile_layer_is_one_sentence(
    capsys: Capture, server: ModelServer, data: Path, layer: dict[str, Any], words: str, code: int
) -> None:
    """A name that leads away, an archive and another digest are refused before anything is written."""
    good = {"mediaType": RAW, "digest": "sha256:" + "a" * 64, "size": 5, "annotations": {TITLE: "x.gguf"}}
    given = {**good, **layer}
    if layer.get("mediaType", "").endswith("safetensors"):
        del given["annotations"]
    server.add_manifest("ai/bad", "1", [given])
    _, err = run(capsys, "download", f"oci://{server.host}/ai/bad:1", code=code)
    assert re.search(words, err), err
    assert not (data / "models").exists()
