"""The registry client against Debian's docker-registry: open, with htpasswd, and over TLS. Needs no engine."""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.autotag.search import AutotagOptions, choose
from jetson_containers.autotag.sources import RegistrySource
from jetson_containers.core.docker_login import docker_credentials
from jetson_containers.core.errors import RegistryError
from jetson_containers.images import labels
from jetson_containers.platforms.detect import parse_target
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.http import Transport
from jetson_containers.registry.listing import Listings
from jetson_containers.registry.refresh import refresh
from jetson_containers.registry.types import ImageRepository

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from tests.real.conftest import Registry

pytestmark = pytest.mark.registry

MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"


def needs(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"cannot run here: no {program}: install docker-registry and openssl")
    return path


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def serving(folder: Path, **http: Any) -> Iterator[str]:
    """Run docker-registry on loopback; yields HOST:PORT."""
    host = f"127.0.0.1:{free_port()}"
    config: dict[str, Any] = {
        "version": "0.1",
        "log": {"accesslog": {"disabled": True}, "level": "error"},
        "storage": {"filesystem": {"rootdirectory": str(folder / "data")}},
        "http": {"addr": host, **http},
    }
    (folder / "config.yml").write_text(json.dumps(config))
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen(
            [needs("docker-registry"), "serve", str(folder / "config.yml")], stdout=log, stderr=subprocess.STDOUT
        )
    try:
        wait_for(host, server, folder / "log")
        yield host
    finally:
        server.terminate()
        server.wait(10)


