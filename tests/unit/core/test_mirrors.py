"""The setting `mirrors`: what it takes, and what git makes of it."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.core import mirrors, settings
from jetson_containers.core.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path


def test_mirrors_come_from_a_file_or_the_environment(tmp_path: Path) -> None:
    """YAML in a file and JSON in the environment say the same; the environment wins."""
    file = tmp_path / "config.yaml"
    file.write_text("mirrors:\n  git: {'https://code.example/': 'https://mirror.example/code/'}\n")
    loaded = settings.load(env={}, files=(file,), root=tmp_path)
    assert loaded["mirrors"] == {"git": {"https://code.example/": "https://mirror.example/code/"}}
    text = '{"python": "https://mirror.example/simple"}'
    loaded = settings.load(env={"JETSON_CONTAINERS_MIRRORS": text}, files=(file,), root=tmp_path)
    assert loaded["mirrors"] == {"python": "https://mirror.example/simple"}


@pytest.mark.parametrize(
    "value",
    [
        "code.example",
        '["https://code.example/"]',
        {"svn": {"https://code.example/": "https://mirror.example/"}},
        {"git": "https://mirror.example/"},
        {"git": {"https://code.example/": "https://me:secret@mirror.example/"}},
        {"git": {"https://code.example/": "https://mirror.example/' --upload-pack=x"}},
        {"git": {"https://code.example/": "mirror"}},
        {"python": ["https://mirror.example/simple"]},
        {"apt": {"https://code.example/": "https://mirror.example/$(reboot) x"}},
        {"registries": {"docker.io": "https://mirror.example"}},
        {"npm": "https://mirror.example/\\"},
    ],
)
def test_mirrors_that_cannot_be_used_are_refused(value: Any, tmp_path: Path) -> None:
    """Unknown kinds, other shapes, credentials and quotes are errors of the setting."""
    with pytest.raises(ConfigError, match="mirrors"):
        settings.load({"mirrors": value}, env={}, files=(), root=tmp_path)


def test_mirrors_are_where_git_clones_from(tmp_path: Path) -> None:
    """git takes the mirror for addresses that begin as said, and for no other."""
    repository = tmp_path / "mirror" / "team" / "tool"
    repository.mkdir(parents=True)
    env = {**os.environ, "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b.c", "GIT_CONFIG_GLOBAL": "/dev/null"}
    env |= {"GIT_COMMITTER_NAME": "a", "GIT_COMMITTER_EMAIL": "a@b.c", "GIT_TERMINAL_PROMPT": "0"}
    for line in ("init -q", "commit -q --allow-empty -m first"):
        subprocess.run(["git", *line.split()], cwd=repository, env=env, check=True)
    env |= mirrors.git_variables({"https://code.example/": f"file://{tmp_path}/mirror/", "https://x.example/": "x://y"})
    clone = ["git", "clone", "-q", "--depth=1", "https://code.example/team/tool", str(tmp_path / "clone")]
    subprocess.run(clone, env=env, check=True)
    shown = subprocess.run(
        ["git", "log", "-1", "--format=%s"], cwd=tmp_path / "clone", env=env, check=True, capture_output=True, text=True
    )
    assert shown.stdout == "first\n"
    asked = subprocess.run(
        ["git", "ls-remote", "--get-url", "https://other.example/team/tool"],
        env=env,
        check=True,
        capture_output=True,
        text=True,
    )
    assert asked.stdout == "https://other.example/team/tool\n"


def test_mirrors_of_nothing_set_no_variable() -> None:
    """Without a mirror git is told nothing."""
    assert mirrors.git_variables({}) == {}


def test_mirrors_of_a_preset_give_way_to_settings_beside_it(tmp_path: Path) -> None:
    """A name alone is a preset; in a mapping, what stands beside it goes over it, address by address."""
    preset = settings.load({"mirrors": "china"}, env={}, files=(), root=tmp_path)["mirrors"]
    assert preset.keys() == set(mirrors.KINDS) - {"git"}
    file = tmp_path / "config.yaml"
    file.write_text("mirrors: {preset: china, npm: 'https://n.invalid/', registries: {nvcr.io: n.invalid/x}}\n")
    found = settings.load(env={}, files=(file,), root=tmp_path)["mirrors"]
    assert found["npm"] == "https://n.invalid/"
    assert found["registries"] == {**preset["registries"], "nvcr.io": "n.invalid/x"}
    with pytest.raises(ConfigError, match="atlantis"):
        settings.load({"mirrors": "atlantis"}, env={}, files=(), root=tmp_path)


def test_mirrors_of_the_hub_count_where_no_variable_is_set(tmp_path: Path) -> None:
    """HF_ENDPOINT of the user goes before the mirror."""
    text = '{"hub": "https://h.invalid"}'
    loaded = settings.load({"mirrors": text}, env={}, files=(), root=tmp_path)
    assert loaded.env["HF_ENDPOINT"] == "https://h.invalid"
    loaded = settings.load({"mirrors": text}, env={"HF_ENDPOINT": "https://own.invalid"}, files=(), root=tmp_path)
    assert loaded.env["HF_ENDPOINT"] == "https://own.invalid"


@pytest.mark.parametrize(
    ("reference", "expected"),
    [
        ("ubuntu:24.04", "m.invalid/library/ubuntu:24.04"),
        ("dustynv/mlc:r36", "m.invalid/dustynv/mlc:r36"),
        ("docker.io/dustynv/mlc", "m.invalid/dustynv/mlc"),
        ("ghcr.io/a/b:1", "n.invalid:5000/ghcr/a/b:1"),
        ("localhost:5000/a:1", "localhost:5000/a:1"),
        ("ubuntu@sha256:ab", "ubuntu@sha256:ab"),
    ],
)
def test_mirrors_of_registries_rename_images(reference: str, expected: str) -> None:
    """A host is replaced, Docker Hub's names without a host too; a name with a digest stays."""
    assert mirrors.image_at(reference, {"docker.io": "m.invalid", "ghcr.io": "n.invalid:5000/ghcr"}) == expected
