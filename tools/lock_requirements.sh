#!/usr/bin/env bash
# Make requirements.lock again: the newest releases that requirements.txt allows, for every Python and machine we run on.
set -euo pipefail
cd "$(dirname "$0")/.."

header='# What the launchers install, each file by its hash; made from requirements.txt by tools/lock_requirements.sh.'
uv pip compile requirements.txt --universal --python-version 3.10 --generate-hashes --quiet --no-header \
  --output-file requirements.lock "$@"
printf '%s\n%s\n' "$header" "$(cat requirements.lock)" > requirements.lock.part
mv requirements.lock.part requirements.lock
