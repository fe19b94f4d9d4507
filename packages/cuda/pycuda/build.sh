#!/usr/bin/env bash
# Compile the pinned PyCUDA into a wheel. Needs PYCUDA_VERSION and PYCUDA_PYTHON (which locks: py36, py38, py310).
# setup.py compiles one file after the other, so MAX_JOBS has nothing to limit.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
if ! command -v nvcc > /dev/null; then
    echo "error: no nvcc in this image" >&2
    echo "hint: on JetPack 4 CUDA comes from the host: make nvidia the engine's default runtime (legacy builder)" >&2
    exit 1
fi
export CUDA_ROOT=/usr/local/cuda
python3 -m pip install --no-deps --require-hashes -r "$here/build-$PYCUDA_PYTHON.lock"
# libcuda.so.1 comes from the driver when a container starts; the stubs stand in for it while linking
LDFLAGS="-L$CUDA_ROOT/lib64/stubs" python3 -m pip wheel --no-deps --no-binary :all: --no-build-isolation --require-hashes \
    -w /artifacts/opt/pycuda -r "$here/sdist-$PYCUDA_VERSION.lock"
