#!/usr/bin/env bash
# The whole way on a model made on the spot: convert, quantize, answer, measure. Exit status 77: needs the GPU driver.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR
# shellcheck source-path=SCRIPTDIR source=driver.sh
. "$(dirname "$0")/driver.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

quietly() { # run, and show what was said only when it failed
    "$@" > "$work/log" 2>&1 || { cat "$work/log" >&2; return 1; }
}

for tool in llama-cli llama-completion llama-server llama-bench llama-gguf-split; do
    printf '%-18s' "$tool"
    "$tool" --version 2>&1 | grep version
done
help=$(llama-quantize --help 2>&1) || help_status=$? # this tool's help exits with 1
[ "${help_status:-0}" -le 1 ]
grep -q Q4_K_M <<< "$help"
cat /opt/llama.cpp/VERSION

if ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))'; then
    status=0
    convert_hf_to_gguf.py --help > "$work/log" 2>&1 || status=$?
    [ "$status" = 2 ]
    grep -q 'needs Python 3.10' "$work/log"
    echo "no converter on this Python, and it says so; the model tests need it"
    exit 0
fi

quietly convert_hf_to_gguf.py --help
quietly convert-hf-to-gguf --print-supported-models
quietly make-tiny-model "$work/tiny"
quietly convert_hf_to_gguf.py "$work/tiny" --outfile "$work/tiny-f16.gguf" --outtype f16
quietly llama-quantize "$work/tiny-f16.gguf" "$work/tiny-q4_k_m.gguf" Q4_K_M
grep -q 'converting to q4_K' "$work/log"
if grep -q fallback "$work/log"; then
    echo "K-quants did not apply to every matrix" >&2
    exit 1
fi

quietly llama-cli -m "$work/tiny-q4_k_m.gguf" --single-turn --temp 0 -c 256 -n 48 -p 'What is a Jetson?' < /dev/null
grep 'small computer with a GPU' "$work/log"
quietly llama-completion -m "$work/tiny-q4_k_m.gguf" -no-cnv --temp 0 -c 256 -n 8 -p 'A Jetson is' < /dev/null
quietly llama-bench -m "$work/tiny-q4_k_m.gguf" -p 16 -n 16 -r 1 -o json
grep -q avg_ts "$work/log"
