#!/usr/bin/env bash
# Sets up jetson-containers: virtual environment, dependencies, the CLI link, and a container engine when there is none.
# Safe to run twice. Asks before it changes the system; -y does not ask.
set -euo pipefail
ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
# shellcheck source=scripts/python.sh
. "$ROOT/scripts/python.sh"
# shellcheck source=scripts/system.sh
. "$ROOT/scripts/system.sh"

usage() {
  cat <<'HELP'
usage: ./install.sh [-y] [--no-engine] [--no-link]

  -y, --yes     change the system without asking
  --no-engine   do not install or start a container engine
  --no-link     do not link jetson-containers and autotag into /usr/local/bin
HELP
}

ASK=1 NO_ENGINE="${NO_ENGINE:-0}" LINK=1
for option in "$@"; do
  case "$option" in
    -y | --yes) ASK=0 ;;
    --no-engine) NO_ENGINE=1 ;;
    --no-link) LINK=0 ;;
    -h | --help) usage; exit 0 ;;
    *) usage >&2; say "error: unknown option: $option"; exit 2 ;;
  esac
done

link_cli() {
  local name target
  for name in jetson-containers autotag; do
    target="/usr/local/bin/$name"
    [ "$(readlink -f "$target" 2>/dev/null)" = "$ROOT/$name" ] && continue
    if ! can_be_root; then
      say "note: $target not linked (needs root); use $ROOT/$name"
      continue
    fi
    agree "Link $target to $ROOT/$name?" || continue
    say "+ ln -sf $ROOT/$name $target"
    as_root ln -sf "$ROOT/$name" "$target"
  done
}

preflight
need_python
bootstrap
if [ "$NO_ENGINE" = 1 ]; then
  docker_answers || say "note: no container engine answers here; the catalog, plans and autotag work without one"
else
  need_engine
fi
[ "$LINK" = 0 ] || link_cli
say "jetson-containers is ready: try  ./jetson-containers list  and  ./quickstart.sh"
