"""`jetson-containers test IMAGE` with a fake engine: what is checked, for which board, and how it ends."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from jetson_containers.builder import image_check
from jetson_containers.cli import test
from jetson_containers.cli.app import App
from jetson_containers.core.console import Console
from jetson_containers.core.errors import NotReadyError, RegistryError, UsageError
from jetson_containers.engine.interface import RunResult
from tests.fakes import FakeEngine

IMAGE = "dustynv/mlc:0.20.0-r36.4.0"
REMOTE = "dustynv/vllm:0.8.6-r36.4.0"  # in a registry, not here


def check(
    *words: str, target: str = "cpu", answer: RunResult | None = None, **found: Any
) -> tuple[int, dict[str, Any]]:
    """Run the command on a store that holds `IMAGE`; its exit code and its JSON."""
    engine = FakeEngine()
    for name in (IMAGE, REMOTE):
        engine.add_image(name, architecture="arm64")
    engine.push(REMOTE, lambda _line: None)
    engine.untag(REMOTE)
    contents = {"files": 2, "missing": {}, "programs": [], "gpu_code": {}, "imports": {}, "complete": True, **found}
    engine.answer = lambda _call: answer or RunResult(exit_code=0, output=json.dumps(contents) + "\n")
    app = App({"as_json": True, "target": target})
    out = io.StringIO()
    app.__dict__.update(engine=engine, console=Console(as_json=True, out=out, err=io.StringIO(), env={}))
    code = test.test.main([*words], standalone_mode=False, obj=app)
    assert all(image_check.SCRIPTS.name in call.command for call in engine.runs)
    return code, json.loads(out.getvalue())


def test_test_finds_nothing_wrong_with_a_whole_image() -> None:
    """Exit code 0, and the GPU code of each file."""
    code, said = check(IMAGE, target="r36.4.3", gpu_code={"/a/b.so": {"code": ["87"], "ptx": ["87"]}})
    assert (code, said["problems"], said["sm"]) == (0, [], [87])
    assert said["gpu_code"] == {"/a/b.so": {"code": ["87"], "ptx": ["87"]}}


def test_test_judges_for_the_target() -> None:
    """Code for Orin is nothing on Thor."""
    code, said = check(IMAGE, target="r38.2.0", gpu_code={"/a/b.so": {"code": ["87"], "ptx": []}})
    assert (code, said["sm"]) == (1, [110])
    assert said["problems"] == ["/a/b.so has no code for sm_110, only sm_87"]


def test_test_without_a_target_judges_for_the_board_of_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a PC without a GPU, an image for JetPack 6 is judged for Orin."""
    monkeypatch.setattr("jetson_containers.cli.app.App.is_cross", property(lambda _app: False))
    code, said = check(IMAGE, target="x86_64,cpu", gpu_code={"/a/b.so": {"code": ["90"], "ptx": []}})
    assert (code, said["sm"]) == (1, [87])


def test_test_refuses_packages_and_images_together() -> None:
    """Which of the two commands is meant is not guessed."""
    with pytest.raises(UsageError, match="`numpy` is not an image"):
        check(IMAGE, "numpy")


def test_test_says_when_an_image_cannot_be_checked() -> None:
    """Unknown is neither whole nor broken: exit code 4."""
    with pytest.raises(NotReadyError) as caught:
        check(IMAGE, answer=RunResult(exit_code=127, output="\x1b[2Jexec: python3: executable file not found\n"))
    assert "could not be checked:  [2Jexec: python3" in caught.value.message  # nothing that moves the cursor


def test_test_pulls_an_image_that_is_not_here() -> None:
    """Only an image has a `/` in its name; one that no registry has is named, and no package is looked for."""
    code, said = check(REMOTE, target="r36.4.3")
    assert (code, said["image"]) == (0, REMOTE)
    with pytest.raises(RegistryError, match="no image `nowhere/none:1` is here"):
        check("nowhere/none:1")
