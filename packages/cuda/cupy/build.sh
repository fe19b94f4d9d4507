#!/usr/bin/env bash
# Compile the pinned CuPy into a wheel. Needs CUPY_VERSION, CUPY_PYTHON (which locks: py36, py38, py310) and
# CUPY_NVCC_GENERATE_CODE (`arch=compute_87,code=sm_87;…`); MAX_JOBS limits the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
export CUPY_NUM_BUILD_JOBS=${MAX_JOBS:-$(nproc)} CUPY_NUM_NVCC_THREADS=1
export CUPY_NVCC_GENERATE_CODE

if ! command -v nvcc > /dev/null; then
    echo "error: no nvcc in this image" >&2
    echo "hint: on JetPack 4 CUDA comes from the host: make nvidia the engine's default runtime (legacy builder)" >&2
    exit 1
fi
python3 -m pip install --no-deps --require-hashes -r "$here/build-$CUPY_PYTHON.lock"
python3 -m pip wheel --no-deps --no-binary :all: --no-build-isolation --require-hashes \
    -w /artifacts/opt/cupy -r "$here/sdist-$CUPY_VERSION.lock"
