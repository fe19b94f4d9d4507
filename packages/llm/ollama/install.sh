#!/usr/bin/env bash
# Fetch Ollama's release archives, check them, and unpack them below /usr/local.
# Needs OLLAMA_VERSION and OLLAMA_ARCHIVES (`ollama-linux-arm64 ollama-linux-arm64-jetpack6`).
set -euo pipefail

release=https://github.com/ollama/ollama/releases/download/v$OLLAMA_VERSION
work=$(mktemp -d)

fetch() { # NAME
    curl --fail --silent --show-error --location --retry 3 --output "$work/$1" "$release/$1"
}

apt-get update
apt-get install -y --no-install-recommends ca-certificates curl zstd
apt-get clean
rm -rf /var/lib/apt/lists/*

fetch sha256sum.txt
# shellcheck disable=SC2086  # a list of names, separated by spaces
for archive in $OLLAMA_ARCHIVES; do
    file=$archive.tar.zst
    fetch "$file"
    # the list names files as ./FILE or FILE; one that it does not name is an error, not a file without a check
    (cd "$work" && sed -nE "s,^([0-9a-f]{64}) [ *](\./)?${file//./\\.}\$,\1  $file,p" sha256sum.txt | grep . | tee /dev/stderr | sha256sum --check --strict)
    zstd --decompress --stdout "$work/$file" | tar -x -C /usr/local --no-same-owner
    rm "$work/$file"
done
rm -rf "$work"
