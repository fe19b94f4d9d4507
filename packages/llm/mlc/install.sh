#!/usr/bin/env bash
# Install what MLC's Python packages import. Needs MLC_LOCK, which names the lock.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

python3 -m pip install --no-deps --require-hashes -r "$here/mlc-$MLC_LOCK.lock"
ldconfig
