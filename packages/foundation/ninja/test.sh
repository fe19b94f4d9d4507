#!/usr/bin/env bash
# Ninja runs the commands of a build file once, and not again when nothing changed.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

printf 'ninja '
ninja --version
cat > "$work/build.ninja" <<'RULES'
rule upper
  command = tr a-z A-Z < $in > $out
build loud: upper quiet
RULES
echo jetson > "$work/quiet"
ninja -C "$work"
[ "$(cat "$work/loud")" = JETSON ]
said=$(ninja -C "$work")
[[ $said == *'no work to do'* ]]
