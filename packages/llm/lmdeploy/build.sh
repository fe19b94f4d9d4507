#!/usr/bin/env bash
# Compile LMDeploy's TurboMind engine for the platform's GPUs; leave the package under /artifacts/opt/venv.
# Needs LMDEPLOY_VERSION, LMDEPLOY_REF and CUDA_ARCHITECTURES (`72;87`); MAX_JOBS limits the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

work=/tmp/lmdeploy_build
source=$work/source
python=$work/venv/bin/python
export MAX_JOBS="${MAX_JOBS:-$(nproc)}"
export CMAKE_BUILD_PARALLEL_LEVEL="$MAX_JOBS"

prepare() {
    fetch_git https://github.com/InternLM/lmdeploy "$LMDEPLOY_REF" "$source"
    record_source lmdeploy "$source"
    python3 -m venv "$work/venv"
    "$python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/build-$LMDEPLOY_VERSION.lock"
    export PATH=$work/venv/bin:$PATH
}

relax_pins() { # Jetson's torch is a build of its own, named 2.1.0a0+…, and there is no triton for it: only TurboMind is used
    local file=$source/requirements/runtime.txt
    sed -i -E '/^(torch|triton)([<>=!, ]|$)/d' "$file"
    if grep -E '^(torch|triton)\b' "$file"; then
        echo "the pins of torch and triton are still in $file" >&2
        exit 1
    fi
}

own_architectures() { # it sets 70, 75, 80 and 86 over what it is told, and its option SM knows neither 72 nor 87
    local file=$source/CMakeLists.txt
    local lines='^ *(-gencode=arch=compute_(70|75|80|86),|set\(CMAKE_CUDA_ARCHITECTURES 70 75 80 86\))'
    if [ "$(grep -cE "$lines" "$file")" != 5 ]; then
        echo "$file does not set its GPU architectures in the five lines that this recipe was written for" >&2
        exit 1
    fi
    sed -i -E -e "/$lines/d" -e '/message\("-- Assign GPU architecture \(sm=70,75,80,86\)"\)/d' "$file"
}

compile() { # the engine of 0.2.5 is installed into the package's own lib directory, and packaged from there
    cmake -S "$source" -B "$source/build" -G Ninja \
        -DCMAKE_BUILD_TYPE=RelWithDebInfo \
        "-DCMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES" \
        -DCMAKE_CUDA_FLAGS=-lineinfo \
        "-DCMAKE_INSTALL_PREFIX=$source/build/install" \
        "-Dpybind11_DIR=$("$python" -m pybind11 --cmakedir)" \
        -DBUILD_MULTI_GPU=OFF \
        -DBUILD_PY_FFI=ON \
        -DBUILD_TEST=OFF \
        -DUSE_NVTX=ON
    cmake --build "$source/build" --parallel "$MAX_JOBS" --target install
    compgen -G "$source/lmdeploy/lib/_turbomind*.so" > /dev/null || {
        echo "the compile left no _turbomind extension in lmdeploy/lib" >&2
        exit 1
    }
    find "$source/lmdeploy/lib" -name '*.so' -exec strip --strip-unneeded {} +
}

check_architectures() { # an engine for other GPUs than the platform's loads, and fails with the first model
    local engine compiled architecture
    engine=$(find /artifacts -name '_turbomind*.so')
    [ -n "$engine" ] || { echo "the wheel has no _turbomind extension" >&2; return 1; }
    compiled=$(cuobjdump --list-elf "$engine")
    for architecture in ${CUDA_ARCHITECTURES//;/ }; do
        grep -q "sm_$architecture" <<< "$compiled" || { echo "nothing was compiled for sm_$architecture" >&2; return 1; }
    done
}

mkdir -p "$work"
prepare
if [[ $LMDEPLOY_VERSION == 0.2.* ]]; then
    relax_pins
    own_architectures
    compile
else # its setup compiles with options of its own and reads no CMAKE_ARGS; this one is read by cmake itself
    export CUDAARCHS="$CUDA_ARCHITECTURES"
fi
"$python" -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w "$work/wheels" "$source"
python3 -m pip install --no-cache-dir --no-deps --no-index --prefix /artifacts/opt/venv "$work"/wheels/lmdeploy-*.whl
check_architectures
rm -rf "$work"
