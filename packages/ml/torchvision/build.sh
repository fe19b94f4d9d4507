#!/usr/bin/env bash
# Compile the pinned torchvision against the PyTorch of this image. Needs TORCHVISION_VERSION, TORCHVISION_COMMIT and, for CUDA,
# TORCH_CUDA_ARCH_LIST (`8.7;11.0`); MAX_JOBS limits the compile jobs.
set -euo pipefail

source=/tmp/torchvision_build
git init --quiet "$source"
git -C "$source" fetch --quiet --depth 1 https://github.com/pytorch/vision "$TORCHVISION_COMMIT"
git -C "$source" checkout --quiet "$TORCHVISION_COMMIT"
[ "$(git -C "$source" rev-parse HEAD)" = "$TORCHVISION_COMMIT" ]

export BUILD_VERSION=$TORCHVISION_VERSION
MAX_JOBS=${MAX_JOBS:-$(nproc)}
export MAX_JOBS
# FORCE_CUDA: no GPU is visible while building, and without it the operators would quietly be for the CPU only
if [ -n "${TORCH_CUDA_ARCH_LIST:-}" ]; then export FORCE_CUDA=1; else export FORCE_CUDA=0; fi
# neither is used by the operators; whether they are found must not decide what the wheel holds
export TORCHVISION_USE_FFMPEG=0 TORCHVISION_USE_VIDEO_CODEC=0
python3 -m pip wheel --no-deps --no-build-isolation -w /artifacts/opt/torchvision "$source"
rm -rf "$source"
