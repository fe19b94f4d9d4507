"""The commands that runtimes give to drivers and to programs of images."""

from __future__ import annotations

import argparse
import ast
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.unit.driver_images import OURS, PROGRAMS, SCRIPTS_DIR, Images
from tests.unit.llm import test_runtimes as commands


@pytest.mark.parametrize("name", OURS)
def test_drivers_are_python_3_8_and_import_libraries_late(name: str) -> None:
    """A driver is Python 3.8 and imports nothing heavy by itself."""
    tree = ast.parse((SCRIPTS_DIR / f"{name}.py").read_text(encoding="utf-8"), feature_version=(3, 8))
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    imported = {alias.name for node in top if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in top if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in imported} <= {*sys.stdlib_module_names, *OURS}


@pytest.mark.parametrize("name", PROGRAMS)
def test_drivers_print_help_without_their_library(
    name: str, image: Images, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver prints its help without its library."""
    words = ["--help", "--"] if name == "lmdeploy_awq" else ["--help"]
    with pytest.raises(SystemExit) as ended:
        sys.exit(image.driver(name).main(words))
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


class ParsedError(Exception):
    pass


def test_drivers_understand_each_command_of_the_runtimes(image: Images, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every command of the runtimes is understood by its driver."""
    parse = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *args: Any, **kwargs: Any) -> None:
        parse(self, *args, **kwargs)
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    seen = set()
    for argv in all_commands():
        if argv[0] == "python3":
            seen.add(Path(argv[1]).stem)
            if Path(argv[1]).stem == "with_key":  # its words are the other program's
                assert argv[3] == "--"
                continue
            with pytest.raises(ParsedError):
                image.driver(Path(argv[1]).stem).main(list(argv[2:]))
    assert seen == set(PROGRAMS)


@cache
def all_commands() -> tuple[tuple[str, ...], ...]:
    key = commands.ServeOptions(port=8000, api_key=True, threads=2)
    old = commands.Target(platform=commands.board("orin-nx-jp6"), versions={"auto_awq": "0.2.9"})
    jobs = [commands.job(model, place) for model in list(commands.MODELS)[:3] for place in commands.BOARDS]
    found: list[tuple[str, ...]] = []
    for job in [*jobs, commands.job(target=old), commands.job(samples=9, calibration="/data/x.txt")]:
        for runtime in commands.RUNTIMES.values():
            if runtime.check(job).ok:
                found += [*(step.argv for step in runtime.steps(job)), runtime.serve(job, key).argv]
    return tuple(found)


# What their own `--help` lists (lmdeploy 0.2.5 and 0.16.0, vllm 0.19 to 0.28), as far as it is used.
OPTIONS = {
    ("lmdeploy", "lite", "auto_awq"): "--work-dir --calib-dataset --calib-samples --calib-seqlen --batch-size "
    "--search-scale --dtype --trust-remote-code --device --w-bits --w-sym --w-group-size --revision --download-dir",
    ("lmdeploy", "convert"): "--model-format --tp --tokenizer-path --dst-path --quant-path --group-size",
    ("lmdeploy", "serve", "api_server"): "--backend --model-format --model-name --server-name --server-port "
    "--session-len --cache-max-entry-count --max-batch-size --max-prefill-token-num --chat-template "
    "--trust-remote-code --api-keys",
    ("vllm", "serve"): "--served-model-name --host --port --gpu-memory-utilization --max-model-len --max-num-seqs "
    "--max-num-batched-tokens --dtype --quantization --enforce-eager --trust-remote-code",
}


def test_programs_of_images_get_only_options_they_document() -> None:
    """Programs of other projects get only options that they document."""
    seen = set()
    for argv in all_commands():
        words = argv[argv.index("--") + 1 :] if "--" in argv else argv
        for program, options in OPTIONS.items():
            if words[: len(program)] == program:
                seen.add(program)
                assert {word for word in words if word.startswith("--")} <= set(options.split()), words
    assert seen == set(OPTIONS)
