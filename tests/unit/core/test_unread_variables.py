"""Variables that nothing here reads are said: typos of ours, and those of upstream's build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli import main
from jetson_containers.core import unread_variables
from jetson_containers.core.settings import OPTIONS

if TYPE_CHECKING:
    from pathlib import Path

BUILD = ("build", "--dry-run", "numpy", "--target", "cpu")


def test_unknown_settings_are_those_with_our_prefix_alone() -> None:
    """Settings, and what launchers and tests read, are known; what others read is none of ours."""
    known = [f"JETSON_CONTAINERS_{name.upper()}" for name in OPTIONS]
    others = ["PATH", "JETSON_CONTAINERS_VENV", "_JETSON_CONTAINERS_COMPLETE", "MY_JETSON_CONTAINERS_X"]
    assert unread_variables.unknown_settings([*known, *others]) == []
    assert unread_variables.unknown_settings(["JETSON_CONTAINERS_JBOS", *known]) == ["JETSON_CONTAINERS_JBOS"]


def test_unknown_settings_hint_asks_for_the_near_one() -> None:
    """A typo names the setting that is meant; what resembles none names where they are shown."""
    assert "`JETSON_CONTAINERS_JOBS`" in unread_variables.unknown_settings_hint(["JETSON_CONTAINERS_JBOS"])
    assert "info --config" in unread_variables.unknown_settings_hint(["JETSON_CONTAINERS_"])


@pytest.mark.parametrize(
    ("names", "own_tree", "expected"),
    [
        (["DOCKER_CCACHE", "PATH", "NODE_VERSION"], True, ["DOCKER_CCACHE"]),
        (["PYTORCH_FORCE_BUILD", "USE_OLLAMA"], True, ["PYTORCH_FORCE_BUILD", "USE_OLLAMA"]),
        (["PYTORCH_FORCE_BUILD", "USE_OLLAMA", "INDEX_HOST"], False, ["INDEX_HOST"]),
        (
            ["SCP_UPLOAD_PASS", "DEVPI_URL", "JC_BUILD_SUCCESS_WEBHOOK_URL", "SCP_UPLOADED"],
            False,
            ["DEVPI_URL", "JC_BUILD_SUCCESS_WEBHOOK_URL", "SCP_UPLOAD_PASS"],
        ),
        (["ROS_DISTRO", "DOCKER_HOST", "HF_TOKEN"], True, []),
    ],
)
def test_tree_of_upstream_leaves_recipes_of_other_trees_their_variables(
    names: list[str], own_tree: bool, expected: list[str]
) -> None:
    """A recipe of another tree may read them."""
    assert unread_variables.of_upstream(names, own_tree=own_tree) == expected


def test_build_says_once_what_it_does_not_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Both kinds get one warning; a tree that may read a variable silences that one; an empty value says nothing."""
    monkeypatch.setenv("JETSON_CONTAINERS_FOO", "1")
    monkeypatch.setenv("PYTORCH_FORCE_BUILD", "on")
    monkeypatch.setenv("INDEX_HOST", "example.org")
    monkeypatch.setenv("BUILD_DELAY", "")
    assert main.main([*BUILD]) == 0
    err = capsys.readouterr().err
    assert err.count("$JETSON_CONTAINERS_FOO") == 1
    assert err.count("only upstream's build reads them: $INDEX_HOST, $PYTORCH_FORCE_BUILD") == 1
    assert "JETSON_CONTAINERS_INDEX_URL" in err
    assert "BUILD_DELAY" not in err
    assert main.main([*BUILD, "--package-dirs", str(tmp_path)]) == 0
    assert "PYTORCH_FORCE_BUILD" not in capsys.readouterr().err
