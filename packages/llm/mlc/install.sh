#!/usr/bin/env bash
# Install what MLC's Python packages import. Needs MLC_LOCK, which names the lock.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

python3 -m pip install --no-deps --require-hashes -r "$here/mlc-$MLC_LOCK.lock"

# Packages built from 2026's pyproject.toml have no program of this name, which every document calls.
if python3 -c 'import importlib.util as u, sys; sys.exit(not u.find_spec("mlc_llm"))' && ! command -v mlc_llm > /dev/null; then
    program="$(dirname "$(command -v python3)")/mlc_llm"
    printf '#!/bin/sh\nexec python3 -m mlc_llm "$@"\n' > "$program"
    chmod 0755 "$program"
fi
ldconfig
