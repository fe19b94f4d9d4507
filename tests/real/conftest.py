"""Fixtures on the real things: an engine, a tiny base image, a registry on loopback, arm64 emulation.

What the machine must have (test.sh installs it): a container engine, and from Debian or Ubuntu the packages
busybox-static, docker-registry, apache2-utils (htpasswd), mmdebstrap, qemu-user-static. A test whose requirement is
missing is skipped and says which. Every image a test makes carries the label of this test session, by which it is
removed at the end; no other image is touched.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import settings
from jetson_containers.core.errors import JetsonError, NotReadyError
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.engine.interface import BuildRequest
from jetson_containers.engine.probe import ProbedHost

if TYPE_CHECKING:
    from collections.abc import Iterator

    from selenium.webdriver.chrome.webdriver import WebDriver

SESSION = secrets.token_hex(6)
LABEL = "io.jetson-containers.test-session"
PREFIX = f"jetson-containers-test/{SESSION}"  # names of images that tests make
AXE = "axe-core@4.14.1"  # of npm, MPL-2.0; fetched for tests of pages and shipped with nothing
BINFMT = Path("/proc/sys/fs/binfmt_misc")


def engine_for(wanted: str) -> DockerEngine:
    """An engine with a certain builder; skips the test when there is none."""
    engine = DockerEngine(settings.load({"engine": wanted}, files=()), host=ProbedHost.real(environment(wanted)))
    try:
        _ = engine.capabilities
    except NotReadyError as error:
        pytest.skip(f"cannot run here: no engine ({wanted}): {error.message}")
    return engine


def environment(wanted: str) -> dict[str, str]:
    """The environment for a builder; for buildx with the client that test.sh had unpacked (scripts/buildx.sh)."""
    folder = os.environ.get("TEST_BUILDX", "")
    if wanted == "bake" and _newer:
        return _newer[-1].env
    if wanted != "buildx" or not folder:
        return dict(os.environ)
    return {**os.environ, "PATH": f"{folder}/usr/bin:{os.environ['PATH']}", "DOCKER_CONFIG": f"{folder}/config"}


@dataclass(frozen=True)
class NewerEngine:
    """An engine from 23 on, with its client and buildx. `env` leads programs to it."""

    env: dict[str, str]


_newer: list[NewerEngine] = []


@pytest.fixture(scope="session")
def newer_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewerEngine]:
    """An engine of the next Debian release beside the machine's own; its images are in the usual store."""
    with _started(tmp_path_factory, containerd_store=False) as engine:
        _newer.append(engine)
        yield engine
        _newer.remove(engine)


@pytest.fixture(scope="session")
def containerd_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NewerEngine]:
    """As `newer_engine`, with its images in containerd's store, which alone can export a build cache."""
    with _started(tmp_path_factory, containerd_store=True) as engine:
        yield engine


@contextlib.contextmanager
def _started(factory: pytest.TempPathFactory, *, containerd_store: bool) -> Iterator[NewerEngine]:
    """Start dockerd with everything of its own: it must not share a bridge, a socket or a folder with the machine's."""
    bridge = f"jtest{secrets.token_hex(4)}"  # never a name that a killed run left behind; 15 characters at most
    folder = _newer_debian()
    place = factory.mktemp(bridge)
    env = {
        **os.environ,
        "PATH": f"{folder}/usr/bin:{folder}/usr/sbin:{os.environ['PATH']}",
        "DOCKER_CONFIG": f"{folder}/config",
        "DOCKER_HOST": f"unix://{place}/socket",
    }
    configuration = {
        "data-root": f"{place}/data", "exec-root": f"{place}/exec", "pidfile": f"{place}/pid", "bridge": bridge,
        "hosts": [env["DOCKER_HOST"]], "iptables": False, "ip6tables": False,
        "features": {"containerd-snapshotter": containerd_store},
    }  # fmt: skip
    (place / "daemon.json").write_text(json.dumps(configuration))
    with contextlib.ExitStack() as undo:
        subprocess.run(["ip", "link", "add", "name", bridge, "type", "bridge"], check=True)
        undo.callback(subprocess.run, ["ip", "link", "delete", bridge], check=False)
        network = f"10.213.{secrets.randbelow(250)}.1/24"
        subprocess.run(["ip", "address", "add", network, "dev", bridge], check=True)
        log = undo.enter_context((place / "log").open("w"))
        undo.callback(shutil.rmtree, place / "data", ignore_errors=True)
        child = subprocess.Popen(
            [f"{folder}/usr/sbin/dockerd", "--config-file", str(place / "daemon.json")],
            env=env, stdout=log, stderr=log, start_new_session=True,
        )  # fmt: skip
        undo.callback(_end, child)
        if not _answers([f"{folder}/usr/bin/docker", "version"], env, child):
            pytest.skip(f"cannot run here: dockerd does not start: {(place / 'log').read_text()[-500:]}")
        yield NewerEngine(env)


