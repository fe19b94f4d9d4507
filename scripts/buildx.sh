#!/usr/bin/env bash
# For the tests: a docker client with buildx and an engine beside the system's own, from the next Debian release,
# unpacked below .cache and installed nowhere. Prints its folder; exits 1 where it cannot be had (no Debian, no network).
set -euo pipefail
ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)"
DIR="$ROOT/.cache/buildx"
SUITE=trixie

case "${1:-}" in
  -h | --help)
    printf 'usage: scripts/buildx.sh\n\nUnpacks a docker client with buildx and an engine below %s, and prints that folder.\n' "$DIR"
    exit 0
    ;;
esac

if [ ! -x "$DIR/usr/sbin/dockerd" ]; then
  # shellcheck disable=SC2016 # apt-get expands it
  mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1)
  keyring=/usr/share/keyrings/debian-archive-keyring.gpg
  [ -n "$mirror" ] && [ -f "$keyring" ] || exit 1
  work=$(mktemp -d)
  trap 'rm -rf "$work"' EXIT
  mkdir -p "$work/lists/partial" "$work/archives/partial" "$work/root"
  printf 'deb [signed-by=%s] %s %s main\n' "$keyring" "$mirror" "$SUITE" >"$work/sources.list"
  # A configuration of its own: the system's lists and sources stay as they are.
  options=(-o "Dir::Etc::SourceList=$work/sources.list" -o Dir::Etc::SourceParts=/dev/null
    -o "Dir::State::Lists=$work/lists" -o "Dir::Cache=$work" -o "Dir::Cache::Archives=$work/archives"
    -o APT::Sandbox::User=root)
  apt-get "${options[@]}" update -qq >&2
  (cd "$work/archives" && apt-get "${options[@]}" download -qq docker-cli docker-buildx docker.io containerd >&2)
  for package in "$work"/archives/*.deb; do dpkg -x "$package" "$work/root"; done
  rm -f "$work/root/usr/bin/docker-init" # linked against that release's C library; the system's own is found on PATH
  mkdir -p "$DIR/config"
  printf '{"cliPluginsExtraDirs": ["%s/usr/libexec/docker/cli-plugins"]}\n' "$DIR" >"$DIR/config/config.json"
  cp -r "$work/root/." "$DIR/"
fi
printf '%s\n' "$DIR"
