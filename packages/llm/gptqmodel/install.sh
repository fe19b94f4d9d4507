#!/usr/bin/env bash
# Install GPTQModel and what it imports. Its source archive holds Python and kernel sources; nothing is compiled here.
# Needs GPTQMODEL_VERSION.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)

python3 -m pip install --no-deps --require-hashes -r "$here/gptqmodel-$GPTQMODEL_VERSION.lock"
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
BUILD_CUDA_EXT=0 "$work/venv/bin/python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-binary gptqmodel \
    --require-hashes -w "$work/wheels" -r "$here/sdist-$GPTQMODEL_VERSION.lock"
python3 -m pip install --no-deps --no-index "$work"/wheels/*.whl
rm -rf "$work"
