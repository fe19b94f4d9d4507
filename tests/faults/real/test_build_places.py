"""Builds whose disks are full or read-only, whose files are damaged or of another time, and several at once."""

from __future__ import annotations

import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.faults.real.mounts import fill, read_only, small_disk
from tests.faults.real.scene import NAMES, wait_until
from tests.faults.real.test_build_killed import MOMENTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.real.scene import Scene

pytestmark = [pytest.mark.engine, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.mark.parametrize("wrong", ["full", "read-only"])
@pytest.mark.parametrize("place", ["cache", "logs", "data", "home", "tmp"])
def test_build_with_a_place_that_cannot_be_written_is_finished_later(scene: Scene, place: str, wrong: str) -> None:
    """A full or read-only folder is one error with its place, or no matter; the next run has it all."""
    scene.chain()
    folder = scene.directory / place
    with small_disk(folder, "400k") as disk:
        if wrong == "full":
            filler = fill(disk)
            done = scene.run(scene.build_words())
            filler.unlink()
        else:
            with read_only(disk):
                done = scene.run(scene.build_words())
        assert done.returncode in {0, 4}, done.stderr
        if done.returncode:
            assert sum(line.startswith("error: ") for line in done.stderr.splitlines()) == 1, done.stderr
            assert str(folder) in done.stderr
        for left in scene.temporary.glob("docker-build-tempdockerfile*"):
            shutil.rmtree(
                left
            )  # docker's client makes this folder, and leaves it where the file in it cannot be written
        scene.survived()


@pytest.mark.parametrize("place", ["logs", "cache", "tmp"])
def test_build_whose_place_fills_up_meanwhile_is_finished_later(scene: Scene, place: str) -> None:
    """The disk fills up while a stage is built: what was finished before is kept."""
    scene.chain(slow="two")
    with small_disk(scene.directory / place, "400k") as disk:
        build = scene.start_build()
        build.wait_for(MOMENTS["amid"].format(name="two"))
        filler = fill(disk)
        code = build.ended()
        assert code in {0, 4}, build.said
        filler.unlink()
        scene.survived(NAMES[:1])


# Files.

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "cut": lambda content: content[: len(content) // 2],
    "empty": lambda _: b"",
    "zeros": lambda content: b"\0" * len(content),
    "of a newer version": lambda content: re.sub(rb'("schema": ?)[0-9]+', rb"\g<1>999", content),
    "of an older version": lambda content: re.sub(rb'("schema": ?)[0-9]+', rb"\g<1>0", content),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_build_over_damaged_files_of_its_own_builds_nothing_again(scene: Scene, damage: str) -> None:
    """Every file of the cache and of the logs is damaged: nothing is built again, and a new stage is."""
    scene.chain()
    scene.build()
    for place in ("cache", "logs"):
        for path in [*(scene.directory / place).rglob("*")]:
            if path.is_file() and not path.is_symlink() and path.suffix != ".lock":
                path.write_bytes(DAMAGES[damage](path.read_bytes()))
    for command in (["report", "--help"], ["list"], ["images"]):
        done = scene.run(scene.command(*command))
        assert done.returncode == 0, done.stderr
    scene.survived(NAMES)


# Several at once.


@pytest.mark.parametrize("number", [2, 3])
def test_builds_at_once_of_one_plan_build_each_stage_once(scene: Scene, number: int) -> None:
    """Each stage is built by one of them, and all of them have the image."""
    scene.chain(slow="two")
    builds = [scene.start_build() for _ in range(number)]
    assert [build.ended() for build in builds] == [0] * number, "".join(build.said for build in builds)
    built = [stage for build in builds for stage in _built(build.said)]
    assert sorted(built) == sorted(NAMES), built
    scene.survived(NAMES)


def _built(said: str) -> list[str]:
    return re.findall(r'"event": "end".*"stage": "(\w+)".*"state": "built"', said)


def test_builds_at_once_with_other_logs_and_cache_share_stages(scene: Scene) -> None:
    """Two users of one engine, without locks in common: both end, with one image of each stage."""
    scene.chain(slow="two")
    own = {f"JETSON_CONTAINERS_{name}": str(scene.directory / f"other-{name.lower()}") for name in ("LOGS", "CACHE")}
    builds = [scene.start_build(), scene.start_build(**own)]
    assert [build.ended() for build in builds] == [0, 0], "".join(build.said for build in builds)
    wait_until(lambda: scene.containers() == [])
    scene.survived(NAMES)