def _newer_debian() -> str:
    """Where the packages of the next Debian release are unpacked."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("cannot run here: starting an engine takes root and the program `ip` (iproute2)")
    script = Path(__file__).parents[2] / "scripts" / "buildx.sh"
    done = subprocess.run([script], capture_output=True, text=True, check=False)
    folder = done.stdout.strip()
    if done.returncode != 0:
        pytest.skip(f"cannot run here: the packages of the next Debian release cannot be had: {done.stderr[-200:]}")
    return folder


def _answers(command: list[str], env: dict[str, str], child: subprocess.Popen[bytes]) -> bool:
    never = threading.Event()
    for _ in range(300):
        if subprocess.run(command, env=env, capture_output=True, check=False).returncode == 0:
            return True
        if child.poll() is not None:
            return False
        never.wait(0.1)
    return False


def _end(child: subprocess.Popen[bytes]) -> None:
    child.terminate()
    try:
        child.wait(30)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


@pytest.fixture(scope="session")
def browser() -> Iterator[WebDriver]:
    """One browser for all tests of pages; see tests/real/browser.py for screens and complaints."""
    from tests.real.browser import started  # imported late: most tests need no selenium

    with started() as browser:
        yield browser


@pytest.fixture(scope="session")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The script of axe, as npm has it."""
    place, npm = tmp_path_factory.mktemp("axe"), shutil.which("npm")
    if npm is None:
        pytest.skip("cannot run here: axe-core comes from npm, which is not installed")
    done = subprocess.run([npm, "pack", "--silent", AXE], cwd=place, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"cannot run here: npm cannot fetch {AXE}: {done.stderr[-200:]}")
    shutil.unpack_archive(next(place.glob("*.tgz")), place)
    return (place / "package" / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def engine() -> Iterator[DockerEngine]:
    """The engine as users get it."""
    engine = engine_for("auto")
    yield engine
    _remove_images(engine)


@pytest.fixture(scope="session", params=["legacy", "buildkit", "buildx"])
def each_engine(request: pytest.FixtureRequest, engine: DockerEngine) -> DockerEngine:
    """The engine through each builder that some client here has."""
    return engine_for(request.param)


@pytest.fixture(scope="session")
def busybox(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A statically linked busybox for this machine."""
    return _busybox(tmp_path_factory.mktemp("busybox"), "")


@pytest.fixture(scope="session")
def scratch_base(engine: DockerEngine, busybox: Path) -> str:
    """A 2 MB image with a shell; images built on it inherit the session's label and so are removed at the end."""
    return scratch(engine, busybox, f"{PREFIX}/scratch:1", None)


@pytest.fixture(scope="session")
def arm64() -> Iterator[None]:
    """Emulation of arm64; registered for the session where the machine has the emulator but no registration."""
    if platform.machine() in {"aarch64", "arm64"}:
        yield
        return
    configuration = Path("/usr/lib/binfmt.d/qemu-aarch64.conf")
    if not (BINFMT / "qemu-aarch64").exists() and (os.geteuid() != 0 or not configuration.exists()):
        pytest.skip("cannot run here: no arm64 emulation: install qemu-user-static (as root)")
    with contextlib.ExitStack() as undo:
        if not (BINFMT / "register").exists():
            done = subprocess.run(["mount", "-t", "binfmt_misc", "binfmt_misc", str(BINFMT)], check=False)
            if done.returncode != 0:
                pytest.skip("cannot run here: binfmt_misc cannot be mounted here")
            undo.callback(subprocess.run, ["umount", str(BINFMT)], check=False)
        if not (BINFMT / "qemu-aarch64").exists():
            (BINFMT / "register").write_bytes(configuration.read_bytes())
            undo.callback((BINFMT / "qemu-aarch64").write_text, "-1")
        yield


@pytest.fixture(scope="session")
def arm64_base(arm64: None, engine: DockerEngine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """As `scratch_base`, for arm64."""
    busybox = _busybox(tmp_path_factory.mktemp("busybox-arm64"), "arm64")
    return scratch(engine, busybox, f"{PREFIX}/scratch-arm64:1", "linux/arm64")


@dataclass(frozen=True)
class Registry:
    """A registry on loopback. `user` and `password` are empty for an open one."""

    host: str  # 127.0.0.1:PORT
    user: str = ""
    password: str = ""
    directory: Path = Path()


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An open registry."""
    with _registry(tmp_path_factory.mktemp("registry")) as started:
        yield started


@pytest.fixture(scope="session")
def private_registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """A registry that wants a user name and a password."""
    if shutil.which("htpasswd") is None:
        pytest.skip("cannot run here: no htpasswd: install apache2-utils")
    with _registry(tmp_path_factory.mktemp("private-registry"), "tester", secrets.token_hex(8)) as started:
        yield started


@contextlib.contextmanager
def _registry(directory: Path, user: str = "", password: str = "") -> Iterator[Registry]:
    binary = shutil.which("docker-registry") or shutil.which("registry")
    if binary is None:
        pytest.skip("cannot run here: no registry binary: install docker-registry")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"
    lines = [
        "version: 0.1",
        "log: {level: error, accesslog: {disabled: true}}",
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}, delete: {{enabled: true}}}}",
        f"http: {{addr: '{host}', secret: {secrets.token_hex(8)}}}",
    ]
    if user:
        hashed = subprocess.run(
            ["htpasswd", "-niB", user], input=password, capture_output=True, text=True, check=True
        ).stdout.strip()
        (directory / "htpasswd").write_text(hashed + "\n")
        lines.append(f"auth: {{htpasswd: {{realm: test, path: {directory}/htpasswd}}}}")
    (directory / "config.yml").write_text("\n".join(lines) + "\n")
    child = subprocess.Popen(
        [binary, "serve", str(directory / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_for(f"http://{host}/v2/", child)
        yield Registry(host, user, password, directory)
    finally:
        child.terminate()
        child.wait(10)


def _wait_for(url: str, child: subprocess.Popen[bytes]) -> None:
    never = threading.Event()
    for _ in range(200):
        if child.poll() is not None:
            pytest.fail(f"the registry ended with exit code {child.returncode}")
        try:
            urllib.request.urlopen(url, timeout=2).close()
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in {401, 200}:
                return
        except OSError:
            never.wait(0.05)
        else:
            return
    pytest.fail(f"nothing answers at {url}")


def _busybox(directory: Path, arch: str) -> Path:
    """Find a static busybox, or fetch the distribution's package without installing it."""
    installed = shutil.which("busybox")
    if not arch and installed and b"/ld-linux" not in Path(installed).read_bytes():
        return Path(installed)
    package = "busybox-static" + (f":{arch}" if arch else "")
    command = f"apt-get download {package} && dpkg -x busybox-static_*.deb ."
    if arch:  # a foreign architecture's index is needed, in a state of its own: the machine's stays as it is
        state = directory / "apt"
        (state / "lists/partial").mkdir(parents=True)
        options = f"-o APT::Architecture={arch} -o APT::Architectures={arch} -o Dir::State::Lists={state}/lists"
        command = (
            f"apt-get {options} update && apt-get {options} download busybox-static && dpkg -x busybox-static_*.deb ."
        )
    done = subprocess.run(["sh", "-c", command], cwd=directory, capture_output=True, text=True, check=False)
    found = next((path for path in (directory / "bin/busybox", directory / "usr/bin/busybox") if path.exists()), None)
    if found is None:
        pytest.skip(f"cannot run here: no busybox: install busybox-static (apt says: {done.stderr.strip()[-200:]})")
    return found


def scratch(engine: DockerEngine, busybox: Path, tag: str, target: str | None) -> str:
    """Build an image with nothing but busybox."""
    context = busybox.parent / "context"
    context.mkdir(exist_ok=True)
    shutil.copy(busybox, context / "busybox")
    links = "sh cat ls echo true sleep wget env id rm mkdir tail uname"
    # Links, not `busybox --install`: nothing has to be executed, so this works for a foreign architecture too.
    (context / "passwd").write_text("root:x:0:0:root:/:/bin/sh\n")
    folder = context / "links"
    folder.mkdir(exist_ok=True)
    for name in links.split():
        with contextlib.suppress(FileExistsError):
            (folder / name).symlink_to("busybox")
    text = 'FROM scratch\nCOPY busybox links /bin/\nCOPY passwd /etc/passwd\nENV PATH=/bin\nCMD ["/bin/sh"]\n'
    request = BuildRequest(context=context, dockerfile=text, tag=tag, labels={LABEL: SESSION}, platform=target)
    engine.build(request, lambda _line: None)
    return tag


def _remove_images(engine: DockerEngine) -> None:
    """Remove this session's images, derived ones first."""
    for image in engine.images({LABEL: SESSION}):
        for name in image.references or (image.id,):
            with contextlib.suppress(JetsonError):
                engine.untag(name)
