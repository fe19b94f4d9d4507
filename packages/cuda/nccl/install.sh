#!/usr/bin/env bash
# Install NCCL from NVIDIA's apt repository NCCL_REPOSITORY (ubuntu2404/x86_64), whose key is in NCCL_KEY_FILE and has
# NCCL_FINGERPRINT, in exactly the version NCCL_APT_VERSION.
set -euo pipefail

# shellcheck source-path=SCRIPTDIR source=../../shared/cuda/nvidia.sh
. "$(dirname "$0")/nvidia.sh"

install_tools gnupg
add_repository "$NCCL_REPOSITORY" "$NCCL_KEY_FILE" "$NCCL_FINGERPRINT"
# held back or older ones in a base image of NVIDIA give way to the version that was asked for
apt-get install -y --no-install-recommends --allow-change-held-packages --allow-downgrades \
    "libnccl2=$NCCL_APT_VERSION" "libnccl-dev=$NCCL_APT_VERSION"
remove_repository
ldconfig
