#!/usr/bin/env bash
# Put cuDNN into the image, or check that the base image brings the version that belongs to its CUDA.
# Needs CUDNN_VERSION (9.3.0.75) and CUDNN_PROVIDER: base, host, debs (CUDNN_DEBS: file of checksums and paths in
# NVIDIA's Jetson repository) or archive (CUDNN_URL and CUDNN_SHA256).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/cuda/nvidia.sh
. "$here/nvidia.sh"
libraries=/usr/lib/$(uname -m)-linux-gnu
major=${CUDNN_VERSION%%.*}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

from_archive() {
    fetch "$CUDNN_URL" "$CUDNN_SHA256" "$work/cudnn.tar.xz"
    mkdir "$work/root"
    tar -xJf "$work/cudnn.tar.xz" -C "$work/root" --strip-components 1 --no-same-owner --exclude '*.a'
    cp -a "$work"/root/lib/libcudnn*.so* "$libraries/"
    cp -a "$work"/root/include/cudnn*.h /usr/include/
    mkdir -p /usr/share/doc/cudnn
    cp "$work/root/LICENSE" /usr/share/doc/cudnn/
}

# NVIDIA's packages name the headers cudnn_v9.h and leave the plain names to update-alternatives, that of the library too;
# OpenCV and CMake's FindCUDNN look for cudnn.h, cudnn_version.h and libcudnn.so.
link_plain_names() {
    local header plain
    if [ -e "$libraries/libcudnn.so.$major" ] && [ ! -e "$libraries/libcudnn.so" ]; then
        ln -s "libcudnn.so.$major" "$libraries/libcudnn.so"
    fi
    for header in /usr/include/cudnn*_v"$major".h "/usr/include/$(uname -m)-linux-gnu"/cudnn*_v"$major".h; do
        [ -e "$header" ] || continue
        plain=/usr/include/$(basename "$header" "_v$major.h").h
        [ -e "$plain" ] || ln -s "$header" "$plain"
    done
}

found=$(library_version "$libraries/libcudnn.so.$major".*)
if [ -n "$found" ]; then
    [[ $CUDNN_VERSION == "$found"* ]] ||
        fail "the base image has cuDNN $found, this platform's is $CUDNN_VERSION: two of them in one image do not work" \
            "use the base image of the platform, or one without cuDNN: --base"
    echo "cuDNN $found is in the base image"
    link_plain_names
    exit 0
fi
case $CUDNN_PROVIDER in
    host)
        echo "cuDNN $CUDNN_VERSION comes from the host when a container starts with '--runtime nvidia' (JetPack 4)"
        exit 0
        ;;
    base)
        fail "cuDNN $CUDNN_VERSION is not in the base image, which brings it with CUDA on this platform" \
            "build on nvcr.io/nvidia/l4t-jetpack: --base nvcr.io/nvidia/l4t-jetpack:TAG (r35.4.1, r36.3.0)"
        ;;
esac
install_tools xz-utils
apt-get clean
rm -rf /var/lib/apt/lists/*
case $CUDNN_PROVIDER in
    debs) unpack_debs "$here/$CUDNN_DEBS" "$work" ;;
    archive) from_archive ;;
    *) fail "CUDNN_PROVIDER is '$CUDNN_PROVIDER'" ;;
esac
link_plain_names
ldconfig
found=$(library_version "$libraries/libcudnn.so.$major".*)
[[ -n $found && $CUDNN_VERSION == "$found"* ]] || fail "after installing cuDNN $CUDNN_VERSION the image has '$found'"
