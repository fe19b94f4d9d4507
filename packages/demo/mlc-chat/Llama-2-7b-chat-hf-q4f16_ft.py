#!/usr/bin/env python3
"""The second script of the tutorial "Quantized Llama2-7B with MLC LLM on Jetson": the model that MLC quantized.

It runs `chat-mlc` with the tutorial's directory; further options are handed on (`--help` lists them). Where the image has MLC's newer
interface, the directory ends in `-MLC`.
"""

import os
import shutil
import sys

DIRECTORY = "/data/models/mlc/dist/Llama-2-7b-chat-hf-q4f16_ft"


def program(name):
    """The program beside this file, or the one on PATH."""
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    found = beside if os.path.isfile(beside) else shutil.which(name)
    return found or sys.exit("error: %s is neither beside this file nor on PATH" % name)


def main():
    directory = next((path for path in (DIRECTORY, DIRECTORY + "-MLC") if os.path.isdir(path)), None)
    if directory is None:
        sys.exit("error: there is no %s\nhint: the tutorial's second step makes it, with q4f16_ft" % DIRECTORY)
    command = [sys.executable, program("chat-mlc"), directory, "--max-tokens", "512"]
    os.execv(sys.executable, command + sys.argv[1:])


if __name__ == "__main__":
    main()
