"""A base image made from this machine's package sources, for real: it works, keeps no trace of the host, is reused."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from jetson_containers.builder import base_image, rootfs
from jetson_containers.core import settings
from jetson_containers.core.console import Console
from jetson_containers.core.errors import JetsonError
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.images import labels
from jetson_containers.platforms.detect import parse_target
from tests.real.conftest import LABEL, PREFIX, SESSION

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jetson_containers.builder.base_image import BaseImage
    from jetson_containers.core.settings import Settings
    from jetson_containers.engine.interface import BuildRequest

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(400)]
# What differs between one image and the next in /dev and in what docker itself puts there, empty, for every container.
OF_DOCKER = {"etc/hostname", "etc/hosts", "etc/resolv.conf", ".dockerenv"}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Offline, so that nothing depends on a registry being there or not."""
    flags = {"cache": str(tmp_path_factory.mktemp("cache")), "offline": True}
    return settings.load(flags, files=())


@pytest.fixture(scope="module")
def own_names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Images of this session instead of the user's own base: another repository, and the session's label."""
    patch = pytest.MonkeyPatch()
    patch.setattr(base_image, "REPOSITORY", f"{PREFIX}/base")
    build = DockerEngine.build

    def labeled(self: DockerEngine, request: BuildRequest, on_line: object) -> None:
        build(self, replace(request, labels={**request.labels, LABEL: SESSION}), on_line)  # type: ignore[arg-type]

    patch.setattr(DockerEngine, "build", labeled)
    yield
    patch.undo()


def make(engine: DockerEngine, config: Settings, target: str) -> tuple[BaseImage, str]:
    if rootfs.find_tool(config.env) is None:
        pytest.skip("cannot run here: install mmdebstrap")
    if not Path("/etc/debian_version").exists():
        pytest.skip("cannot run here: neither Debian nor Ubuntu")
    stream = io.StringIO()
    return base_image.ensure(parse_target(target), engine, Console(err=stream), config), stream.getvalue()


@pytest.fixture(scope="module")
def native(engine: DockerEngine, config: Settings, own_names: None) -> BaseImage:
    arch = {"x86_64": "x86_64", "aarch64": "sbsa"}[engine.capabilities.architecture]
    return make(engine, config, f"{arch},cpu")[0]


def test_base_image_has_the_distribution_of_the_host_and_says_so(engine: DockerEngine, native: BaseImage) -> None:
    """A made base has the host's distribution and says so."""
    host = base_image.parse_os_release(Path("/etc/os-release").read_text())
    assert native.made
    assert native.reference.startswith(f"{PREFIX}/base:{host['ID']}")
    inside = base_image.parse_os_release(engine.run(native.reference, ["cat", "/etc/os-release"]).output)
    assert (inside["ID"], inside["VERSION_ID"]) == (native.platform.distro, native.platform.distro_version)
    image = engine.image(native.reference)
    assert image is not None
    assert image.labels[labels.ROLE] == "base"
    assert image.id == native.digest


def test_base_image_can_install_packages(engine: DockerEngine, native: BaseImage) -> None:
    """Packages can be installed in it."""
    script = "apt-get update -q && apt-get install -y -q --no-install-recommends hello && hello"
    ended = engine.run(native.reference, ["sh", "-ec", script], options=["--network", "host"])
    assert ended.exit_code == 0, ended.output
    assert ended.output.endswith("Hello, world!")


def test_base_image_has_the_python_of_its_platform(engine: DockerEngine, native: BaseImage) -> None:
    """It has the Python that its platform names."""
    script = "apt-get update -q >/dev/null && apt-cache show --no-all-versions python3 | grep ^Version:"
    ended = engine.run(native.reference, ["sh", "-ec", script], options=["--network", "host"])
    assert ended.output.split()[-1].startswith(f"{native.platform.python}."), ended.output


def test_base_image_holds_nothing_of_the_host(native: BaseImage) -> None:
    """Nothing of the host is in it."""
    client = docker.from_env()
    with contextlib.closing(client):
        container = client.containers.create(native.reference, "true")
        try:
            stream = io.BytesIO(b"".join(container.export()))
        finally:
            container.remove()
    with tarfile.open(fileobj=stream) as archive:
        members = {member.name.removeprefix("./"): member for member in archive.getmembers()}
    assert {name for name in OF_DOCKER if name in members and members[name].size} == set()
    assert members["etc/machine-id"].size == 0
    below = {
        name: [m for m in members if m.startswith(name) and members[m].isfile()] for name in ("root/", "home/", "tmp/")
    }
    assert below["home/"] == []
    assert below["tmp/"] == []
    assert sorted(below["root/"]) == ["root/.bashrc", "root/.profile"]
    assert not [
        name
        for name in members
        if name.startswith(("var/lib/apt/lists/", "var/cache/apt/archives/")) and members[name].size
    ]


