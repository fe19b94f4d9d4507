#!/usr/bin/env bash
# Install Numba NUMBA_VERSION and, where NUMBA_CUDA (cu12, cu13) says so, its GPU target numba-cuda. That one needs NVIDIA's
# bindings: for CUDA 13 those of the package cuda-python, which this one depends on, for CUDA 12 those of its own lock.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
constraints=/etc/pip/constraints.txt

python3 -m pip install --no-deps --require-hashes -r "$here/numba-$NUMBA_VERSION.lock"
[ -n "${NUMBA_CUDA:-}" ] || exit 0

# Up to 12.6 the package cuda-python owns the files of the module cuda.bindings that numba-cuda needs in a newer version.
if [ "$NUMBA_CUDA" = cu12 ] && other=$(python3 -m pip list --format freeze | grep -E '^cuda-python==12\.[0-6]\.'); then
    echo "error: the image has $other, and Numba needs the bindings of 12.9: both are the module cuda.bindings" >&2
    echo "hint: leave the package cuda-python out; numba brings cuda.bindings" >&2
    exit 1
fi
python3 -m pip install --no-deps --require-hashes -r "$here/numba-cuda-$NUMBA_CUDA.lock"
if [ "$NUMBA_CUDA" = cu12 ]; then
    sed -n 's/^\(cuda-bindings==[^ ]*\) .*/\1/p' "$here/numba-cuda-$NUMBA_CUDA.lock" >> "$constraints"
    echo 'cuda-python>=12.8' >> "$constraints"
fi
