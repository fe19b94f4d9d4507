"""Signed images with the real engine and Debian's registry: push, verify, run, and what is refused."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import secrets
import shutil
import subprocess
import sys
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import JetsonError, SignatureError
from jetson_containers.llm.image import pull_missing
from jetson_containers.registry.client import RegistryClient
from jetson_containers.registry.types import ImageRepository
from jetson_containers.signing import signatures
from jetson_containers.signing.keys import PublicKey
from tests.real.conftest import LABEL, PREFIX, SESSION
from tests.real.watching import Watcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetson_containers.engine.docker import DockerEngine
    from tests.real.conftest import Registry

ROOT = Path(__file__).resolve().parents[2]
PASSWORD = "a password of the test"

pytestmark = [pytest.mark.engine, pytest.mark.registry, pytest.mark.timeout(300)]


def call(folder: Path, *argv: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Run the command line with a cache and settings of its own, without a terminal."""
    words = [sys.executable, "-m", "jetson_containers", *argv]
    own = {"JETSON_CONTAINERS_CACHE": str(folder / "cache"), "XDG_CONFIG_HOME": str(folder / "config")}
    whole = {**os.environ, "PYTHONPATH": str(ROOT), **own, **env}
    return subprocess.run(
        words, cwd=folder, env=whole, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """A new key pair: the path without its ending."""
    made = call(tmp_path, "keys", "new", "robots", COSIGN_PASSWORD=PASSWORD)
    assert made.returncode == 0, made.stderr
    return tmp_path / "robots"


@pytest.fixture
def image(engine: DockerEngine, scratch_base: str, registry: Registry) -> Callable[[str], str]:
    """Gives an image a name in the registry."""

    def named(name: str) -> str:
        reference = f"{registry.host}/{PREFIX}/{name}"
        engine.tag(scratch_base, reference)
        return reference

    return named


def test_signed_image_runs_and_others_do_not(image: Callable[[str], str], pair: Path, tmp_path: Path) -> None:
    """`push --sign` makes an image run under `--verify`, by its digest; unsigned, other key, offline are refused."""
    signed, unsigned = image("signed:1"), image("unsigned:1")
    key, public = str(pair.with_suffix(".key")), str(pair.with_suffix(".pub"))
    pushed = call(tmp_path, "push", "--sign", key, signed, COSIGN_PASSWORD=PASSWORD)
    assert pushed.returncode == 0, pushed.stderr
    assert call(tmp_path, "push", unsigned).returncode == 0
    reference = pushed.stdout.strip()
    assert reference.startswith(signed.removesuffix(":1") + "@sha256:")

    ran = call(tmp_path, "run", "--no-gpu", "--verify", public, signed, "true")
    assert ran.returncode == 0, ran.stderr
    shown = call(tmp_path, "run", "--no-gpu", "--dry-run", "--verify", public, signed, "true")
    assert f" {reference} true" in shown.stdout
    assert call(tmp_path, "config", "set", "verify_key", public).returncode == 0
    by_setting = call(tmp_path, "run", "--no-gpu", unsigned, "true")
    assert (by_setting.returncode, "has no signature by" in by_setting.stderr) == (1, True), by_setting.stderr
    offline = call(tmp_path, "run", "--no-gpu", "--offline", signed, "true")
    assert (offline.returncode, "cannot be looked up offline" in offline.stderr) == (2, True), offline.stderr

    assert call(tmp_path, "keys", "new", "other", COSIGN_PASSWORD="").returncode == 0
    other = call(tmp_path, "run", "--no-gpu", "--verify", "other.pub", signed, "true")
    assert (other.returncode, "none of them by `other.pub`" in other.stderr) == (1, True), other.stderr
    wrong = call(tmp_path, "push", "--sign", key, signed, COSIGN_PASSWORD="another")
    assert (wrong.returncode, "password is wrong" in wrong.stderr) == (2, True), wrong.stderr
    assert not any(PASSWORD in text for done in (pushed, ran, wrong, other) for text in (done.stdout, done.stderr))


def test_signed_tag_that_was_moved_is_refused(
    image: Callable[[str], str], pair: Path, engine: DockerEngine, tmp_path: Path
) -> None:
    """A tag that somebody moves to another image is refused; the digest that was signed still runs."""
    signed = image("moved:1")
    key, public = str(pair.with_suffix(".key")), str(pair.with_suffix(".pub"))
    pushed = call(tmp_path, "push", "--sign", key, signed, COSIGN_PASSWORD=PASSWORD)
    assert pushed.returncode == 0, pushed.stderr
    _move(signed)
    engine.untag(signed)
    moved = call(tmp_path, "run", "--no-gpu", "--verify", public, signed, "true")
    assert (moved.returncode, "has no signature by" in moved.stderr) == (1, True), moved.stderr
    pinned = call(tmp_path, "run", "--no-gpu", "--verify", public, pushed.stdout.strip(), "true")
    assert pinned.returncode == 0, pinned.stderr


def test_setting_refuses_what_is_not_signed_everywhere(
    image: Callable[[str], str], pair: Path, engine: DockerEngine, tmp_path: Path
) -> None:
    """With `verify_key` nothing unsigned comes from a registry: by pull, for llm, as a base, or named by a recipe."""
    signed, unsigned = image("required:1"), image("refused:1")
    pushed = call(tmp_path, "push", "--sign", str(pair.with_suffix(".key")), signed, COSIGN_PASSWORD=PASSWORD)
    assert (pushed.returncode, call(tmp_path, "push", unsigned).returncode) == (0, 0), pushed.stderr
    (tmp_path / "pack" / "plain").mkdir(parents=True)
    (tmp_path / "pack" / "other").mkdir()
    head = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
    (tmp_path / "pack" / "plain" / "Dockerfile").write_text(f"#---\n# name: plain\n#---\n{head}ENV A=1\n")
    (tmp_path / "pack" / "other" / "Dockerfile").write_text(
        f"#---\n# name: other\n#---\n{head}COPY --from={unsigned} /bin/true /other\n"
    )
    own = {"JETSON_CONTAINERS_VERIFY_KEY": f"{pair}.pub", "JETSON_CONTAINERS_LOGS": str(tmp_path / "logs")}
    tree = ("--target", "cpu", "--packages", str(tmp_path / "pack"), f"--name={PREFIX}-required/", "--skip-tests=all")

    def build(base: str, name: str) -> tuple[int, str]:
        done = call(tmp_path, "build", *tree, "--base", base, name, **own)
        return done.returncode, done.stderr

    here = call(tmp_path, "build", *tree, "--base", unsigned, "plain", **own)  # pulled before, and still here
    assert (here.returncode, "has no signature by" in here.stderr) == (1, True), here.stderr
    for reference in (signed, unsigned):
        engine.untag(reference)
    for words in (
        ("pull", unsigned),
        ("test", unsigned),
    ):
        refused = call(tmp_path, *words, **own)
        assert (refused.returncode, "has no signature by" in refused.stderr) == (1, True), (words, refused.stderr)
    with pytest.raises(SignatureError, match="has no signature by"):
        pull_missing(unsigned, engine, settings.load({"verify_key": f"{pair}.pub"}), Console())
    assert engine.image(unsigned) is None
    assert build(unsigned, "plain")[0] == 1
    code, said = build(signed, "other")
    assert (code, "has no signature by" in said, engine.image(unsigned)) == (1, True, None), said
    code, said = build(signed, "plain")
    assert code == 0, said


HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"


@dataclass
class Pushing:
    """Builds of a small tree with an artifact: one namespace for its stages, one for its image."""

    folder: Path
    base: str
    host: str
    engine: DockerEngine
    nonce: str = field(default_factory=lambda: secrets.token_hex(6))

    def __post_init__(self) -> None:
        own = f"ENV NONCE={self.nonce}\n"
        artifact = f"ARG ARTIFACT_IMAGE\nARG BASE_IMAGE\nFROM ${{ARTIFACT_IMAGE}} AS artifact\n{HEAD[15:]}"
        self._recipe(
            "made", "artifacts: {dockerfile: Dockerfile.build}", f"{artifact}COPY --from=artifact /artifacts/ /\n"
        )
        build = f"{HEAD}{own}RUN mkdir /artifacts && echo made > /artifacts/made\n"
        (self.folder / "pack" / "made" / "Dockerfile.build").write_text(build)
        self._recipe("upper", "depends: [made]", f"{HEAD}{own}RUN cat /made > /upper\n")

    def _recipe(self, name: str, header: str, body: str) -> None:
        place = self.folder / "pack" / name
        place.mkdir(parents=True)
        (place / "Dockerfile").write_text(f"#---\n# name: {name}\n# {header}\n#---\n{body}")

    def build(self, *words: str, **env: str) -> subprocess.CompletedProcess[str]:
        """Build the image."""
        tree = ("--target", "cpu", "--packages", str(self.folder / "pack"), "--base", self.base)
        names = (f"--name={PREFIX}-{self.nonce}/", "--stage-registry", f"{self.host}/s{self.nonce}")
        own = {"JETSON_CONTAINERS_LOGS": str(self.folder / "logs")}
        return call(self.folder, "build", *tree, *names, "--progress", "plain", *words, "upper", **own, **env)

    def images(self) -> list[str]:
        """All that a build makes: the stages, and the image."""
        plan = json.loads(self.build("--dry-run", "--json").stdout)
        return [*(stage["image"] for stage in plan["stages"]), plan["final"]]

    def forget(self) -> None:
        """Take it all out of the local store, as on a machine that never built it."""
        for name in (*self.pushed(), *reversed(self.images())):  # an image that was pushed keeps that name here
            with contextlib.suppress(JetsonError):
                self.engine.untag(name)

    def signed(self, name: str, digest: str, pair: Path) -> bool:
        """Whether the registry shows a signature of a digest by the key."""
        client, place = RegistryClient.of(settings.load(files=())), ImageRepository.parse(name.rpartition(":")[0])
        signatures.verify(client, place, digest, PublicKey.read(pair.with_suffix(".pub")))
        return True

    def pushed(self) -> dict[str, str]:
        """What the registry has of it but for signatures: repository and tag, and the digest."""
        client = RegistryClient.of(settings.load(files=()))
        found = {}
        for path in (f"s{self.nonce}/stage", f"i{self.nonce}/upper"):
            place = ImageRepository(self.host, path)
            for tag in client.tags(place):
                if not tag.endswith(".sig"):
                    found[f"{place.reference}:{tag}"] = str(client.digest(place, tag))
        return found


@pytest.fixture
def pushing(engine: DockerEngine, scratch_base: str, registry: Registry, tmp_path: Path) -> Iterator[Pushing]:
    made = Pushing(tmp_path, "", registry.host, engine)
    made.base = f"{PREFIX}/signed-base:{made.nonce}"  # of its own: one that was pushed would have to be signed
    words = ["docker", "build", "--quiet", "--tag", made.base, "--label", f"{LABEL}={SESSION}", "-"]
    subprocess.run(words, input=f"FROM {scratch_base}\nENV BASE={made.nonce}\n", text=True, check=True)
    yield made
    made.forget()


def test_build_signs_what_it_pushes(pushing: Pushing, pair: Path) -> None:
    """Stages, artifact and image that a build pushed are taken elsewhere by key, under `--verify`; not without a key.

    Neither the password nor the key is in a command line, in the environment of a program that the build starts, in
    what is said or in a log.
    """
    key, public = str(pair.with_suffix(".key")), str(pair.with_suffix(".pub"))
    with Watcher([PASSWORD, pair.with_suffix(".key").read_text().splitlines()[1]]) as watcher:
        images = ("--push", f"{pushing.host}/i{pushing.nonce}")
        first = pushing.build("--push-stages", *images, "--sign", key, "-v", COSIGN_PASSWORD=PASSWORD)
    assert first.returncode == 0, first.stderr
    pushed = pushing.pushed()
    assert len(pushed) == 4, pushed
    assert all(pushing.signed(name, digest, pair) for name, digest in pushed.items())
    assert watcher.found == set()
    assert {line for line in watcher.environments if b"jetson_containers\0build" not in line} == set()
    assert any(b"docker" in line for line in watcher.seen)
    said = [
        first.stdout,
        first.stderr,
        *(path.read_text() for path in pushing.folder.glob("logs/**/*") if path.is_file()),
    ]
    assert not any(PASSWORD in text for text in said)

    pushing.forget()
    elsewhere = pushing.build("--verify", public)
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert "upper: pulling" in elsewhere.stderr, elsewhere.stderr
    assert "built instead" not in elsewhere.stderr
    pushing.forget()
    assert call(pushing.folder, "keys", "new", "other", COSIGN_PASSWORD="").returncode == 0
    refused = pushing.build("--verify", str(pushing.folder / "other.pub"))
    assert refused.returncode == 0, refused.stderr
    assert "none of them by" in refused.stderr
    assert "it is built instead" in refused.stderr


def test_build_with_a_key_takes_no_stage_that_is_not_signed(pushing: Pushing, pair: Path) -> None:
    """What anybody has put under a stage's name is not vouched for: it is built anew, replaced, and then signed."""
    assert pushing.build("--push-stages").returncode == 0
    before = pushing.pushed()
    pushing.forget()
    key = str(pair.with_suffix(".key"))
    wrong = pushing.build("--push-stages", "--sign", key, COSIGN_PASSWORD="another")
    assert (wrong.returncode, "password is wrong" in wrong.stderr) == (2, True), wrong.stderr
    done = pushing.build("--push-stages", JETSON_CONTAINERS_SIGN_KEY=key, COSIGN_PASSWORD=PASSWORD)
    assert done.returncode == 0, done.stderr
    assert "upper: pulling" not in done.stderr
    after = pushing.pushed()
    assert after.keys() == before.keys()
    assert all(pushing.signed(name, digest, pair) for name, digest in after.items())


def test_signature_is_valid_for_openssl(image: Callable[[str], str], pair: Path, tmp_path: Path) -> None:
    """OpenSSL verifies the signature that the registry holds, with the public key's file as it is."""
    if shutil.which("openssl") is None:
        pytest.skip("cannot run here: no openssl")
    signed = image("openssl:1")
    pushed = call(tmp_path, "push", "--sign", str(pair.with_suffix(".key")), signed, COSIGN_PASSWORD=PASSWORD)
    digest = pushed.stdout.strip().rpartition("@")[2]
    (layer,) = json.loads(_get(signed, f"manifests/{digest.replace(':', '-')}.sig"))["layers"]
    (tmp_path / "payload").write_bytes(_get(signed, f"blobs/{layer['digest']}"))
    value = layer["annotations"]["dev.cosignproject.cosign/signature"]
    (tmp_path / "signature").write_bytes(base64.b64decode(value))
    words = ["openssl", "dgst", "-sha256", "-verify", f"{pair}.pub", "-signature", "signature", "payload"]
    checked = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert checked.stdout.strip() == "Verified OK", checked.stderr
    assert digest in (tmp_path / "payload").read_text()


def _address(reference: str, what: str) -> str:
    host, _, path = reference.partition("/")
    return f"http://{host}/v2/{path.rpartition(':')[0]}/{what}"


def _get(reference: str, what: str, kind: str = "application/vnd.oci.image.manifest.v1+json") -> bytes:
    with _ask(urllib.request.Request(_address(reference, what), headers={"Accept": kind})) as answer:
        return bytes(answer.read())


def _ask(request: urllib.request.Request) -> Any:
    return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10)


def _move(reference: str) -> None:
    """Let the tag of an image point to other bytes: its manifest with one more annotation."""
    tag, kind = reference.rpartition(":")[2], "application/vnd.docker.distribution.manifest.v2+json"
    manifest = json.loads(_get(reference, f"manifests/{tag}", kind))
    data = json.dumps({**manifest, "annotations": {"moved": "yes"}}).encode()
    place = _address(reference, f"manifests/{tag}")
    _ask(urllib.request.Request(place, data, {"Content-Type": manifest["mediaType"]}, method="PUT")).close()
