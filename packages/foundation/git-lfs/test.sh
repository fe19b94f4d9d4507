#!/usr/bin/env bash
# A tracked file is committed as a pointer and comes back as itself in a clone of the repository.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME=$work GIT_AUTHOR_NAME=test GIT_AUTHOR_EMAIL=test@localhost GIT_COMMITTER_NAME=test GIT_COMMITTER_EMAIL=test@localhost

git lfs version
git config --system --get filter.lfs.process

git init --quiet "$work/repository"
cd "$work/repository"
git lfs track '*.bin'
head -c 100000 /dev/zero > weights.bin
git add .gitattributes weights.bin
git commit --quiet --message weights
git show HEAD:weights.bin | grep '^oid sha256:'
git lfs ls-files | grep weights.bin

rm weights.bin
git checkout --quiet -- weights.bin
[ "$(wc -c < weights.bin)" = 100000 ]
