"""Run `lmdeploy convert`, then set values of the engine's config.ini that no option of it reaches."""

from __future__ import annotations

import argparse
import configparser
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, convert where a command is given, edit."""
    parser = argparse.ArgumentParser(
        description=__doc__, usage="lmdeploy_config.py DIRECTORY --set KEY=VALUE … [-- COMMAND …]"
    )
    parser.add_argument("directory", help="the converted model")
    parser.add_argument("--set", nargs="+", default=[], metavar="KEY=VALUE", dest="values")
    given = list(sys.argv[1:] if argv is None else argv)
    end = given.index("--") if "--" in given else len(given)
    options = parser.parse_args(given[:end])
    values = dict(word.partition("=")[::2] for word in options.values)
    command = given[end + 1 :]
    if command:
        status = subprocess.call(command)
        if status != 0:
            return status
    edit(Path(options.directory, "triton_models", "weights", "config.ini"), values)
    return 0


def edit(path: Path, values: dict[str, str]) -> None:
    """Set keys of the only section. Ends the program where the file or a key is missing."""
    config = configparser.RawConfigParser()
    config.optionxform = lambda optionstr: optionstr  # type: ignore[method-assign]
    if not config.read(str(path), encoding="utf-8"):
        sys.exit(f"{path} is not there: the conversion made no model")
    section = config[config.sections()[0]]
    for key, value in values.items():
        if key not in section:
            sys.exit(f"{path} has no `{key}`: another version of lmdeploy than 0.2 wrote it")
        section[key] = value
    with path.open("w", encoding="utf-8") as file:
        config.write(file)
    sys.stderr.write(f"{path}: {', '.join(f'{key} = {section[key]}' for key in values)}\n")


if __name__ == "__main__":
    sys.exit(main())
