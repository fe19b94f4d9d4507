#!/usr/bin/env bash
# Everything that the members promise is on PATH in the one image.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

for tool in huggingface-downloader convert_hf_to_gguf.py llama-quantize llama-cli llama-server llama-bench; do
    command -v "$tool"
done
python3 -c 'import huggingface_hub, numpy; print("huggingface_hub", huggingface_hub.__version__, "numpy", numpy.__version__)'