def test_base_image_is_made_once(engine: DockerEngine, config: Settings, native: BaseImage) -> None:
    """It is made once."""
    again, said = make(engine, config, "x86_64,cpu" if engine.capabilities.architecture == "x86_64" else "sbsa,cpu")
    assert again == native
    assert "making" not in said


def test_base_image_interrupted_leaves_nothing(engine: DockerEngine, config: Settings, tmp_path: Path) -> None:
    """Ctrl-C while packages are fetched: no image, no temporary directory, no process of the tool."""
    if rootfs.find_tool(config.env) is None:
        pytest.skip("cannot run here: install mmdebstrap")
    program = (
        "import sys\n"
        "from jetson_containers.builder import base_image; "
        "from jetson_containers.core import settings; "
        "from jetson_containers.platforms import detect as platforms\n"
        "from jetson_containers.core.console import Console, Level\n"
        "from jetson_containers.engine.docker import DockerEngine\n"
        "base_image.REPOSITORY = sys.argv[1]\n"
        "s = settings.load({'cache': sys.argv[2], 'offline': True}, files=())\n"
        "target = {'x86_64': 'x86_64,cpu', 'aarch64': 'sbsa,cpu'}[DockerEngine().capabilities.architecture]\n"
        "base_image.ensure(platforms.parse_target(target), DockerEngine(s), Console(level=Level.VERBOSE), s)\n"
    )
    scratch = tmp_path / "tmp"
    scratch.mkdir(mode=0o755)
    env = {**os.environ, "TMPDIR": str(scratch)}
    child = subprocess.Popen(
        [sys.executable, "-c", program, f"{PREFIX}/interrupted", str(tmp_path / "cache")],
        stderr=subprocess.PIPE, text=True, env=env,
    )  # fmt: skip
    assert child.stderr is not None
    for line in child.stderr:
        if "downloading packages" in line or "Retrieving" in line:
            break
    else:
        pytest.fail("the tool never began")
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=60)
    assert child.returncode != 0
    assert list(scratch.iterdir()) == []
    assert not [image for image in engine.images() if any(f"{PREFIX}/interrupted" in name for name in image.references)]


@pytest.mark.skipif(shutil.which("debootstrap") is None, reason="cannot run here: install debootstrap")
@pytest.mark.skipif(os.geteuid() != 0, reason="cannot run here: debootstrap needs root")
def test_base_image_is_made_by_debootstrap_too(engine: DockerEngine, config: Settings) -> None:
    """debootstrap makes one too."""
    host = base_image.parse_os_release(Path("/etc/os-release").read_text())
    arch = {"x86_64": "amd64", "aarch64": "arm64"}[engine.capabilities.architecture]
    wanted = rootfs.plan(host, arch, version=host["VERSION_ID"], codename=host["VERSION_CODENAME"])
    tool = shutil.which("debootstrap")
    assert tool is not None
    with tempfile.TemporaryDirectory() as folder:
        tar = rootfs.make(tool, wanted, Path(folder), env=dict(os.environ), on_line=lambda line: None)
        with tarfile.open(tar) as archive:
            names = {name.removeprefix("./") for name in archive.getnames()}
    assert {"etc/apt/sources.list", "etc/os-release", "usr/bin/apt-get"} <= names


@pytest.mark.arm64
def test_base_image_for_a_jetson_is_made_here(
    arm64: None, engine: DockerEngine, config: Settings, own_names: None
) -> None:
    """A base for a Jetson is made on this machine."""
    fresh = DockerEngine(config, host=engine._host)  # probes anew: the emulator may have been registered since
    found, _ = make(fresh, config, "r36.4.3")
    image = fresh.image(found.reference)
    assert image is not None
    assert image.architecture == "arm64"
    ended = fresh.run(found.reference, ["uname", "-m"], options=["--platform", "linux/arm64"])
    assert ended.output.splitlines()[-1] == "aarch64"
    with contextlib.suppress(JetsonError):
        fresh.untag(found.reference)
