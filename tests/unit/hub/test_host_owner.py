"""Whose files root leaves behind, in directories where users and containers may have put links."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from jetson_containers.hub.host_owner import HostOwner, opened

if TYPE_CHECKING:
    from pathlib import Path

USER, OTHER = 1234, 4321
pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A directory of the user's, beside one of root's with a file in it."""
    (tmp_path / "data").mkdir()
    os.chown(tmp_path / "data", USER, USER)
    (tmp_path / "etc/below").mkdir(parents=True)
    (tmp_path / "etc/below/shadow").touch()
    return tmp_path / "data"


def link(path: Path, target: Path, owner: int = USER) -> Path:
    path.symlink_to(target)
    os.chown(path, owner, owner, follow_symlinks=False)
    return path


def owners(folder: Path) -> set[int]:
    return {path.lstat().st_uid for path in (folder, *folder.rglob("*"))}


@pytest.mark.parametrize("maker", [USER, 0], ids=["user", "root-of-a-container"])
def test_owner_gets_nothing_that_a_link_leads_to(data: Path, maker: int) -> None:
    """A link in the user's directory cannot make root give away a directory of root's, nor what lies below it."""
    link(data / "models", data.parent / "etc", maker)
    HostOwner(USER, USER).chown_leftovers(data / "models")
    HostOwner(USER, USER).chown_leftovers(data / "models/below")
    assert owners(data.parent / "etc") == {0}
    with pytest.raises(PermissionError), opened(data / "models"):
        pass


def test_owner_gets_nothing_behind_a_link_amid_the_tree(data: Path) -> None:
    """Links below are given away themselves, never what they lead to."""
    (data / "models").mkdir()
    (data / "models/a").symlink_to(data.parent / "etc")
    (data / "models/b").symlink_to(data.parent / "etc/below/shadow")
    HostOwner(USER, USER).chown_leftovers(data / "models")
    assert owners(data.parent / "etc") == {0}
    assert (data / "models").stat().st_uid == USER
    assert (data / "models/b").lstat().st_uid == USER


def test_owner_gets_no_file_that_has_another_name(data: Path) -> None:
    """A hard link is the file itself, which may be root's elsewhere."""
    (data / "models").mkdir()
    os.link(data.parent / "etc/below/shadow", data / "models/mine")
    HostOwner(USER, USER).chown_leftovers(data / "models")
    assert (data / "models/mine").stat().st_uid == 0


def test_owner_gets_what_lies_on_a_disk_of_theirs(data: Path) -> None:
    """A directory of theirs on another disk is reached by their link, and one of anybody's by a link of root's own."""
    disk = data.parent / "disk"
    (disk / "models/m").mkdir(parents=True)
    os.chown(disk / "models", USER, USER)
    HostOwner(USER, USER).chown_leftovers(link(data / "models", disk / "models"))
    assert owners(disk / "models") == {USER}
    place = link(data.parent / "shared", data.parent / "etc", 0)
    HostOwner(USER, USER).chown_leftovers(place / "below")
    assert owners(data.parent / "etc/below") == {USER}


def test_owner_of_a_link_leads_nobody_to_a_third_user(data: Path) -> None:
    """One user's link to another user's directory does not count either."""
    other = data.parent / "other"
    other.mkdir()
    os.chown(other, OTHER, OTHER)
    with pytest.raises(PermissionError), opened(link(data / "models", other)):
        pass
    with opened(link(data.parent / "own", data)) as descriptor:
        assert os.fstat(descriptor).st_ino == data.stat().st_ino
