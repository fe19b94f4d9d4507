#!/usr/bin/env bash
# Compile CTranslate2 CTRANSLATE2_VERSION from CTRANSLATE2_COMMIT: the library into /artifacts/usr/local, its Python module as a wheel
# into /artifacts/opt/ctranslate2. CUDA_GENCODE (`arch=compute_87,code=sm_87 arch=…`) is the GPU code; without it there is no CUDA.
# OpenBLAS multiplies on the CPU, and Ruy in int8. MAX_JOBS limits the compile jobs.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/ctranslate2_build
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

name_gpu_code() { # FindCUDA's table ends before compute capability 10, so nvcc's own options stand in its place
    # shellcheck disable=SC2016  # CMake's own variable
    local call='cuda_select_nvcc_arch_flags(ARCH_FLAGS ${CUDA_ARCH_LIST})' flags=""
    [ "$(grep -cF "$call" "$work/CMakeLists.txt")" = 1 ] || { echo "CMakeLists.txt does not choose GPU code as 4.8.1 does" >&2; return 1; }
    for code in $CUDA_GENCODE; do
        flags+="${flags:+;}-gencode;$code"
    done
    sed -i "s|cuda_select_nvcc_arch_flags(ARCH_FLAGS .*|set(ARCH_FLAGS \"$flags\")|" "$work/CMakeLists.txt"
}

fetch_git https://github.com/OpenNMT/CTranslate2 "$CTRANSLATE2_COMMIT" "$work"
submodules=(third_party/spdlog third_party/cpu_features third_party/ruy)
options=(
    -DCMAKE_BUILD_TYPE=Release
    -DCMAKE_INSTALL_PREFIX=/usr/local
    -DCMAKE_INSTALL_LIBDIR=lib
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5
    -DBUILD_CLI=OFF
    -DOPENMP_RUNTIME=COMP
    -DWITH_MKL=OFF
    -DWITH_OPENBLAS=ON
    -DWITH_RUY=ON
)
if [ -n "${CUDA_GENCODE:-}" ]; then
    submodules+=(third_party/thrust third_party/cutlass)
    options+=(-DWITH_CUDA=ON -DCUDA_TOOLKIT_ROOT_DIR=/usr/local/cuda)
    name_gpu_code
fi
fetch_submodules "$work" "${submodules[@]}"
record_source ctranslate2 "$work"

cmake -G Ninja -S "$work" -B "$work/build" "${options[@]}"
cmake --build "$work/build" --parallel "${MAX_JOBS:-$(nproc)}"
DESTDIR=/artifacts cmake --install "$work/build" --strip
# headers and CMake files are for compiling against it: the module below does, in this image only
cp -a /artifacts/usr/local/. /usr/local/
rm -rf /artifacts/usr/local/include /artifacts/usr/local/lib/cmake
ldconfig

python3 -m venv --system-site-packages "$work/venv"
"$work/venv/bin/python" -m pip install --no-deps --ignore-installed --require-hashes -r "$here/build-tools.lock"
cp "$work/README.md" "$work/python/README.md"
CTRANSLATE2_ROOT=/usr/local "$work/venv/bin/python" -m pip wheel --no-deps --no-build-isolation -w /artifacts/opt/ctranslate2 "$work/python"
[ -e "$(echo /artifacts/opt/ctranslate2/ctranslate2-"$CTRANSLATE2_VERSION"-*.whl)" ] || { ls /artifacts/opt/ctranslate2 >&2; exit 1; }
rm -rf "$work"
