"""Images of other projects: the variable that selects their code, and a command that names their program too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.unit.launch.helpers import plan

if TYPE_CHECKING:
    from pathlib import Path

VLLM = "vllm/vllm-openai:v0.29.0"


@pytest.mark.parametrize(
    ("command", "reset"),
    [
        (["vllm", "serve", "org/model"], True),
        (["bash", "-c", "true"], True),
        (["/bin/true"], True),
        (["org/model"], False),
        (["--model", "org/model"], False),
        ([], False),
    ],
)
def test_run_of_an_image_that_starts_its_program_takes_both_forms(
    tmp_path: Path, command: list[str], reset: bool
) -> None:
    """`vllm serve MODEL` works as it does in images without a program of their own; arguments alone stay arguments."""
    made = plan(tmp_path, VLLM, *command)
    assert ("--entrypoint" in made.argv) is reset
    assert any("starts `vllm serve` by itself" in notice.text for notice in made.notices) is reset
    assert made.argv[-len(command) - 1 :] == (VLLM, *command)


def test_run_keeps_the_entrypoint_that_the_user_gives(tmp_path: Path) -> None:
    """An entry point of the user's own stays the only one."""
    made = plan(tmp_path, "--entrypoint", "bash", VLLM, "vllm")
    assert [made.argv[i + 1] for i, word in enumerate(made.argv) if word == "--entrypoint"] == ["bash"]


def test_run_tells_ollama_its_jetpack(tmp_path: Path) -> None:
    """The official image finds its code for Jetson by a variable; a value of the user's own stays."""
    made = plan(tmp_path, "ollama/ollama", host="orin-r36")
    assert "JETSON_JETPACK=6" in made.argv
    mine = plan(tmp_path, "-e", "JETSON_JETPACK=5", "ollama/ollama", host="orin-r36")
    assert [word for word in mine.argv if "JETSON_JETPACK" in word] == ["JETSON_JETPACK=5"]
    assert not any("JETSON_JETPACK" in word for word in plan(tmp_path, "dustynv/ollama:r36.4.0").argv)
