#!/usr/bin/env python3
"""The first script of the tutorial "Quantized Llama2-7B with MLC LLM on Jetson": the model as it was published.

It runs `chat-transformers` with the tutorial's directory and length; further options are handed on (`--help` lists them).
An Orin NX with 16 GB cannot hold 13 GB of weights beside everything else. The tutorial shows how the kernel ends the process; this says
so before it loads anything, and `--force` tries nevertheless.
"""

import os
import shutil
import sys

DIRECTORY = "/data/models/mlc/dist/models/Llama-2-7b-chat-hf"


def program(name):
    """The program beside this file, or the one on PATH."""
    beside = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    found = beside if os.path.isfile(beside) else shutil.which(name)
    return found or sys.exit("error: %s is neither beside this file nor on PATH" % name)


def main():
    if not os.path.isdir(DIRECTORY):
        sys.exit(
            "error: there is no %s\nhint: the tutorial's first step makes it: mkdir -p %s && ln -s "
            "$(huggingface-downloader meta-llama/Llama-2-7b-chat-hf) %s" % (DIRECTORY, os.path.dirname(DIRECTORY), DIRECTORY)
        )
    command = [sys.executable, program("chat-transformers"), DIRECTORY, "--max-tokens", "64"]
    os.execv(sys.executable, command + sys.argv[1:])


if __name__ == "__main__":
    main()
