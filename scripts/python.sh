# shellcheck shell=bash
# Finds or makes the virtual environment every launcher runs in. Sourced, never executed; needs $ROOT.
# Sets $PYTHON. Says on stderr what it does; stdout belongs to the command that is being launched.

VENV="${JETSON_CONTAINERS_VENV:-$ROOT/.venv}"
UV_VERSION=0.9.9

say() { printf '%s\n' "$*" >&2; }
die() { # message, hint
  say "error: $1"
  [ -z "${2:-}" ] || say "hint: $2"
  exit 4
}

TICK="${TICK:-10}" # seconds between two lines of `watched`

since() { # seconds of $SECONDS when it began; prints how long ago that was
  local spent=$((SECONDS - $1))
  if [ "$spent" -lt 60 ]; then printf '%ds' "$spent"; else printf '%dm%02ds' $((spent / 60)) $((spent % 60)); fi
}

watched() { # what is done, command...; while it runs a line now and then, at the end how long it took
  local what="$1" began=$SECONDS ticker status=0
  shift
  say "$what"
  (
    trap 'kill "$sleeping" 2>/dev/null; exit 0' TERM
    while :; do
      sleep "$TICK" &
      sleeping=$!
      wait "$sleeping"
      kill -0 $$ 2>/dev/null || exit 0 # Ctrl-C does not reach what runs in the background
      say "  $what: $(since "$began") so far"
    done
  ) </dev/null >/dev/null &
  ticker=$!
  "$@" || status=$?
  kill "$ticker" 2>/dev/null || true
  wait "$ticker" 2>/dev/null || true
  if [ "$status" = 0 ]; then say "  done in $(since "$began")"; else say "  failed after $(since "$began")"; fi
  return "$status"
}

python_is_new() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; }

find_python() { # prints the first interpreter >= 3.10 on PATH
  local name
  for name in "${JETSON_CONTAINERS_PYTHON:-python3}" python3.13 python3.12 python3.11 python3.10 /usr/bin/python3; do
    if command -v "$name" >/dev/null 2>&1 && python_is_new "$name"; then
      command -v "$name"
      return 0
    fi
  done
  return 1
}

# JetPack 4 and 5 come with Python 3.6 and 3.8. uv brings a newer one without touching the system. Its wheel is only a
# zip with a static binary in it, so even a pip from 2017 can fetch it by name, and no pip of ours runs on 3.6.
fetch_uv() { # prints the path of uv
  local tools platform file
  tools="$(dirname "$VENV")/.cache/tools" # beside the environment: the checkout may be read-only
  if command -v uv >/dev/null 2>&1; then
    command -v uv
    return 0
  fi
  if [ ! -x "$tools/uv" ]; then
    mkdir -p "$tools"
    platform="manylinux2014_$(uname -m)"
    say "fetching uv $UV_VERSION (brings a newer Python, leaves the system's alone)"
    python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 38 --platform "$platform" \
      --dest "$tools" "uv==$UV_VERSION" >&2 || return 1
    file=$(find "$tools" -name "uv-$UV_VERSION-*.whl" | head -n 1)
    python3 - "$file" "$tools/uv" >&2 <<'PY' || return 1
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    name = [n for n in wheel.namelist() if n.endswith("/scripts/uv")][0]
    with open(sys.argv[2] + ".part", "wb") as out:
        out.write(wheel.read(name))
os.chmod(sys.argv[2] + ".part", 0o755)
os.rename(sys.argv[2] + ".part", sys.argv[2])
PY
  fi
  printf '%s\n' "$tools/uv"
}

make_venv() { # creates $VENV, without dependencies
  local python uv
  if python=$(find_python); then
    if "$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then
      "$python" -m venv "$VENV" >&2 && return 0
      rm -rf "$VENV"
    fi
    say "this Python ($python) comes without its venv module"
  else
    say "no Python 3.10 or newer here ($(python3 --version 2>/dev/null || echo 'no python3 at all'))"
  fi
  if uv=$(fetch_uv); then
    "$uv" venv --quiet --seed --python "${python:->=3.10,<3.14}" "$VENV" >&2 && return 0
  fi
  return 1
}

# The stamp holds what the environment was made from: a changed requirements.lock installs again, nothing else does.
venv_is_current() {
  [ -x "$VENV/bin/python" ] && [ -f "$VENV/.installed" ] && cmp -s "$ROOT/requirements.lock" "$VENV/.installed"
}

venv_can_be_made() { # by this user, here: another's environment or a read-only checkout is nothing to repair
  local place="$VENV"
  while [ ! -e "$place" ]; do place=$(dirname "$place"); done
  [ -d "$place" ] && [ -w "$place" ] && { [ "$place" != "$VENV" ] || [ -w "$(dirname "$VENV")" ]; }
}

# Without an environment `--help` gets this short answer: asking for help makes and installs nothing.
help_without_venv() { # usage line, what the command does, the arguments among which --help may be
  local usage="$1" purpose="$2" word
  shift 2
  venv_is_current && return 0
  for word in "$@"; do
    case "$word" in
      --) return 0 ;;
      -h | --help)
        printf 'usage: %s\n\n%s\n\n' "$usage" "$purpose"
        printf 'All options: %s/docs/cli.md, or --help again once ./install.sh has made %s.\n' "$ROOT" "$VENV"
        exit 0
        ;;
    esac
  done
}

own_venv() { printf '%s\n' "${HOME:-/tmp/$(id -un 2>/dev/null || id -u)}/.venvs/jetson-containers"; }

bootstrap() { # the one entry: afterwards $PYTHON runs jetson_containers
  PYTHON="$VENV/bin/python"
  if ! venv_is_current; then
    venv_can_be_made || die "the virtual environment $VENV does not work for this user, who may not change it either" \
      "have its owner run ./install.sh, or use one of your own: export JETSON_CONTAINERS_VENV=$(own_venv)"
    (
      mkdir -p "$(dirname "$VENV")"
      exec 9>"$VENV.lock"
      # Two launchers started at once must not make the environment twice into each other.
      if command -v flock >/dev/null 2>&1; then flock 9; fi
      venv_is_current && exit 0
      say "making the virtual environment $VENV (once)"
      [ -x "$PYTHON" ] || make_venv || exit 4
      # Every file has to have the hash that the lock has for it, wherever the index of this machine takes it from.
      watched "installing $(grep -c '^[a-z].*==' "$ROOT/requirements.lock") Python packages into it" \
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --require-hashes -r "$ROOT/requirements.lock" >&2 || exit 4
      cp "$ROOT/requirements.lock" "$VENV/.installed"
    ) || die "the virtual environment $VENV could not be made" \
      "run ./install.sh, which also installs what the system lacks; the lines above say what failed"
  fi
}
