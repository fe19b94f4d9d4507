"""`config`: showing and changing settings."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli.main import main

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's own settings file, which is not there yet."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("JETSON_CONTAINERS_CONFIG", "JETSON_CONTAINERS_JOBS"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "jetson-containers/config.yaml"


def test_config_set_writes_what_get_prints(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A value is written, read back, and taken out again; other lines and comments stay."""
    own.parent.mkdir()
    own.write_text("# mine\nregistries:\n- a/b\n- c/d\njobs: 3\n")
    assert main(["config", "set", "jobs", "2"]) == 0
    assert main(["config", "get", "jobs"]) == 0
    assert capsys.readouterr().out == "2\n"
    assert own.read_text() == "# mine\nregistries:\n- a/b\n- c/d\njobs: '2'\n"
    assert main(["config", "set", "--unset", "registries"]) == 0
    assert own.read_text() == "# mine\njobs: '2'\n"


def test_config_set_makes_the_file(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Names may be written with `-` or as the variable; the origin is shown."""
    assert main(["config", "set", "JETSON_CONTAINERS_STOP-TIMEOUT", "7", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["setting"], said["value"], said["origin"]) == ("stop_timeout", 7, str(own))


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("index_url", "ftp://x"), ("index_url", "nonsense"), ("index_url", "https://x/\n-i https://y"),
        ("jobs", "-1"), ("jobs", "9" * 20), ("stop_timeout", "0"), ("upstream_days", "-5"),
        ("engine", "nonsense"), ("cuda_source", "nonsense"),
        ("stage_registry", "http://x"), ("stage_registry", "-x"), ("registries", "a,http://x"),
        ("insecure_registries", "https://x/"), ("base", "--privileged"), ("base", "two words"),
        ("upstream", "--upload-pack=x"), ("upstream", "a\x1b[31m"), ("data", "--x"),
        ("model_aliases", "nonsense"), ("model_aliases", "=x"), ("mirrors", '{"python": "ftp://x"}'),
        ("verify_key", "/nowhere"), ("sign_key", "/etc"), ("ca_bundle", "/nowhere"), ("data", "/etc/passwd"),
        ("packages", "/nowhere"), ("wheelhouse", "/nowhere"),
    ],
)  # fmt: skip
def test_config_set_takes_nothing_that_cannot_be_used(
    own: Path, capsys: pytest.CaptureFixture[str], setting: str, value: str
) -> None:
    """One error names value and setting, with what the setting wants; nothing is written."""
    assert main(["config", "set", setting, value]) == 2
    said = capsys.readouterr().err
    assert f"`{setting}`" in said
    assert f"hint: {setting}: " in said
    assert not own.exists()


def test_config_set_writes_paths_that_mean_the_same_everywhere(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative path is that of the directory in which it was typed; `~` stays for each user's own."""
    monkeypatch.chdir(tmp_path)
    assert main(["config", "set", "data", "here"]) == 0
    assert main(["config", "set", "logs", "~/logs"]) == 0
    assert own.read_text() == f"data: {tmp_path}/here\nlogs: ~/logs\n"


def test_config_set_keeps_passwords_from_others(own: Path) -> None:
    """A file with a password in an address is its user's alone; the rights of one that was there stay."""
    assert main(["config", "set", "jobs", "1"]) == 0
    assert own.stat().st_mode & 0o777 == 0o644
    assert main(["config", "set", "index_url", "https://me:secret@index.example/simple"]) == 0
    assert own.stat().st_mode & 0o777 == 0o600
    assert main(["config", "set", "jobs", "2"]) == 0
    assert own.stat().st_mode & 0o777 == 0o600


def test_config_list_hides_passwords_that_get_prints(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists are sent to others; who asks for one setting gets it as it is."""
    monkeypatch.setenv("PIP_INDEX_URL", "https://me:secret@index.example/simple")
    for words in (
        ["config", "list"],
        ["config", "list", "--json"],
        ["info", "--config"],
        ["info", "--config", "--json"],
    ):
        assert main(words) == 0
        said = capsys.readouterr()
        assert "https://***@index.example/simple" in said.out
        assert "secret" not in said.out + said.err
    assert main(["config", "get", "index_url"]) == 0
    assert capsys.readouterr().out == "https://me:secret@index.example/simple\n"


def test_config_get_prints_a_mapping_as_set_takes_it(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A mapping is JSON, which `config set` reads; what is shown to people says what it is for."""
    assert main(["config", "set", "mirrors", "china"]) == 0
    assert "mirrors = for apt, " in capsys.readouterr().err
    assert main(["config", "get", "mirrors"]) == 0
    text = capsys.readouterr().out.strip()
    assert json.loads(text)["hub"]
    assert main(["config", "set", "mirrors", text]) == 0
    assert main(["config", "get", "mirrors"]) == 0
    assert capsys.readouterr().out.strip() == text
    assert main(["config", "set", "mirrors", "--unset"]) == 0
    assert "mirrors = - (default)" in capsys.readouterr().err
    assert own.is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["set", "jobs", "many"], "`many` is not a valid value for `jobs`"),
        (["set", "jbs", "1"], "unknown setting `jbs`"),
        (["get", "nonsense"], "unknown setting `nonsense`"),
        (["set", "jobs"], "give a value, or --unset"),
        (["set", "jobs", "1", "--unset"], "give a value, or --unset"),
        (["set", "data", ""], "give a value, or --unset"),
        (["set", "jobs", " "], "give a value, or --unset"),
        (["set", "data", "/x\ny"], "is not a valid value for `data`"),
    ],
)
def test_config_refuses_wrong_names_and_values(
    own: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    """Nothing is written then."""
    assert main(["config", *words]) == 2
    assert said in capsys.readouterr().err
    assert not own.exists()


def test_config_set_warns_where_something_overrides_it(
    own: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A variable of the environment comes after the file."""
    monkeypatch.setenv("JETSON_CONTAINERS_JOBS", "5")
    assert main(["config", "set", "jobs", "2"]) == 0
    assert "$JETSON_CONTAINERS_JOBS overrides" in capsys.readouterr().err


def test_config_list_and_path_show_where_values_come_from(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All settings have a value, an origin and a text; the files come in the order they count."""
    assert main(["config", "list", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert listed["jobs"]["origin"] == "default"
    assert all(row["help"] for row in listed.values())
    assert main(["config", "path", "--json"]) == 0
    files = [row["file"] for row in json.loads(capsys.readouterr().out)]
    assert files[1:] == [str(own), "/etc/jetson-containers/config.yaml"]
