#!/usr/bin/env bash
# Compile the pinned torchaudio against the PyTorch of this image. Needs TORCHAUDIO_VERSION, TORCHAUDIO_COMMIT and, for CUDA,
# TORCH_CUDA_ARCH_LIST (`8.7;11.0`); MAX_JOBS limits the compile jobs.
set -euo pipefail

source=/tmp/torchaudio_build
git init --quiet "$source"
git -C "$source" fetch --quiet --depth 1 https://github.com/pytorch/audio "$TORCHAUDIO_COMMIT"
git -C "$source" checkout --quiet "$TORCHAUDIO_COMMIT"
[ "$(git -C "$source" rev-parse HEAD)" = "$TORCHAUDIO_COMMIT" ]

export BUILD_VERSION=$TORCHAUDIO_VERSION
MAX_JOBS=${MAX_JOBS:-$(nproc)}
export MAX_JOBS
if [ -n "${TORCH_CUDA_ARCH_LIST:-}" ]; then export USE_CUDA=1 FORCE_CUDA=1; else export USE_CUDA=0; fi
# SoX, Kaldi and the old transducer are fetched from moving addresses while building; sound files are read with libsndfile
export BUILD_SOX=0 BUILD_KALDI=0 BUILD_TRANSDUCER=0 USE_FFMPEG=0
python3 -m pip wheel --no-deps --no-build-isolation -w /artifacts/opt/torchaudio "$source"
rm -rf "$source"
