#!/usr/bin/env bash
# Compile ExLlama's extension against the PyTorch of the image; leave it under /artifacts/opt/venv.
# Needs EXLLAMA_PACKAGE (exllamav3), EXLLAMA_VERSION and TORCH_CUDA_ARCH_LIST (`8.7;11.0`); MAX_JOBS limits the compile jobs.
# With EXLLAMA_REF the package comes from that commit; without it the wheel of the Python index holds the extension's sources.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

work=/tmp/exllama_build
python=$work/venv/bin/python

compile_commit() { # the whole package
    fetch_git "https://github.com/turboderp-org/$EXLLAMA_PACKAGE" "$EXLLAMA_REF" "$work/source"
    record_source exllama "$work/source"
    if [ -e "$here/portable-$EXLLAMA_VERSION.patch" ]; then
        patch --directory "$work/source" --strip 1 --fuzz 0 < "$here/portable-$EXLLAMA_VERSION.patch"
    fi
    # beside it, so that it loads whether or not torch was imported before; PyTorch's CUDA libraries are in `nvidia` on PCs and servers
    local place rpath=''
    for place in torch/lib nvidia/cu13/lib nvidia/cuda_runtime/lib; do rpath+=:\$ORIGIN/$place; done
    LDFLAGS="-Wl,-rpath,${rpath#:}" "$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w "$work/wheels" "$work/source"
    python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/*.whl
}

compile_wheel() { # the extension alone: the image gets the wheel itself, with what it imports
    local pin=$work/pin.lock
    sed -n "/^$EXLLAMA_PACKAGE==/,/[^\\\\]\$/p" "$here/$EXLLAMA_PACKAGE-$EXLLAMA_VERSION.lock" > "$pin"
    "$python" -m pip download --no-cache-dir --no-deps --require-hashes -d "$work" -r "$pin"
    python3 -m zipfile -e "$work/$EXLLAMA_PACKAGE-$EXLLAMA_VERSION"-*.whl "$work/source"
    mkdir -p /artifacts/opt/sources
    tr -d '\\\n' < "$pin" | tee /artifacts/opt/sources/exllama
    (cd "$work/source" && "$python" "$here/extension.py" build_ext --build-temp "$work/objects" \
        --build-lib "/artifacts$site")
}

mkdir -p "$work"
site=$(python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])') # of the image, before the other python3 is found
python3 -m venv --system-site-packages "$work/venv"
# the virtual environment of the image, where torch is, is not what `--system-site-packages` means
echo "$site" > "$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')/image.pth"
"$python" -m pip install --no-cache-dir --no-deps --ignore-installed --require-hashes -r "$here/build-tools.lock"
export PATH=$work/venv/bin:$PATH MAX_JOBS="${MAX_JOBS:-$(nproc)}"
if [ -n "${EXLLAMA_REF:-}" ]; then compile_commit; else compile_wheel; fi
# without the extension the package would compile it on first use, for half an hour
find "/artifacts$site" -name 'exllamav*_ext*.so' | grep . || { echo "the package has no compiled extension" >&2; exit 1; }
rm -rf "$work"
