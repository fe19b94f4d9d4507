"""Bad input and bad luck, as a user meets them: the launchers as processes, a real engine, full disks, signals.

Each case looks at all that a script or a person sees: exit code, one message with its remedy, nothing on stdout, and
that nothing half-done counts as done afterwards. Mistakes that can be judged without a process or an engine are in
tests/unit/test_bad_input.py.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import pty
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from jetson_containers.engine.docker import DockerEngine

pytestmark = pytest.mark.engine

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT = 100  # seconds; nothing here takes ten
LAUNCHER_NEEDS = ("bash", "cmp", "dirname", "env", "python3", "readlink")
KEPT = ("PATH", "LANG", "LC_ALL", "TERM", "DOCKER_HOST")  # wheels and certificates of the machine would slow all down
HEAD = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"

Done = subprocess.CompletedProcess[str]


@dataclass
class World:
    """A user with a home, a package tree and folders of their own, whose recipes nobody has built before."""

    directory: Path
    base: str
    nonce: str = field(default_factory=lambda: secrets.token_hex(6))
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.env = {name: os.environ[name] for name in KEPT if name in os.environ} | {
            "HOME": str(self.directory / "home"),
            **{f"JETSON_CONTAINERS_{name}": str(self.directory / name.lower()) for name in ("DATA", "LOGS", "CACHE")},
        }
        (self.directory / "home").mkdir()

    def recipe(self, name: str, body: str, header: str = "", test: str = "") -> None:
        folder = self.directory / "packages" / name
        folder.mkdir(parents=True, exist_ok=True)
        lines = [f"name: {name}", *([header] if header else []), *(["test: check"] if test else [])]
        text = "".join(f"# {line}\n" for line in lines)
        (folder / "Dockerfile").write_text(f"#---\n{text}#---\n{HEAD}ENV NONCE={self.nonce}\n{body}\n")
        if test:
            (folder / "check").write_text(f"#!/bin/sh\n{test}\n")
            (folder / "check").chmod(0o755)

    def command(self, *words: str, launcher: str = "build.sh") -> list[str]:
        tree = str(self.directory / "packages")
        common = ["--target", "cpu", "--packages", tree, "--base", self.base, f"--name=jc-bad-{self.nonce}/"]
        return [str(ROOT / launcher), *(common if launcher == "build.sh" else ()), *words]

    def build(self, *words: str, env: Mapping[str, str] | None = None) -> Done:
        return self.run(self.command(*words), env=env)

    def run(self, command: Sequence[str], *, env: Mapping[str, str] | None = None, **more: Any) -> Done:
        return subprocess.run(
            list(command),
            env={**self.env, **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            **more,
        )

    def plan(self, *words: str) -> dict[str, Any]:
        done = self.build("--dry-run", "--json", *words)
        assert done.returncode == 0, done.stderr
        loaded: dict[str, Any] = json.loads(done.stdout)
        return loaded

    def left(self, engine: DockerEngine, *words: str) -> dict[str, str]:
        """What a next build would do, stage by stage, after one that failed: it left no finished image."""
        plan = self.plan(*words)
        assert engine.image(plan["final"]) is None
        return {stage["package"]: stage["state"] for stage in plan["stages"]}


@pytest.fixture
def world(tmp_path: Path, scratch_base: str) -> World:
    return World(tmp_path, scratch_base)


def refused(done: Done, code: int, *words: str) -> None:
    """One message with a remedy, and nothing on stdout."""
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
    assert "\nhint: " in done.stderr
    for word in words:
        assert word in done.stderr, done.stderr


def succeeds(done: Done) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


# What is asked for.


def test_typo_in_a_name_gets_the_name_that_was_meant(world: World) -> None:
    """A typo gets the name that was meant."""
    world.recipe("numpy", "RUN true")
    refused(world.build("nunpy"), 2, "no package `nunpy`", "did you mean `numpy`?")
    assert not (world.directory / "logs").exists()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--build-args", "foo"], 2, ["`foo`", "KEY:VALUE"]),
        (["--base", "Bad Name"], 2, ["--base", "`Bad Name`"]),
        (["--base", "127.0.0.1:9/none:1"], 4, ["127.0.0.1:9", "cannot be reached"]),
        (["--build-flags=--nonsense"], 2, ["--nonsense", "docker build --help"]),
        (["--log-dir", "/dev/null"], 4, ["`/dev/null`", "--log-dir"]),
        (["--log-dir", "/proc/none"], 4, ["`/proc/none`", "--log-dir"]),
    ],
)
def test_wrong_option_builds_nothing(
    world: World, engine: DockerEngine, words: list[str], code: int, said: list[str]
) -> None:
    """A wrong option builds nothing."""
    world.recipe("one", "RUN true")
    refused(world.build("one", *words), code, *said)
    assert world.left(engine, "one") == {"one": "build"}


def test_build_argument_that_nothing_declares_is_said_and_builds(world: World) -> None:
    """An argument that no Dockerfile declares is said and changes nothing, as upstream's users expect."""
    world.recipe("one", "RUN true")
    done = world.build("one", "--build-args", "NOPE:1")
    succeeds(done)
    assert "`NOPE`" in done.stderr


