"""Room on the disk for what a run leaves there, before the first byte is downloaded."""

from __future__ import annotations

from collections import namedtuple
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import DiskSpaceError
from jetson_containers.llm import disk_space
from jetson_containers.llm.models import known
from jetson_containers.llm.pipeline.types import DownloadStep, PlannedStep
from jetson_containers.llm.runtimes.interface import Job, Target
from jetson_containers.llm.runtimes.llama_cpp import LlamaCpp
from jetson_containers.platforms import detect

if TYPE_CHECKING:
    from pathlib import Path

GB = 10**9
Usage = namedtuple("Usage", "total used free")


def job() -> Job:
    config = known.config("Llama-2-7b-chat-hf")
    return Job(
        source="/data/m",
        name="m",
        config=config,
        quantization="Q4_K_M",
        target=Target(platform=detect.parse_target("cpu"), device="cpu"),
        context=4096,
    )


def planned(*states: str) -> list[PlannedStep]:
    download = DownloadStep(
        argv=("huggingface-downloader", "org/m"),
        output="/data/m",
        size=13_500_000_000,
        is_done=lambda: False,
        fetch=lambda: None,
    )
    steps = (download, *LlamaCpp().steps(job()))
    return [PlannedStep(step=step, key="", state=state) for step, state in zip(steps, states, strict=True)]


@pytest.mark.parametrize(
    ("states", "gigabytes"),
    [
        (("run", "run", "run"), 13.5 + 13.5 + 4.1),  # checkpoint, 16 bits as GGUF, Q4_K_M
        (("cached", "run", "run"), 13.5 + 4.1),
        (("cached", "cached", "run"), 4.1),
        (("unneeded", "unneeded", "cached"), 0),
    ],
)
def test_disk_space_counts_only_steps_that_will_run(states: tuple[str, ...], gigabytes: float) -> None:
    """Only what will run takes space."""
    steps = planned(*states)
    assert disk_space.needed(job(), steps, int(4.1 * GB)) == pytest.approx(gigabytes * GB, rel=0.01)


@pytest.mark.parametrize(("free", "enough"), [(40, True), (31, False), (5, False)])
def test_disk_space_check_refuses_a_disk_that_is_too_small(
    free: int, enough: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk that is too small is refused at once."""
    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage(64 * GB, 0, free * GB))
    steps = planned("run", "run", "run")
    place = tmp_path / "not" / "made" / "yet"
    if enough:
        disk_space.check(job(), steps, place, int(4.1 * GB))
        return
    with pytest.raises(DiskSpaceError, match=f"has {free}") as caught:
        disk_space.check(job(), steps, place, int(4.1 * GB))
    assert "JETSON_CONTAINERS_DATA" in (caught.value.hint or "")


def test_disk_space_check_is_silent_for_unknown_sizes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Unknown sizes are not a reason to refuse."""
    monkeypatch.setattr("shutil.disk_usage", lambda _path: Usage(1, 1, 0))
    disk_space.check(job(), [], tmp_path, 0)
