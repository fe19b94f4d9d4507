#!/usr/bin/env bash
# Install NCCL from NVIDIA's apt repository NCCL_REPOSITORY (ubuntu2404/x86_64) in exactly the version NCCL_APT_VERSION.
set -euo pipefail

repository=https://developer.download.nvidia.com/compute/cuda/repos/$NCCL_REPOSITORY
# NVIDIA's signing key for its CUDA repositories, 3bf863cc.pub; the fingerprint pins it for every one of them
fingerprint=EB693B3035CD5710E231E123A4B469963BF863CC
key=/usr/share/keyrings/nccl-build.asc
list=/etc/apt/sources.list.d/nccl-build.list

apt-get update
apt-get install -y --no-install-recommends ca-certificates curl gnupg
curl --fail --silent --show-error --location --retry 3 --output "$key" "$repository/3bf863cc.pub"
found=$(gpg --show-keys --with-colons "$key" | awk -F: '$1 == "pub" { pub = 1 } $1 == "fpr" && pub { print $10; pub = 0 }') # codespell:ignore fpr
if [ "$found" != "$fingerprint" ]; then
    echo "error: the key of $repository is $found, not $fingerprint" >&2
    exit 1
fi
echo "deb [signed-by=$key] $repository/ /" > "$list"
apt-get update
# held back or older ones in a base image of NVIDIA give way to the version that was asked for
apt-get install -y --no-install-recommends --allow-change-held-packages --allow-downgrades \
    "libnccl2=$NCCL_APT_VERSION" "libnccl-dev=$NCCL_APT_VERSION"
# Repositories of an image outlive their keys, and then `apt-get update` in the image fails: none is left here.
rm "$list" "$key"
apt-get clean
rm -rf /var/lib/apt/lists/*
ldconfig
