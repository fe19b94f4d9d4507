#!/usr/bin/env bash
# Compile TVM with CUDA for the platform's GPU architectures and leave it as a tree in /artifacts/opt/tvm.
# Needs TVM_VERSION, TVM_REPOSITORY and TVM_REF (of TVM, or of mlc-llm, which has it as a submodule), LLVM_MAJOR and
# CUDA_ARCHITECTURES (`72;87`); MAX_JOBS limits the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

work=/tmp/tvm_build
tree=/artifacts/opt/tvm
jobs=${MAX_JOBS:-$(nproc)}

fetch() {
    fetch_git "$TVM_REPOSITORY" "$TVM_REF" "$work/source"
    source=$work/source
    if [[ $TVM_REPOSITORY == */mlc-llm ]]; then
        fetch_submodules "$work/source" 3rdparty/tvm
        source=$work/source/3rdparty/tvm
    else
        fetch_submodules "$source"
    fi
    python3 "$here/adapt_source.py" "$TVM_VERSION" "$source" "$CUDA_ARCHITECTURES"
    record_source tvm "$work/source"
}

compile() { # USE_CUTLASS is what q4f16_ft needs; LLVM is linked in, hidden, so that it never meets another LLVM of the process
    # libtvm.so is linked to libraries of this build, and finds them beside itself once this directory is gone
    local options=(-DCMAKE_BUILD_WITH_INSTALL_RPATH=ON "-DCMAKE_INSTALL_RPATH=\$ORIGIN")
    if [[ $TVM_REPOSITORY != */mlc-llm ]]; then
        options+=(-DTVM_FFI_USE_LIBBACKTRACE=OFF) # its headers and LLVM's do not go together, and it only makes longer messages
    else
        options+=(-DUSE_GRAPH_EXECUTOR_CUDA_GRAPH=ON) # an option of the old one only
    fi
    cmake -S "$source" -B "$work/build" -G Ninja "${options[@]}" \
        -DCMAKE_BUILD_TYPE=Release \
        "-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES" \
        -DHIDE_PRIVATE_SYMBOLS=ON \
        -DUSE_CUBLAS=ON \
        -DUSE_CUDA=ON \
        -DUSE_CUTLASS=ON \
        "-DUSE_LLVM=/usr/bin/llvm-config-$LLVM_MAJOR --ignore-libllvm --link-static" \
        -DUSE_THRUST=ON
    cmake --build "$work/build" --parallel "$jobs"
}

collect() {
    mkdir -p "$tree/build" "$tree/3rdparty"
    find "$work/build" -name '*.so' -exec cp {} "$tree/build/" \;
    find "$tree/build" -name '*.so' -exec strip --strip-unneeded {} +
    cp -r "$source/python" "$source/include" "$source/LICENSE" "$tree/"
    # python/setup.py of 0.15 reads these two beside its own directory
    cp "$source/version.py" "$source/README.md" "$tree/"
    # what generated code and MLC's own build include
    local kept
    for kept in cutlass/include cutlass/tools/util/include cutlass_fpA_intB_gemm/cutlass/include dlpack/include \
        dmlc-core/include picojson libflash_attn/include tvm-ffi; do
        if [ -e "$source/3rdparty/$kept" ]; then
            mkdir -p "$tree/3rdparty/$(dirname "$kept")"
            cp -r "$source/3rdparty/$kept" "$tree/3rdparty/$(dirname "$kept")/"
        fi
    done
    if [ -d "$source/ffi" ]; then
        cp -r "$source/ffi" "$tree/"
    fi
    rm -rf "$tree"/{ffi,3rdparty/tvm-ffi}/.git "$tree"/{ffi,3rdparty/tvm-ffi}/tests
}

install_bindings() { # the interface between Python and the library, compiled for this Python
    python3 -m venv --system-site-packages "$work/venv"
    "$work/venv/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-$TVM_VERSION.lock"
    local ffi
    for ffi in "$source/3rdparty/tvm-ffi" "$source/ffi"; do
        if [ -f "$ffi/pyproject.toml" ]; then # the foreign-function interface is a project of its own since 0.22
            MAX_JOBS=$jobs "$work/venv/bin/python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation \
                -w "$work/wheels" "$ffi"
            python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/*.whl
            return
        fi
    done
    (cd "$tree/python" && TVM_LIBRARY_PATH="$tree/build" "$work/venv/bin/python" setup.py build_ext --inplace)
    rm -rf "$tree/python/build"
}

mkdir -p "$work"
fetch
compile
collect
install_bindings
rm -rf "$work"
