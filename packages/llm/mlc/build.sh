#!/usr/bin/env bash
# Compile MLC LLM's library against the TVM of the image and leave the Python packages under /artifacts/opt/venv.
# Needs MLC_VERSION, MLC_REF and CUDA_ARCHITECTURES (`72;87`; empty without CUDA); MAX_JOBS limits the compile jobs.
# TVM_REF: the sources of the TVM of the image, where that is a wheel. TOKENIZERS_REF: tokenizers other than the submodule's.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

work=/tmp/mlc_build
source=$work/source
jobs=${MAX_JOBS:-$(nproc)}
python=$work/venv/bin/python

fetch() { # without the TVM that is in the image already, except for its sources: they are compiled in as the runtime
    fetch_git https://github.com/mlc-ai/mlc-llm "$MLC_REF" "$source"
    if [ -z "${TVM_REF:-}" ]; then
        fetch_submodules "$source"
        record_source mlc "$source"
        return
    fi
    fetch_submodules "$source" 3rdparty/argparse 3rdparty/stb 3rdparty/xgrammar
    record_source mlc "$source"
    fetch_in_place https://github.com/apache/tvm "$TVM_REF" 3rdparty/tvm
    cp "$here/tvm_wheel.cmake" "$source/3rdparty/tvm/CMakeLists.txt" # of the sources only headers are needed then
    fetch_in_place https://github.com/mlc-ai/tokenizers-cpp "$TOKENIZERS_REF" 3rdparty/tokenizers-cpp
    fetch_submodules "$source/3rdparty/tokenizers-cpp"
    record_source mlc-tokenizers-cpp "$source/3rdparty/tokenizers-cpp"
    python3 "$here/adapt_source.py" "$source"
}

fetch_in_place() { # URL REF PATH: instead of the submodule at this path
    fetch_git "$1" "$2" "$source/$3"
    record_source "mlc-$(basename "$3")" "$source/$3"
}

cmake_options() { # of the build system that compiles by itself
    if [ -n "$CUDA_ARCHITECTURES" ]; then
        echo "-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES -DUSE_CUDA=ON -DUSE_CUBLAS=ON -DUSE_THRUST=ON"
    else
        python3 -c 'import os, tvm_ffi, importlib.util as u
print("-DTVM_WHEEL=" + os.path.dirname(u.find_spec("tvm").origin), "-DTVM_FFI_WHEEL=" + os.path.dirname(tvm_ffi.__file__))'
    fi
}

compile() {
    local options=(
        -DCMAKE_BUILD_TYPE=Release
        "-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES"
        -DUSE_CUBLAS=ON
        -DUSE_CUDA=ON
        -DUSE_CUTLASS=OFF # its kernels are in the TVM of the image
        -DUSE_LLVM=OFF    # the runtime compiles nothing
        -DUSE_THRUST=ON
        # the directories that it is linked in are gone when it is loaded
        -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON
        "-DCMAKE_INSTALL_RPATH=\$ORIGIN;$TVM_HOME/build"
    )
    # find_library looks here for the FlashAttention that TVM was compiled with; MLC 0.1.0 links it for --use-flash-attn-mqa
    cmake -S "$source" -B "$source/build" -G Ninja "${options[@]}" -DCMAKE_LIBRARY_PATH="$TVM_HOME/build"
    cmake --build "$source/build" --parallel "$jobs" --target mlc_llm mlc_llm_module
    find "$source/build" -name 'libmlc_llm*.so' -exec strip --strip-unneeded {} +
}

package() { # DIRECTORY: a wheel of the Python package there, with the libraries just built
    SETUPTOOLS_SCM_PRETEND_VERSION=$MLC_VERSION "$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation \
        -w "$work/wheels" "$1"
}

package_all() {
    python3 -m venv --system-site-packages "$work/venv"
    "$python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
    export TVM_SOURCE_DIR=$source/3rdparty/tvm CMAKE_BUILD_PARALLEL_LEVEL=$jobs
    if [ -f "$source/pyproject.toml" ] && grep -q scikit_build_core "$source/pyproject.toml"; then
        # this build system configures and compiles itself, and takes cmake's options from here
        CMAKE_ARGS=$(cmake_options)
        export CMAKE_ARGS
        package "$source"
        return
    fi
    compile
    if [ -f "$source/setup.py" ]; then # 0.1.0: the compiler `mlc_llm` and the runtime `mlc_chat` are two packages
        package "$source"
    fi
    package "$source/python"
}

record_crates() { # the tokenizers come without a Cargo.lock, so that cargo chooses: the one it wrote says what is in here
    local lock
    lock=$(find "$source/3rdparty/tokenizers-cpp" -name Cargo.lock -print -quit)
    [ -n "$lock" ] || { echo "cargo left no Cargo.lock: which crates were compiled cannot be told" >&2; return 1; }
    cp "$lock" /artifacts/opt/sources/mlc-Cargo.lock
}

mkdir -p "$work" /artifacts/opt/mlc-llm
fetch
package_all
python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/*.whl
# another TVM runtime and static libraries, for programs in C++: the library beside them is what Python loads
find /artifacts/opt/venv -path '*/site-packages/mlc_llm/lib' -prune -exec rm -r {} +
record_crates
cp "$source/LICENSE" /artifacts/opt/mlc-llm/
printf '%s %s\n' "$MLC_VERSION" "$(git -C "$source" rev-parse HEAD)" > /artifacts/opt/mlc-llm/VERSION
rm -rf "$work"
