"""The engine against the real thing, once through each builder that a client on this machine has."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from jetson_containers.core.errors import (
    BuildError,
    InterruptedByUserError,
    JetsonError,
    NotReadyError,
    RegistryError,
    UsageError,
)
from jetson_containers.engine.docker import DockerEngine
from jetson_containers.engine.interface import Builder, BuildRequest, BuildTimeoutError, OutOfMemoryError
from jetson_containers.engine.probe import ProbedHost
from tests.paths import ROOT_DIR
from tests.real.conftest import LABEL, PREFIX, SESSION, engine_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from jetson_containers.engine.transfer_events import Transferred
    from tests.real.conftest import Registry

pytestmark = pytest.mark.engine
AWKWARD = {"plain": "x", "awkward": """it's "q" $HOME \\ {"j": [1, "ü"]}""", "empty": ""}


def silent(_line: str) -> None:
    pass


@pytest.fixture
def build(each_engine: DockerEngine, scratch_base: str, tmp_path: Path) -> Callable[..., list[str]]:
    """Build `FROM scratch_base` + text under a tag and give the output lines back."""

    def run(text: str, tag: str, **more: object) -> list[str]:
        context = tmp_path / "context"
        context.mkdir(exist_ok=True)
        lines: list[str] = []
        full = f"ARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n{text}\n"
        arguments = {"BASE_IMAGE": scratch_base, **more.pop("build_args", {})}  # type: ignore[dict-item]
        request = BuildRequest(context=context, dockerfile=full, tag=f"{PREFIX}/{tag}", build_args=arguments, **more)  # type: ignore[arg-type]
        each_engine.build(request, lines.append)
        return lines

    return run


@pytest.fixture(autouse=True)
def no_leftovers(each_engine: DockerEngine) -> Iterator[None]:
    """No test leaves a container, a temporary directory of ours, or a child process."""
    client = docker.from_env()
    before = {c.id for c in client.containers.list(all=True)}
    yield
    # The engine removes a stopped `--rm` container by itself, soon after the client has ended.
    deadline = time.monotonic() + 60
    while (ours := _new_containers(client, before)) and time.monotonic() < deadline:
        time.sleep(0.1)
    client.close()
    assert not ours


def _new_containers(client: docker.DockerClient, before: set[str]) -> list[str]:
    listed = client.containers.list(all=True, ignore_removed=True)
    return [c.id for c in listed if c.id not in before and PREFIX in str(c.attrs["Config"]["Image"])]


def layers(reference: str) -> list[str]:
    client = docker.from_env()
    with contextlib.closing(client):
        return list(client.images.get(reference).attrs["RootFS"]["Layers"])


def image_text(reference: str) -> str:
    """Everything an image says about itself: configuration and history."""
    client = docker.from_env()
    with contextlib.closing(client):
        image = client.images.get(reference)
        return f"{image.attrs} {image.history()}"


def test_build_args_and_labels_arrive_byte_for_byte(each_engine: DockerEngine, build: Callable[..., list[str]]) -> None:
    """Arguments and labels arrive byte for byte."""
    value = "a b'c\"d$e\\f"
    build(
        'ARG VALUE\nRUN printf %s "$VALUE" >/value || echo "$VALUE" >/value',
        "args:1",
        build_args={"VALUE": value},
        labels=AWKWARD,
    )
    image = each_engine.image(f"{PREFIX}/args:1")
    assert image is not None
    assert AWKWARD.items() <= image.labels.items()
    assert each_engine.run(f"{PREFIX}/args:1", ["cat", "/value"]).output == value


def test_build_takes_a_dockerfile_outside_of_the_context(
    each_engine: DockerEngine, build: Callable[..., list[str]], tmp_path: Path
) -> None:
    """The Dockerfile may lie outside of the context."""
    (tmp_path / "context").mkdir()
    (tmp_path / "context/file").write_text("hello")
    build("COPY . /context", "context:1")
    assert each_engine.run(f"{PREFIX}/context:1", ["ls", "-A", "/context"]).output == "file"
    assert [path.name for path in (tmp_path / "context").iterdir()] == ["file"]


