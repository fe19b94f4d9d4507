"""What people put into their command lines asks docker for what it needs, and for nothing else."""

from __future__ import annotations

import json
import os
import stat
import sys
from typing import TYPE_CHECKING

import pytest

from jetson_containers.cli.main import main
from jetson_containers.images import labels
from jetson_containers.platforms.detect import parse_target

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

TARGET = "r36.4.3"
LIST = "image ls --quiet --no-trunc"
IDS = [f"sha256:{number:064x}" for number in range(3)]
INFO = "info --format {{json .}}"

FAKE = """#!/bin/sh
echo "$*" >>"{calls}"
case "$1 $2" in
  "image ls") cat "{folder}/ids" ;;
  "image inspect") cat "{folder}/images"; cat "{folder}/complaint" >&2; exit "$(cat "{folder}/code")" ;;
  "info "*) echo '{{"ServerVersion": "28.0.4", "Runtimes": {{"runc": {{}}, "nvidia": {{}}}}}}' ;;
  *) echo "docker: what is $*?" >&2; exit 1 ;;
esac
"""


def image(number: int, package: str) -> dict[str, object]:
    name = f"{package}:1.{number}-r36.4-cu126-22.04"
    written = labels.make(
        role=labels.FINAL, name=name, key=IDS[number], packages=[f"{package}:1.{number}"], platform=parse_target(TARGET)
    )
    return {
        "Id": IDS[number],
        "RepoTags": [name],
        "RepoDigests": None,
        "Architecture": "arm64",
        "Created": f"2026-01-0{number + 1}T00:00:00Z",
        "Size": 1000,
        "Config": {"Labels": written},
    }


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A docker with three images of `thing`, and what it was asked."""
    log, program = tmp_path / "calls", tmp_path / "bin/docker"
    program.parent.mkdir()
    program.write_text(FAKE.format(calls=log, folder=tmp_path))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    (tmp_path / "ids").write_text("\n".join([*IDS, IDS[0]]))
    (tmp_path / "images").write_text("\n".join(json.dumps(image(number, "thing")) for number in range(3)))
    (tmp_path / "complaint").write_text("")
    (tmp_path / "code").write_text("0")
    monkeypatch.setenv("PATH", f"{program.parent}:/usr/bin:/bin")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("JETSON_CONTAINERS_OFFLINE", "1")
    # With a CA bundle a build also asks what the builder can do.
    certificates = ("PIP_CERT", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "JETSON_CONTAINERS_CA_BUNDLE")
    for name in ("DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_CONFIG", *certificates):
        monkeypatch.delenv(name, raising=False)
    return lambda: log.read_text().splitlines() if log.exists() else []


def inspected(call: str) -> list[str]:
    return [word for word in call.split() if word.startswith("sha256:")]


def test_autotag_asks_for_one_list_and_one_inspect(
    calls: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Autotag asks for one list and one inspect."""
    assert main(["autotag", "thing", "--target", TARGET]) == 0
    assert capsys.readouterr().out == "thing:1.2-r36.4-cu126-22.04\n"
    first, second = calls()
    assert first == LIST
    assert second.startswith("image inspect --format ")
    assert inspected(second) == IDS


