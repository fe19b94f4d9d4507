#!/usr/bin/env bash
# Install GPTQModel and what it imports. Its source archive holds Python and kernel sources; nothing is compiled here.
# Needs GPTQMODEL_VERSION.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
source=$work/gptqmodel-$GPTQMODEL_VERSION

python3 -m venv "$work/venv"
python=$work/venv/bin/python
"$python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
# Five of these have a source archive only: without the isolation they are built with the tools of the lock, not with the newest ones,
# and not for the very processor that this image is built on.
PYPCRE_DISABLE_NATIVE_FLAGS=1 "$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation --require-hashes \
    -w "$work/wheels" -r "$here/gptqmodel-$GPTQMODEL_VERSION.lock"
"$python" -m pip download --no-cache-dir --no-deps --no-build-isolation --no-binary gptqmodel \
    --require-hashes -d "$work" -r "$here/sdist-$GPTQMODEL_VERSION.lock"
tar -xzf "$source.tar.gz" -C "$work"
patch --directory "$source" --strip 1 --fuzz 0 < "$here/lazy-torchvision.patch"
BUILD_CUDA_EXT=0 "$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w "$work/wheels" "$source"
python3 -m pip install --no-deps --no-index "$work"/wheels/*.whl
rm -rf "$work"
