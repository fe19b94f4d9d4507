"""Programs that a recipe calls: brought by itself, by what stands below it, or by nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from jetson_containers.lint.run import lint
from tests.unit.treemaker import write

if TYPE_CHECKING:
    from pathlib import Path

HEAD = "#---\n# depends: [{depends}]\n#---\nARG BASE_IMAGE\nFROM ${{BASE_IMAGE}}\n"
BELOW = {
    "a/python/Dockerfile": HEAD.format(depends="") + "RUN true\n",
    "a/tools/Dockerfile": HEAD.format(depends="") + "RUN apt-get install -y git build-essential\n",
    "a/scripted/Dockerfile": HEAD.format(depends="") + "COPY i.sh /i.sh\nRUN bash /i.sh\n",
    "a/scripted/i.sh": "pip3 install uv==1\n",
}


def missing(tmp_path: Path, depends: str, body: str, **more: str) -> list[tuple[str, int]]:
    """The programs that nothing brings, with the lines."""
    files = {**BELOW, "a/app/Dockerfile": HEAD.format(depends=depends) + body}
    files |= {f"a/app/{name.replace('_', '.')}": text for name, text in more.items()}
    found = lint([write(tmp_path, files)], ["app"], targets=["x86_64,cpu"], shellcheck=False).findings
    return [(item.message.split("`")[3], item.line) for item in found if item.rule == "command-missing"]


@pytest.mark.parametrize("program", ["git", "uv", "cmake", "wget", "make", "nvcc"])
def test_programs_that_nothing_brings_are_named(tmp_path: Path, program: str) -> None:
    """The smallest case: a recipe on `python` that calls what only upstream's base stages bring."""
    assert missing(tmp_path, "python", f"RUN true\nRUN {program} x\n") == [(program, 7)]


@pytest.mark.parametrize(
    ("depends", "body"),
    [
        ("tools", "RUN git clone x && make\n"),
        ("scripted", "RUN uv pip install x\n"),
        ("python", "RUN pip install x\n"),
        ("python", "RUN apt-get install -y wget && wget x\n"),
        ("python", "RUN pip install cmake && cmake .\n"),
        ("python", "RUN command -v git && git clone x\n"),
        ("python", "ENV TOOLS=git\nRUN install $TOOLS && git clone x\n"),
        ("python", "FROM gcc:13\nRUN make\n"),
        ("python", "RUN hello\n"),
    ],
)
def test_programs_that_something_brings_are_not(tmp_path: Path, depends: str, body: str) -> None:
    """A package below, the recipe itself, or a question whether the program is there."""
    assert missing(tmp_path, depends, body) == []


def test_programs_that_a_script_calls_count_at_its_run(tmp_path: Path) -> None:
    """Scripts of the context are part of the RUN that starts them."""
    assert missing(tmp_path, "python", "COPY b.sh /\nRUN bash /b.sh\n", b_sh="git clone x\n") == [("git", 7)]
