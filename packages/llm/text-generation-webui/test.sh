#!/usr/bin/env bash
# The application's options are read with all its imports, and it finds llama-server. No network, no GPU needed.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

cat /opt/sources/text-generation-webui
cd /opt/text-generation-webui
if [[ $(ldd /usr/local/bin/llama-server) == *'libcuda.so.1 => not found'* ]]; then
    echo "this build of llama.cpp needs the GPU driver; its tests say so"
fi
venv/bin/python -c 'import llama_cpp_binaries; print(llama_cpp_binaries.get_binary_path())'
venv/bin/python -c 'import gradio, torch, transformers; print("gradio", gradio.__version__, "torch", torch.__version__, "transformers", transformers.__version__)'
venv/bin/python server.py --help | grep -e --model-dir
