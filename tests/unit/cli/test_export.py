"""`export` and `graph`: the command line over the built-in recipes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import yaml

from jetson_containers.cli import main

if TYPE_CHECKING:
    from pathlib import Path

REGISTRY = "--stage-registry=registry.example/team"


def test_export_writes_one_workflow_for_several_targets(tmp_path: Path) -> None:
    """Each target has its images; the commands plan what was exported."""
    file = tmp_path / "images.yml"
    argv = ["export", "--format=github", REGISTRY, "cmake:pip", f"--output={file}"]
    assert main.main([*argv, "--target=r36.4.3", "--target", "x86_64,cpu"]) == 0
    jobs = yaml.safe_load(file.read_text())["jobs"]
    rows = jobs["images"]["strategy"]["matrix"]["include"]
    assert [row["command"].split()[-1] for row in rows] == ["cmake:pip"] * 2
    assert [row["runner"] for row in rows] == ["ubuntu-24.04-arm", "ubuntu-24.04"]


def test_export_names_stages_that_build_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every command of the pipeline is one that `build` takes, and plans the stage of its job."""
    argv = ["export", "--format=gitlab", REGISTRY, "llama_cpp", "--target=r36.4.3"]
    assert main.main(argv) == 0
    pipeline = yaml.safe_load(capsys.readouterr().out)
    jobs = {name: job for name, job in pipeline.items() if isinstance(job, dict) and "script" in job}
    assert len(jobs) == 5
    for name, job in jobs.items():
        words = job["script"][0].replace("'", "").split()
        assert main.main([*words[1:], "--dry-run", "--json", "--offline"]) == 0
        planned = yaml.safe_load(capsys.readouterr().out)
        key = planned["stages"][-1]["key"].removeprefix("sha256:")[:8]
        assert name == f"image-{planned['final'].replace(':', '-').replace('.', '-')}" or name.endswith(key)


def test_export_uses_runners_that_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    """`--runner` names the machine for an architecture; what is none is refused."""
    argv = ["export", "--format=github", REGISTRY, "ninja", "--target=r36.4.3"]
    assert main.main([*argv, "--runner=arm64=board"]) == 0
    assert "runner: board" in capsys.readouterr().out
    assert main.main([*argv, "--runner=board"]) == 2
    assert "amd64=LABEL" in capsys.readouterr().err


def test_export_names_the_trees_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A job has none of this user's settings: their trees are options there, and one that no job has is said."""
    assert main.main(["new", "mine", "--kind", "apt", "--directory", str(tmp_path / "own")]) == 0
    monkeypatch.setenv("JETSON_CONTAINERS_PACKAGE_DIRS", str(tmp_path / "own"))
    argv = ["export", "--format=github", REGISTRY, "mine", "--target=r36.4.3"]
    (tmp_path / "other").mkdir()
    for here, named in (("", "own"), ("own", "."), ("other", str(tmp_path / "own"))):
        monkeypatch.chdir(tmp_path / here)
        capsys.readouterr()
        assert main.main(argv) == 0
        out, err = capsys.readouterr()
        assert f" --package-dirs={named} " in " ".join(out.split())
        assert ("lies outside this checkout" in err) is (here == "other")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--format=github", "ninja"], "--stage-registry REGISTRY/NAMESPACE"),
        (["--format=bake", "ninja"], "--output FOLDER"),
        (["--format=github", REGISTRY], "no package given"),
    ],
)
def test_export_says_what_is_missing(argv: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A format that needs more than was given names the option."""
    assert main.main(["export", *argv, "--target=r36.4.3"]) == 2
    assert said in capsys.readouterr().err


def test_graph_draws_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The drawing names the stages; a file that cannot be written is one clear error."""
    assert main.main(["graph", "--format=dot", "ninja", "--target=r36.4.3"]) == 0
    assert '[label="ninja:' in capsys.readouterr().out
    assert main.main(["graph", "ninja", "--target=r36.4.3", f"--output={tmp_path / 'none' / 'x'}"]) == 4
    assert "cannot be written" in capsys.readouterr().err
