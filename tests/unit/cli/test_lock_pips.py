"""`jetson-containers lock-pips`: the command line of uv, and a real resolve from a local index where uv is here."""

from __future__ import annotations

import os
import shutil
import sys
import zipfile
from pathlib import Path

import pytest

from jetson_containers.cli import main
from tests.unit.treemaker import write

UV = shutil.which("uv", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
FAKE = """#!/bin/sh
cat > "$FAKE_OUT.in"
printf '%s\\n' "$@" > "$FAKE_OUT.argv"
for word in "$@"; do case $word in
    --output-file=*) out=${word#*=} ;;
    --override=*) cp "${word#*=}" "$FAKE_OUT.override" ;;
esac; done
[ -z "$FAKE_FAILS" ] || { echo "no solution" >&2; exit 1; }
printf 'app==2.0 \\\\\\n    --hash=sha256:11\\n' > "$out"
"""
FILES = {
    "ml/numpy/Dockerfile": "name: numpy\nsource: {python: numpy==2.0, lock: numpy.lock}\n",
    "ml/numpy/numpy.lock": f"numpy==2.0 \\\n    --hash=sha256:{64 * '0'}\n",
    "ml/app/Dockerfile": "name: app\ndepends: [numpy]\nsource: {python: app==2.0, lock: app.lock}\n",
    "ml/app/app.lock": f"app==1.0 \\\n    --hash=sha256:{64 * '0'}\n",
}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return write(tmp_path / "tree", FILES)


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A `uv` that notes what it is asked."""
    program = tmp_path / "bin" / "uv"
    program.parent.mkdir()
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("FAKE_OUT", str(tmp_path / "asked"))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bin" / "python"))
    return tmp_path / "asked"


def run(tree: Path, *argv: str) -> int:
    return main.main(["lock-pips", *argv, "--packages", str(tree), "--target", "x86_64,cpu"])


def test_lock_pips_asks_uv_for_what_the_row_installs(
    tree: Path, fake: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It asks uv for what the row installs, and touches no other lock."""
    assert run(tree, "app") == 0
    assert Path(f"{fake}.in").read_text() == "app==2.0\n"
    argv = Path(f"{fake}.argv").read_text().split("\n")[:-1]
    assert argv[:3] == ["pip", "compile", "-"]
    assert {"--universal", "--generate-hashes", "--python-version=3.8"} <= set(argv)
    assert Path(f"{fake}.override").read_text() == "numpy ; python_version < '0'\n"
    assert capsys.readouterr().out.strip().endswith("ml/app/app.lock: now app==2.0")
    assert (tree / "ml/numpy/numpy.lock").read_text() == FILES["ml/numpy/numpy.lock"]


def test_lock_pips_upgrade_and_dry_run(tree: Path, fake: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A dry run prints the command and changes nothing."""
    assert run(tree, "app", "--upgrade", "--dry-run") == 0
    assert "--upgrade" in capsys.readouterr().out
    assert not Path(f"{fake}.argv").exists()
    assert (tree / "ml/app/app.lock").read_text() == FILES["ml/app/app.lock"]


def test_lock_pips_says_which_lock_could_not_be_made(
    tree: Path, fake: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It says which lock could not be made, and leaves it as it was."""
    monkeypatch.setenv("FAKE_FAILS", "1")
    assert run(tree, "app") == 1
    assert "app.lock could not be made" in capsys.readouterr().err
    assert fake.with_name("asked.argv").exists()
    assert (tree / "ml/app/app.lock").read_text() == FILES["ml/app/app.lock"]


def test_lock_pips_without_uv_says_how_to_get_it(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without uv it says how to get it."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    assert run(tree) != 0
    assert "pip install uv" in capsys.readouterr().err


def wheel(folder: Path, name: str, version: str, *needs: str) -> None:
    meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
    meta += "".join(f"Requires-Dist: {need}\n" for need in needs)
    page = folder / name.replace("_", "-")
    page.mkdir(parents=True)
    file = f"{name}-{version}-py3-none-any.whl"
    (page / "index.html").write_text(f'<a href="{file}">{file}</a>')
    with zipfile.ZipFile(page / file, "w") as made:
        info = f"{name}-{version}.dist-info"
        made.writestr(f"{info}/METADATA", meta)
        about = ("Wheel-Version: 1.0", "Generator: test", "Root-Is-Purelib: true", "Tag: py3-none-any")
        made.writestr(f"{info}/WHEEL", "\n".join(about))
        made.writestr(f"{info}/RECORD", "")


@pytest.mark.skipif(UV is None, reason="cannot run here: uv is not installed")
def test_lock_pips_resolves_from_a_local_index(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locked with hashes: the requirement and what it needs, without what a package below brings."""
    assert UV is not None
    index = tmp_path / "index"
    wheel(index, "app", "2.0", "numpy", "helper>=1")
    wheel(index, "numpy", "2.0", "of_numpy")
    for name in ("helper", "of_numpy"):
        wheel(index, name, "1.5")
    for key, value in {"DEFAULT_INDEX": f"file://{index}", "CACHE_DIR": str(tmp_path / "cache")}.items():
        monkeypatch.setenv(f"UV_{key}", value)
    monkeypatch.setattr(sys, "executable", str(Path(UV).with_name("python")))
    assert run(tree, "app") == 0
    text = (tree / "ml/app/app.lock").read_text()
    assert "app==2.0 \\\n    --hash=sha256:" in text
    assert "helper==1.5 \\\n    --hash=sha256:" in text
    assert "numpy" not in text
