#!/usr/bin/env bash
# Fetch the pinned NCCL, compile it for the architectures of NVCC_GENCODE and leave libraries and headers under /artifacts.
# Needs NCCL_VERSION, NCCL_COMMIT and NVCC_GENCODE (`-gencode=arch=compute_87,code=sm_87`); MAX_JOBS limits the jobs.
set -euo pipefail

source=/tmp/nccl_build
git init --quiet "$source"
git -C "$source" fetch --quiet --depth 1 https://github.com/NVIDIA/nccl "$NCCL_COMMIT"
git -C "$source" checkout --quiet "$NCCL_COMMIT"
[ "$(git -C "$source" rev-parse HEAD)" = "$NCCL_COMMIT" ]

make -C "$source" --jobs "${MAX_JOBS:-$(nproc)}" src.build CUDA_HOME=/usr/local/cuda NVCC_GENCODE="$NVCC_GENCODE"

libraries=/artifacts/usr/lib/$(uname -m)-linux-gnu
mkdir -p "$libraries" /artifacts/usr/include /artifacts/usr/share/doc/nccl
cp -a "$source"/build/lib/libnccl.so* "$libraries/"
strip --strip-unneeded "$libraries"/libnccl.so.*.*.*
cp "$source/build/include/nccl.h" /artifacts/usr/include/
cp "$source/LICENSE.txt" /artifacts/usr/share/doc/nccl/
[ -e "$libraries/libnccl.so.$NCCL_VERSION" ]
rm -rf "$source"
