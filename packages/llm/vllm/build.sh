#!/usr/bin/env bash
# Compile vLLM from its source archive against the PyTorch of the image; leave the package under /artifacts/opt/venv.
# Needs VLLM_VERSION and TORCH_CUDA_ARCH_LIST (`8.7;11.0`); MAX_JOBS limits the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/vllm_build
python=$work/venv/bin/python

fetch() { # pip checks the archive against the lock; its metadata step must not fetch another torch, nor add to the version
    python3 -m venv --system-site-packages "$work/venv"
    # the virtual environment of the image, where torch is, is not what `--system-site-packages` means
    python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
        > "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/image.pth"
    "$python" -m pip install --no-cache-dir --no-deps --ignore-installed --require-hashes -r "$here/build-tools.lock"
    export PATH=$work/venv/bin:$PATH
    VLLM_TARGET_DEVICE=empty VLLM_VERSION_OVERRIDE=$VLLM_VERSION "$python" -m pip download --no-cache-dir --no-deps \
        --no-binary vllm --no-build-isolation --require-hashes -d "$work" -r "$here/sdist-$VLLM_VERSION.lock"
    tar -xzf "$work/vllm-$VLLM_VERSION.tar.gz" -C "$work" --no-same-owner
}

compile() { # without the parts in Rust, a second front end and a parser that have to be asked for: there is no cargo here
    local cuda
    cuda=$(python3 -c 'import torch; assert torch.version.cuda, "torch has no CUDA"; print(torch.version.cuda.replace(".", ""))')
    cd "$work/vllm-$VLLM_VERSION"
    "$python" use_existing_torch.py
    # one nvcc thread a job: `memory_per_job` is what one compile needs, and each thread would need it again
    export NVCC_THREADS=1 MAX_JOBS="${MAX_JOBS:-$(nproc)}" VLLM_TARGET_DEVICE=cuda
    export VLLM_VERSION_OVERRIDE="$VLLM_VERSION+cu$cuda"
    "$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w "$work/wheels" .
}

mkdir -p "$work"
fetch
(compile)
python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/vllm-*.whl
rm -rf "$work"
