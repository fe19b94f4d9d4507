#!/usr/bin/env bash
# Install Numba NUMBA_VERSION and, where NUMBA_CUDA is given, numba-cuda of that version.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

python3 -m pip install --no-deps --require-hashes -r "$here/numba-$NUMBA_VERSION.lock"
if [ -n "${NUMBA_CUDA:-}" ]; then
    python3 -m pip install --no-deps --require-hashes -r "$here/numba-cuda-$NUMBA_CUDA.lock"
fi
# The layer for TBB is the first that Numba tries, and its library (2021.6 or newer) is in no release of Ubuntu before 24.04.
# Without the layer Numba takes that of OpenMP, whose library the Dockerfile installs. Wheels for Arm have none for TBB.
packages=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["platlib"])')
rm -f "$packages"/numba/np/ufunc/tbbpool.*.so
