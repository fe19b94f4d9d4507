#!/usr/bin/env bash
# Put CUDA packages of NVIDIA's apt repository into the image, or check that the base image brings CUDA already.
# Needs CUDA_VERSION (12.6), CUDA_PROVIDER (apt, base or host) and for apt CUDA_REPOSITORY (ubuntu2204/arm64), CUDA_KEY_FILE with
# CUDA_FINGERPRINT and CUDA_PACKAGES (exact versions); CUDA_PROBE is a file below the CUDA directory that the packages bring.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=nvidia.sh
. "$(dirname "$0")/nvidia.sh"
prefix=/usr/local/cuda-$CUDA_VERSION

is_there() { # a glob, because libraries end in their full version
    compgen -G "$prefix/$CUDA_PROBE" > /dev/null
}

install_packages() {
    install_tools gnupg
    add_repository "$CUDA_REPOSITORY" "$CUDA_KEY_FILE" "$CUDA_FINGERPRINT"
    # shellcheck disable=SC2086  # a list of packages, separated by spaces
    apt-get install -y --no-install-recommends $CUDA_PACKAGES
    remove_repository
}

link() {
    if [ ! -e "$prefix/lib64" ] && compgen -G "$prefix/targets/*/lib" > /dev/null; then
        ln -s "$(cd "$prefix" && compgen -G 'targets/*/lib')" "$prefix/lib64"
    fi
    # A base image with another CUDA has the link already, and every path of this recipe goes through it.
    if [ "$(readlink -f /usr/local/cuda)" != "$(readlink -f "$prefix")" ]; then
        if [ -e /usr/local/cuda ] && [ ! -L /usr/local/cuda ]; then
            fail "/usr/local/cuda of the base image is a directory, not a link to CUDA $CUDA_VERSION" "take another --base"
        fi
        ln -sfn "cuda-$CUDA_VERSION" /usr/local/cuda
    fi
    printf '%s\n' /usr/local/cuda/lib64 /usr/local/cuda/extras/CUPTI/lib64 > /etc/ld.so.conf.d/jetson-containers-cuda.conf
    ldconfig
}

if is_there; then
    echo "CUDA $CUDA_VERSION is in the base image ($prefix)"
    link
elif [ "$CUDA_PROVIDER" = apt ]; then
    install_packages
    is_there || fail "$CUDA_PACKAGES were installed, but $prefix/$CUDA_PROBE is not there"
    link
elif [ "$CUDA_PROVIDER" = host ]; then
    echo "CUDA $CUDA_VERSION comes from the host when a container starts with '--runtime nvidia' (JetPack 4);" \
        "compiling against it needs nvidia as the engine's default runtime and the legacy builder"
else
    fail "CUDA $CUDA_VERSION is not in the base image, and NVIDIA publishes it in no repository this recipe can use" \
        "build on an image that has it: --base nvcr.io/nvidia/l4t-jetpack:TAG (r35.4.1 for JetPack 5, r36.3.0 for CUDA 12.2)"
fi
