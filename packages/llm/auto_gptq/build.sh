#!/usr/bin/env bash
# Compile AutoGPTQ's kernels against the PyTorch of the image; leave the package under /artifacts/opt/venv.
# Needs AUTOGPTQ_VERSION and TORCH_CUDA_ARCH_LIST (`7.2;8.7`); MAX_JOBS limits the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/auto_gptq_build
python=$work/venv/bin/python

python3 -m venv --system-site-packages "$work/venv"
# the virtual environment of the image, where torch is, is not what `--system-site-packages` means
python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
    > "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/image.pth"
"$python" -m pip install --no-cache-dir --no-deps --ignore-installed --require-hashes -r "$here/build-tools.lock"
export PATH=$work/venv/bin:$PATH MAX_JOBS="${MAX_JOBS:-$(nproc)}"

# without these its setup makes a package without kernels where it sees no GPU, and that is slower than no quantization
export BUILD_CUDA_EXT=1 PYPI_RELEASE=1
"$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-binary auto-gptq --require-hashes \
    -w "$work/wheels" -r "$here/sdist-$AUTOGPTQ_VERSION.lock"
python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/*.whl
find /artifacts -name 'autogptq_cuda*.so' | grep . || { echo "the package has no compiled kernels" >&2; exit 1; }
rm -rf "$work"
