#!/usr/bin/env bash
# Compile the pinned xFormers into a wheel. Needs XFORMERS_VERSION and TORCH_CUDA_ARCH_LIST (`8.7`); MAX_JOBS limits the jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
MAX_JOBS=${MAX_JOBS:-$(nproc)}
# FORCE_CUDA: no GPU is visible while building, and without it the operators would quietly be left out
export MAX_JOBS NVCC_THREADS=1 TORCH_CUDA_ARCH_LIST FORCE_CUDA=1
# FlashAttention is a package of its own; xFormers' copy of it knows nothing of 8.7
export XFORMERS_DISABLE_FLASH_ATTN=1
# xFormers' own version, not one with the date of the build
export BUILD_VERSION=$XFORMERS_VERSION

python3 -m pip wheel --no-deps --no-binary :all: --no-build-isolation --require-hashes \
    -w /artifacts/opt/xformers -r "$here/sdist-$XFORMERS_VERSION.lock"
