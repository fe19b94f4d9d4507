"""`run --podman`: the same options with another engine, which reaches the GPU by CDI and has images of its own."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING

import pytest

from jetson_containers.core.errors import EngineMissingError, NotReadyError
from jetson_containers.engine import podman_engine
from jetson_containers.launch import podman
from jetson_containers.launch.gpu import Gpu
from tests.unit.launch.helpers import ORIN, PC, plan

if TYPE_CHECKING:
    from pathlib import Path

    from jetson_containers.engine.interface import RunCapabilities

SPECIFICATION = """cdiVersion: 0.5.0
kind: nvidia.com/gpu
devices:
- name: all
- name: "0"
"""


def installed(tmp_path: Path, *, uid: int = 0, cdi: bool = True) -> RunCapabilities:
    """What is found on a host with Podman, and a CDI specification or none."""
    program = tmp_path / "bin/podman"
    program.parent.mkdir(exist_ok=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    if cdi:
        folder = tmp_path / "root/etc/cdi"
        folder.mkdir(parents=True)
        (folder / "nvidia.yaml").write_text(SPECIFICATION)
    return podman_engine.capabilities(tmp_path / "root", {"PATH": str(program.parent)}, uid)


def test_podman_reaches_the_gpu_by_cdi(tmp_path: Path) -> None:
    """The GPU comes by the CDI specification of the host; nothing asks for a runtime that only docker has."""
    planned = plan(tmp_path, "--podman", "img", "ls", platform=ORIN, capabilities=installed(tmp_path))
    assert planned.argv[:2] == (str(tmp_path / "bin/podman"), "run")
    assert planned.argv[-2:] == ("img", "ls")
    assert planned.gpu is Gpu.CDI
    assert "nvidia.com/gpu=all" in planned.argv
    assert not {"--runtime", "--gpus", "--podman"} & set(planned.argv)


def test_podman_without_cdi_says_how_to_make_the_specification(tmp_path: Path) -> None:
    """Without a specification there is no GPU, also where docker has a hook for it; the remedy is CDI's."""
    planned = plan(
        tmp_path, "--podman", "img", platform=PC, capabilities=installed(tmp_path, cdi=False),
        files="usr/bin/nvidia-container-runtime-hook",
    )  # fmt: skip
    (notice,) = [notice for notice in planned.notices if "no GPU" in notice.text]
    assert "nvidia-ctk cdi generate" in (notice.hint or "")
    assert planned.gpu is Gpu.NONE


@pytest.mark.parametrize(("uid", "groups"), [(0, []), (1000, ["keep-groups"])])
def test_podman_of_a_user_keeps_the_groups_that_own_devices(tmp_path: Path, uid: int, groups: list[str]) -> None:
    """Without root the user's own groups go along, and limits that a user may not raise are left alone."""
    planned = plan(tmp_path, "--podman", "img", platform=PC, capabilities=installed(tmp_path, uid=uid))
    assert [planned.argv[n + 1] for n, word in enumerate(planned.argv) if word == "--group-add"] == groups
    assert any(word.startswith("--ulimit") for word in planned.argv) == (uid == 0)


def test_podman_does_not_label_mounts_unless_told(tmp_path: Path) -> None:
    """SELinux labels are off, so that /data can be read; a label of the user's own stays the only one."""
    found = installed(tmp_path)
    assert "label=disable" in plan(tmp_path, "--podman", "img", capabilities=found).argv
    own = plan(tmp_path, "--podman", "--security-opt", "label=type:mine", "img", capabilities=found)
    assert "label=disable" not in own.argv


def test_podman_that_is_not_installed_is_named(tmp_path: Path) -> None:
    """A host without Podman gets the command that installs it."""
    with pytest.raises(EngineMissingError, match="no `podman`") as error:
        podman_engine.capabilities(tmp_path, {"PATH": str(tmp_path)}, 0)
    assert error.value.hint == "sudo apt-get install podman"


@pytest.mark.parametrize(
    ("docker", "hint"),
    [(0, "`podman pull docker-daemon:img:latest`"), (1, "`podman pull img`"), (-1, "`podman pull img`")],
)
def test_podman_image_that_only_docker_has_is_to_be_copied(docker: int, hint: str) -> None:
    """What Podman lacks is copied from docker's store where it is there, else pulled."""
    answers = {"/usr/bin/podman": 1, "docker": docker}
    with pytest.raises(NotReadyError, match="has no image `img`") as error:
        podman.require_image("/usr/bin/podman", "img", ask=lambda argv: answers[argv[0]])
    assert error.value.hint == hint
    podman.require_image("/usr/bin/podman", "img", ask=lambda _argv: 0)
