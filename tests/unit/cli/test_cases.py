"""Trees and command lines as other people have them, from the line to the plan; docs/cases.md lists all such cases."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli.main import main
from tests.unit.treemaker import write

if TYPE_CHECKING:
    from pathlib import Path

BODY = "ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n"
BOARD = ("--offline", "--target", "r36.4.3")


def planned(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    """The plan of a command line, which must have one."""
    assert main([*BOARD, "build", "--dry-run", "--json", *argv]) == 0
    plan: dict[str, object] = json.loads(capsys.readouterr().out)
    return plan


def refused(capsys: pytest.CaptureFixture[str], *argv: str) -> str:
    """What a command line that has no plan is told."""
    assert main([*BOARD, "build", "--dry-run", *argv]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    return said.err


def test_directory_behind_an_empty_option_is_recognized(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`--package-dirs= DIR PKG` has the directory among the packages: that is said, not only that none is called so."""
    write(tmp_path, {"trees/mapper/Dockerfile": "name: mapper"})
    monkeypatch.chdir(tmp_path)
    assert "`--package-dirs=trees`, without a space after `=`" in refused(capsys, "--package-dirs=", "trees", "mapper")
    assert planned(capsys, "--package-dirs=trees", "mapper")["packages"] == ["mapper"]


def test_recipe_of_another_habit_is_a_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Indented instructions, an alias, files of an editor and a desktop in the way, capitals in the folder's name."""
    lines = "\n".join(f"    {line}" for line in (*BODY.splitlines(), "COPY deep/setup.sh setup.sh", "RUN ./setup.sh"))
    write(
        tmp_path,
        {
            "nets/fusion/Dockerfile": f"#---\n# name: fusenet\n# alias: [fuse3d, Fuse-Net]\n#---\n{lines}\n",
            "nets/fusion/deep/setup.sh": "#!/bin/sh\n",
            "nets/.DS_Store": "\0\1",
            "nets/fusion/Dockerfile.swp": "\0b0VIM",
            "nets/fusion/._Dockerfile": "\0\5\26",
            "ParkAssist/Dockerfile": BODY,
        },
    )
    tree = ("--package-dirs", str(tmp_path))
    assert planned(capsys, *tree, "fuse3d")["packages"] == ["fusenet"]
    assert planned(capsys, *tree, "fuse-net")["packages"] == ["fusenet"]
    plan = planned(capsys, *tree, "parkassist")
    assert (plan["packages"], plan["final"]) == (["ParkAssist"], "parkassist:r36.4-cu126-22.04")


@pytest.mark.parametrize(
    ("base", "name", "image"),
    [
        (f"me/ros:foxy-l4t-r35.2.1@sha256:{'a' * 64}", "rover", "rover:r36.4-cu126-22.04"),
        ("localhost:5000/vision:v2", "lab/detector:1.4-r36.4.3", "lab/detector:1.4-r36.4.3-r36.4-cu126-22.04"),
    ],
)
def test_base_and_name_of_the_user_are_taken_as_they_are(
    capsys: pytest.CaptureFixture[str], base: str, name: str, image: str
) -> None:
    """A base by digest or of a registry with a port, and a name with a tag of its own."""
    plan = planned(capsys, "--base", base, f"--name={name}", "cmake")
    assert (plan["base"], plan["final"]) == (base, image)
    odd = [note for note in plan["notices"] if "is for L4T 35.2.1, and the target is L4T 36.4.3" in note]  # type: ignore[attr-defined]
    assert len(odd) == base.count("r35.2.1")


def test_packages_of_the_base_are_skipped_by_patterns(capsys: pytest.CaptureFixture[str]) -> None:
    """`--skip-packages` takes patterns and names; one that nothing matches is named."""
    plan = planned(capsys, "--skip-packages", "cud*,python,huggingface*,nonesuch-*", "pytorch")
    names = [name.partition(":")[0] for name in plan["packages"]]  # type: ignore[attr-defined]
    assert names == ["numpy", "pytorch"]
    assert any("`nonesuch-*`" in note for note in plan["notices"])  # type: ignore[attr-defined]


@pytest.mark.long
def test_missing_dependency_is_named_by_every_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A package whose dependency exists nowhere: `build` refuses it, `why` and `lint` say what is missing."""
    write(tmp_path, {"odometry/Dockerfile": 'name: odometry\ndepends: [numpy, "gtsam-cuda>=4"]\nrequires: ">=36"'})
    tree = ("--package-dirs", str(tmp_path))
    assert "there is no package `gtsam-cuda`, which `odometry` asks for" in refused(capsys, *tree, "odometry")
    assert main([*BOARD, "why", *tree, "odometry"]) == 0
    shown = capsys.readouterr().out
    assert "cannot be built" in shown
    assert "`gtsam-cuda`" in shown
    assert main(["lint", *tree, "odometry"]) == 1
    assert "depends-dangling: `odometry` needs `gtsam-cuda" in capsys.readouterr().out