def test_cache_that_cannot_be_written_does_not_fail(world: World, engine: DockerEngine) -> None:
    """A cache that cannot be written does not fail."""
    world.recipe("one", "RUN true")
    done = world.build("one", env={"JETSON_CONTAINERS_CACHE": "/proc/none"})
    refused(done, 4, "`/proc/none", "JETSON_CONTAINERS_CACHE")
    assert world.left(engine, "one") == {"one": "build"}


# The engine.


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH with what a launcher needs, and no docker."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in LAUNCHER_NEEDS:
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    return str(folder)


LAUNCHES = (["build.sh", "one"], ["run.sh", "image", "true"], ["jetson-containers", "images"])


@pytest.mark.parametrize("words", LAUNCHES)
def test_missing_engine_is_one_error(world: World, bare_path: str, words: list[str]) -> None:
    """A missing engine is one error with its remedy."""
    world.recipe("one", "RUN true")
    command = world.command(*words[1:], launcher=words[0])
    refused(world.run(command, env={"PATH": bare_path}), 4, "no `docker` on PATH", "./install.sh")
    dead = f"unix://{world.directory}/none.sock"
    refused(world.run(command, env={"DOCKER_HOST": dead}), 4, dead, "DOCKER_HOST")
    assert not (world.directory / "logs").exists()
    assert not (world.directory / "data").exists()


@pytest.mark.parametrize("words", LAUNCHES)
def test_engine_without_rights_is_one_error(world: World, words: list[str]) -> None:
    """An engine that the user may not use is one error with its remedy."""
    if os.geteuid() or shutil.which("setpriv") is None or "DOCKER_HOST" in os.environ:
        pytest.skip("cannot run here: becoming a user without rights needs root, setpriv and a local engine")
    world.recipe("one", "RUN true")
    # May read everything (the virtual environment can be below /root), and may not open the engine's socket.
    user = ["setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=+dac_read_search"]
    user += ["--ambient-caps=+dac_read_search", "--"]
    done = world.run([*user, *world.command(*words[1:], launcher=words[0])])
    refused(done, 4, "is not allowed to use the Docker engine", "usermod -aG docker")


def test_broken_client_first_on_path_is_passed_over(world: World, tmp_path: Path) -> None:
    """A broken client first on PATH is passed over."""
    folder = tmp_path / "broken"
    folder.mkdir()
    (folder / "docker").write_bytes(b"\x7fELF is all that is left of it")
    (folder / "docker").chmod(0o755)
    env = {"PATH": f"{folder}:{os.environ['PATH']}"}
    succeeds(world.run(world.command("images", launcher="jetson-containers"), env=env))


# The disk.


