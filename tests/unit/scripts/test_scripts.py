"""The set-up scripts: what they say to a user without rights, and what they never do unasked."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from tests.paths import ROOT_DIR

ROOT = ROOT_DIR
LAUNCHERS = ("build.sh", "run.sh", "autotag", "jetson-containers")
TOOLS = (
    "bash",
    "cat",
    "cmp",
    "cut",
    "dirname",
    "env",
    "grep",
    "head",
    "id",
    "readlink",
    "sort",
    "tr",
    "uname",
    "python3",
)


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """A machine's PATH without docker, sudo and apt-get, and an environment that is made already."""
    # The checkout may lie where only its owner can read, and the scripts run as nobody.
    for name in (*LAUNCHERS, "quickstart.sh", "install.sh", "test.sh", "requirements.lock", "scripts"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, tmp_path / name)
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name, path="/usr/bin:/bin") or shutil.which(name)
        if found:
            (tools / name).symlink_to(found)
    venv = tmp_path / "venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "python").symlink_to("/bin/true")
    shutil.copy(ROOT / "requirements.lock", venv / ".installed")
    temporary = Path(tempfile.gettempdir())
    for path in (tmp_path, *tmp_path.parents):
        if os.getuid() == 0 and path.is_relative_to(temporary) and path != temporary:
            path.chmod(path.stat().st_mode | 0o055)  # pytest's folders are root's alone; the script runs as nobody
    return {"PATH": str(tools), "HOME": str(tmp_path), "JETSON_CONTAINERS_VENV": str(venv)}


