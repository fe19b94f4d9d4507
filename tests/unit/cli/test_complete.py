"""What shells offer after TAB."""

from __future__ import annotations

import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli import complete
from jetson_containers.cli.main import cli

if TYPE_CHECKING:
    from pathlib import Path

VARIABLE = "_JETSON_CONTAINERS_COMPLETE"


def offered(monkeypatch: pytest.MonkeyPatch, *words: str) -> list[str]:
    """What bash offers for a line whose last word is begun; words as bash takes them apart."""
    monkeypatch.setenv("COMP_WORDS", " ".join(("jetson-containers", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    answer = complete.BashValues(cli, {}, "jetson-containers", VARIABLE).complete()
    return [line.partition(",")[2] for line in answer.splitlines()]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("build --dry", ["--dry-run"]),
        ("build --target r36.4.3 llama_c", ["llama_cpp"]),
        ("build --target = r36.4.3 llama_cpp : 0", ["0.3.36"]),
        ("llm chat tiny --runtime lla", ["llama_cpp"]),
        ("llm chat Qwen3-30B", ["Qwen3-30B-A3B-Instruct-2507"]),
        ("llm chat Qwen/Qwen3-30B", ["Qwen/Qwen3-30B-A3B-Instruct-2507"]),
        ("llm fit tiny --board agx-thor", ["agx-thor", "agx-thor-64gb", "agx-thor-128gb"]),
        ("setup data", ["data-root"]),
        ("config get wheel", ["wheelhouse"]),
        ("completion f", ["fish"]),
    ],
)
def test_values_are_offered_by_parameter(monkeypatch: pytest.MonkeyPatch, line: str, expected: list[str]) -> None:
    """Packages, versions, models, boards, runtimes, steps and settings are offered where they are expected."""
    found = offered(monkeypatch, *line.split(" "))
    assert set(found) <= set(expected)
    assert expected[0] in found


def test_target_is_completed_part_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a comma the next part is offered, and what stands before it is kept."""
    found = offered(monkeypatch, "list", "--target", "r36.4.3,cu12")
    assert "r36.4.3,cu126" in found
    assert all(word.startswith("r36.4.3,cu12") for word in found)
    assert "orin-nano-8gb" in offered(monkeypatch, "list", "--target", "orin-nan")


def test_packages_follow_the_target(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that the target excludes is not offered."""
    assert offered(monkeypatch, "--target", "nano-4gb", "build", "llama_cpp") == []


def test_images_are_those_of_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The local store is asked; an image without a name is not offered."""
    client = tmp_path / "docker"
    client.write_text("#!/bin/sh\necho mine:1\necho '<none>:<none>'\necho other:2\n")
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert offered(monkeypatch, "run", "mi") == ["mine:1"]
    assert offered(monkeypatch, "push", "") == ["mine:1", "other:2"]


def test_values_that_cannot_be_had_offer_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Without an engine, or with a wrong target, nothing is printed in place of names."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert offered(monkeypatch, "run", "x") == []
    assert offered(monkeypatch, "build", "--target", "nonsense", "llama") == []


def test_bash_values_behind_a_colon_lose_what_stands_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bash puts the answer in the place of the part behind the colon alone."""
    assert "0.3.36" in offered(monkeypatch, "show", "llama_cpp", ":")


@pytest.mark.parametrize("shell", sorted(complete.SHELLS))
def test_source_names_the_program_and_is_read_by_its_shell(shell: str) -> None:
    """Each script asks our program; where the shell is here, it reads the script."""
    text = complete.source(cli, shell, "jetson-containers")
    assert VARIABLE in text
    if shutil.which(shell):
        assert subprocess.run([shell, "-n"], input=text.encode(), check=False, capture_output=True).returncode == 0


def test_builds_with_a_record_are_offered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`report` offers the names of the builds that left a record, and nothing where there is none."""
    monkeypatch.setenv("JETSON_CONTAINERS_CACHE", str(tmp_path))
    assert offered(monkeypatch, "report", "2026") == []
    folder = tmp_path / "build" / "records"
    folder.mkdir(parents=True)
    (folder / "20260101_000000.json").write_text("{}")
    (folder / "notes.json").write_text("{}")
    assert offered(monkeypatch, "report", "2026") == ["20260101_000000"]


def test_servers_are_those_of_the_engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`llm stop` and `llm logs` are offered what runs, not all models."""
    client = tmp_path / "docker"
    client.write_text('#!/bin/sh\ncase "$*" in *label=*) echo jetson-llm-tiny-8080; echo jetson-llm-qwen-8081;; esac\n')
    client.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert offered(monkeypatch, "llm", "stop", "jetson-llm-t") == ["jetson-llm-tiny-8080"]
    assert len(offered(monkeypatch, "llm", "logs", "")) == 2


def test_models_to_remove_are_those_that_are_stored(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """What is only known is not there to be removed."""
    snapshot = tmp_path / "models/huggingface/models--acme--small/snapshots/1234"
    snapshot.mkdir(parents=True)
    (snapshot / "model.gguf").write_bytes(b"x")
    monkeypatch.setenv("JETSON_CONTAINERS_DATA", str(tmp_path))
    assert offered(monkeypatch, "llm", "rm", "") == ["acme/small"]


def test_values_of_a_switch_are_on_and_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other settings take any text."""
    assert offered(monkeypatch, "config", "set", "offline", "") == ["off", "on"]
    assert offered(monkeypatch, "config", "set", "jobs", "o") == []


def test_values_are_found_in_another_case_where_none_is_written_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """`PyTorch` is the package `pytorch`."""
    assert "pytorch" in offered(monkeypatch, "build", "PyTor")
