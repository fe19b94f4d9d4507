#!/usr/bin/env bash
# The server starts on a free port of this container, says its version and lists its models. No GPU needed.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
export OLLAMA_HOST=127.0.0.1:11999 OLLAMA_MODELS=$work/models HOME=$work
ollama serve > "$work/log" 2>&1 &
server=$!
trap 'kill "$server"; rm -rf "$work"' EXIT

for _ in $(seq 100); do
    if version=$(ollama --version 2> /dev/null) && ! grep -q 'could not connect' <<< "$version"; then
        break
    fi
    kill -0 "$server" 2> /dev/null || { cat "$work/log" >&2; exit 1; }
    sleep 0.1
done
echo "$version"
ollama list | grep NAME
if [ -n "${OLLAMA_LLM_LIBRARY:-}" ]; then # the library that the image says it takes
    find /usr/local/lib/ollama -maxdepth 1 -name "$OLLAMA_LLM_LIBRARY" | grep .
fi