def as_nobody(*command: str, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    prefix = ["/usr/bin/setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.getuid() == 0 else []
    return subprocess.run(
        [*prefix, *command],
        cwd=env["HOME"],
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("script", ["quickstart.sh", "install.sh", "test.sh"])
def test_scripts_without_rights_and_engine_give_one_error_with_the_command_for_an_administrator(
    script: str, bare: dict[str, str]
) -> None:
    """Without rights and engine there is one error, with the administrator's command."""
    done = as_nobody(f"./{script}", env=bare)
    assert (done.returncode, done.stdout) == (4, ""), done.stderr
    assert done.stderr.count("error:") == 1
    assert "apt-get install" in done.stderr
    assert "docker.io" in done.stderr
    assert "usermod -aG docker" in done.stderr


def test_quickstart_does_not_install_an_engine_when_told_not_to(bare: dict[str, str]) -> None:
    """Without an engine, quickstart does not install one when told not to."""
    done = as_nobody("./quickstart.sh", "--no-engine", env=bare)
    assert done.returncode == 4
    assert "--no-engine" in done.stderr


@pytest.mark.parametrize("script", ["install.sh", "quickstart.sh", "test.sh"])
def test_scripts_print_help_and_refuse_unknown_options(script: str, bare: dict[str, str]) -> None:
    """Scripts print help and refuse unknown options."""
    shown = as_nobody(f"./{script}", "--help", env=bare)
    assert (shown.returncode, shown.stderr) == (0, "")
    assert shown.stdout.startswith("usage:")
    wrong = as_nobody(f"./{script}", "--wat", env=bare)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "--wat" in wrong.stderr


@pytest.fixture
def empty(bare: dict[str, str]) -> tuple[dict[str, str], Path]:
    """A checkout without an environment, and tools that write down when something is to be installed or made."""
    folder = Path(bare["HOME"])
    log = folder / "called"
    log.touch(mode=0o666)
    log.chmod(0o666)
    shutil.rmtree(folder / "venv")
    folder.chmod(0o777)  # so that the scripts could make one
    for name in ("mkdir", "mktemp", "rm", "tail"):
        (folder / "bin" / name).symlink_to(shutil.which(name) or f"/bin/{name}")
    for name in ("apt-get", "sudo", "docker", "dockerd", "pip", "uv", "python3", "mount", "ln"):
        program = folder / "bin" / name
        program.unlink(missing_ok=True)
        program.write_text(f"#!/bin/bash\necho {name} $* >>{log}\nexit 1\n")
        program.chmod(0o755)
    return bare, log


def tree(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


HELPED = [
    *[[script, option] for script in ("install.sh", "quickstart.sh", "test.sh") for option in ("--help", "-h")],
    ["test.sh", "--no-engine", "--help"],
    ["test.sh", "-k", "autotag", "-h"],
    ["install.sh", "-y", "--help"],
    ["quickstart.sh", "--model", "org/name", "--help"],
    *[[launcher, option] for launcher in LAUNCHERS for option in ("--help", "-h")],
    ["build.sh", "llama_cpp", "--help"],
    ["autotag", "-h", "llama_cpp"],
    ["jetson-containers", "build", "--help"],
    ["jetson-containers", "run", "--help"],
    ["jetson-containers", "llm", "chat", "-h"],
]


@pytest.mark.parametrize("command", HELPED, ids=" ".join)
def test_scripts_asked_for_help_change_nothing(command: list[str], empty: tuple[dict[str, str], Path]) -> None:
    """Asking for help makes and installs nothing."""
    env, log = empty
    before = tree(Path(env["HOME"]))
    done = as_nobody(f"./{command[0]}", *command[1:], env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: ")
    assert command[0] in done.stdout
    assert log.read_text() == ""
    assert tree(Path(env["HOME"])) == before


@pytest.mark.parametrize(
    "command",
    [
        ["run.sh", "image", "program", "--help"],
        ["jetson-containers", "run", "image", "--help"],
        ["build.sh", "--", "-h"],
    ],
    ids=" ".join,
)
def test_help_of_a_program_in_a_container_needs_the_environment(
    command: list[str], empty: tuple[dict[str, str], Path]
) -> None:
    """`--help` behind an image is the program's in the container."""
    done = as_nobody(f"./{command[0]}", *command[1:], env=nowhere(empty[0]))
    assert (done.returncode, done.stdout) == (4, "")
    assert "the virtual environment" in done.stderr


def nowhere(env: dict[str, str]) -> dict[str, str]:
    """An environment that nobody can make: below a file. That it was to be made shows in the error."""
    return {**env, "JETSON_CONTAINERS_VENV": str(Path(env["HOME"]) / "requirements.lock" / "venv")}


@pytest.mark.parametrize("command", [[], ["list"], ["build", "numpy"]], ids=str)
def test_commands_without_help_need_the_environment(command: list[str], empty: tuple[dict[str, str], Path]) -> None:
    """Commands that do not ask for help need the environment."""
    done = as_nobody("./jetson-containers", *command, env=nowhere(empty[0]))
    assert (done.returncode, done.stdout) == (4, "")
    assert "the virtual environment" in done.stderr


@pytest.mark.parametrize(
    "arguments", [["-k"], ["--lf"], ["no/such/file"], ["scripts"], ["--no-engine", "-y"]], ids=" ".join
)
def test_script_checks_its_arguments_first(arguments: list[str], empty: tuple[dict[str, str], Path]) -> None:
    """The arguments of test.sh are checked before anything is installed."""
    env, log = empty
    done = as_nobody("./test.sh", *arguments, env=env)
    assert (done.returncode, done.stdout) == (2, "")
    assert arguments[-1] in done.stderr
    assert "usage: ./test.sh" in done.stderr
    assert log.read_text() == ""


@pytest.mark.parametrize(
    ("arguments", "runs"),
    [
        ([], ["tests/unit tests/faults", "tests/lint tests/unit/test_a.py", "tests/real", "tests/faults/real"]),
        (["--no-engine"], ["tests/unit tests/faults", "tests/lint tests/unit/test_a.py"]),
        (["-k", "names"], ["tests/lint tests/unit tests/faults", "tests/real", "tests/faults/real"]),
        (["."], ["tests/lint tests/unit tests/faults", "tests/real", "tests/faults/real"]),
        (["tests/unit/cli"], ["tests/unit/cli"]),
        (["./tests/lint", "tests/unit/test_a.py::test_b[x/y]"], ["tests/lint tests/unit/test_a.py::test_b[x/y]"]),
        (["tests/real/test_c.py"], ["tests/real/test_c.py"]),
        (["tests/faults"], ["tests/faults", "tests/faults/real"]),
        (["--no-engine", "tests/faults", "tests/real"], ["tests/faults"]),
    ],
    ids=str,
)
def test_script_runs_only_the_tests_that_the_user_named(
    arguments: list[str], runs: list[str], bare: dict[str, str]
) -> None:
    """Each part of the tests is run with the paths that lie in it, and left out where none does."""
    folder = Path(bare["HOME"])
    for name in ("tests/lint", "tests/unit/cli", "tests/faults/real", "tests/real"):
        (folder / name).mkdir(parents=True)
    for name in ("tests/unit/test_a.py", "tests/real/test_c.py", "requirements-dev.txt", "venv/.dev"):
        (folder / name).touch()
    (folder / "tests/unit/test_a.py").write_text("@pytest.mark.long\ndef test_b(): ...\n")
    (folder / "bin" / "realpath").symlink_to(shutil.which("realpath") or "")
    (folder / "bin" / "docker").symlink_to("/bin/true")
    python = folder / "venv" / "bin" / "python"
    python.unlink()
    python.write_text('#!/bin/bash\n[ "$2" != pytest ] || echo "${@:4}"\n')
    python.chmod(0o755)
    done = as_nobody("./test.sh", *arguments, env=bare)
    assert done.returncode == 0, done.stderr
    assert [re.split(r" -\w", line)[0] for line in done.stdout.splitlines()] == runs


def test_script_finds_every_file_with_long_tests() -> None:
    """The marker stands alone on its line, where test.sh looks for it."""
    files = [path for part in ("unit", "faults") for path in (ROOT / "tests" / part).rglob("test_*.py")]
    lines = [line for path in files if path != Path(__file__) for line in path.read_text(encoding="utf-8").splitlines()]
    marks = {line.strip() for line in lines if "mark.long" in line}
    assert marks == {"@pytest.mark.long"}


def test_script_names_the_packages_it_installs() -> None:
    """test.sh says which packages it installs."""
    text = (ROOT / "test.sh").read_text()
    shown = subprocess.run([ROOT / "test.sh", "--help"], capture_output=True, text=True, check=True).stdout
    lists = re.findall(r"^\w+_PACKAGES=\(([^)]*)\)", text, re.MULTILINE)
    installed = re.findall(r"need_apt (.*)", text)
    assert len(lists) == len(installed) == 4
    assert all(words.startswith('"${') for words in installed)  # nothing but what the lists hold
    assert {"mmdebstrap", "debootstrap", "shellcheck"} <= set(shown.split())
    assert {package for words in lists for package in words.split()} <= set(shown.replace(",", " ").split())


@pytest.mark.parametrize(("version", "new"), [("3.8", False), ("3.9", False), ("3.10", True), ("3.14", True)])
def test_install_script_takes_python_3_10_and_newer(version: str, new: bool, tmp_path: Path) -> None:
    """Only Python 3.10 and newer is taken."""
    python = tmp_path / "python3"
    major, minor = version.split(".")
    answer = f"(({major}, {minor}) < (3, 10))"
    python.write_text(f"#!/bin/sh\nexec /usr/bin/env python3 -S -c 'import sys; sys.exit({answer})'\n")
    python.chmod(0o755)
    script = f'ROOT={ROOT}; . {ROOT}/scripts/python.sh; python_is_new "{python}"'
    assert (subprocess.run(["bash", "-c", script], check=False).returncode == 0) is new


def test_install_script_gets_a_newer_python_by_uv(tmp_path: Path) -> None:
    """JetPack 4 and 5: a `uv` on PATH is asked for an interpreter, and the system's is left alone."""
    calls = tmp_path / "calls"
    for name, text in {
        "python3": "exit 1",
        "uv": f'echo "$@" >>{calls}; for last; do :; done; mkdir -p "$last/bin"; exit 0',
    }.items():
        (tmp_path / name).write_text(f"#!/bin/bash\n{text}\n")
        (tmp_path / name).chmod(0o755)
    script = f". {ROOT}/scripts/python.sh; VENV={tmp_path}/venv; find_python() {{ return 1; }}; make_venv"
    env = {"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path), "ROOT": str(ROOT)}
    done = subprocess.run(["bash", "-c", script], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "no Python 3.10 or newer" in done.stderr
    assert "--python >=3.10" in calls.read_text()


def test_quickstart_prints_commands_as_a_person_writes_them() -> None:
    """What is printed can be pasted, and only words that need quotes have them."""
    function = re.search(r"^announce\(\).*?^\}", (ROOT / "quickstart.sh").read_text(), re.MULTILINE | re.DOTALL)
    assert function
    words = 'announce ./autotag --disable registry,build "What is a Jetson?" ""'
    script = f'say() {{ printf "%s\\n" "$1"; }}\n{function[0]}\n{words}'
    done = subprocess.run(["bash", "-euc", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "\n$ ./autotag --disable registry,build 'What is a Jetson?' ''\n"


def test_scripts_watched_command_says_that_it_runs_and_what_became_of_it(tmp_path: Path) -> None:
    """A long command is announced, seen to run, and its end is said; its output and status are its own."""
    log = tmp_path / "log"
    script = f"""
    set -euo pipefail
    ROOT={ROOT} TICK=0.05
    . "$ROOT/scripts/python.sh"
    waits() {{ until grep -q 'making tea: .* so far' {log}; do sleep 0.05; done; echo result; }}
    watched "making tea" waits
    watched "breaking it" false || echo "status $?"
    """
    with log.open("w") as err:
        done = subprocess.run(
            ["bash", "-c", script], stdout=subprocess.PIPE, stderr=err, text=True, timeout=60, check=True
        )
    assert done.stdout == "result\nstatus 1\n"
    said = log.read_text().splitlines()
    assert said[0] == "making tea"
    assert re.fullmatch(r"  making tea: \d+s so far", said[1])
    assert any(re.fullmatch(r"  done in \d+s", line) for line in said)
    assert re.fullmatch(r"  failed after \d+s", said[-1])


def test_scripts_name_the_group_where_the_engine_refuses_the_user(bare: dict[str, str]) -> None:
    """An engine that runs and may not be used is no missing engine: nothing is to be installed."""
    docker = Path(bare["PATH"]) / "docker"
    docker.write_text("#!/bin/bash\necho 'permission denied while trying to connect' >&2\nexit 1\n")
    docker.chmod(0o755)
    done = as_nobody("./quickstart.sh", "--no-engine", env=bare)
    assert (done.returncode, done.stderr.count("error:")) == (4, 1)
    assert "may not use it" in done.stderr
    assert "sudo usermod -aG docker" in done.stderr
    assert "apt-get install -y docker.io" not in done.stderr
    installed = as_nobody("./install.sh", "--no-engine", "--no-link", env=bare)
    assert installed.returncode == 0, installed.stderr
    assert "may not use the container engine" in installed.stderr
