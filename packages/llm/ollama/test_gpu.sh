#!/usr/bin/env bash
# The server finds the GPU. Exit status 77: there is none here.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

if [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvhost-gpu ] && [ ! -e /dev/nvgpu ]; then
    echo "needs a GPU: there is none in this container"
    exit 77
fi
work=$(mktemp -d)
export OLLAMA_HOST=127.0.0.1:11998 OLLAMA_MODELS=$work/models HOME=$work
ollama serve > "$work/log" 2>&1 &
server=$!
trap 'kill "$server"; rm -rf "$work"' EXIT
for _ in $(seq 150); do
    if grep -q 'inference compute' "$work/log"; then
        break
    fi
    sleep 0.2
done
grep 'inference compute' "$work/log"
if grep 'inference compute' "$work/log" | grep -q 'library=cpu'; then
    echo "Ollama fell back to the CPU" >&2
    exit 1
fi
