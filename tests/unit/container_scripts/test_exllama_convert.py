"""EXL2 and EXL3 checkpoints."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.unit.driver_images import Images, save


def test_exllama_convert_calls_the_module_of_exl3(image: Images, model: Path, tmp_path: Path) -> None:
    """EXL3 is made by the module behind the script."""
    wanted = argparse.ArgumentParser()
    for short in ("-i", "-o", "-w", "-b", "-hb", "-cr"):
        wanted.add_argument(short)
    ran = []

    def main(arguments: argparse.Namespace, state: str) -> None:
        ran.append((arguments, state))
        save(arguments.o, "exl3")

    image.holds(
        "exllamav3.conversion.convert_model",
        parser=wanted,
        prepare=lambda given: (given, "state", True, None),
        main=main,
    )
    argv = [str(model), str(tmp_path / "w"), "--bits", "3.5", "--samples", "9"]
    assert image.driver("exllama_convert").main(argv) == 0
    (arguments, state), *_ = ran
    assert (arguments.i, arguments.b, arguments.hb, arguments.cr, state) == (str(model), "3.5", "6", "9", "state")
    assert (tmp_path / "w" / "model" / "tokenizer.json").exists()


def test_exllama_convert_says_why_exl3_does_not_begin(image: Images, model: Path, tmp_path: Path) -> None:
    """EXL3 says why it does not begin."""
    wanted = SimpleNamespace(parse_args=lambda _: None)
    prepare = lambda _: (None, None, False, "no room")  # noqa: E731
    image.holds("exllamav3.conversion.convert_model", parser=wanted, prepare=prepare, main=None)
    with pytest.raises(SystemExit, match="exllamav3: no room"):
        image.driver("exllama_convert").main([str(model), str(tmp_path / "w")])


def test_exllama_convert_runs_the_script_of_exl2(image: Images, model: Path, tmp_path: Path) -> None:
    """EXL2 is a script that reads its own command line."""
    library = tmp_path / "lib" / "exllamav2" / "conversion"
    library.mkdir(parents=True)
    (library / "convert_exl2.py").write_text(
        "import json, pathlib, sys\n"
        "out = pathlib.Path(sys.argv[sys.argv.index('-cf') + 1])\n"
        "(out / 'argv').write_text(json.dumps(sys.argv[1:]))\n"
        '(out / \'config.json\').write_text(\'{"quantization_config": {"quant_method": "exl2"}}\')\n'
        "(out / 'output.safetensors').write_text('weights')\n"
    )
    image.monkeypatch.syspath_prepend(str(tmp_path / "lib"))
    image.monkeypatch.setattr(sys, "argv", ["before"])
    work = str(tmp_path / "w")
    assert image.driver("exllama_convert").main([str(model), work, "--generation", "2", "--bits", "4.0"]) == 0
    assert json.loads(Path(work, "model", "argv").read_text()) == [
        "-i", str(model), "-o", f"{work}/work", "-cf", f"{work}/model", "-nr", "-b", "4.0", "-hb", "6",
    ]  # fmt: skip
