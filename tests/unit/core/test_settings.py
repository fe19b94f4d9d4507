"""Settings: later layers win, each value knows its origin, nothing is executed."""

from __future__ import annotations

from pathlib import Path

import pytest

from jetson_containers.core import settings
from jetson_containers.core.errors import ConfigError


def load(tmp_path: Path, *, env: dict[str, str] | None = None, flags: dict[str, object] | None = None, **files: str):
    paths = []
    for name, text in files.items():
        path = tmp_path / f"{name}.yaml"
        path.write_text(text)
        paths.append(path)
    return settings.load(flags, env={"HOME": str(tmp_path), **(env or {})}, files=tuple(paths), root=tmp_path)


def test_later_layers_override_earlier_ones(tmp_path: Path) -> None:
    loaded = load(
        tmp_path,
        system="jobs: 1\nbase: a\nengine: legacy\n",
        user="jobs: 2\nbase: b\n",
        env={"JETSON_CONTAINERS_JOBS": "3"},
        flags={"engine": "buildkit"},
    )
    assert (loaded["jobs"], loaded["base"], loaded["engine"]) == (3, "b", "buildkit")


def test_each_value_knows_where_it_came_from(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("JETSON_CONTAINERS_OFFLINE=1\n")
    loaded = load(tmp_path, user="jobs: 2\n", env={"JETSON_CONTAINERS_BASE": "x"}, flags={"engine": "legacy"})
    assert loaded.origin("jobs").endswith("user.yaml")
    assert loaded.origin("base") == "$JETSON_CONTAINERS_BASE"
    assert loaded.origin("engine") == "--engine"
    assert loaded.origin("offline") == ".env $JETSON_CONTAINERS_OFFLINE"
    assert loaded.origin("registries") == "default"


@pytest.mark.parametrize(
    ("files", "env", "words"),
    [
        ({"user": "jbos: 2\n"}, {}, ["unknown setting `jbos`", "user.yaml"]),
        ({"user": "- a\n"}, {}, ["must be a mapping"]),
        ({"user": "a: [\n"}, {}, ["cannot be read as YAML"]),
        ({}, {"JETSON_CONTAINERS_JOBS": "many"}, ["`many`", "$JETSON_CONTAINERS_JOBS"]),
        ({}, {"JETSON_CONTAINERS_OFFLINE": "perhaps"}, ["`perhaps`"]),
        ({}, {"JETSON_CONTAINERS_CONFIG": "/nowhere.yaml"}, []),
    ],
)
def test_bad_values_name_their_origin(
    tmp_path: Path, files: dict[str, str], env: dict[str, str], words: list[str]
) -> None:
    if not words:
        with pytest.raises(ConfigError, match="no file"):
            settings.config_files(env, tmp_path)
        return
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, env=env, **files)
    for word in words:
        assert word in caught.value.message


def test_a_typo_gets_a_suggestion(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, user="packges: x\n")
    assert caught.value.hint is not None
    assert "package" in caught.value.hint


def test_dotenv_is_read_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (tmp_path / ".env").write_text(
        f"# comment\nexport A='one two'\nB=\"three\" \nC=four # why\nD=$(touch {marker})\nnonsense\n"
    )
    found = settings.read_dotenv(tmp_path / ".env")
    assert found == {"A": "one two", "B": "three", "C": "four", "D": f"$(touch {marker})"}
    assert not marker.exists()


def test_the_environment_overrides_dotenv_for_upstreams_variables(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("L4T_VERSION=36.2.0\nCUDA_VERSION=12.2\n")
    loaded = load(tmp_path, env={"L4T_VERSION": "36.4.0"})
    assert (loaded.env["L4T_VERSION"], loaded.env["CUDA_VERSION"]) == ("36.4.0", "12.2")


def test_find_links_is_a_wheelhouse_only_when_it_is_a_directory(tmp_path: Path) -> None:
    assert load(tmp_path, env={"PIP_FIND_LINKS": str(tmp_path)})["wheelhouse"] == tmp_path
    assert load(tmp_path, env={"PIP_FIND_LINKS": "https://wheels.example/x"})["wheelhouse"] is None


def test_package_dirs_come_after_the_built_in_tree(tmp_path: Path) -> None:
    loaded = load(tmp_path, flags={"package_dirs": "/a,/b;/c"})
    assert loaded.package_trees[1:] == (Path("/a"), Path("/b"), Path("/c"))
