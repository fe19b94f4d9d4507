"""Programs of package trees see their tree and nothing of the user's, whatever they try."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core import settings
from jetson_containers.recipes import isolation
from jetson_containers.recipes.catalog import load
from jetson_containers.recipes.upstream import config_py
from tests.unit.treemaker import ORIN

if TYPE_CHECKING:
    from collections.abc import Iterator

REASON = isolation.why_not()
needs_sandbox = pytest.mark.skipif(bool(REASON), reason=f"cannot run here: {REASON}")
SECRET = "hf_do_not_tell_anyone"


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "own.txt").write_text("own")
    return tmp_path / "tree"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home with a token of the hub and a key, and the token in the environment as well."""
    place = tmp_path / "home"
    for name in (".cache/huggingface/token", ".ssh/id_ed25519", ".docker/config.json"):
        (place / name).parent.mkdir(parents=True)
        (place / name).write_text(SECRET)
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    return place


@pytest.fixture
def listening() -> Iterator[int]:
    """A port of loopback on which somebody listens."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield int(server.getsockname()[1])


def run(code: str, tree: Path, env: dict[str, str] | None = None) -> str:
    """What a program prints in the sandbox, without any guard of Python's; its error's name where it fails."""
    program = f"try:\n    exec({code!r})\nexcept BaseException as error:\n    print(type(error).__name__, error)"
    argv = isolation.wrapped([sys.executable, "-I", "-S", "-c", program], [tree])
    assert argv is not None
    done = subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, env=env or {}, timeout=120
    )
    return done.stdout + done.stderr


@needs_sandbox
def test_program_in_the_sandbox_reads_its_tree(tree: Path) -> None:
    """What it was given is there, under its own name, and Python works."""
    assert run(f"import json, hashlib; print(open('{tree}/own.txt').read())", tree) == "own\n"


@needs_sandbox
@pytest.mark.parametrize("place", [".cache/huggingface/token", ".ssh/id_ed25519", ".docker/config.json"])
def test_program_in_the_sandbox_reads_no_file_of_the_home(tree: Path, home: Path, place: str) -> None:
    """Neither by its path nor by way of a link in the tree."""
    (tree / "link").symlink_to(home / place)
    for path in (home / place, tree / "link", f"/proc/1/root{home / place}", f"/proc/self/cwd/{home / place}"):
        found = run(f"print(open('{path}').read())", tree)
        assert found.startswith(("FileNotFoundError", "PermissionError", "NotADirectoryError"))
        assert SECRET not in found


@needs_sandbox
@pytest.mark.parametrize(
    "code",
    [
        "print(open('/proc/1/environ').read())",
        "import os; print(open(f'/proc/{os.getppid()}/environ').read())",
        "import os; print(open(f'/proc/{PARENT}/environ').read())",
        "import glob; print([open(file).read() for file in glob.glob('/proc/[0-9]*/environ')])",
        "import os; print(dict(os.environ))",
        "import os; print(open('/etc/shadow').read())",
        "import os; print(os.listdir('/root') + os.listdir('/home') + os.listdir('/run'))",
        "import glob; print([open(file).read() for file in glob.glob('/tmp/**/*', recursive=True) if '.' in file])",
    ],
)
def test_program_in_the_sandbox_sees_no_secret(tree: Path, home: Path, code: str) -> None:
    """Environments of other processes, files of the system's users and of others in /tmp stay hidden."""
    assert home.exists()
    found = run(code.replace("PARENT", str(os.getpid())), tree)
    assert SECRET not in found
    assert "HF_TOKEN" not in found
    assert "root:" not in found


@needs_sandbox
def test_program_in_the_sandbox_sees_no_other_process(tree: Path) -> None:
    """It and the sandbox's own first process are all; what runs outside can be neither seen nor ended."""
    assert run("import os; print(sum(name.isdigit() for name in os.listdir('/proc')) <= 2)", tree) == "True\n"
    with subprocess.Popen(["sleep", "60"]) as other:
        assert run(f"import os; os.kill({other.pid}, 9)", tree).startswith("ProcessLookupError")
        assert other.poll() is None
        other.kill()


@needs_sandbox
@pytest.mark.parametrize("call", ["connect", "bind"])
def test_program_in_the_sandbox_has_no_network(tree: Path, listening: int, call: str) -> None:
    """Loopback is one of its own, and nothing leads outside."""
    code = f"import socket; socket.create_connection(('127.0.0.1', {listening}), 5); print('connected')"
    if call == "bind":
        code = "import socket; print([name for _, name in socket.if_nameindex()])"
        assert run(code, tree) in {"['lo']\n", "[]\n"}
        return
    assert run(code, tree).startswith(("ConnectionRefusedError", "OSError", "PermissionError"))
    outside = "import socket; socket.create_connection(('192.0.2.1', 9), 5); print('connected')"
    assert run(outside, tree).startswith(("OSError", "PermissionError", "ConnectionRefusedError"))


@needs_sandbox
def test_program_in_the_sandbox_writes_nothing(tree: Path, tmp_path: Path) -> None:
    """Neither in its tree nor elsewhere."""
    for place in (
        tree / "new",
        tree / "own.txt",
        tmp_path / "new",
        Path("/usr/new"),
        Path("/etc/new"),
        Path("/new"),
        Path("/tmp/new"),
    ):
        assert run(f"open('{place}', 'w').write('x')", tree).startswith(("OSError", "FileNotFoundError", "Permission"))
    assert (tree / "own.txt").read_text() == "own"
    assert not (tree / "new").exists()


