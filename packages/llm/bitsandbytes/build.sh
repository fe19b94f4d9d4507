#!/usr/bin/env bash
# Compile bitsandbytes' library for the platform's GPUs; leave the package under /artifacts/opt/venv.
# Needs BITSANDBYTES_VERSION, BITSANDBYTES_REF and CUDA_ARCHITECTURES (`72;87`); MAX_JOBS limits the compile jobs.
# Where the reference is a tag, BITSANDBYTES_ARCHIVE_SHA256 says what `git archive` has to make of it.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

work=/tmp/bitsandbytes_build
source=$work/source
python=$work/venv/bin/python

mkdir -p "$work"
fetch_git https://github.com/bitsandbytes-foundation/bitsandbytes "$BITSANDBYTES_REF" "$source" "${BITSANDBYTES_ARCHIVE_SHA256:-}"
record_source bitsandbytes "$source"

# The library is looked up by the CUDA version of torch, which is the platform's: libbitsandbytes_cuda126.so
cmake -S "$source" -B "$source/build" -DCMAKE_BUILD_TYPE=Release -DCOMPUTE_BACKEND=cuda \
    "-DCOMPUTE_CAPABILITY=$CUDA_ARCHITECTURES"
cmake --build "$source/build" --parallel "${MAX_JOBS:-$(nproc)}"
compgen -G "$source/bitsandbytes/libbitsandbytes_cuda*.so" > /dev/null || {
    echo "the compile left no libbitsandbytes_cuda*.so" >&2
    exit 1
}

python3 -m venv "$work/venv"
"$python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
# Packaged as it was compiled: with scikit-build-core in reach its setup would compile once more, for other GPUs. Its project file
# names its licence in the form that setuptools reads since 77.
(cd "$source" && SETUPTOOLS_SCM_PRETEND_VERSION="$BITSANDBYTES_VERSION" "$python" setup.py --quiet bdist_wheel --dist-dir "$work/wheels")
python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/*.whl

library=$(find /artifacts -name 'libbitsandbytes_cuda*.so')
[ -n "$library" ] || { echo "the wheel has no libbitsandbytes_cuda*.so" >&2; exit 1; }
compiled=$(cuobjdump --list-elf "$library")
for architecture in ${CUDA_ARCHITECTURES//;/ }; do
    grep -q "sm_$architecture" <<< "$compiled" || { echo "nothing was compiled for sm_$architecture" >&2; exit 1; }
done
rm -rf "$work"