def _mount(folder: Path, size: str) -> int:
    return subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)], check=False).returncode


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    if os.geteuid() or _mount(folder, size):
        pytest.skip("cannot run here: a small disk needs root and mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_disk_without_space_for_logs_is_one_error(world: World, engine: DockerEngine) -> None:
    """A disk without space for logs is one error."""
    world.recipe("talks", "RUN busybox seq 5000")
    with small_disk(world.directory / "small", "24k") as disk:
        done = world.build("talks", "--log-dir", str(disk), "--progress", "plain")
        refused(done, 4, f"`{disk}", "No space left on device", "--log-dir")
        world.left(engine, "talks")
    succeeds(world.build("talks"))


@pytest.fixture(scope="module")
def cramped(scratch_base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a second engine whose images are on a disk of 48 MB. See test_launch.py for its network."""
    if os.geteuid() or not all(map(shutil.which, ("dockerd", "runc", "unshare"))):
        pytest.skip("cannot run here: a second dockerd needs root, dockerd, runc and unshare")
    folder = Path("/run") / f"jc-bad-{secrets.token_hex(4)}"  # short: a socket's path has at most 107 characters
    folder.mkdir()
    env = {"DOCKER_HOST": f"unix://{folder}/docker.sock"}
    argv = ["unshare", "--net", "dockerd", "--host", env["DOCKER_HOST"], "--data-root", f"{folder}/data"]
    argv += ["--exec-root", f"{folder}/exec", "--pidfile", f"{folder}/pid", "--bridge=none", "--iptables=false"]
    argv += ["--storage-driver=vfs"]
    log = tmp_path_factory.mktemp("cramped") / "log"
    try:
        with small_disk(folder / "data", "48m"), log.open("wb") as out:
            with subprocess.Popen(argv, stdout=out, stderr=out) as daemon:
                try:
                    _await_engine(env, daemon, log)
                    saved = subprocess.run(["docker", "save", scratch_base], capture_output=True, check=True)
                    subprocess.run(
                        ["docker", "load"],
                        input=saved.stdout,
                        env={**os.environ, **env},
                        check=True,
                        capture_output=True,
                    )
                    yield env
                finally:
                    daemon.terminate()
                    daemon.wait(60)
            for line in reversed(Path("/proc/mounts").read_text().splitlines()):  # what the daemon leaves behind
                if (place := line.split()[1]).startswith(str(folder)) and place != f"{folder}/data":
                    subprocess.run(["umount", place], check=True)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _await_engine(env: dict[str, str], daemon: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(60):
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(timeout=0.5)
            pytest.skip(f"cannot run here: a second dockerd does not start: {log.read_text()[-500:]}")
        asked = subprocess.run(["docker", "version"], env={**os.environ, **env}, capture_output=True, check=False)
        if not asked.returncode:
            return
    pytest.fail(f"the second dockerd does not answer: {log.read_text()[-500:]}")


def test_disk_without_space_for_images_is_noticed_before_building(world: World, cramped: dict[str, str]) -> None:
    """A disk without space for images is noticed before building."""
    world.recipe("one", "RUN true")
    done = world.build("one", env=cramped)
    refused(done, 4, "MB free", "1 stages need about 500.0 MB", "jetson-containers prune")
    assert not (world.directory / "logs" / "latest").exists()


@pytest.mark.parametrize("builder", ["legacy", "buildkit"])
def test_disk_that_fills_up_while_building_is_one_error(world: World, cramped: dict[str, str], builder: str) -> None:
    """A disk that fills up while building is one error."""
    if builder == "buildkit" and world.build("--dry-run", "--engine", builder).returncode == 4:
        pytest.skip("cannot run here: no client with BuildKit")
    world.recipe("big", "RUN busybox dd if=/dev/zero of=/big bs=1M count=200")
    state = world.directory / "cache" / "build"  # as if an earlier version of the package had been small
    state.mkdir(parents=True)
    (state / "stages.json").write_text('{"bytes": {"big": 1000}, "seconds": {}}')
    done = world.build("big", "--engine", builder, env=cramped)
    refused(done, 4, "stage `big`", "full", "jetson-containers prune", "resumes at `big`")
    final = world.plan("big")["final"]
    inspected = world.run(["docker", "image", "inspect", final], env=cramped)
    assert inspected.returncode != 0


# A stage that fails.


def test_failed_stage_that_is_corrected_is_where_the_build_resumes(world: World, engine: DockerEngine) -> None:
    """A stage that fails and is corrected is built, and those below are not."""
    world.recipe("lower", "RUN echo fine > /lower")
    world.recipe("upper", "RUN echo the last thing it says && no-such-program --flag", "depends: [lower]")
    done = world.build("upper")
    refused(done, 1, "stage `upper` (2 of 2)", "the last thing it says", "not found", "resumes at `upper`")
    assert f"./build.sh --target cpu --packages {world.directory}/packages" in done.stderr  # the next command
    (log,) = (line.split("log: ")[1] for line in done.stderr.splitlines() if line.startswith("  log: "))
    path, _, number = log.rpartition(":")
    assert "no-such-program" in Path(path).read_text().splitlines()[int(number) - 1]
    assert world.left(engine, "upper") == {"lower": "cached", "upper": "build"}
    world.recipe("upper", "RUN true", "depends: [lower]")
    assert "1 ready" in world.build("upper").stderr
    assert "nothing to build" in world.build("upper").stderr


def test_failed_package_test_that_is_corrected_passes_without_a_build(world: World, engine: DockerEngine) -> None:
    """A package test that fails and is corrected runs again."""
    world.recipe("odd", "RUN true", test="echo expected 4, got 5; exit 3")
    refused(world.build("odd"), 1, "`check`", "expected 4, got 5", "log: ")
    world.left(engine, "odd")
    again = world.build("odd")
    refused(again, 1, "expected 4, got 5")  # a build that is there is not a test that passed
    world.recipe("odd", "RUN true", test="exit 0")
    succeeds(world.build("odd"))


def test_stage_killed_by_the_kernel_is_recognized(world: World, engine: DockerEngine) -> None:
    """A stage killed by the kernel is recognized."""
    world.recipe("hungry", "RUN busybox dd if=/dev/zero of=/dev/null bs=256M count=1")
    done = world.build("hungry", "--engine", "legacy", "--build-flags=--memory=16m")
    if "exceed memory limit" in done.stderr or "kernel does not support memory" in done.stderr.lower():
        pytest.skip("cannot run here: this kernel cannot limit memory")
    refused(done, 1, "stage `hungry`", "memory ran out (exit code 137)", "--jobs 1", "resumes at `hungry`")
    assert world.left(engine, "hungry") == {"hungry": "build"}
    succeeds(world.build("hungry"))


def test_package_test_killed_like_by_the_kernel_is_recognized(world: World) -> None:
    """A package test that is killed as the kernel does is recognized."""
    world.recipe("hungry", "RUN true", test="sh -c 'kill -9 $$'")
    refused(world.build("hungry"), 1, "`check`", "memory", "137")


# Ctrl-C.


def interrupt(command: Sequence[str], env: Mapping[str, str], word: str) -> tuple[int, str, str]:
    """Press Ctrl-C as a terminal does, to the whole group, once a word was seen on stderr."""
    with subprocess.Popen(
        list(command),
        env=dict(env),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        said = []
        for line in child.stderr:
            said.append(line)
            if word in line:
                break
        os.killpg(child.pid, signal.SIGINT)
        rest = child.stderr.read()
        return child.wait(TIMEOUT), child.stdout.read(), "".join(said) + rest


def test_ctrl_c_during_a_build_resumes_at_that_stage(world: World, engine: DockerEngine) -> None:
    """A build interrupted by Ctrl-C resumes at that stage."""
    world.recipe("lower", "RUN echo fine > /lower")
    world.recipe("upper", "RUN echo fast''asleep && sleep 300", "depends: [lower]")
    code, out, err = interrupt(world.command("upper", "--progress", "plain"), world.env, "fastasleep")
    refused(Done([], code, out, err), 130, "interrupted", "resumes")
    assert world.left(engine, "upper") == {"lower": "cached", "upper": "build"}
    world.recipe("upper", "RUN true", "depends: [lower]")
    assert "1 ready" in world.build("upper").stderr


def test_ctrl_c_during_autotag_ends_it_at_once(world: World) -> None:
    """Ctrl-C ends autotag at once."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}/library"
        command = world.command("--disable", "local", "--registry", place, "one", launcher="autotag")
        with subprocess.Popen(
            command, env=world.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as child:
            silent.settimeout(TIMEOUT)
            connection, _ = silent.accept()
            with connection:
                os.killpg(child.pid, signal.SIGINT)
                out, err = child.communicate(timeout=TIMEOUT)
        refused(Done([], child.returncode, out, err), 130, "Ctrl-C")


def test_ctrl_c_during_run_reaches_the_container(world: World) -> None:
    """Ctrl-C during run reaches the container."""
    name = f"jc-bad-input-{world.nonce}"
    script = "trap 'exit 130' INT; echo ready >&2; while :; do sleep 0.05; done"
    command = world.command("--name", name, world.base, "sh", "-c", script, launcher="run.sh")
    try:
        code, out, err = interrupt(command, world.env, "ready")
        assert (code, out) == (130, "")
        assert "Traceback" not in err
        left = world.run(["docker", "ps", "--all", "--quiet", "--filter", f"name={name}"])
        assert left.stdout == ""
    finally:
        world.run(["docker", "rm", "--force", name])


def test_builds_of_the_same_package_at_once_build_it_once(world: World) -> None:
    """Two builds of the same package at once build it once."""
    world.recipe("slow", "RUN sleep 2")
    command = world.command("slow", "--progress", "plain")
    children = [
        subprocess.Popen(command, env=world.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [child.communicate(timeout=TIMEOUT)[1] for child in children]
    assert [child.returncode for child in children] == [0, 0], said
    assert sum("slow | built" in text for text in said) == 1, said


# Registries.


@contextlib.contextmanager
def registry_saying(code: int) -> Iterator[str]:
    """A registry that answers everything with one code; its `HOST:PORT/NAMESPACE`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(code)
            self.send_header("Content-Length", "0")
            self.send_header("Retry-After", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}/library"
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("code", [401, 503])
def test_registry_that_refuses_is_one_error(world: World, code: int) -> None:
    """A registry that refuses is one error."""
    with registry_saying(code) as place:
        done = world.run(world.command("--disable", "local", "--registry", place, "one", launcher="autotag"))
    refused(done, 4, place.partition("/")[0])


def test_registry_that_is_down_is_one_error(world: World) -> None:
    """A registry that is down is one error."""
    done = world.run(world.command("--disable", "local", "--registry", "127.0.0.1:9/x", "one", launcher="autotag"))
    refused(done, 4, "127.0.0.1:9")


def test_registry_that_is_down_hides_no_local_image(world: World, engine: DockerEngine) -> None:
    """A registry that is down hides no local image."""
    name = f"here-{world.nonce}"  # nobody else's: images of other test runs are found too
    world.recipe(name, "RUN true")
    succeeds(world.build(name))
    final = world.plan(name)["final"]
    words = ["--target", "cpu", "--registry", "127.0.0.1:9/x", "--packages", str(world.directory / "packages"), name]
    done = world.run(world.command(*words, launcher="autotag"))
    assert (done.returncode, done.stdout) == (0, f"{final}\n"), done.stderr


# ./run.sh


def test_run_without_an_image_is_one_error(world: World) -> None:
    """`run` without an image is one error."""
    refused(world.run(world.command(launcher="run.sh")), 2, "no image", "./autotag")


def test_run_with_an_image_that_no_registry_has_is_an_error(world: World) -> None:
    """`run` with an image that no registry has is an error."""
    missing = "127.0.0.1:9/none:1"
    done = world.run(world.command(missing, "true", launcher="run.sh"))
    assert (done.returncode, done.stdout) == (125, "")  # docker's own code
    assert missing in done.stderr
    assert "Traceback" not in done.stderr


def test_run_with_a_missing_camera_is_one_error(world: World) -> None:
    """`run` with a missing camera is one error."""
    if list(Path("/dev").glob("video*")):
        pytest.skip("cannot run here: this machine has a camera")
    done = world.run(world.command("--target", "cpu", "--camera", world.base, "true", launcher="run.sh"))
    refused(done, 4, "no camera", "plugged in")


@pytest.mark.parametrize(("data", "code"), [("/dev/null", 2), ("/proc/none", 4)])
def test_run_with_an_impossible_data_directory_is_one_error(world: World, data: str, code: int) -> None:
    """`run` with a data directory that cannot be made is one error."""
    refused(world.run(world.command("--data", data, world.base, "true", launcher="run.sh")), code, data, "--data DIR")


# The surroundings.


def test_checkout_that_is_read_only_works(world: World) -> None:
    """A checkout that is read-only works."""
    script = f'mount --bind {ROOT} {ROOT} && mount -o remount,ro,bind {ROOT} && exec "$@"'
    sealed = ["unshare", "--mount", "sh", "-c", script, "sh"]
    if os.geteuid() or world.run([*sealed, "true"]).returncode:
        pytest.skip("cannot run here: a read-only checkout needs root and unshare")
    world.recipe("one", "RUN true")
    del world.env["JETSON_CONTAINERS_LOGS"]
    refused(world.run([*sealed, *world.command("one")]), 4, f"`{ROOT}/logs`", "--log-dir")
    logs = str(world.directory / "logs")
    succeeds(world.run([*sealed, *world.command("one", "--log-dir", logs)]))
    env = {"JETSON_CONTAINERS_VENV": f"{ROOT}/.no-venv"}
    refused(world.run([*sealed, *world.command("one")], env=env), 4, ".no-venv", "export JETSON_CONTAINERS_VENV=")


@pytest.mark.parametrize(
    "env",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"COLUMNS": "20", "TERM": "dumb"},
        {"NO_COLOR": "1", "FORCE_COLOR": "1"},
    ],
)
def test_locale_and_terminal_of_any_kind_work(world: World, env: dict[str, str]) -> None:
    """Any locale and terminal work."""
    world.recipe("one", "RUN echo Grüße")
    words = ["--progress", "plain"] if "LC_ALL" in env else ["--dry-run"]
    done = world.build("one", *words, env=env)
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    refused(world.build("öne", env=env), 2, "hint: ")


def test_home_that_is_missing_does_not_fail(world: World) -> None:
    """A missing home directory does not fail."""
    world.recipe("one", "RUN true")
    for name in ("HOME", "JETSON_CONTAINERS_CACHE"):
        del world.env[name]
    assert "one:" in succeeds(world.build("--dry-run", "one"))


def test_terminal_of_twenty_columns_works(world: World) -> None:
    """A terminal of twenty columns works."""
    world.recipe("one", "RUN true")
    for name, color in (("one", {}), ("nothing", {"NO_COLOR": "1"})):
        main, side = pty.openpty()
        with contextlib.ExitStack() as close:
            close.callback(os.close, main)
            command = ["sh", "-c", 'stty cols 20 rows 10 && exec "$@"', "sh", *world.command(name)]
            child = subprocess.Popen(command, env={**world.env, **color}, stdin=side, stdout=side, stderr=side)
            os.close(side)
            said = b""
            with contextlib.suppress(OSError):  # a terminal ends with EIO
                while chunk := os.read(main, 4096):
                    said += chunk
            code = child.wait(TIMEOUT)
        assert b"Traceback" not in said
        assert code == (0 if name == "one" else 2), said
        assert (b"\x1b[3" in said) == (name == "one"), said


@pytest.mark.parametrize("redirect", [">&-", "2>&-", ">&- 2>&-", "<&-", "2>/dev/full"])
def test_streams_closed_or_full_do_not_fail_a_build(world: World, redirect: str) -> None:
    """Closed and full streams do not fail a build."""
    world.recipe("one", "RUN true")
    script = f'exec "$@" {redirect}'
    if redirect in {">&- 2>&-", "2>/dev/full"}:
        done = world.run(["sh", "-c", script, "sh", *world.command("one")])
        assert done.returncode == 0, done.stderr  # a build has nothing to say on stdout
        assert "Traceback" not in done.stderr
    wrong = world.run(["sh", "-c", script, "sh", *world.command("nothing")])
    assert wrong.returncode == 2


@pytest.mark.parametrize("redirect", [">&-", ">/dev/full"])
def test_result_that_cannot_be_written_is_a_failure(world: World, redirect: str) -> None:
    """A result that cannot be written is a failure."""
    world.recipe("one", "RUN true")
    done = world.run(["sh", "-c", f'exec "$@" {redirect}', "sh", *world.command("one", "--dry-run")])
    refused(done, 4, "standard output")


def test_output_whose_reader_has_gone_ends_quietly(world: World) -> None:
    """Output whose reader has gone ends quietly."""
    read, write = os.pipe()
    os.close(read)
    for command in (["list"], ["list", "--json"], ["info"]):
        with subprocess.Popen(
            world.command(*command, launcher="jetson-containers"),
            env=world.env,
            stdout=write,
            stderr=subprocess.PIPE,
            text=True,
        ) as child:
            _, err = child.communicate(timeout=TIMEOUT)
        assert (child.returncode, err) == (141, "")
    os.close(write)


def test_working_directory_that_is_gone_does_not_fail(world: World) -> None:
    """A working directory that is gone does not fail."""
    world.recipe("one", "RUN true")
    script = 'mkdir gone && cd gone && rmdir ../gone && exec "$@"'
    done = world.run(["sh", "-c", script, "sh", *world.command("one", "--dry-run")], cwd=world.directory)
    assert "one:" in succeeds(done)


def test_module_call_is_the_same_program(world: World) -> None:
    """`python -m jetson_containers` is the same program."""
    done = world.run([sys.executable, "-m", "jetson_containers", "biuld"], cwd=ROOT)
    refused(done, 2, "biuld", "build")
