#!/usr/bin/env bash
# With CUDA built in: the GPU is found and takes layers. Exit status 77: there is none here.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

if ! compgen -G '/usr/local/lib/libggml-cuda*' > /dev/null; then
    echo "a CPU build: there is nothing to ask a GPU"
    exit 0
fi
# shellcheck source-path=SCRIPTDIR source=driver.sh
. "$(dirname "$0")/driver.sh"

devices=$(llama-cli --list-devices 2>&1)
if ! grep -q CUDA0 <<< "$devices"; then
    echo "needs a GPU: llama.cpp finds none in this container"
    exit 77
fi
echo "$devices"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
command -v make-tiny-model > /dev/null && [ -d /opt/llama.cpp/venv ] || exit 0
make-tiny-model "$work/tiny" 2> /dev/null
convert_hf_to_gguf.py "$work/tiny" --outfile "$work/tiny.gguf" --outtype f16 2> /dev/null
llama-completion -m "$work/tiny.gguf" -ngl 99 -no-cnv --temp 0 -c 256 -n 8 -p 'A Jetson is' < /dev/null > "$work/log" 2>&1 ||
    { cat "$work/log" >&2; exit 1; }
grep 'offloaded' "$work/log"
