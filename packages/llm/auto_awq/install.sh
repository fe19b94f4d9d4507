#!/usr/bin/env bash
# Install AutoAWQ, which is Python only, and what it imports. Needs AUTOAWQ_VERSION.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)

python3 -m pip install --no-deps --require-hashes -r "$here/auto_awq-$AUTOAWQ_VERSION.lock"
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
"$work/venv/bin/python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-binary autoawq --require-hashes \
    -w "$work/wheels" -r "$here/sdist-$AUTOAWQ_VERSION.lock"
python3 -m pip install --no-deps --no-index "$work"/wheels/*.whl
rm -rf "$work"
