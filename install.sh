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
  --no-link     do not link jetson-containers and autotag into /usr/local/bin, and install neither completion nor
                manual pages below /usr/local/share
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

install_help() { # completion for bash, zsh and fish, and manual pages, where the system looks for them
  local share=/usr/local/share work shell
  can_be_root || return 0
  agree "Install shell completion and manual pages below $share?" || return 0
  work=$(mktemp -d)
  for shell in bash zsh fish; do "$PYTHON" "$ROOT/scripts/main.py" completion "$shell" >"$work/$shell"; done
  "$PYTHON" "$ROOT/scripts/main.py" --quiet man --output "$work/man"
  as_root install -D -m 644 "$work/bash" "$share/bash-completion/completions/jetson-containers"
  as_root install -D -m 644 "$work/zsh" "$share/zsh/site-functions/_jetson-containers"
  as_root install -D -m 644 "$work/fish" "$share/fish/vendor_completions.d/jetson-containers.fish"
  as_root install -D -m 644 -t "$share/man/man1" "$work"/man/*.1
  rm -r "$work"
}

preflight
need_python
bootstrap
if [ "$NO_ENGINE" = 1 ]; then
  if docker_refuses; then
    say "note: $(id -un) may not use the container engine that runs here: sudo usermod -aG docker $(id -un) && newgrp docker"
  elif ! docker_answers; then
    say "note: no container engine answers here; the catalog, plans and autotag work without one"
  fi
else
  need_engine
fi
[ "$LINK" = 0 ] || { link_cli; install_help; }
say "jetson-containers is ready after $(since 0): try  ./jetson-containers list  and  ./quickstart.sh"
