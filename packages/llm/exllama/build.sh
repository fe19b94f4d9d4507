#!/usr/bin/env bash
# Compile ExLlama's extension against the PyTorch of the image; leave the package under /artifacts/opt/venv.
# Needs EXLLAMA_PACKAGE (exllamav3), EXLLAMA_REF and TORCH_CUDA_ARCH_LIST (`8.7;11.0`); MAX_JOBS limits the compile jobs.
# EXLLAMA_TREE_SHA256 is the hash of the source tree, where it is known.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

work=/tmp/exllama_build
python=$work/venv/bin/python

mkdir -p "$work"
fetch_git "https://github.com/turboderp-org/$EXLLAMA_PACKAGE" "$EXLLAMA_REF" "$work/source"
record_source exllama "$work/source"
if [ -n "${EXLLAMA_TREE_SHA256:-}" ]; then
    mkdir "$work/tree"
    git -C "$work/source" archive --format=tar HEAD | tar -x -C "$work/tree"
    python3 "$here/tree_hash.py" "$work/tree" "$EXLLAMA_TREE_SHA256"
fi
python3 -m venv --system-site-packages "$work/venv"
# the virtual environment of the image, where torch is, is not what `--system-site-packages` means
python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' \
    > "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/image.pth"
"$python" -m pip install --no-cache-dir --no-deps --ignore-installed --require-hashes -r "$here/build-tools.lock"
export PATH=$work/venv/bin:$PATH MAX_JOBS="${MAX_JOBS:-$(nproc)}"
"$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w "$work/wheels" "$work/source"
python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/*.whl
# without the extension the package would compile it on first use, for half an hour
find /artifacts -name 'exllamav*_ext*.so' | grep . || { echo "the package has no compiled extension" >&2; exit 1; }
rm -rf "$work"