def wait_for(host: str, server: subprocess.Popen[bytes], log: Path) -> None:
    address = ("127.0.0.1", int(host.rpartition(":")[2]))
    for _ in range(200):
        if server.poll() is not None:
            raise AssertionError(log.read_text())
        try:
            socket.create_connection(address, 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise AssertionError("docker-registry does not listen")


class Pusher:
    """Puts images into a registry with plain requests, so that our client is only ever the one that is tested."""

    def __init__(self, host: str, login: str = "") -> None:
        self.base = f"http://{host}"
        self.headers = {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()} if login else {}
        self.opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def send(self, method: str, url: str, data: bytes = b"", kind: str = "application/octet-stream") -> Any:
        request = urllib.request.Request(
            url if "://" in url else self.base + url, data, {"Content-Type": kind, **self.headers}, method=method
        )
        with self.opener.open(request, timeout=10) as answer:
            return answer.headers

    def blob(self, repository: str, data: bytes) -> dict[str, Any]:
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        place = self.send("POST", f"/v2/{repository}/blobs/uploads/")["Location"]
        self.send("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}", data)
        return {"digest": digest, "size": len(data)}

    def image(self, repository: str, tag: str, arch: str, image_labels: Mapping[str, str]) -> str:
        config = {
            "architecture": arch, "os": "linux", "created": "2026-11-01T00:00:00Z", "config": {"Labels": image_labels},
            "rootfs": {"type": "layers", "diff_ids": []},
        }  # fmt: skip
        manifest = {
            "schemaVersion": 2, "mediaType": MANIFEST,
            "config": {"mediaType": "application/vnd.docker.container.image.v1+json",
                       **self.blob(repository, json.dumps(config).encode())},
            "layers": [{"mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
                        **self.blob(repository, b"layer" * 100)}],
        }  # fmt: skip
        return self.manifest(repository, tag, manifest, MANIFEST)

    def manifest(self, repository: str, tag: str, body: Mapping[str, Any], kind: str) -> str:
        data = json.dumps(body).encode()
        return str(self.send("PUT", f"/v2/{repository}/manifests/{tag}", data, kind)["Docker-Content-Digest"])


def client(env: Mapping[str, str] | None = None, **more: Any) -> RegistryClient:
    return RegistryClient(
        Transport(timeout=10, env={}, **more), lambda host: docker_credentials(host, env or {"HOME": "/nonexistent"})
    )


@pytest.fixture(scope="module")
def host(registry: Registry) -> str:
    return registry.host


@pytest.fixture(scope="module")
def guarded(private_registry: Registry) -> Registry:
    pusher = Pusher(private_registry.host, f"{private_registry.user}:{private_registry.password}")
    pusher.image("ns/mlc", "0.20.0-r36.4-cu126-22.04", "arm64", {})
    return private_registry


def docker_config(folder: Path, registry: Registry, password: str) -> dict[str, str]:
    auth = base64.b64encode(f"{registry.user}:{password}".encode()).decode()
    (folder / "config.json").write_text(json.dumps({"auths": {registry.host: {"auth": auth}}}))
    return {"DOCKER_CONFIG": str(folder)}


def test_client_reads_tags_digest_and_config(host: str) -> None:
    """Tags, digest and configuration of an image are read."""
    digest = Pusher(host).image("a/mlc", "0.20.0-r36.4-cu126-22.04", "arm64", {"io.jetson-containers.role": "final"})
    Pusher(host).image("a/mlc", "0.19.5-r36.4-cu126-22.04", "arm64", {})
    repository = ImageRepository(host, "a/mlc")
    assert set(client().tags(repository)) == {"0.20.0-r36.4-cu126-22.04", "0.19.5-r36.4-cu126-22.04"}
    assert client().digest(repository, "0.20.0-r36.4-cu126-22.04") == digest
    info = client().inspect(repository, "0.20.0-r36.4-cu126-22.04", "arm64")
    assert info is not None
    assert (info.digest, info.architecture, info.media_type) == (digest, "arm64", MANIFEST)
    assert info.labels == {"io.jetson-containers.role": "final"}
    assert info.size > 500
    assert client().inspect(repository, digest, "arm64") == info


def test_client_finds_nothing_in_an_absent_repository(host: str) -> None:
    """What is absent is not an error."""
    assert client().tags(ImageRepository(host, "no/such")) == ()
    assert client().digest(ImageRepository(host, "no/such"), "1") is None
    assert client().inspect(ImageRepository(host, "no/such"), "1", "arm64") is None


def test_client_reads_each_platform_of_a_multi_platform_tag(host: str) -> None:
    """Each platform of a multi-platform tag is read."""
    pusher = Pusher(host)
    digests = {arch: pusher.image("m/llm", arch, arch, {"arch": arch}) for arch in ("amd64", "arm64")}
    sizes = {
        arch: int(pusher.send("HEAD", f"/v2/m/llm/manifests/{digests[arch]}")["Content-Length"]) for arch in digests
    }
    entries = [
        {"mediaType": MANIFEST, "digest": d, "size": sizes[a], "platform": {"os": "linux", "architecture": a}}
        for a, d in digests.items()
    ]
    whole = pusher.manifest("m/llm", "both", {"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}, INDEX)
    for arch in digests:
        info = client().inspect(ImageRepository(host, "m/llm"), "both", arch)
        assert info is not None
        assert (info.digest, info.architecture, info.labels) == (whole, arch, {"arch": arch})
        assert info.platforms == ("amd64", "arm64")


def test_registry_refresh_reads_a_whole_namespace(host: str, tmp_path: Path) -> None:
    """`registry refresh` lists what docker-registry has below a namespace, with what each image says of itself."""
    key = {"io.jetson-containers.role": "final"}
    digest = Pusher(host).image("fleet/mlc", "0.20.0-r36.4-cu126-22.04", "arm64", key)
    Pusher(host).image("fleet/vllm", "0.16.0-r38.2-cu130-24.04", "arm64", {})
    before = {"schema": 1, "fetched": "2025-05-06", "namespaces": [], "repositories": []}
    made = refresh([ImageRepository(host, "fleet")], Listings(tmp_path, client), before, "2026-11-29")
    found = {entry["repository"]: entry["tags"] for entry in made.data["repositories"]}
    assert (list(found), made.failed) == ([f"{host}/fleet/mlc", f"{host}/fleet/vllm"], {})
    (tag,) = found[f"{host}/fleet/mlc"]
    assert (tag["digest"], tag["arch"], tag["labels"], tag["pushed"]) == (digest, "arm64", key, "2026-11-01")


def test_login_of_docker_config_opens_the_registry(guarded: Registry, tmp_path: Path) -> None:
    """A login from docker's configuration opens the registry."""
    env = docker_config(tmp_path, guarded, guarded.password)
    assert client(env).tags(ImageRepository(guarded.host, "ns/mlc")) == ("0.20.0-r36.4-cu126-22.04",)


@pytest.mark.parametrize(("password", "says"), [("wrong", "does not accept the login"), (None, "wants a login")])
def test_login_that_is_wrong_or_missing_is_an_error(
    guarded: Registry, tmp_path: Path, password: str | None, says: str
) -> None:
    """A wrong or missing login is an error with its remedy."""
    env = docker_config(tmp_path, guarded, password) if password else {"HOME": str(tmp_path)}
    with pytest.raises(RegistryError, match=says) as caught:
        client(env).tags(ImageRepository(guarded.host, "ns/mlc"))
    assert caught.value.hint == f"`docker login {guarded.host}`"
    assert guarded.host in caught.value.message


def test_tls_needs_the_ca(tmp_path: Path) -> None:
    """TLS needs the CA."""
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        [needs("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", cert],
        check=True, capture_output=True,
    )  # fmt: skip
    with serving(tmp_path, tls={"certificate": str(cert), "key": str(key)}) as host:
        url = f"https://{host}/v2/"
        with pytest.raises(RegistryError, match="certificate is not trusted") as caught:
            Transport(timeout=10, env={}).request("GET", url)
        assert "CA_BUNDLE" in (caught.value.hint or "")
        assert Transport(timeout=10, env={}, ca_bundle=cert).request("GET", url).status == 200


def test_autotag_chooses_from_the_registry_also_after_it_is_gone(tmp_path: Path) -> None:
    """autotag chooses from the registry, also after it is gone."""
    orin = parse_target("r36.4.3")
    name = "llm:latest"
    marks = labels.make(
        role=labels.FINAL, name=name, key="sha256:1", packages=["numpy:2.2", "llama_cpp:b9016"], platform=orin
    )
    with serving(tmp_path) as host:
        Pusher(host).image("ns/llm", "latest", "arm64", marks)
        Pusher(host).image("ns/llm", "r32.7.1", "arm64", {})

        def place() -> RegistrySource:
            return RegistrySource(Listings(tmp_path / "cache", client), (ImageRepository(host, "ns"),))

        assert choose(["llm"], orin, (place(),), AutotagOptions()).image == f"{host}/ns/llm:latest"
    later = Listings(tmp_path / "cache", client, now=lambda: time.time() + 86400)
    choice = choose(["llm"], orin, (RegistrySource(later, (ImageRepository(host, "ns"),)),), AutotagOptions())
    assert choice.image == f"{host}/ns/llm:latest"
    assert "not reachable; using the list of" in choice.notices[0]
    assert "1 day old" in choice.notices[0]
