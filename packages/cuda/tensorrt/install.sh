#!/usr/bin/env bash
# Put TensorRT with its headers, trtexec and Python module into the image, or check that the base image brings the
# version that belongs to its CUDA. Needs TENSORRT_VERSION and TENSORRT_PROVIDER: base, host, debs (TENSORRT_DEBS: file of
# checksums and paths in NVIDIA's Jetson repository), apt (TENSORRT_REPOSITORY, TENSORRT_KEY_FILE, TENSORRT_FINGERPRINT,
# TENSORRT_APT_VERSION) or archive (TENSORRT_URL, TENSORRT_SHA256).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/cuda/nvidia.sh
. "$here/nvidia.sh"
libraries=/usr/lib/$(uname -m)-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

from_apt() {
    local name packages=()
    add_repository "$TENSORRT_REPOSITORY" "$TENSORRT_KEY_FILE" "$TENSORRT_FINGERPRINT"
    # every package by its exact version: apt would take the newest for those that are only depended on
    for name in libnvinfer10 libnvinfer-plugin10 libnvinfer-vc-plugin10 libnvinfer-lean10 libnvinfer-dispatch10 \
        libnvonnxparsers10 libnvinfer-bin libnvinfer-headers-dev libnvinfer-headers-plugin-dev libnvinfer-dev \
        libnvinfer-plugin-dev libnvonnxparsers-dev python3-libnvinfer; do
        packages+=("$name=$TENSORRT_APT_VERSION")
    done
    apt-get install -y --no-install-recommends "${packages[@]}"
    remove_repository
}

from_archive() {
    local tag wheels
    fetch "$TENSORRT_URL" "$TENSORRT_SHA256" "$work/tensorrt.tar.gz"
    mkdir "$work/root"
    tar -xzf "$work/tensorrt.tar.gz" -C "$work/root" --strip-components 1 --no-same-owner --exclude '*.a'
    cp -a "$work"/root/lib/lib*.so* "$libraries/"
    cp -a "$work/root/include/." /usr/include/
    install -D -m 755 "$work/root/bin/trtexec" /usr/src/tensorrt/bin/trtexec
    # the one wheel of this interpreter: the others in the archive are for other Pythons
    tag=$(python3 -c 'import sys; print("cp%d%d" % sys.version_info[:2])')
    wheels=("$work"/root/python/tensorrt-*-"$tag"-*.whl)
    [ -f "${wheels[0]}" ] || fail "the archive has no TensorRT module for Python $tag: $(ls "$work/root/python")" \
        "take a Python that it has, for example --target py3.10"
    python3 -m pip install --no-cache-dir --no-deps --no-index "${wheels[0]}"
}

found=$(library_version "$libraries"/libnvinfer.so.*.*)
if [ -n "$found" ]; then
    [[ $TENSORRT_VERSION == "$found"* ]] ||
        fail "the base image has TensorRT $found, this platform's is $TENSORRT_VERSION; engines of one do not load in the other" \
            "use the base image of the platform, or one without TensorRT: --base"
    echo "TensorRT $found is in the base image"
    exit 0
fi
case $TENSORRT_PROVIDER in
    host)
        echo "TensorRT $TENSORRT_VERSION comes from the host when a container starts with '--runtime nvidia' (JetPack 4)"
        exit 0
        ;;
    base)
        fail "TensorRT $TENSORRT_VERSION is not in the base image, which brings it with CUDA on this platform" \
            "build on nvcr.io/nvidia/l4t-jetpack: --base nvcr.io/nvidia/l4t-jetpack:TAG (r35.4.1, r36.3.0)"
        ;;
esac
install_tools gnupg
case $TENSORRT_PROVIDER in
    debs) unpack_debs "$here/$TENSORRT_DEBS" "$work" ;;
    apt) from_apt ;;
    archive) from_archive ;;
    *) fail "TENSORRT_PROVIDER is '$TENSORRT_PROVIDER'" ;;
esac
apt-get clean
rm -rf /var/lib/apt/lists/*
ldconfig
found=$(library_version "$libraries"/libnvinfer.so.*.*)
[[ -n $found && $TENSORRT_VERSION == "$found"* ]] ||
    fail "after installing TensorRT $TENSORRT_VERSION the image has '$found'"
