#!/usr/bin/env bash
# Install CTranslate2 CTRANSLATE2_VERSION: the library and the wheel that were compiled, or else the wheel of the Python index.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
shopt -s nullglob

compiled=(/opt/ctranslate2/ctranslate2-*.whl)
if [ "${#compiled[@]}" -gt 0 ]; then
    ldconfig
    python3 -m pip install --no-deps --require-hashes -r "$here/run.lock"
    python3 -m pip install --no-deps --no-index "${compiled[@]}"
    rm -rf /opt/ctranslate2
else
    python3 -m pip install --no-deps --require-hashes -r "$here/wheel-$CTRANSLATE2_VERSION.lock"
fi
echo "ctranslate2==$CTRANSLATE2_VERSION" >> /etc/pip/constraints.txt
