"""Settings: later layers win, each value knows its origin, nothing is executed."""

from __future__ import annotations

import os
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


def test_settings_of_later_layers_override_earlier_ones(tmp_path: Path) -> None:
    """Later layers override earlier ones."""
    loaded = load(
        tmp_path,
        system="jobs: 1\nbase: a\nengine: legacy\n",
        user="jobs: 2\nbase: b\n",
        env={"JETSON_CONTAINERS_JOBS": "3"},
        flags={"engine": "buildkit"},
    )
    assert (loaded["jobs"], loaded["base"], loaded["engine"]) == (3, "b", "buildkit")


def test_settings_know_where_each_value_came_from(tmp_path: Path) -> None:
    """Each value knows where it came from."""
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
def test_settings_with_bad_values_name_their_origin(
    tmp_path: Path, files: dict[str, str], env: dict[str, str], words: list[str]
) -> None:
    """Bad values name their origin."""
    if not words:
        with pytest.raises(ConfigError, match="not a file"):
            settings.config_files(env, tmp_path)
        return
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, env=env, **files)
    for word in words:
        assert word in caught.value.message


def test_settings_suggest_the_nearest_name(tmp_path: Path) -> None:
    """A mistyped name gets a suggestion."""
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, user="packges: x\n")
    assert caught.value.hint is not None
    assert "package" in caught.value.hint


def test_dotenv_is_read_not_executed(tmp_path: Path) -> None:
    """The file .env is read and not executed."""
    marker = tmp_path / "executed"
    (tmp_path / ".env").write_text(
        f"# comment\nexport A='one two'\nB=\"three\" \nC=four # why\nD=$(touch {marker})\nnonsense\n"
    )
    found = settings.read_dotenv(tmp_path / ".env")
    assert found == {"A": "one two", "B": "three", "C": "four", "D": f"$(touch {marker})"}
    assert not marker.exists()


def test_dotenv_is_overridden_by_the_environment(tmp_path: Path) -> None:
    """The environment overrides .env for upstream's variables."""
    (tmp_path / ".env").write_text("L4T_VERSION=36.2.0\nCUDA_VERSION=12.2\n")
    loaded = load(tmp_path, env={"L4T_VERSION": "36.4.0"})
    assert (loaded.env["L4T_VERSION"], loaded.env["CUDA_VERSION"]) == ("36.4.0", "12.2")


def test_wheelhouse_is_find_links_when_it_is_a_directory(tmp_path: Path) -> None:
    """PIP_FIND_LINKS is a wheelhouse only when it is a directory."""
    assert load(tmp_path, env={"PIP_FIND_LINKS": str(tmp_path)})["wheelhouse"] == tmp_path
    assert load(tmp_path, env={"PIP_FIND_LINKS": "https://wheels.example/x"})["wheelhouse"] is None


def test_package_dirs_come_after_the_built_in_tree(tmp_path: Path) -> None:
    """The directories of packages come after the built-in tree."""
    loaded = load(tmp_path, flags={"package_dirs": "/a,/b;/c"})
    assert loaded.package_trees[1:] == (Path("/a"), Path("/b"), Path("/c"))


@pytest.mark.parametrize(
    ("flags", "env", "user", "expected"),
    [
        ("/a:/b", "", "", ["/a", "/b"]),
        ("/a/*:/b/*", "", "", ["/a", "/b"]),
        ("/a/*/*", "", "", ["/a"]),
        ("/*", "", "", ["/"]),
        ("*", "", "", ["."]),
        ("ex*t", "", "", ["ex*t"]),
        (" /a ; /b , /a:", "", "", ["/a", "/b"]),
        (("/a", "/b:/c"), "", "", ["/a", "/b", "/c"]),
        (("/a",), "/b,/c/*", "", ["/a", "/b", "/c"]),
        (("/a",), "/b:/a", "[/c/*, '/d:e', /b]", ["/a", "/b", "/c", "/d:e"]),
        (None, "/b", "/c:/d", ["/b", "/c", "/d"]),
    ],
)
def test_package_dirs_are_split_as_upstream_does_and_add_up(
    tmp_path: Path, flags: object, env: str, user: str, expected: list[str]
) -> None:
    """Package dirs are split as upstream does and add up."""
    loaded = load(
        tmp_path,
        flags={"package_dirs": flags},
        env={"JETSON_CONTAINERS_PACKAGE_DIRS": env} if env else {},
        user=f"package_dirs: {user}\n" if user else "",
    )
    assert [str(path) for path in loaded["package_dirs"]] == expected


def test_package_dirs_of_both_dotenv_files_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Package dirs of both dotenv files add up."""
    here = tmp_path / "here"
    here.mkdir()
    (tmp_path / ".env").write_text("JETSON_CONTAINERS_PACKAGE_DIRS=/a\n")
    (here / ".env").write_text("JETSON_CONTAINERS_PACKAGE_DIRS=/b\n")
    monkeypatch.chdir(here)
    monkeypatch.delenv("JETSON_CONTAINERS_PACKAGE_DIRS", raising=False)
    loaded = settings.load(files=(), root=tmp_path)
    assert loaded["package_dirs"] == [Path("/b"), Path("/a")]


def test_package_dirs_name_every_origin(tmp_path: Path) -> None:
    """Package dirs name every origin."""
    loaded = load(tmp_path, flags={"package_dirs": ("/a",)}, env={"JETSON_CONTAINERS_PACKAGE_DIRS": "/b"})
    assert loaded.origin("package_dirs") == "--package-dirs, $JETSON_CONTAINERS_PACKAGE_DIRS"


def test_package_dirs_of_files_are_dropped_by_an_empty_variable(tmp_path: Path) -> None:
    """An empty variable drops the directories of packages that files name."""
    loaded = load(tmp_path, env={"JETSON_CONTAINERS_PACKAGE_DIRS": ""}, user="package_dirs: [/c]\n")
    assert loaded["package_dirs"] == []


def test_package_dirs_keep_a_directory_with_a_separator_in_its_name(tmp_path: Path) -> None:
    """A directory with a separator in its name is one directory."""
    odd = tmp_path / "a:b, c"
    odd.mkdir()
    assert load(tmp_path, flags={"package_dirs": (str(odd),)})["package_dirs"] == [odd]


@pytest.mark.parametrize("value", [".inf", "-.inf", ".nan", "1e999", "-1", "[1]"])
def test_count_that_is_no_whole_number_is_one_error(tmp_path: Path, value: str) -> None:
    """YAML has numbers without end, too; each is an error that names the setting."""
    with pytest.raises(ConfigError, match="is not a valid value for `jobs`"):
        load(tmp_path, user=f"jobs: {value}\n")


@pytest.mark.parametrize("kind", ["fifo", "device"])
def test_load_of_a_dotenv_that_is_not_a_file_ends(tmp_path: Path, kind: str) -> None:
    """Whoever made the directory in which a command runs neither stops it nor fills the memory."""
    if kind == "fifo":
        os.mkfifo(tmp_path / ".env")
    else:
        (tmp_path / ".env").symlink_to("/dev/zero")
    with pytest.raises(ConfigError, match="cannot be read"):
        settings.load(env={}, files=(), root=tmp_path)
