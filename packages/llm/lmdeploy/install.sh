#!/usr/bin/env bash
# Install what LMDeploy imports. Needs LMDEPLOY_VERSION.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

python3 -m pip install --no-deps --require-hashes -r "$here/lmdeploy-$LMDEPLOY_VERSION.lock"
if [[ $LMDEPLOY_VERSION == 0.2.* ]]; then
    python3 "$here/adapt_mmengine.py"
fi
python3 -c 'import importlib.metadata as m; print("lmdeploy==" + m.version("lmdeploy"))' >> /etc/pip/constraints.txt
