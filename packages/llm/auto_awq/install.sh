#!/usr/bin/env bash
# Install AutoAWQ, which is Python only, and what it imports. Needs AUTOAWQ_VERSION.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
source=$work/autoawq-$AUTOAWQ_VERSION
scale=$source/awq/quantize/scale.py

python3 -m pip install --no-deps --require-hashes -r "$here/auto_awq-$AUTOAWQ_VERSION.lock"
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
"$work/venv/bin/python" -m pip download --no-cache-dir --no-deps --no-build-isolation --no-binary autoawq --require-hashes \
    -d "$work" -r "$here/sdist-$AUTOAWQ_VERSION.lock"
tar -xzf "$source.tar.gz" -C "$work"
# transformers 4.57 calls this class GELUTanh; AutoAWQ ended before and does not import with it
sed -i 's/^\(from transformers.activations import .*\)PytorchGELUTanh/\1GELUTanh as PytorchGELUTanh/' "$scale"
grep -q '^from .* GELUTanh as PytorchGELUTanh' "$scale"
"$work/venv/bin/python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w "$work/wheels" "$source"
python3 -m pip install --no-deps --no-index "$work"/wheels/*.whl
rm -rf "$work"
