#!/usr/bin/env bash
# Put TensorRT with its headers, trtexec and Python module into the image, or check that the base image brings the
# version that belongs to its CUDA. Needs TENSORRT_VERSION and TENSORRT_PROVIDER: base, host, debs (TENSORRT_DEBS: file of
# checksums and paths in NVIDIA's Jetson repository), apt (TENSORRT_REPOSITORY, TENSORRT_APT_VERSION) or archive
# (TENSORRT_URL, TENSORRT_SHA256).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
jetson_pool=https://repo.download.nvidia.com/jetson/common
repository=https://developer.download.nvidia.com/compute/cuda/repos/${TENSORRT_REPOSITORY:-}
# NVIDIA's signing key for its CUDA repositories, 3bf863cc.pub; the fingerprint pins it for every one of them
fingerprint=EB693B3035CD5710E231E123A4B469963BF863CC
libraries=/usr/lib/$(uname -m)-linux-gnu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() { # WHAT FAILED, WHAT HELPS
    echo "error: $1" >&2
    if [ -n "${2:-}" ]; then echo "hint: $2" >&2; fi
    exit 1
}

installed_version() { # major.minor.patch of the library there is, empty without one
    local file
    for file in "$libraries"/libnvinfer.so.*.*; do
        if [ -e "$file" ]; then
            echo "${file##*.so.}"
            return
        fi
    done
}

fetch() { # URL SHA256 FILE
    curl --fail --silent --show-error --location --retry 3 --output "$3" "$1"
    echo "$2  $3" | sha256sum --check --quiet || fail "$1 is not the file that the recipe names (SHA-256 $2)"
}

fetch_tools() {
    apt-get update
    apt-get install -y --no-install-recommends ca-certificates curl gnupg
}

# Unpacked, not installed: what these packages depend on are packages of the L4T root file system, which no image has.
from_debs() {
    local sum path
    while read -r sum path; do
        fetch "$jetson_pool/$path" "$sum" "$work/package.deb"
        dpkg-deb --extract "$work/package.deb" "$work/root"
        rm "$work/package.deb"
    done < "$here/$TENSORRT_DEBS"
    find "$work/root" -name '*.a' -delete # static libraries are most of the size
    cp -a "$work/root/usr/." /usr/
}

from_apt() {
    local key=/usr/share/keyrings/tensorrt-build.asc list=/etc/apt/sources.list.d/tensorrt-build.list found name
    local packages=()
    curl --fail --silent --show-error --location --retry 3 --output "$key" "$repository/3bf863cc.pub"
    found=$(gpg --show-keys --with-colons "$key" | awk -F: '$1 == "pub" { pub = 1 } $1 == "fpr" && pub { print $10; pub = 0 }') # codespell:ignore fpr
    [ "$found" = "$fingerprint" ] || fail "the key of $repository is $found, not $fingerprint"
    echo "deb [signed-by=$key] $repository/ /" > "$list"
    apt-get update
    # every package by its exact version: apt would take the newest for those that are only depended on
    for name in libnvinfer10 libnvinfer-plugin10 libnvinfer-vc-plugin10 libnvinfer-lean10 libnvinfer-dispatch10 \
        libnvonnxparsers10 libnvinfer-bin libnvinfer-headers-dev libnvinfer-headers-plugin-dev libnvinfer-dev \
        libnvinfer-plugin-dev libnvonnxparsers-dev python3-libnvinfer; do
        packages+=("$name=$TENSORRT_APT_VERSION")
    done
    apt-get install -y --no-install-recommends "${packages[@]}"
    # Repositories of an image outlive their keys, and then `apt-get update` in the image fails: none is left here.
    rm "$list" "$key"
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

found=$(installed_version)
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
fetch_tools
case $TENSORRT_PROVIDER in
    debs) from_debs ;;
    apt) from_apt ;;
    archive) from_archive ;;
    *) fail "TENSORRT_PROVIDER is '$TENSORRT_PROVIDER'" ;;
esac
apt-get clean
rm -rf /var/lib/apt/lists/*
ldconfig
found=$(installed_version)
[[ -n $found && $TENSORRT_VERSION == "$found"* ]] ||
    fail "after installing TensorRT $TENSORRT_VERSION the image has '$found'"
