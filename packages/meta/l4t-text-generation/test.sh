#!/usr/bin/env bash
# Everything that the members promise is in the one image.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

for tool in huggingface-downloader llama-cli llama-server jupyter; do
    command -v "$tool"
done
python3 - <<'PYTHON'
import importlib.metadata as metadata
import importlib.util

for name in ("torch", "transformers", "mlc_llm", "tvm"):
    assert importlib.util.find_spec(name), name
assert any(importlib.util.find_spec(name) for name in ("exllamav3", "exllamav2", "auto_gptq"))
print("torch", metadata.version("torch"), "transformers", metadata.version("transformers"))
PYTHON
