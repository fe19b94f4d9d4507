"""Convert a checkpoint to EXL3 (ExLlamaV3) or EXL2 (ExLlamaV2): the result is WORK/model.

Both calibrate on text that is part of their packages.
"""

from __future__ import annotations

import argparse
import importlib
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.container_scripts import checkpoint
else:
    import checkpoint


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, convert, check the result."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", help="checkpoint, a Hugging Face directory")
    parser.add_argument("work", help="directory of the conversion; its `model` is the result")
    parser.add_argument("--generation", choices=("2", "3"), default="3")
    parser.add_argument("--bits", default="4.0", help="per weight (default: 4.0)")
    parser.add_argument("--head-bits", default="6", help="per weight of the output layer (default: 6)")
    parser.add_argument("--samples", type=int, help="rows of calibration text; default: the library's")
    options = parser.parse_args(argv)
    model, spare = Path(options.work, "model"), Path(options.work, "work")
    for directory in (model, spare):
        directory.mkdir(parents=True, exist_ok=True)
    rows = [] if options.samples is None else ["-cr" if options.generation == "3" else "-r", str(options.samples)]
    common = ["-b", options.bits, "-hb", options.head_bits, *rows]
    if options.generation == "3":
        exl3(["-i", options.source, "-o", str(model), "-w", str(spare), *common])
    else:
        exl2(["-i", options.source, "-o", str(spare), "-cf", str(model), "-nr", *common])
    checkpoint.complete(options.source, str(model))
    checkpoint.verify(str(model), f"exl{options.generation}")
    return 0


def exl3(words: Sequence[str]) -> None:
    """What convert.py of the project's source does; the wheel has only the module behind it."""
    convert = importlib.import_module("exllamav3.conversion.convert_model")
    arguments, state, ok, error = convert.prepare(convert.parser.parse_args(list(words)))
    if not ok:
        sys.exit(f"exllamav3: {error}")
    convert.main(arguments, state)


def exl2(words: Sequence[str]) -> None:
    """The module is a script: it reads sys.argv where it is run."""
    sys.argv = ["convert_exl2.py", *words]
    runpy.run_module("exllamav2.conversion.convert_exl2", run_name="__main__")


if __name__ == "__main__":
    sys.exit(main())