def test_autotag_without_an_answer_asks_no_more(
    calls: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Autotag without an answer asks no more."""
    assert main(["autotag", "never_heard_of", "--target", TARGET]) == 127
    assert "no image of never_heard_of is known" in capsys.readouterr().err
    assert len(calls()) == 2


def test_autotag_takes_what_is_left_when_an_image_goes_away_between_the_questions(
    calls: Callable[[], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Autotag takes what is left when an image goes away between the questions."""
    (tmp_path / "images").write_text(json.dumps(image(0, "thing")))
    (tmp_path / "complaint").write_text(f"Error: No such image: {IDS[1]}\nError: No such image: {IDS[2]}\n")
    (tmp_path / "code").write_text("1")
    assert main(["autotag", "thing", "--target", TARGET]) == 0
    assert capsys.readouterr().out == "thing:1.0-r36.4-cu126-22.04\n"
    assert len(calls()) == 2


def test_autotag_without_the_local_source_asks_nothing(calls: Callable[[], list[str]]) -> None:
    """Autotag without the local source asks nothing."""
    assert main(["autotag", "--disable", "local", "mlc", "--target", TARGET]) == 0
    assert calls() == []


def test_run_dry_run_asks_how_containers_get_the_gpu(
    calls: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Run dry run asks how containers get the GPU."""
    assert main(["run", "--target", TARGET, "--dry-run", "thing:1.2-r36.4-cu126-22.04", "ls"]) == 0
    assert "--runtime nvidia" in capsys.readouterr().out
    assert calls() == [INFO]


def test_run_dry_run_looks_up_a_word_that_may_be_the_command(
    calls: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Run dry run looks up a word that may be the command."""
    assert main(["run", "--target", TARGET, "--dry-run", "thing", "ls"]) == 0
    first, second = calls()
    assert first == INFO
    assert second.endswith("} thing")
    assert "no image" not in capsys.readouterr().err


def test_run_takes_no_abbreviation(calls: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]) -> None:
    """Unlike groups of commands: what it does not know is docker's to understand."""
    main(["run", "--targ=r36.4.3", "--dry-run", "image"])
    told = capsys.readouterr()
    assert "--targ=r36.4.3" in told.out + told.err


def test_run_refuses_a_command_in_the_place_of_the_image(
    calls: Callable[[], list[str]], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where autotag printed nothing, the command stands in the place of the image; an image of that name is run."""
    (tmp_path / "images").write_text("")
    (tmp_path / "complaint").write_text("Error: No such image: python3\n")
    (tmp_path / "code").write_text("1")
    (tmp_path / "programs").mkdir()
    for name in ("python3", "redis-tool"):
        (tmp_path / "programs" / name).write_text("#!/bin/sh\n")
    (tmp_path / "programs" / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", f"{os.environ['PATH']}:{tmp_path / 'programs'}")
    assert main(["run", "--target", TARGET, "--dry-run", "python3", "-c", "1"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "`python3` is a command" in said.err
    assert "`python3:latest`" in said.err
    assert main(["run", "--target", TARGET, "--dry-run", "trtexec", "--help"]) == 2  # which no host has
    assert "`trtexec` is a command" in capsys.readouterr().err
    assert main(["run", "--target", TARGET, "--dry-run", "redis-tool"]) == 0
    assert main(["run", "--target", TARGET, "--dry-run", "python3:latest", "-c", "1"]) == 0
    assert calls()


def test_build_dry_run_asks_for_names_and_then_for_one_list_and_one_inspect(
    calls: Callable[[], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    """Build dry run asks for the names of its stages, and where one is missing for one list and one inspect."""
    assert main(["build", "--dry-run", "mlc", "--target", TARGET]) == 0
    assert "to build" in capsys.readouterr().out
    named, first, second = calls()
    assert named.startswith("image inspect")
    assert "jetson-containers/stage:" in named
    assert (first, inspected(second)) == (LIST, IDS)


@pytest.mark.parametrize("words", [["list"], ["show", "mlc"], ["why", "mlc"], ["tree", "mlc"], ["info"]])
def test_reads_ask_docker_nothing(calls: Callable[[], list[str]], words: list[str]) -> None:
    """Reads ask docker nothing."""
    assert main([*words, "--target", TARGET]) == 0
    assert calls() == []


def test_docker_sdk_is_not_imported(calls: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    """The Docker SDK is not imported by these commands."""
    for name in [name for name in sys.modules if name.partition(".")[0] in {"docker", "requests"}]:
        monkeypatch.delitem(sys.modules, name)
    assert main(["autotag", "thing", "--target", TARGET]) == 0
    assert main(["build", "--dry-run", "mlc", "--target", TARGET]) == 0
    assert main(["run", "--target", TARGET, "--dry-run", "thing", "ls"]) == 0
    assert len(calls()) == 7
    assert {"docker", "requests"}.isdisjoint(sys.modules)
