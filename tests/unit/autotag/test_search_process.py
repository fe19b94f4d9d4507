"""autotag as scripts use it: one line on stdout, runs side by side, and starts fast."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

HEAVY = (
    "docker",
    "requests",
    "rich",
    "jinja2",
    "huggingface_hub",
    "resolvelib",
    "http.client",
    "ssl",
    "urllib.request",
)
EXPECTED = {"mlc": "dustynv/mlc:0.20.0-r36.4.0", "l4t-pytorch": "dustynv/l4t-pytorch:r36.4.0"}


def environment(tmp_path: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key in {"PATH", "LANG", "PYTHONPATH"}}
    return {**kept, "HOME": str(tmp_path), "JETSON_CONTAINERS_OFFLINE": "1", "TMPDIR": str(tmp_path / "tmp")}


def autotag(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    (tmp_path / "tmp").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-m", "jetson_containers", "autotag", "--target", "r36.4.3", "--disable", "local", *words],
        env=environment(tmp_path), capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL, timeout=60,
    )  # fmt: skip


def test_autotag_imports_only_what_it_needs(tmp_path: Path) -> None:
    """What autotag does not need is not imported."""
    program = (
        "import sys; "
        "from jetson_containers.autotag import search as autotag; "
        "from jetson_containers.core import settings;"
        "from jetson_containers.platforms.detect import parse_target;"
        "s = settings.load(); o = autotag.options(s, disable=['local', 'build']); p = parse_target('r36.4.3');"
        "c = autotag.choose(['mlc'], p, autotag.sources(s, lambda: None, o), o);"
        f"print(c.image, *sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment(tmp_path), capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [EXPECTED["mlc"]]


def test_autotag_prints_one_line_on_stdout(tmp_path: Path) -> None:
    """The standard output is one line."""
    done = autotag(tmp_path, "mlc")
    assert (done.returncode, done.stdout) == (0, EXPECTED["mlc"] + "\n"), done.stderr


@pytest.mark.long
def test_autotag_runs_at_the_same_time_never_mix(tmp_path: Path) -> None:
    """JC: of 20 concurrent pairs, 13 returned the other's image."""
    names = ["mlc", "l4t-pytorch"] * 10
    with ThreadPoolExecutor(20) as pool:
        done = list(pool.map(lambda name: autotag(tmp_path, name), names))
    assert [run.stdout for run in done] == [EXPECTED[name] + "\n" for name in names], done[0].stderr
    assert list((tmp_path / "tmp").iterdir()) == []


def test_autotag_without_a_compatible_image_exits_127_with_empty_stdout(tmp_path: Path) -> None:
    """Without a compatible image the exit code is 127 and the standard output empty."""
    done = autotag(tmp_path, "--target", "r38.4.0", "l4t-pytorch")
    assert (done.returncode, done.stdout) == (127, "")
    assert "no image of l4t-pytorch can run here" in done.stderr
    assert "nearest: dustynv/l4t-pytorch:" in done.stderr
    assert "Traceback" not in done.stderr
