#!/usr/bin/env bash
# What the scripts that install NVIDIA's files have in common; to be sourced by them.
set -euo pipefail

jetson_pool=https://repo.download.nvidia.com/jetson/common
cuda_repositories=https://developer.download.nvidia.com/compute/cuda/repos

fail() { # WHAT FAILED, WHAT HELPS
    echo "error: $1" >&2
    if [ -n "${2:-}" ]; then echo "hint: $2" >&2; fi
    exit 1
}

library_version() { # FILE…: major.minor.patch behind the .so of the first one that is there, empty without one
    local file
    for file in "$@"; do
        if [ -e "$file" ]; then
            echo "${file##*.so.}"
            return
        fi
    done
}

install_tools() { # PACKAGE…: what fetching needs; the caller cleans apt's lists
    apt-get update
    apt-get install -y --no-install-recommends ca-certificates curl "$@"
}

fetch() { # URL SHA256 FILE: a connection that breaks is no reason for curl to ask again, and its message names no file
    local again status
    for again in 1 2 3; do
        status=0
        curl --fail --silent --show-error --location --retry 3 --output "$3" "$1" || status=$?
        case $status in
        18 | 52 | 56) sleep "$again" ;; # a part of it, no answer, a reset
        *) break ;;
        esac
    done
    [ "$status" = 0 ] || fail "$1 cannot be fetched (curl's exit status $status)"
    echo "$2  $3" | sha256sum --check --quiet || fail "$1 is not the file that the recipe names (SHA-256 $2)"
}

# Unpacked, not installed: what these packages depend on are packages of the L4T root file system, which no image has.
unpack_debs() { # LIST DIRECTORY: packages of JetPack by checksum and path
    local sum path
    while read -r sum path; do
        fetch "$jetson_pool/$path" "$sum" "$2/package.deb"
        dpkg-deb --extract "$2/package.deb" "$2/root"
        rm "$2/package.deb"
    done < "$1"
    find "$2/root" -name '*.a' -delete # static libraries are most of the size
    cp -a "$2/root/usr/." /usr/
}

# The repository for one installation. Repositories of an image outlive their keys, and then `apt-get update` in the image
# fails: none is left behind.
add_repository() { # NAME KEY-FILE FINGERPRINT: ubuntu2404/x86_64 3bf863cc.pub EB69…
    local found key=/usr/share/keyrings/cuda-build.asc
    curl --fail --silent --show-error --location --retry 3 --output "$key" "$cuda_repositories/$1/$2"
    found=$(gpg --show-keys --with-colons "$key" | awk -F: '$1 == "pub" { pub = 1 } $1 == "fpr" && pub { print $10; pub = 0 }') # codespell:ignore fpr
    [ "$found" = "$3" ] || fail "the key of $cuda_repositories/$1 is $found, not $3"
    echo "deb [signed-by=$key] $cuda_repositories/$1/ /" > /etc/apt/sources.list.d/cuda-build.list
    apt-get update
}

remove_repository() {
    rm /etc/apt/sources.list.d/cuda-build.list /usr/share/keyrings/cuda-build.asc
    apt-get clean
    rm -rf /var/lib/apt/lists/*
}
