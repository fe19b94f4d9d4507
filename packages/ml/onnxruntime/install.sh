#!/usr/bin/env bash
# Install ONNX Runtime ORT_VERSION: the GPU wheel at ORT_URL (called ORT_WHEEL where the address does not say it), or
# else the CPU wheel of the Python index. Its dependencies are those of cpu-VERSION.lock in either case.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
lock=$here/cpu-$ORT_VERSION.lock

if [ -z "${ORT_URL:-}" ]; then
    python3 -m pip install --no-deps --require-hashes -r "$lock"
    exit 0
fi

work=$(mktemp -d)
name=${ORT_WHEEL:-${ORT_URL##*/}}
python3 -m pip install --no-deps --require-hashes -r "$here/dependencies.lock"
python3 - "$ORT_URL" "$work/$name" <<'PYTHON'
import sys, urllib.request
urllib.request.urlretrieve(sys.argv[1], sys.argv[2])
PYTHON
python3 -m pip install --no-deps --no-index "$work/$name"
rm -rf "$work"
# The CPU package has another name and the same files: whoever asks for it must not get it over this one.
echo 'onnxruntime<0' >> /etc/pip/constraints.txt
python3 -m pip list --format freeze | grep '^onnxruntime-gpu==' >> /etc/pip/constraints.txt
