"""The `llm` commands hand over what was given on their line."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from jetson_containers.cli.main import main
from jetson_containers.llm import bench

if TYPE_CHECKING:
    from pathlib import Path


def test_bench_hands_its_options_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each option of `llm bench` is a field of its options, the prompts already read."""
    given: list[Any] = []
    monkeypatch.setattr(bench, "bench", lambda *arguments, **_: given.append(arguments[1]))
    file = tmp_path / "questions"
    file.write_text("why?\nhow?\n")
    words = ["--prompt", str(file), "--input-tokens", "33", "--max-new-tokens", "44", "--max-num-prompts", "5", "--csv"]
    assert main(["llm", "bench", "tiny", *words, "--save", str(tmp_path / "rows.csv")]) == 0
    assert main(["llm", "bench", "tiny"]) == 0
    full = bench.BenchOptions(
        prompts=("why?", "how?"),
        input_tokens=33,
        output_tokens=44,
        count=5,
        as_csv=True,
        save=tmp_path / "rows.csv",
    )
    assert given == [full, bench.BenchOptions()]


def test_bench_without_readable_prompts_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """A file of prompts that is missing is refused before anything is prepared."""
    assert main(["llm", "bench", "tiny", "--prompt", str(tmp_path / "missing")]) == 2
    assert "cannot read" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["chat", "serve", "bench", "compile", "quantize"])
def test_llm_commands_take_what_decides_how_a_model_is_compiled(name: str) -> None:
    """What `chat` compiled with an option of its own, `serve` and `bench` can ask for again."""
    from jetson_containers.cli import llm

    command = {"compile": llm.compile_}.get(name) or getattr(llm, name)
    known = {option for parameter in command.params for option in parameter.opts}
    assert {"--conv-template", "--sliding-window", "--opt", "--overrides"} <= known
