"""The tool that judges documented command lines, on pages of its own."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("documented_lines", ROOT_DIR / "tools" / "documented_lines.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["documented_lines"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


tool: Any = load()

PAGE = """
Text with `jetson-containers build never` in it.

```bash
$ jetson-containers build --name=mine pytorch  # a comment
sudo LSB_RELEASE=24.04 ./build.sh cmake && ls
jetson-containers run -v /a:/b \\
  $(autotag l4t-pytorch) bash -c 'echo one;
  echo two'
jetson-containers run [OPTIONS] IMAGE
echo jetson-containers build no
```

```python
autotag("never")
```

```
./run.sh $(./autotag mlc)
bash /somewhere/jetson-containers/install.sh
```
"""


def lines(tmp_path: Path, page: str) -> list[tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]]:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "page.md").write_text(page)
    return [(one.command, one.arguments, one.variables) for one in tool.documented(tmp_path)]


def test_documented_lines_are_the_calls_in_shell_blocks(tmp_path: Path) -> None:
    """Calls come out of shell blocks, joined and taken apart; text, other languages and usage patterns do not."""
    assert lines(tmp_path, PAGE) == [
        ("build", ("--name=mine", "pytorch"), ()),
        ("build", ("cmake",), (("LSB_RELEASE", "24.04"),)),
        ("autotag", ("l4t-pytorch",), ()),
        ("run", ("-v", "/a:/b", "found/image:tag", "bash", "-c", "echo one; echo two"), ()),
        ("autotag", ("mlc",), ()),
        ("run", ("found/image:tag",), ()),
        ("install", (), ()),
    ]


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A stand-in for a checkout of upstream, with one package that is not ours."""
    root = tmp_path / "upstream"
    folder = root / "packages" / "theirs"
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text("#---\n# name: theirs\n#---\nARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    calls = (
        "jetson-containers build cmake",
        "DOCKER_CCACHE=0 jetson-containers build cmake",
        "jetson-containers build theirs",
        "jetson-containers build nobodys",
        "jetson-containers run --gpus all dustynv/mlc:r36.4.0 ls",
        "jetson-containers run --no-such-option dustynv/mlc:r36.4.0",
        "jetson-containers run -it",
        "autotag mlc",
        "autotag l4t-nothing",
        "jetson-containers push --nonsense",
        "jetson-containers update",
        "jetson-containers/install.sh --nonsense",
        "jetson-containers list",
    )
    (root / "README.md").write_text("```bash\n" + "\n".join(calls) + "\n```\n")
    return root


def test_documented_lines_are_judged_without_doing_anything(
    checkout: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every class comes out by what our parsers and plans say, with the reason."""
    assert tool.main([str(checkout), "--json", str(tmp_path / "result.json")]) == 0
    found = [
        (row["command"], row["class"], row["reason"]) for row in json.loads((tmp_path / "result.json").read_text())
    ]
    assert [kind for _, kind, _ in found] == [
        "accepted", "differs", "with its tree", "refused", "accepted", "differs", "refused", "accepted", "refused",
        "refused", "accepted", "refused", "accepted",
    ]  # fmt: skip
    reasons = [reason for _, _, reason in found]
    assert "$DOCKER_CCACHE" in reasons[1]
    assert reasons[3] == "there is no package `nobodys`"
    assert "no image to run" in reasons[6]
    assert "--nonsense" in reasons[9]
    out = capsys.readouterr().out
    assert "| all | 13 | 5 | 1 | 2 | 5 |" in out
    assert "| 1 | refused | there is no package `nobodys` | `jetson-containers build nobodys` |" in out


def test_documented_lines_are_written_between_the_marks(
    checkout: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what stands between the marks of the page changes."""
    page = tmp_path / "page.md"
    page.write_text(f"before\n\n{tool.BEGIN}\nold\n{tool.END}\n\nafter\n")
    monkeypatch.setattr(tool, "PAGE", page)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    (tmp_path / "install.sh").write_text("")
    (checkout / "README.md").write_text("```bash\n./run.sh an/image\n```\n")
    tool.main([str(checkout), "--write"])
    text = page.read_text()
    assert text.startswith("before\n\n")
    assert text.endswith(f"{tool.END}\n\nafter\n")
    assert "| all | 1 | 1 | 0 | 0 | 0 |" in text
    assert "old" not in text


def test_documented_lines_page_has_the_marks() -> None:
    """docs/upstream.md has a result, and nothing of a checkout's paths."""
    text = tool.PAGE.read_text(encoding="utf-8")
    result = text.partition(tool.BEGIN)[2].partition(tool.END)[0]
    assert "| command | lines |" in result
    assert "/tmp/" not in result
