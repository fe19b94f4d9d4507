"""`python -m jetson_containers run` against a real engine: what arrives in the container, and what comes back."""

from __future__ import annotations

import contextlib
import os
import pty
import re
import select
import shutil
import signal
import subprocess
import sys
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.launch.display import CookieFile, write_cookie
from jetson_containers.launch.docker_options import FLAGS, VALUED
from jetson_containers.launch.parts import Mount

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.engine

RUN = (sys.executable, "-m", "jetson_containers", "run")


def docker(*args: str, env: dict[str, str] | None = None, stdin: bytes | None = None) -> str:
    done = subprocess.run(
        ["docker", *args], input=stdin, capture_output=True, timeout=100, check=False, env={**os.environ, **(env or {})}
    )
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode().strip()


def run(*args: str, env: dict[str, str] | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
    """`./run.sh ARGS`, stdin and stdout being pipes."""
    return subprocess.run(
        [*RUN, *args],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        env={**os.environ, **(env or {})},
    )


@pytest.fixture
def image(scratch_base: str) -> str:
    """An image with nothing but busybox."""
    return scratch_base


@pytest.fixture
def name() -> Iterator[str]:
    """A container's name; the container is gone afterwards, whatever happened."""
    chosen = f"jc-launch-test-{uuid.uuid4().hex[:8]}"
    yield chosen
    subprocess.run(["docker", "rm", "--force", chosen], capture_output=True, check=False, timeout=100)


def read_until(stream: int, wanted: bytes) -> bytes:
    """Output up to a word; fails when it does not come within a minute."""
    seen = b""
    while wanted not in seen:
        assert select.select([stream], [], [], 60)[0], f"no {wanted!r} within a minute, only {seen!r}"
        chunk = os.read(stream, 4096)
        assert chunk, f"ended before {wanted!r}: {seen!r}"
        seen += chunk
    return seen


# Exit codes and signals.


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (["true"], 0),
        (["sh", "-c", "exit 3"], 3),
        (["/etc"], 126),  # not executable
        (["/no/such/program"], 127),
    ],
)
def test_run_returns_the_exit_code_of_the_container(image: str, command: list[str], code: int) -> None:
    """The container's exit code comes back."""
    assert run(image, *command).returncode == code


