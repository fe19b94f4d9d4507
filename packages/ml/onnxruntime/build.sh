#!/usr/bin/env bash
# Compile the wheel onnxruntime-gpu ORT_VERSION, whose commit begins with ORT_COMMIT, with CUDA and cuDNN for CUDA_ARCHITECTURES
# (`87;110`), and leave it, with a list of the commits, under /artifacts. MAX_JOBS limits the compile jobs.
# What its CMake fetches has checksums in the source itself (cmake/deps.txt).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/onnxruntime_build
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

python3 -m pip install --no-deps --require-hashes -r "$here/build-tools.lock"
mkdir -p /artifacts/opt/onnxruntime
fetch_git https://github.com/microsoft/onnxruntime "v$ORT_VERSION" "$work"
commit=$(git -C "$work" rev-parse HEAD)
[[ $commit == "$ORT_COMMIT"* ]] || { echo "the tag v$ORT_VERSION is commit $commit, not $ORT_COMMIT…" >&2; exit 1; }
record_source onnxruntime "$work"
found=$(cat "$work/VERSION_NUMBER")
[ "$found" = "$ORT_VERSION" ] || { echo "commit $ORT_COMMIT is onnxruntime $found, not $ORT_VERSION" >&2; exit 1; }

# cuDNN's headers and libraries are the image's, in the system's own directories; tests would need a GPU
options=(
    --config Release
    --build_dir "$work/build"
    --update --build --build_wheel --skip_tests --skip_submodule_sync --allow_running_as_root
    --parallel "${MAX_JOBS:-$(nproc)}" --nvcc_threads 1
    --use_cuda --cuda_home /usr/local/cuda --cudnn_home /usr
    --cmake_extra_defines "CMAKE_CUDA_ARCHITECTURES=$CUDA_ARCHITECTURES" onnxruntime_BUILD_UNIT_TESTS=OFF
)
python3 "$work/tools/ci_build/build.py" "${options[@]}"
cp "$work"/build/Release/dist/onnxruntime_gpu-*.whl /artifacts/opt/onnxruntime/
rm -rf "$work"
