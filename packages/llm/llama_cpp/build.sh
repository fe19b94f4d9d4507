#!/usr/bin/env bash
# Fetch the pinned llama.cpp, compile its tools and leave them under /artifacts.
# Needs LLAMA_CPP_VERSION, LLAMA_CPP_COMMIT and LLAMA_CPP_SOURCE (`sdist` or the address of a git repository);
# CUDA_ARCHITECTURES (`87;110`) turns the GPU backend on; MAX_JOBS limits the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/llama_build
artifacts=/artifacts
jobs=${MAX_JOBS:-$(nproc)}
tools=(llama-cli llama-completion llama-quantize llama-server llama-bench llama-gguf-split)

fetch_sdist() { # pip checks the archive against the lock; --no-build-isolation keeps its metadata step off the network
    python3 -m venv "$work/venv"
    "$work/venv/bin/python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-tools.lock"
    "$work/venv/bin/python" -m pip download --no-cache-dir --no-deps --no-binary :all: --no-build-isolation \
        --require-hashes -d "$work" -r "$here/sdist-$LLAMA_CPP_VERSION.lock"
    mkdir "$work/binding"
    tar -xzf "$work/llama_cpp_python-$LLAMA_CPP_VERSION.tar.gz" -C "$work/binding" --strip-components 1 --no-same-owner
    source=$work/binding/vendor/llama.cpp
}

fetch_git() {
    source=$work/llama.cpp
    git init --quiet "$source"
    git -C "$source" fetch --quiet --depth 1 "$LLAMA_CPP_SOURCE" "$LLAMA_CPP_COMMIT"
    git -C "$source" checkout --quiet "$LLAMA_CPP_COMMIT"
    [ "$(git -C "$source" rev-parse HEAD)" = "$LLAMA_CPP_COMMIT" ]
}

compile() {
    local options=(
        -DCMAKE_BUILD_TYPE=Release
        -DCMAKE_BUILD_WITH_INSTALL_RPATH=ON
        "-DCMAKE_INSTALL_RPATH=\$ORIGIN;\$ORIGIN/../lib"
        -DGGML_NATIVE=OFF # the machine that builds is not the one that runs
        -DGGML_CCACHE=OFF
        -DLLAMA_BUILD_TESTS=OFF
        -DLLAMA_BUILD_EXAMPLES=OFF
        -DLLAMA_BUILD_UI=OFF # the web page would be fetched from a moving address
        -DLLAMA_USE_PREBUILT_UI=OFF
        "-DLLAMA_BUILD_COMMIT=${LLAMA_CPP_COMMIT:0:9}"
    )
    if [ -n "${CPU_ARCHITECTURE:-}" ]; then
        options+=("-DGGML_CPU_ARM_ARCH=$CPU_ARCHITECTURE")
    fi
    if [ -n "${CUDA_ARCHITECTURES:-}" ]; then
        # libcuda.so.1 comes from the driver when a container starts; while building there is only a stub
        options+=(-DGGML_CUDA=ON "-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES"
            "-DCMAKE_EXE_LINKER_FLAGS=-Wl,--allow-shlib-undefined")
    fi
    cmake -S "$source" -B "$work/build" "${options[@]}"
    cmake --build "$work/build" --parallel "$jobs" --target "${tools[@]}"
}

collect() {
    mkdir -p "$artifacts/usr/local/bin" "$artifacts/usr/local/lib" "$artifacts/usr/local/include" "$artifacts/opt/llama.cpp"
    for tool in "${tools[@]}"; do
        install -s -m 755 "$work/build/bin/$tool" "$artifacts/usr/local/bin/$tool"
    done
    find "$work/build/bin" -name 'lib*.so*' -exec cp -a {} "$artifacts/usr/local/lib/" \;
    find "$artifacts/usr/local/lib" -type f -name 'lib*.so*' -exec strip --strip-unneeded {} +
    cp "$source"/include/llama*.h "$source"/ggml/include/*.h "$artifacts/usr/local/include/"
    cp "$source/LICENSE" "$source"/convert_hf_to_gguf.py "$source"/convert_lora_to_gguf.py "$artifacts/opt/llama.cpp/"
    cp -r "$source/gguf-py" "$artifacts/opt/llama.cpp/"
    if [ -d "$source/conversion" ]; then # split off the script in 2026
        cp -r "$source/conversion" "$artifacts/opt/llama.cpp/"
    fi
    printf '%s %s\n' "$LLAMA_CPP_VERSION" "$LLAMA_CPP_COMMIT" > "$artifacts/opt/llama.cpp/VERSION"
}

wheel_binding() { # the binding without a second compile: it loads the libraries that were just built
    CMAKE_ARGS="-DLLAMA_BUILD=OFF" "$work/venv/bin/python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation \
        -w "$artifacts/opt/llama.cpp/wheels" "$work/binding"
}

mkdir -p "$work"
if [ "$LLAMA_CPP_SOURCE" = sdist ]; then fetch_sdist; else fetch_git; fi
compile
collect
if [ "$LLAMA_CPP_SOURCE" = sdist ]; then wheel_binding; fi
rm -rf "$work"
