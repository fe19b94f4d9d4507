#!/usr/bin/env bash
# Compile AutoGPTQ's kernels against the PyTorch of the image; leave the package under /artifacts/opt/venv.
# Needs AUTOGPTQ_REF and TORCH_CUDA_ARCH_LIST (`7.2;8.7`); MAX_JOBS limits the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

work=/tmp/auto_gptq_build
python=$work/venv/bin/python

mkdir -p "$work"
# not the source archive of the Python index, which lacks every header of the kernels
fetch_git https://github.com/AutoGPTQ/AutoGPTQ "$AUTOGPTQ_REF" "$work/source"
record_source auto_gptq "$work/source"
python3 -m venv --system-site-packages "$work/venv"
# the virtual environment of the image, where torch is, is not what `--system-site-packages` means
python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
    > "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/image.pth"
"$python" -m pip install --no-cache-dir --no-deps --ignore-installed --require-hashes -r "$here/build-tools.lock"
export PATH=$work/venv/bin:$PATH MAX_JOBS="${MAX_JOBS:-$(nproc)}"

# Without the first its setup makes a package without kernels where it sees no GPU, and that is slower than no quantization;
# without the second its version says `+cu114`.
export BUILD_CUDA_EXT=1 PYPI_RELEASE=1
"$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w "$work/wheels" "$work/source"
python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/*.whl
for kernels in autogptq_cuda_64 autogptq_cuda_256 autogptq_marlin_cuda exllama_kernels exllamav2_kernels; do
    find /artifacts -name "$kernels*.so" | grep . || { echo "the package has no compiled $kernels" >&2; exit 1; }
done
rm -rf "$work"
