#!/usr/bin/env bash
# Compile the wheel opencv-contrib-python OPENCV_VERSION with CUDA for CUDA_ARCH_BIN (`8.7,11.0`) and leave it under /artifacts.
# WITH_CUDNN=ON runs neural networks on the GPU, WITH_GTK=ON opens windows. The source archive carries OpenCV and its contrib modules, so one checked file is all of the source.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
work=/tmp/opencv_build
mkdir -p "$work" /artifacts

python3 -m pip install --no-deps --require-hashes -r "$here/build-tools.lock"
python3 -m pip download --no-cache-dir --no-deps --no-binary :all: --no-build-isolation --require-hashes -d "$work" \
    -r "$here/sdist-$OPENCV_VERSION.lock"
mkdir "$work/source"
tar -xzf "$work"/opencv*python-"$OPENCV_VERSION".tar.gz -C "$work/source" --strip-components 1 --no-same-owner

options=(
    -DWITH_CUDA=ON
    "-DCUDA_ARCH_BIN=$CUDA_ARCH_BIN"
    -DCUDA_ARCH_PTX=
    -DCUDA_FAST_MATH=ON
    -DWITH_CUBLAS=ON
    -DWITH_CUDNN="${WITH_CUDNN:-OFF}"
    -DOPENCV_DNN_CUDA="${WITH_CUDNN:-OFF}"
    -DWITH_GSTREAMER=ON
    -DWITH_FFMPEG=ON
    -DWITH_V4L=ON
    -DWITH_TBB=ON
    -DWITH_EIGEN=ON
    -DWITH_OPENCL=OFF
    -DWITH_IPP=OFF
    -DWITH_GTK="${WITH_GTK:-OFF}"
    -DWITH_QT=OFF
    -DOPENCV_ENABLE_NONFREE=OFF # patented algorithms are the user's decision
    -DBUILD_opencv_rgbd=OFF # asks for an OpenGL symbol that Jetson's libraries lack (opencv_contrib#2307)
    -DBUILD_EXAMPLES=OFF
    -DBUILD_TESTS=OFF
    -DBUILD_PERF_TESTS=OFF
    -DCMAKE_POLICY_VERSION_MINIMUM=3.5
)
ENABLE_CONTRIB=1 ENABLE_HEADLESS=0 CMAKE_ARGS="${options[*]}" CMAKE_BUILD_PARALLEL_LEVEL="${MAX_JOBS:-$(nproc)}" \
    python3 -m pip wheel --no-cache-dir --no-deps --no-build-isolation -w /artifacts "$work/source"

# which packages own the libraries that the module is linked with: the run-time image installs exactly these
mkdir "$work/wheel"
python3 -m zipfile -e /artifacts/opencv*.whl "$work/wheel"
find "$work/wheel" -name '*.so*' -exec ldd {} + | sed -n 's|.* => \(/[^ ]*\) .*|\1|p' | sort -u | grep -v -e cuda -e cudnn -e /opt/ |
    while read -r library; do
        dpkg -S "$library" 2> /dev/null || dpkg -S "$(readlink -f "$library")" 2> /dev/null || dpkg -S "/usr$library"
    done | cut -d: -f1 | sort -u > /artifacts/packages
rm -rf "$work"
