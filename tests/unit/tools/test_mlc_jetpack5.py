"""docs/mlc-jetpack5.md: what the tool takes from recipes and golden files, and what it says of a parser."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from tests.paths import ROOT_DIR

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType


def load() -> ModuleType:
    spec = importlib.util.spec_from_file_location("mlc_jetpack5_tool", ROOT_DIR / "tools" / "mlc_jetpack5.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["mlc_jetpack5_tool"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


tool = load()
PARSER = """
import argparse
import tvm.relax
from mlc_llm.dispatch import anything
from tvm.contrib.nvcc import parse_compute_version

class Model(tvm.relax.Module):
    pass

major, minor = parse_compute_version(tvm.cuda(0).compute_version)

def convert_build_args_to_argparser():
    parser = argparse.ArgumentParser()
    parser.add_argument("--model")
    parser.add_argument("--quantization"{choices})
    return parser
"""


def test_functions_of_the_build_script_run_nothing() -> None:
    """Sourcing them defines what the recipe calls at its end, and calls none of it."""
    text = tool.functions((tool.RECIPE / "build.sh").read_text())
    script = text.replace('. "$here/fetch.sh"', ":") + "declare -F"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    assert {"compile", "collect", "install_bindings"} <= {line.split()[-1] for line in done.stdout.splitlines()}
    with pytest.raises(SystemExit):
        tool.functions("compile() { :; }\ncompile\n")


def test_lines_are_those_of_the_golden_files(tmp_path: Path) -> None:
    """Each once, without the program and what follows it."""
    (tmp_path / "one.txt").write_text("  build: python3 -m mlc_llm.build --model 'a b' --target cuda && ls\nother\n")
    (tmp_path / "two.txt").write_text(
        "python3 -m mlc_llm.build --model 'a b' --target cuda && ls\nx -m mlc_llm.build --help\n"
    )
    assert tool.build_lines(tmp_path) == [["--model", "a b", "--target", "cuda"]]
    assert len(tool.build_lines(tool.GOLDEN)) >= 10


def test_gpu_flags_are_found_however_they_are_written() -> None:
    """As nvcc's own option and as CMake writes it."""
    text = '-gencode=arch=compute_72,code=sm_72 --generate-code=arch=compute_87,code=[sm_87] "code=[compute_90,sm_90]"'
    assert tool.gpu_flags(text) == ["72", "87"]


@pytest.mark.parametrize(
    ("choices", "ok"), [(', choices=["q4f16_1", "q4f16_ft"]', True), (', choices=["q0"]', False), ("", False)]
)
def test_command_lines_are_read_by_the_parser_of_the_checkout(tmp_path: Path, choices: str, *, ok: bool) -> None:
    """What it imports besides may be absent; a parser that refuses a line, or takes anything, proves nothing."""
    (tmp_path / "mlc_llm").mkdir()
    (tmp_path / "mlc_llm" / "__init__.py").touch()
    (tmp_path / "mlc_llm" / "core.py").write_text(PARSER.replace("{choices}", choices))
    trial = tool.Trial(tmp_path, tmp_path / "work", tmp_path, "llvm-config", "87")
    trial.lines_from = tmp_path / "golden"
    (tmp_path / "golden").mkdir()
    (tmp_path / "golden" / "a.txt").write_text("-m mlc_llm.build --model m --quantization q4f16_ft\n")
    assert trial.lines().ok is ok


def test_page_shows_what_failed() -> None:
    """A step that failed stands on the page with what it said."""
    page = tool.write([tool.Step(name="cmake", ok=False, said="no | nvcc")], "2026-11-29", "With nothing.")
    assert "| cmake | failed | no / nvcc |" in page
    assert "Run on 2026-11-29. With nothing." in page


def test_page_of_this_project_is_of_this_tool() -> None:
    """Its head is the tool's, and every step worked."""
    page = tool.TARGET.read_text(encoding="utf-8")
    assert page.startswith(tool.INTRO)
    assert page.count("| ✓ |") == 5
    assert "| failed |" not in page