@needs_sandbox
def test_program_in_the_sandbox_gets_only_the_environment_it_is_given(tree: Path, home: Path) -> None:
    """The variables of this process are not those of the program."""
    assert home.exists()
    found = run("import os; print(sorted(os.environ))", tree, {"LC_ALL": "C.UTF-8"})
    assert set(found.strip("[]\n").replace("'", "").split(", ")) <= {"LC_ALL", "PWD"}


HOSTILE = """
try:
    package['docs'] = open('{home}/.cache/huggingface/token').read()
except OSError as error:
    package['docs'] = type(error).__name__
"""


def docs(tree: Path, home: Path, place: str = ".cache/huggingface/token") -> str:
    (tree / "foo").mkdir(exist_ok=True)
    (tree / "foo" / "Dockerfile").write_text("#---\n# name: foo\n#---\nFROM scratch\n")
    (tree / "foo" / "config.py").write_text(HOSTILE.replace("{home}/.cache/huggingface/token", str(home / place)))
    return load([tree], ORIN).available["foo"].docs


@needs_sandbox
def test_config_py_reads_no_token(tree: Path, home: Path) -> None:
    """The guard refuses the hub's token before the sandbox does, where no file of the home is."""
    (home / "letter.txt").write_text(SECRET)
    assert docs(tree, home) == "Refused"
    assert docs(tree, home, "letter.txt") == "FileNotFoundError"


def test_config_py_without_a_sandbox_has_the_guards_only(
    tree: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without bubblewrap recipes are read all the same, and what that leaves open is said."""
    monkeypatch.setenv(isolation.OFF, "1")
    assert isolation.wrapped(["true"], [tree]) is None
    assert isolation.why_not() == f"{isolation.OFF} is set"
    (home / "letter.txt").write_text("dear reader")
    assert docs(tree, home, "letter.txt") == "dear reader"  # docs/security.md says so


@pytest.mark.parametrize("place", [".cache/huggingface/token", ".ssh/id_ed25519", "link", ".env", "work/.env"])
def test_config_py_without_a_sandbox_reads_no_hidden_file_of_a_home(
    tree: Path, home: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Tokens and keys lie in hidden files and folders; a link to them is as good."""
    monkeypatch.setenv(isolation.OFF, "1")
    (home / "work").mkdir()
    for name in (".env", "work/.env"):
        (home / name).write_text(SECRET)
    (home / "link").symlink_to(home / ".ssh" / "id_ed25519")
    assert docs(tree, home, place) == "Refused"


def test_config_py_without_a_sandbox_reads_a_tree_in_a_hidden_folder(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trees that were fetched lie in the cache."""
    monkeypatch.setenv(isolation.OFF, "1")
    tree = home / ".cache" / "jetson-containers" / "tree"
    tree.mkdir(parents=True)
    (tree / "own.txt").write_text("own")
    assert docs(tree, tree, "own.txt") == "own"


@pytest.mark.parametrize(
    ("script", "said"),
    [("echo 'bwrap: No permissions to create new namespace' >&2; exit 1", "No permissions"), ("kill -9 $$", "")],
)
def test_sandbox_that_the_kernel_refuses_is_done_without(
    tree: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    """Where bubblewrap is there and cannot do it, every recipe is read without it."""
    program = tmp_path / "bin" / isolation.PROGRAM
    program.parent.mkdir()
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert said in isolation.why_not()
    assert isolation.why_not().startswith("the kernel refuses it")
    (home / "letter.txt").write_text("dear reader")
    assert docs(tree, home, "letter.txt") == "dear reader"


def test_sandbox_that_is_slow_is_not_given_up(
    tree: Path, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy machine is no reason to run a program without it: its recipe fails, and says why."""
    program = tmp_path / "bin" / isolation.PROGRAM
    program.parent.mkdir()
    program.write_text("#!/bin/sh\nexec sleep 60\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    (tree / "foo").mkdir()
    (tree / "foo" / "config.py").write_text(HOSTILE.replace("{home}", str(home)))
    job = config_py.ConfigPyJob(
        directory=tree / "foo", module="packages.foo", base={"name": "foo", "path": str(tree / "foo")},
        steps=[("python", tree / "foo" / "config.py")],
    )  # fmt: skip
    monkeypatch.setattr(config_py, "GRACE", 0.2)
    (answer,) = config_py.run([job], [tree], ORIN, seconds=0.2).answers
    assert answer.failure is not None
    assert "takes longer than" in answer.failure.reason


def test_sandbox_that_is_not_installed_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The remedy is the package."""
    monkeypatch.setenv("PATH", "/nowhere")
    assert isolation.why_not() == "`bwrap` is not installed"
    assert "apt-get install bubblewrap" in isolation.remedy()
    assert settings.PREFIX in isolation.OFF


@needs_sandbox
def test_recipe_that_ends_its_process_is_blamed_and_no_sandbox_given_up(tree: Path, home: Path) -> None:
    """A recipe cannot get out by making the sandbox end: what ran in it is not run again without."""
    (home / "letter.txt").write_text(SECRET)
    letter = HOSTILE.replace(".cache/huggingface/token", "letter.txt")
    for name, code in (("a", "import faulthandler\nfaulthandler._sigsegv()"), ("b", letter)):
        (tree / name).mkdir()
        (tree / name / "config.py").write_text(code.replace("{home}", str(home)))
    jobs = [
        config_py.ConfigPyJob(
            directory=tree / name, module=f"packages.{name}", base={"name": name, "path": str(tree / name)},
            steps=[("python", tree / name / "config.py")],
        )
        for name in "ab"
    ]  # fmt: skip
    answers = config_py.run(jobs, [tree], ORIN).answers
    assert answers[0].failure is not None
    assert "signal 11" in answers[0].failure.reason
    assert answers[1].definitions[0]["docs"] == "FileNotFoundError"
