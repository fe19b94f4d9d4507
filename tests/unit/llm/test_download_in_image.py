"""Downloads in an image."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core.errors import InterruptedByUserError
from jetson_containers.llm import download_in_image
from tests.fakes import FakeEngine
from tests.unit.llm.fakes import CPU, Local

if TYPE_CHECKING:
    from jetson_containers.launch.command import Launch
    from jetson_containers.llm.context import LlmContext


def test_download_in_image_that_is_stopped_leaves_no_container(
    context: LlmContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A download in an image that is stopped leaves no container."""
    removed: list[str] = []

    class Stopped(Local):
        def plan(self, *args: Any, **given: Any) -> Launch:
            return replace(super().plan(*args, **given), argv=("sleep", "30"), name="downloading")

        def remove(self, planned: Launch) -> None:
            removed.append(planned.name)
            started[0].kill()

    started: list[subprocess.Popen[str]] = []

    def communicate(self: subprocess.Popen[str], *_: Any, **__: Any) -> Any:
        started.append(self)
        raise InterruptedByUserError("stopped by SIGTERM")

    engine = FakeEngine()
    engine.add_image("image:1")
    monkeypatch.setattr(download_in_image, "Containers", Stopped)
    monkeypatch.setattr(subprocess.Popen, "communicate", communicate)
    with pytest.raises(InterruptedByUserError):
        download_in_image.download(["org/m"], "image:1", CPU, lambda: engine, context.settings, context.console)
    assert set(removed) == {"downloading"}
