#!/usr/bin/env bash
# Install clang, lld and the LLVM libraries of LLVM_VERSION: the distribution's own packages where it has that version,
# those of apt.llvm.org otherwise.
set -euo pipefail

# "Sylvestre Ledru - Debian LLVM packages", which signs apt.llvm.org
fingerprint=6084F3CF814B57C1CF12EFD515CF4D18AF4F7421
key=/usr/share/keyrings/apt-llvm-org.asc
list=/etc/apt/sources.list.d/apt-llvm-org.list
packages=("clang-$LLVM_VERSION" "lld-$LLVM_VERSION" "llvm-$LLVM_VERSION-dev" "libclang-$LLVM_VERSION-dev")

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

distribution_has_all() {
    local package
    for package in "${packages[@]}"; do
        apt-cache show "$package" > /dev/null 2>&1 || return 1
    done
}

add_repository() {
    # shellcheck source=/dev/null  # /etc/os-release of the image
    local suite && suite=$(. /etc/os-release && echo "$VERSION_CODENAME")
    apt-get install -y --no-install-recommends ca-certificates curl gnupg
    curl --fail --silent --show-error --location --retry 3 --output "$key" https://apt.llvm.org/llvm-snapshot.gpg.key
    local found
    found=$(gpg --show-keys --with-colons "$key" | awk -F: '$1 == "fpr" { print $10; exit }') # codespell:ignore fpr
    [ "$found" = "$fingerprint" ] ||
        fail "the key of apt.llvm.org is $found, not $fingerprint" "look at https://apt.llvm.org for a change of its key"
    echo "deb [signed-by=$key] https://apt.llvm.org/$suite/ llvm-toolchain-$suite-$LLVM_VERSION main" > "$list"
    apt-get update ||
        fail "apt.llvm.org does not give LLVM $LLVM_VERSION for $suite" "./jetson-containers list llvm --all names the others"
}

apt-get update
if distribution_has_all; then
    echo "LLVM $LLVM_VERSION is in the distribution"
else
    echo "the distribution has no LLVM $LLVM_VERSION; taking that of apt.llvm.org"
    add_repository
fi
apt-get install -y --no-install-recommends "${packages[@]}"
# A repository that stays in an image makes `apt-get update` fail there once its key expires.
rm -f "$list" "$key"
apt-get clean
rm -rf /var/lib/apt/lists/*
