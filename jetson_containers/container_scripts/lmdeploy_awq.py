"""Run `lmdeploy lite auto_awq` on a text of ours: it knows named data sets of the hub only, and no file.

The words after `--` are the program's own; its function that fetches text is replaced before it starts.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing import Sequence

    from jetson_containers.container_scripts import calibration, programs
else:
    import calibration
    import programs


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, replace, run."""
    parser = argparse.ArgumentParser(description=__doc__, usage="lmdeploy_awq.py --calibration TEXT -- lmdeploy lite …")
    parser.add_argument("--calibration", default=calibration.BUILTIN, help="`builtin` or a text file")
    given = list(sys.argv[1:] if argv is None else argv)
    if "--" not in given:
        parser.error("`--` and the command are missing")
    options = parser.parse_args(given[: given.index("--")])
    replace_loader(options.calibration)
    return programs.run(given[given.index("--") + 1 :])


def replace_loader(source: str) -> None:
    """Let LMDeploy's calibration ask us: a list of tensors (1, tokens), and in 0.2.x the test text beside it."""
    import torch

    # `lmdeploy.lite.apis.calibrate` is a function as an attribute of its package, the module is what is imported.
    module = importlib.import_module("lmdeploy.lite.apis.calibrate")
    pair = importlib.import_module("lmdeploy").__version__.startswith("0.2.")

    def loaders(_name: str, tokenizer: Any, nsamples: int = 128, seed: int = 0, seqlen: int = 2048) -> Any:  # noqa: ARG001
        found = [torch.tensor([row]) for row in calibration.rows(tokenizer, source, nsamples, seqlen)]
        return (found, None) if pair else found

    module.get_calib_loaders = loaders  # type: ignore[attr-defined]


if __name__ == "__main__":
    sys.exit(main())
