#!/usr/bin/env bash
# Install the newest Rust that the distribution has: Debian keeps a current one for its browsers (rustc-web), Ubuntu
# has one package per release (rustc-1.89).
set -euo pipefail

candidate() { # PACKAGE: its version, or nothing
    apt-cache policy "$1" | sed -n 's/^ *Candidate: *\(.*\)/\1/p' | grep -v '(none)'
}

apt-get update
newest="" version=""
while read -r rustc; do
    cargo=${rustc/rustc/cargo}
    if ! found=$(candidate "$rustc") || ! candidate "$cargo" > /dev/null; then
        continue
    fi
    if dpkg --compare-versions "$found" gt "${version:-0}"; then
        newest=$rustc version=$found
    fi
done < <(apt-cache pkgnames rustc | grep -E '^rustc(-web|-[0-9.]+)?$' | sort)
if [ -z "$newest" ]; then
    echo "this distribution has no rustc with a cargo; take the version of rustup: rust:1.93.1" >&2
    exit 1
fi
echo "the newest Rust of this distribution is $newest $version"
apt-get install -y --no-install-recommends "$newest" "${newest/rustc/cargo}"
apt-get clean
rm -rf /var/lib/apt/lists/*

for tool in rustc cargo rustdoc; do # rustc-1.89 installs /usr/bin/rustc-1.89
    if ! command -v "$tool" > /dev/null; then
        ln -s "/usr/bin/$tool-${newest#rustc-}" "/usr/local/bin/$tool"
    fi
done
mkdir -p /usr/local/cargo/bin
chmod -R a+w /usr/local/cargo
