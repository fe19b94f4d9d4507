#!/usr/bin/env python3
"""Run one of llama.cpp's Python tools in the converter's own environment; the name it is called by says which.

The environment is left out where the image's Python is older than 3.10 (JetPack 5): torch and transformers of today
do not install there.
"""

import os
import sys

PREFIX = "/opt/llama.cpp"
PYTHON = PREFIX + "/venv/bin/python"
SCRIPTS = {
    "convert_hf_to_gguf.py": "convert_hf_to_gguf.py",
    "convert-hf-to-gguf": "convert_hf_to_gguf.py",
    "convert_lora_to_gguf.py": "convert_lora_to_gguf.py",
    "make-tiny-model": "make_tiny_model.py",
}


def main():
    name = os.path.basename(sys.argv[0])
    if not os.path.exists(PYTHON):
        version = "%d.%d" % sys.version_info[:2]
        sys.stderr.write(
            "error: %s needs Python 3.10 or newer, this image has %s\n"
            "hint: convert on a PC or a JetPack 6 board (the same package there) and copy the .gguf file here; "
            "llama-quantize, llama-cli and llama-server of this image take it\n" % (name, version)
        )
        return 2
    os.environ.pop("PYTHONPATH", None)  # modules of the image's own environment do not fit into this one
    os.execv(PYTHON, [PYTHON, "-s", os.path.join(PREFIX, SCRIPTS[name])] + sys.argv[1:])


if __name__ == "__main__":
    sys.exit(main())
