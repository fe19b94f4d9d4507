# shellcheck shell=bash
# Sourced by build.sh: git sources, each as exactly pinned as its recipe can name it. The same file stands in every recipe
# that fetches from git; a unit test compares them.

fetch_git() { # URL REF DIRECTORY: REF is a commit (40 digits, or as many as are known) or a tag
    local url=$1 ref=$2 directory=$3 found
    if [[ $ref =~ ^[0-9a-f]{40}$ ]]; then
        git init --quiet "$directory"
        git -C "$directory" fetch --quiet --depth 1 "$url" "$ref"
        git -C "$directory" checkout --quiet FETCH_HEAD
    elif [[ $ref =~ ^[0-9a-f]{7,39}$ ]]; then # servers give out full names only, so ask for all names and no files first
        git clone --quiet --filter=blob:none --no-checkout "$url" "$directory"
        git -C "$directory" checkout --quiet --detach "$ref^{commit}"
    else
        git -c advice.detachedHead=false clone --quiet --depth 1 --branch "$ref" "$url" "$directory"
    fi
    found=$(git -C "$directory" rev-parse HEAD)
    if [[ $ref =~ ^[0-9a-f]{7,40}$ && $found != "$ref"* ]]; then
        echo "$url: asked for commit $ref and got $found" >&2
        return 1
    fi
    echo "$url $ref is commit $found"
}

fetch_submodules() { # DIRECTORY [PATH]...: at the commits that the fetched commit itself names
    local directory=$1
    shift
    git -C "$directory" submodule --quiet update --init --recursive --depth 1 -- "$@"
}
