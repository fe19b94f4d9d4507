# shellcheck shell=bash
# Sourced by build.sh: git sources, each as exactly pinned as its recipe can name it.

fetch_git() { # URL REF DIRECTORY [SHA256]: REF is a commit (40 digits, or as many as are known) or a tag
    local url=$1 ref=$2 directory=$3 sum=${4:-} found
    if [[ $ref =~ ^[0-9a-f]{7,39}$ ]]; then # servers give out full names only, so ask for all names and no files first
        git clone --quiet --filter=blob:none --no-checkout "$url" "$directory"
        # fails where the name stands for no commit, or for more than one
        git -C "$directory" checkout --quiet --detach "$ref^{commit}"
    else
        [[ $ref =~ ^[0-9a-f]{40}$ ]] || ref=refs/tags/$ref # never a branch of the same name
        git init --quiet "$directory"
        git -C "$directory" remote add origin "$url"
        git -C "$directory" fetch --quiet --depth 1 --no-tags origin "$ref"
        git -C "$directory" checkout --quiet --detach FETCH_HEAD
    fi
    found=$(git -C "$directory" rev-parse HEAD)
    if [[ $ref =~ ^[0-9a-f]{7,40}$ && $found != "$ref"* ]]; then
        echo "$url: asked for commit $ref and got $found" >&2
        return 1
    fi
    echo "$url $2 is commit $found"
    [ -z "$sum" ] || check_archive "$directory" "$sum"
}

check_archive() { # DIRECTORY SHA256: of what `git archive` makes of the commit, which has the commit's own name in it
    local found
    found=$(git -C "$1" -c core.abbrev=no -c tar.umask=0002 archive --format=tar HEAD | sha256sum)
    if [ "${found%% *}" != "$2" ]; then
        echo "$1: the archive of the commit has the checksum ${found%% *}, not $2" >&2
        return 1
    fi
    echo "its archive has the checksum $2"
}

fetch_submodules() { # DIRECTORY [PATH]...: at the commits that the fetched commit itself names
    local directory=$1
    shift
    git -C "$directory" submodule --quiet update --init --recursive --depth 1 -- "$@"
}

record_source() { # NAME DIRECTORY [ROOT]: leave the full commits in the image, in ROOT/opt/sources/NAME
    local root=${3:-/artifacts}
    mkdir -p "$root/opt/sources"
    {
        printf '%s %s\n' "$(git -C "$2" config --get remote.origin.url)" "$(git -C "$2" rev-parse HEAD)"
        # submodules that were fetched; the others are marked with a minus
        git -C "$2" submodule status --recursive | awk '$1 !~ /^-/ { print $2, $1 }'
    } > "$root/opt/sources/$1"
    cat "$root/opt/sources/$1"
}
