#!/usr/bin/env bash
# Install the wheel that the artifact part compiled. Needs CUPY_VERSION and CUPY_PYTHON.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# cupy-cuda12x and its like are the same module under another name: side by side each overwrites the other's files
if other=$(python3 -m pip list --format freeze | grep '^cupy-'); then
    echo "error: the image has $other already, which is the same Python module" >&2
    exit 1
fi
case $CUPY_PYTHON in
    py38) lock=run-py36.lock ;; # the same releases
    *) lock=run-$CUPY_PYTHON.lock ;;
esac
python3 -m pip install --no-deps --require-hashes -r "$here/$lock"
python3 -m pip install --no-deps --no-index /opt/cupy/cupy-"$CUPY_VERSION"-*.whl
echo "cupy==$CUPY_VERSION" >> /etc/pip/constraints.txt