def test_run_returns_the_failure_of_docker(image: str) -> None:
    """Docker's own failure comes back."""
    done = run("--no-such-option=1", image, "true")
    assert done.returncode == 125
    assert "unknown option of `docker run`: `--no-such-option`" in done.stderr


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 5), (signal.SIGINT, 6)])
def test_run_passes_a_signal_on_and_returns_the_code(image: str, name: str, number: signal.Signals, code: int) -> None:
    """A signal ends the container, and its code comes back."""
    script = "trap 'exit 5' TERM; trap 'exit 6' INT; echo ready; while :; do sleep 0.05; done"
    with subprocess.Popen([*RUN, "--name", name, image, "sh", "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        read_until(process.stdout.fileno(), b"ready")
        assert Path(f"/proc/{process.pid}/exe").readlink().name == "docker"  # nothing of ours stands in between
        process.send_signal(number)
        assert process.wait(timeout=60) == code
    assert docker("ps", "--all", "--quiet", "--filter", f"name={name}") == ""


# What arrives.


def test_run_passes_a_secret_without_showing_it_in_the_process_list(image: str, name: str) -> None:
    """A secret arrives without showing in the process list."""
    value = f"hf_{uuid.uuid4().hex}"
    argv = [*RUN, "--name", name, "-e", f"HF_TOKEN={value}", image, "sh", "-c", "echo $HF_TOKEN; cat"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert value.encode() in read_until(process.stdout.fileno(), b"\n")
        cmdline = Path(f"/proc/{process.pid}/cmdline").read_bytes()
        assert b"HF_TOKEN" in cmdline
        assert value.encode() not in cmdline
        process.communicate(b"", timeout=60)
    assert process.returncode == 0


def test_run_passes_the_token_under_both_names(image: str) -> None:
    """The token of the environment arrives under both names."""
    done = run(image, "sh", "-c", "echo $HF_TOKEN-$HUGGINGFACE_TOKEN", env={"HUGGINGFACE_TOKEN": "t1", "HF_TOKEN": ""})
    assert done.stdout == "t1-t1\n"


def test_run_pipes_input_and_clean_output(image: str) -> None:
    """What is piped in arrives, and what comes out is clean."""
    assert run(image, "cat", stdin="one\ntwo\n").stdout == "one\ntwo\n"


def test_run_on_a_terminal_gives_the_container_one(image: str) -> None:
    """A terminal on both sides is one in the container."""
    main, side = pty.openpty()
    try:
        with subprocess.Popen(
            [*RUN, image, "busybox", "tty"], stdin=side, stdout=side, stderr=subprocess.PIPE
        ) as process:
            assert b"/dev/" in read_until(main, b"\n")
            assert process.wait(timeout=60) == 0
    finally:
        os.close(main)
        os.close(side)


def test_run_into_a_pipe_gives_no_terminal(image: str) -> None:
    """Output into a pipe is not a terminal."""
    main, side = pty.openpty()
    try:
        done = subprocess.run(
            [*RUN, image, "sh", "-c", "test -t 1 || echo piped"],
            stdin=side,
            capture_output=True,
            timeout=100,
            check=False,
        )
    finally:
        os.close(main)
        os.close(side)
    assert done.stdout == b"piped\n"


def test_run_with_closed_standard_input_works(image: str) -> None:
    """Closed standard input does not fail."""
    script = 'exec "$@" <&-'
    done = subprocess.run(
        ["sh", "-c", script, "sh", *RUN, image, "echo", "fine"], capture_output=True, timeout=100, check=False
    )
    assert (done.returncode, done.stdout) == (0, b"fine\n")


def test_run_makes_and_mounts_the_data_directory(image: str, tmp_path: Path) -> None:
    """The data directory is made, mounted and writable."""
    data = tmp_path / "new" / "da:ta,1"
    assert run("--data", str(data), image, "busybox", "touch", "/data/here").returncode == 0
    assert [path.name for path in data.iterdir()] == ["here"]


def test_run_keeps_the_data_mount_of_the_user(image: str, tmp_path: Path) -> None:
    """The user's own data mount wins."""
    done = run("-v", f"{tmp_path}:/data", image, "busybox", "touch", "/data/mine")
    assert (done.returncode, [path.name for path in tmp_path.iterdir()]) == (0, ["mine"])


def test_run_removes_and_names_the_container_as_asked(image: str, name: str) -> None:
    """The container is removed and named as asked."""
    assert run("-d", "--name", name, image, "sleep", "60").returncode == 0
    assert docker("inspect", "--format", "{{.HostConfig.AutoRemove}} {{.HostConfig.NetworkMode}}", name) == "true host"


def test_run_accepts_a_restart_policy(image: str, name: str) -> None:
    """A restart policy is accepted."""
    assert run("-d", "--restart", "unless-stopped", "--name", name, image, "sleep", "60").returncode == 0
    assert docker("inspect", "--format", "{{.HostConfig.RestartPolicy.Name}}", name) == "unless-stopped"


def test_run_dry_run_prints_what_a_shell_can_run_and_does_nothing(image: str, tmp_path: Path) -> None:
    """A dry run does nothing and prints what a shell can run."""
    data = tmp_path / "data"
    done = run("--dry-run", "--data", str(data), image, "echo", "a  b", "$HOME")
    assert not data.exists()
    assert (
        subprocess.run(["sh", "-c", done.stdout], capture_output=True, text=True, check=True).stdout == "a  b $HOME\n"
    )


# The host's files.


def test_mount_of_a_node_of_proc_works(image: str) -> None:
    """A node of /proc can be mounted where scripts look for the board's name."""
    mount = Mount(source="/proc/sys/kernel/ostype", target="/tmp/nv_jetson_model", readonly=True)
    assert docker("run", "--rm", *mount.argv, image, "cat", "/tmp/nv_jetson_model") == "Linux"


def test_mount_of_a_source_that_is_gone_stops_the_start_and_makes_no_directory(image: str, tmp_path: Path) -> None:
    """A source that is gone stops the start and leaves no directory behind."""
    gone = tmp_path / "argus_socket"
    mount = Mount(source=str(gone), target="/tmp/argus_socket", volatile=True)
    assert subprocess.run(
        ["docker", "run", "--rm", *mount.argv, image, "true"], capture_output=True, check=False
    ).returncode
    assert not gone.exists()


@pytest.mark.skipif(shutil.which("xauth") is None, reason="needs xauth")
def test_display_cookie_is_one_that_xauth_reads_for_any_host(tmp_path: Path) -> None:
    """The cookie is one that xauth reads for any host."""

    def xauth(file: Path, *args: str) -> str:
        return subprocess.run(["xauth", "-f", str(file), *args], capture_output=True, text=True, check=True).stdout

    source = tmp_path / "auth"
    for display in ("board/unix:0", "board/unix:10"):
        xauth(source, "add", display, ".", uuid.uuid4().hex)
    cookie = CookieFile(display=":0", source=source, path=tmp_path / "xauth-0")
    assert write_cookie(cookie) is None
    (entry,) = xauth(cookie.path, "list").splitlines()
    assert entry.split()[0].startswith("#ffff#")
    assert entry.split()[2] == xauth(source, "list", "board/unix:0").split()[2]


# docker itself.


def test_option_tables_hold_each_option_of_the_installed_clients() -> None:
    """Every option of the installed clients is in the tables."""
    folders = [*os.environ["PATH"].split(":"), f"{os.environ.get('TEST_BUILDX', '')}/usr/bin"]
    clients = {str(Path(folder, "docker").resolve()) for folder in folders if Path(folder, "docker").is_file()}
    if not clients:
        pytest.skip("cannot run here: no docker client is installed")
    for client in sorted(clients):
        text = subprocess.run([client, "run", "--help"], capture_output=True, text=True, check=True).stdout
        found = re.findall(r"^\s+(?:-\w, )?--([a-z0-9-]+)( [a-z-]+\d*)?(?:  |$)", text, re.MULTILINE)
        assert len(found) > 80, client
        assert {option for option, value in found if not value} - FLAGS == set(), client
        assert {option for option, value in found if value} - VALUED == set(), client


def test_run_without_an_engine_says_so_first(tmp_path: Path) -> None:
    """A missing engine is said before anything else."""
    done = run("--data", str(tmp_path / "data"), "img", env={"DOCKER_HOST": f"unix://{tmp_path}/none.sock"})
    assert (done.returncode, done.stdout) == (4, "")
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "data").exists()


# GPU: a stand-in for NVIDIA's runtime, on an engine of its own.

FAKE_NVIDIA = """\
#!{python}
# Does to the bundle what NVIDIA's runtime does: act on NVIDIA_VISIBLE_DEVICES of the container, then call runc.
import json, os, sys
args = sys.argv[1:]
if "create" in args:
    path = os.path.join(args[args.index("--bundle") + 1], "config.json")
    with open(path) as file:
        config = json.load(file)
    env = dict(entry.split("=", 1) for entry in config["process"]["env"])
    if env.get("NVIDIA_VISIBLE_DEVICES", "void") != "void":
        config["process"]["env"].append("GPU_FROM_RUNTIME=" + env.get("NVIDIA_DRIVER_CAPABILITIES", "none"))
    with open(path, "w") as file:
        json.dump(config, file)
os.execvp("runc", ["runc", *args])
"""


@pytest.fixture(scope="module")
def nvidia_engine(scratch_base: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a second dockerd that knows a runtime `nvidia`.

    It lives in a network namespace of its own: started beside the first one with `--bridge=none` it would delete
    the first one's docker0.
    """
    if os.geteuid() or not all(map(shutil.which, ("dockerd", "runc", "unshare"))):
        pytest.skip("a second dockerd needs root, dockerd, runc and unshare")
    folder = tmp_path_factory.mktemp("nvidia")
    runtime = folder / "nvidia-container-runtime"
    runtime.write_text(FAKE_NVIDIA.format(python=sys.executable))
    runtime.chmod(0o755)
    run_dir = Path("/run") / f"jc-test-{uuid.uuid4().hex[:8]}"  # short: a socket's path has at most 107 characters
    run_dir.mkdir()
    env = {"DOCKER_HOST": f"unix://{run_dir}/docker.sock"}
    argv = ["unshare", "--net", "dockerd", "--host", env["DOCKER_HOST"], "--data-root", str(folder / "data")]
    argv += [
        "--exec-root",
        str(run_dir / "exec"),
        "--pidfile",
        str(run_dir / "pid"),
        "--bridge=none",
        "--iptables=false",
    ]
    argv += ["--add-runtime", f"nvidia={runtime}", "--storage-driver=vfs", "--debug=false"]
    with (folder / "log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as daemon:
        try:
            wait_for_engine(env, daemon, folder / "log")
            saved = subprocess.run(
                ["docker", "save", scratch_base], capture_output=True, check=True, timeout=100
            ).stdout
            docker("load", env=env, stdin=saved)
            yield env
        finally:
            daemon.terminate()
            daemon.wait(timeout=60)
            for line in Path("/proc/mounts").read_text().splitlines():  # the network namespace it leaves behind
                if str(run_dir) in line:
                    subprocess.run(["umount", line.split()[1]], check=True, timeout=60)
            shutil.rmtree(run_dir)


def wait_for_engine(env: dict[str, str], daemon: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(60):
        with contextlib.suppress(subprocess.TimeoutExpired):
            daemon.wait(timeout=0.5)
            pytest.skip(f"a second dockerd does not start here: {log.read_text()[-500:]}")
        if not subprocess.run(
            ["docker", "version"], env={**os.environ, **env}, capture_output=True, check=False
        ).returncode:
            return
    pytest.fail(f"the second dockerd does not answer: {log.read_text()[-500:]}")


def gpu_run(env: dict[str, str], *args: str, target: str = "x86_64,cu128") -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "jetson_containers", "--verbose", "--target", target, "run", *args]
    return subprocess.run(
        argv,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **env},
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "args", "seen"),
    [
        (
            "x86_64,cu128",
            ["--ulimit=memlock=8192", "--ulimit=stack=8388608"],
            "all",
        ),  # not every engine may raise limits
        ("r36.4.3", [], "compute,utility,graphics"),
        ("r36.4.3", ["--no-gpu"], ""),
        ("r36.4.3", ["--runtime", "runc"], ""),
        ("r36.4.3", ["-e", "NVIDIA_DRIVER_CAPABILITIES=video"], "video"),
        ("x86_64,cpu", [], ""),
    ],
)
def test_nvidia_runtime_is_chosen_and_acts(
    nvidia_engine: dict[str, str], image: str, target: str, args: list[str], seen: str
) -> None:
    """The nvidia runtime is chosen and acts."""
    done = gpu_run(nvidia_engine, *args, image, "sh", "-c", "echo $GPU_FROM_RUNTIME", target=target)
    assert (done.returncode, done.stdout) == (0, seen + "\n"), done.stderr


def test_engine_without_the_nvidia_runtime_gets_a_notice(image: str) -> None:
    """An engine without the runtime gets a notice."""
    if (
        "nvidia" in docker("info", "--format", "{{json .Runtimes}}")
        or Path("/usr/bin/nvidia-container-runtime-hook").exists()
    ):
        pytest.skip("this engine can reach a GPU")
    done = gpu_run({}, image, "echo", "started", target="r36.4.3")
    assert (done.returncode, done.stdout) == (0, "started\n")
    assert "the container gets no GPU" in done.stderr
    assert "hint: " in done.stderr
