#!/usr/bin/env bash
# Compile the pinned FlashAttention into a wheel. Needs FLASH_ATTENTION_VERSION and TORCH_CUDA_ARCH_LIST (`8.7`); MAX_JOBS limits
# the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
MAX_JOBS=${MAX_JOBS:-$(nproc)}
export MAX_JOBS NVCC_THREADS=1 TORCH_CUDA_ARCH_LIST
export FLASH_ATTENTION_FORCE_BUILD=TRUE # never a wheel from the project's releases, which are for servers
# setup.py knows 80, 90, 100 and 120 only. With none of them it names no architecture, and torch's build extension
# takes those of TORCH_CUDA_ARCH_LIST, 8.7 and 11.0 among them.
export FLASH_ATTN_CUDA_ARCHS=none

python3 -m pip install --no-deps --require-hashes -r "$here/build.lock"
python3 -m pip wheel --no-deps --no-binary :all: --no-build-isolation --require-hashes \
    -w /artifacts/opt/flash-attention -r "$here/sdist-$FLASH_ATTENTION_VERSION.lock"