def test_secret_reaches_run_and_stays_out_of_the_image(
    each_engine: DockerEngine, build: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A secret reaches RUN and stays out of the image."""
    secret = tmp_path / "token"
    secret.write_text("s3cret-value")
    text = "RUN --mount=type=secret,id=token,target=/dev/token cat /dev/token | rm -f nothing && ls -l /dev/token"
    if each_engine.capabilities.builder is Builder.LEGACY:
        with pytest.raises(NotReadyError):
            build("RUN true", "secret:1", secrets=(("token", secret),))
        return
    build(text, "secret:1", secrets=(("token", secret),))
    assert "s3cret-value" not in image_text(f"{PREFIX}/secret:1")


def test_ca_bundle_is_trusted_during_run_only(
    each_engine: DockerEngine, build: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A CA bundle is trusted during RUN only."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text("CERTIFICATE OF THE COMPANY\n")
    build('RUN cat "$PIP_CERT" >/seen && echo "$SSL_CERT_FILE" >>/seen', "ca:1", ca_bundle=bundle)
    seen = each_engine.run(f"{PREFIX}/ca:1", ["cat", "/seen"]).output.splitlines()
    assert seen[0] == "CERTIFICATE OF THE COMPANY"
    left = each_engine.run(f"{PREFIX}/ca:1", ["sh", "-c", f"ls {seen[1]}; env"])
    assert "CERT" not in left.output.replace(seen[1], "")
    assert "No such file" in left.output


def test_ca_bundle_keeps_the_user_of_the_base_image(
    each_engine: DockerEngine, build: Callable[..., list[str]], tmp_path: Path
) -> None:
    """The user of the base image survives the CA bundle."""
    bundle = tmp_path / "ca.pem"
    bundle.write_text("X\n")
    build("USER 1000:1000", "user-base:1")
    build("RUN cat $PIP_CERT", "user:1", ca_bundle=bundle, build_args={"BASE_IMAGE": f"{PREFIX}/user-base:1"})
    assert "uid=1000" in each_engine.run(f"{PREFIX}/user:1", ["id"]).output


def test_wheels_are_offered_to_run_and_stay_out_of_the_image(
    each_engine: DockerEngine, build: Callable[..., list[str]], tmp_path: Path
) -> None:
    """Wheels are offered to RUN and stay out of the image."""
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (tmp_path / "elsewhere.whl").write_bytes(b"wheel")
    (wheels / "demo-1.0-py3-none-any.whl").symlink_to(tmp_path / "elsewhere.whl")
    (tmp_path / "context").mkdir()
    (tmp_path / "context/.dockerignore").write_text("*\n")
    look = (
        'case "$PIP_FIND_LINKS" in http:*) wget -q -O /got "$PIP_FIND_LINKS"demo-1.0-py3-none-any.whl;;'
        ' *) cat "$PIP_FIND_LINKS"/demo-1.0-py3-none-any.whl >/got;; esac'
    )
    build(f"RUN {look}", "wheels:1", wheelhouse=wheels)
    tag = f"{PREFIX}/wheels:1"
    assert each_engine.run(tag, ["cat", "/got"]).output == "wheel"
    assert "PIP_FIND_LINKS" not in each_engine.run(tag, ["env"]).output
    assert ".jetson" not in each_engine.run(tag, ["ls", "-A", "/"]).output


@pytest.mark.parametrize(
    ("text", "error", "said"),
    [
        ("RUN exit 7", BuildError, "exit 7"),
        ("RUN exit 137", OutOfMemoryError, "137"),
        ("RUN echo 'write failed: No space left on device' && exit 1", JetsonError, "full"),
        ("COPY nothing /", BuildError, "nothing"),
        ("BOGUS x", JetsonError, "BOGUS"),
    ],
)
def test_failed_build_says_why_and_leaves_no_name(
    each_engine: DockerEngine, build: Callable[..., list[str]], text: str, error: type[JetsonError], said: str
) -> None:
    """A failed build says why and leaves no name."""
    with pytest.raises(error) as caught:
        build(text, "failed:1")
    assert said in " ".join([caught.value.message, *caught.value.details])
    assert each_engine.image(f"{PREFIX}/failed:1") is None


def test_build_killed_for_memory_is_told_apart(scratch_base: str, tmp_path: Path) -> None:
    """A build killed for memory is told apart."""
    legacy = engine_for("legacy")
    request = BuildRequest(
        context=tmp_path,
        dockerfile=f"FROM {scratch_base}\nRUN tail /dev/zero\n",
        tag=f"{PREFIX}/oom:1",
        flags=("--memory=8m", "--memory-swap=-1"),
    )
    with pytest.raises(OutOfMemoryError):
        legacy.build(request, silent)


def test_build_that_takes_too_long_is_stopped(each_engine: DockerEngine, build: Callable[..., list[str]]) -> None:
    """A build that takes too long is stopped."""
    with pytest.raises(BuildTimeoutError):
        build("RUN sleep 60", "slow:1", timeout=2)
    assert each_engine.image(f"{PREFIX}/slow:1") is None


def test_stop_ends_a_build_in_another_thread(each_engine: DockerEngine, scratch_base: str, tmp_path: Path) -> None:
    """Stopping ends a build in another thread."""
    engine = engine_for(each_engine.capabilities.builder.value)
    begun = threading.Event()
    caught: list[BaseException] = []
    text = f"FROM {scratch_base}\nRUN echo be''gun && sleep 60\n"

    def work() -> None:
        request = BuildRequest(context=tmp_path, dockerfile=text, tag=f"{PREFIX}/stopped:1", no_cache=True)
        try:
            engine.build(request, lambda line: begun.set() if "begun" in line else None)
        except JetsonError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(30)
    engine.stop()
    thread.join(30)
    assert [type(error) for error in caught] == [InterruptedByUserError]
    assert each_engine.image(f"{PREFIX}/stopped:1") is None
    with pytest.raises(InterruptedByUserError):
        engine.run(scratch_base, ["true"])


def test_container_of_a_killed_process_is_removed_by_the_next(
    engine: DockerEngine, scratch_base: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL leaves no time to remove a container and the folder of a build: the next process that runs one does."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    program = (
        "from jetson_containers.engine.docker import DockerEngine\n"
        "import sys\n"
        f"DockerEngine().run('{scratch_base}', ['sh', '-c', 'echo begun; sleep 600'],\n"
        "    options=['--name', sys.argv[1]], on_line=lambda line: print(line, flush=True))\n"
    )
    name = f"jetson-test-{SESSION}-killed"
    with subprocess.Popen([sys.executable, "-c", program, name], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "begun\n"
        child.kill()
    folder = tmp_path / f"jetson-containers-build-{child.pid}-x"
    folder.mkdir()
    os.utime(folder, (0, 0))
    client = docker.from_env()
    with contextlib.closing(client):
        assert len(client.containers.list(all=True, filters={"name": name})) == 1
        assert engine_for("auto").run(scratch_base, ["true"]).exit_code == 0
        assert not folder.exists()
        assert client.containers.list(all=True, filters={"name": name}) == []


def test_ctrl_c_during_a_container_removes_it(each_engine: DockerEngine, scratch_base: str) -> None:
    """Ctrl-C during a container removes it."""
    program = (
        "from jetson_containers.engine.docker import DockerEngine\n"
        "import sys\n"
        f"DockerEngine().run('{scratch_base}', ['sh', '-c', 'echo begun; sleep 60'],\n"
        "    options=['--name', sys.argv[1]], on_line=lambda line: print(line, flush=True))\n"
    )
    name = f"jetson-test-{SESSION}-{each_engine.capabilities.builder.value}"
    child = subprocess.Popen(
        [sys.executable, "-c", program, name], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begun\n"
    child.send_signal(signal.SIGINT)
    _, err = child.communicate(timeout=30)
    assert "KeyboardInterrupt" in err
    client = docker.from_env()
    with contextlib.closing(client):
        assert client.containers.list(all=True, filters={"name": name}) == []


def test_container_exit_code_and_output_come_back(each_engine: DockerEngine, scratch_base: str) -> None:
    """A container's exit code and output come back."""
    lines: list[str] = []
    result = each_engine.run(
        scratch_base, ["sh", "-c", "echo out; echo err >&2; exit 125"], options=["--rm"], on_line=lines.append
    )
    assert (result.exit_code, sorted(result.output.split())) == (125, ["err", "out"])
    assert sorted(lines) == ["err", "out"]


def test_container_out_of_memory_is_marked(each_engine: DockerEngine, scratch_base: str) -> None:
    """A container out of memory is marked."""
    result = each_engine.run(scratch_base, ["tail", "/dev/zero"], options=["--memory", "8m"])
    assert (result.exit_code, result.oom_killed) == (137, True)


def test_container_that_runs_too_long_is_stopped(each_engine: DockerEngine, scratch_base: str) -> None:
    """A container that runs too long is stopped."""
    result = each_engine.run(scratch_base, ["sh", "-c", "echo early; sleep 60"], timeout=2)
    assert (result.exit_code, result.output, result.timed_out) == (124, "early", True)


@pytest.mark.parametrize(
    ("image", "options", "said"),
    [
        (None, ("--runtime", "no-such-runtime"), "no container runtime `no-such-runtime`"),
        (f"{PREFIX}/never-built:1", (), f"no image `{PREFIX}/never-built:1`"),
    ],
)
def test_container_that_cannot_start_is_an_error_of_the_environment(
    each_engine: DockerEngine, scratch_base: str, image: str | None, options: tuple[str, ...], said: str
) -> None:
    """A container that cannot start is an error of the environment."""
    with pytest.raises(NotReadyError) as caught:
        each_engine.run(image or scratch_base, ["true"], options=options)
    assert said in caught.value.message
    assert caught.value.hint


def test_label_adds_no_layer_and_keeps_old_labels(each_engine: DockerEngine, build: Callable[..., list[str]]) -> None:
    """Labelling adds no layer and keeps old labels."""
    build("RUN echo x >/x", "label:1", labels={"old": "1", "changed": "before"})
    source, target = f"{PREFIX}/label:1", f"{PREFIX}/label:2"
    each_engine.label(source, target, {**AWKWARD, "changed": "after"})
    image = each_engine.image(target)
    assert image is not None
    assert {**AWKWARD, "old": "1", "changed": "after", LABEL: SESSION}.items() <= image.labels.items()
    assert layers(source) == layers(target)
    before = each_engine.image(source)
    assert before is not None
    each_engine.label(before.id, source, {"by": "id"})
    relabeled = each_engine.image(source)
    assert relabeled is not None
    assert relabeled.labels["by"] == "id"


def test_images_are_found_by_label_and_name(each_engine: DockerEngine, build: Callable[..., list[str]]) -> None:
    """Images are found by label and name."""
    builder = each_engine.capabilities.builder.value
    tag, other = f"{PREFIX}/find-{builder}:1", f"{PREFIX}/find-{builder}:2"
    build(f"RUN echo {builder}", f"find-{builder}:1", labels={"find": builder})
    assert each_engine.image(f"{PREFIX}/find-{builder}:none") is None
    each_engine.tag(tag, other)
    found = each_engine.images({"find": builder, LABEL: SESSION})
    assert [sorted(image.references) for image in found] == [[tag, other]]
    assert found[0].architecture == docker_arch(each_engine)
    each_engine.untag(tag)
    assert each_engine.image(tag) is None
    still = each_engine.image(other)
    assert still is not None
    assert still.id == found[0].id
    assert each_engine.images({"find": "nothing"}) == []


def docker_arch(engine: DockerEngine) -> str:
    return {"x86_64": "amd64", "aarch64": "arm64"}[engine.capabilities.architecture]


@pytest.mark.registry
def test_push_and_pull_bring_labels_back(
    each_engine: DockerEngine, build: Callable[..., list[str]], registry: Registry
) -> None:
    """Pushing and pulling bring labels back."""
    tag = f"{registry.host}/{PREFIX}/push-{each_engine.capabilities.builder.value}:1"
    build("RUN echo push", "push:1", labels={"pushed": "yes"})
    each_engine.tag(f"{PREFIX}/push:1", tag)
    lines: list[str] = []
    each_engine.push(tag, lines.append)
    assert any("digest: sha256:" in line for line in lines)
    each_engine.untag(tag)
    each_engine.pull(tag, lines.append, timeout=30)
    image = each_engine.image(tag)
    assert image is not None
    assert image.labels["pushed"] == "yes"
    assert image.digests


@pytest.mark.registry
def test_push_and_pull_tell_bytes(engine: DockerEngine, registry: Registry, tmp_path: Path) -> None:
    """Bytes are told while they move, and in the end all of them are there."""
    size = 20_000_000
    pushed: list[Transferred] = []
    pulled: list[Transferred] = []
    (tmp_path / "random").write_bytes(os.urandom(size))
    with tarfile.open(tmp_path / "layer.tar", "w") as layer:
        layer.add(tmp_path / "random", "random")
    tag = f"{registry.host}/{PREFIX}/{tmp_path.name}:1"
    # An import, because no build cache keeps the layer when the image is removed.
    subprocess.run([engine.capabilities.client, "import", tmp_path / "layer.tar", tag], check=True, capture_output=True)
    engine.push(tag, silent, on_bytes=pushed.append)
    engine.untag(tag)
    engine.pull(tag, silent, on_bytes=pulled.append)
    engine.untag(tag)
    for states in (pushed, pulled):
        assert states[-1].done == states[-1].total >= size
        assert (states[-1].complete, states[-1].present, states[-1].layers) == (1, 0, 1)
        assert len({state.done for state in states}) > 1


@pytest.mark.registry
def test_registry_that_wants_a_login_is_named_with_the_command(
    each_engine: DockerEngine, scratch_base: str, private_registry: Registry
) -> None:
    """A registry that wants a login is named with the command."""
    tag = f"{private_registry.host}/{PREFIX}/private:1"
    each_engine.tag(scratch_base, tag)
    with pytest.raises(RegistryError) as caught:
        each_engine.push(tag, silent)
    assert "docker login" in str(caught.value.hint)
    assert private_registry.password not in str(caught.value)


@pytest.mark.registry
def test_login_opens_a_registry_for_push_and_logout_closes_it(
    engine: DockerEngine, scratch_base: str, private_registry: Registry, tmp_path: Path
) -> None:
    """Docker's own login, checked by the registry: a wrong password is refused, the right one opens it for `push`."""
    client = engine.capabilities.client
    host = private_registry.host
    tag = f"{host}/{PREFIX}/login:1"
    env = {**os.environ, "DOCKER_CONFIG": str(tmp_path), "JETSON_CONTAINERS_CACHE": str(tmp_path / "cache")}

    def ours(*words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
        program = [sys.executable, str(ROOT_DIR / "scripts" / "main.py"), *words]
        return subprocess.run(program, input=typed, env=env, capture_output=True, text=True, check=False, timeout=60)

    subprocess.run([client, "tag", scratch_base, tag], check=True)
    try:
        refused = ours("login", host, "-u", private_registry.user, "--password-stdin", typed="wrong")
        assert (refused.returncode, "Unauthorized" in refused.stderr) == (4, True), refused.stderr
        assert ours("push", tag).returncode != 0
        logged_in = ours(
            "login", host, "-u", private_registry.user, "--password-stdin", typed=private_registry.password
        )
        assert logged_in.returncode == 0, logged_in.stderr
        assert private_registry.password not in logged_in.stdout + logged_in.stderr
        pushed = ours("push", tag)
        assert (pushed.returncode, pushed.stdout) == (0, f"{tag}\n"), pushed.stderr
        assert ours("logout", host).returncode == 0
        assert ours("push", tag).returncode != 0
    finally:
        subprocess.run([client, "rmi", tag], check=True, capture_output=True)


@pytest.mark.registry
@pytest.mark.parametrize(
    ("name", "said"), [("never/pushed:1", "no such image"), (None, "cannot be reached")], ids=["unknown", "down"]
)
def test_pull_that_fails_is_a_registry_error(
    each_engine: DockerEngine, registry: Registry, name: str | None, said: str
) -> None:
    """What cannot be pulled is an error of the registry."""
    with pytest.raises(RegistryError) as caught:
        each_engine.pull(f"{registry.host}/{name}" if name else "127.0.0.1:1/x:1", silent, timeout=30)
    assert said in caught.value.message


def test_build_flags_that_are_unknown_are_a_usage_error(build: Callable[..., list[str]]) -> None:
    """Unknown build flags are the user's mistake."""
    with pytest.raises(UsageError, match="no-such-flag"):
        build("RUN true", "flags:1", flags=("--no-such-flag",))


def test_build_flags_are_passed_on(each_engine: DockerEngine, build: Callable[..., list[str]]) -> None:
    """Build flags are passed on."""
    build("RUN true", "flags:2", flags=("--label", "from-flags=yes"))
    image = each_engine.image(f"{PREFIX}/flags:2")
    assert image is not None
    assert image.labels["from-flags"] == "yes"


@pytest.mark.arm64
def test_foreign_platform_is_built_labelled_and_marked(
    each_engine: DockerEngine, arm64_base: str, tmp_path: Path
) -> None:
    """An image of a foreign platform is built, labeled and marked as such."""
    fresh = engine_for(each_engine.capabilities.builder.value)
    fresh = type(fresh)(host=fresh._host)  # probes anew: the emulator was registered after the first probe
    tag = f"{PREFIX}/arm64-{each_engine.capabilities.builder.value}:1"
    text = f"FROM {arm64_base}\nRUN uname -m >/machine\n"
    fresh.build(BuildRequest(context=tmp_path, dockerfile=text, tag=tag, platform="linux/arm64"), silent)
    fresh.label(tag, tag, {"later": "yes"})
    image = fresh.image(tag)
    assert image is not None
    assert (image.architecture, image.labels["later"]) == ("arm64", "yes")
    assert fresh.run(tag, ["cat", "/machine"], options=["--platform", "linux/arm64"]).output == "aarch64"


def program(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_sudo_sends_all_commands_through_the_client(engine: DockerEngine, scratch_base: str, tmp_path: Path) -> None:
    """A docker that only answers a `sudo` which, as the real one does, drops the environment."""
    client = engine.capabilities.client
    refuse = "echo 'permission denied while trying to connect to the Docker daemon socket' >&2; exit 1"
    program(tmp_path / "docker", f'[ -n "$THROUGH_SUDO" ] || {{ {refuse}; }}\nexec {client} "$@"')
    program(tmp_path / "sudo", '[ "$1" = -n ] && shift\nexec /usr/bin/env -i PATH="$PATH" THROUGH_SUDO=1 "$@"')
    (tmp_path / "env").symlink_to("/usr/bin/env")
    env = {"PATH": str(tmp_path), "HOME": str(tmp_path)}  # nothing but these: no other docker, no real sudo
    behind = DockerEngine(host=ProbedHost(env=env, uid=1000, interactive=False))
    assert behind.capabilities.sudo
    tag, other = f"{PREFIX}/sudo:1", f"{PREFIX}/sudo:2"
    behind.build(
        BuildRequest(
            context=tmp_path, dockerfile=f"FROM {scratch_base}\nRUN echo x >/x\n", tag=tag, labels={"sudo": SESSION}
        ),
        silent,
    )
    behind.label(tag, tag, {"more": "2"})
    behind.tag(tag, other)
    assert [sorted(image.references) for image in behind.images({"sudo": SESSION, "more": "2"})] == [[tag, other]]
    behind.untag(other)
    assert behind.image(other) is None
    assert behind.run(tag, ["cat", "/x"]).output == "x"
    with pytest.raises(NotReadyError):
        behind.untag(other)


def test_client_that_cannot_build_is_passed_over(engine: DockerEngine) -> None:
    """On a machine with one client, that one is it; with several, no other could do better."""
    capabilities = engine.capabilities
    if capabilities.builder is Builder.LEGACY:
        with pytest.raises(pytest.skip.Exception):
            engine_for("buildkit")
    else:
        assert capabilities.mounts
        assert Path(capabilities.client).name == "docker"


def test_usage_is_that_of_the_engine(each_engine: DockerEngine, build: Callable[..., list[str]]) -> None:
    """The layers of all images are no less than those of one, and these are told apart by name."""
    build("RUN head -c 3000000 /dev/urandom >/x", "layers:1")
    image = each_engine.image(f"{PREFIX}/layers:1")
    usage = each_engine.usage()
    assert image is not None
    assert usage is not None
    assert usage.layers >= image.size > 3_000_000
    assert usage.build_cache >= usage.idle_cache >= 0
    ((name, layers),) = each_engine.layers([image.id]).items()
    assert name == image.id
    assert layers
    assert all(layer.startswith("sha256:") for layer in layers)
    sized = [entry for entry in each_engine.history(f"{PREFIX}/layers:1") if entry.size]
    assert 3_000_000 < sum(entry.size for entry in sized) <= image.size
    assert "head -c 3000000 /dev/urandom" in sized[0].command
    assert each_engine.history(f"{PREFIX}/none:1") == ()


def test_flatten_keeps_files_and_settings_in_one_layer(engine: DockerEngine, scratch_base: str, tmp_path: Path) -> None:
    """Files with their owners and modes, environment and command are those of the image; the layer is one."""
    many, flat = f"{PREFIX}:many", f"{PREFIX}:flat"
    text = (
        f'FROM {scratch_base}\nRUN echo 1 >/one\nRUN echo 2 >/two && chown 7:8 /two && chmod 4711 /two\nENV A="b  c"\n'
    )
    request = BuildRequest(context=tmp_path, dockerfile=text, tag=many, labels={LABEL: SESSION}, network="none")
    engine.build(request, lambda _: None)
    engine.flatten(many, flat, {LABEL: SESSION, "odd one": 'a "b" $c \\ d'})
    try:
        made = engine.image(flat)
        layers = subprocess.check_output(["docker", "inspect", "--format", "{{len .RootFS.Layers}}", flat], text=True)
        told = engine.run(
            flat, ["sh", "-c", 'stat -c "%a %u:%g" /two; cat /one; echo "$A"'], options=["--network=none"]
        )
    finally:
        engine.untag(flat)
    assert layers == "1\n"
    assert made is not None
    assert made.labels == {LABEL: SESSION, "odd one": 'a "b" $c \\ d'}
    assert told.output.split("\n")[:3] == ["4711 7:8", "1", "b  c"]
