#!/usr/bin/env bash
# Everything CI checks: sets up what the tests need, then runs the linters, the pure tests, and those on a real engine.
#   ./test.sh             all          ./test.sh --no-engine   only what needs no container engine
#   ./test.sh -k autotag  arguments after the options go to pytest
set -euo pipefail
ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
# shellcheck source=scripts/python.sh
. "$ROOT/scripts/python.sh"
# shellcheck source=scripts/system.sh
. "$ROOT/scripts/system.sh"

NO_ENGINE="${NO_ENGINE:-0}" ASK=0
if [ "${1:-}" = --no-engine ]; then NO_ENGINE=1; shift; fi

need_dev() { # the test tools, into the same virtual environment; a stamp as in scripts/python.sh
  cmp -s "$ROOT/requirements-dev.txt" "$VENV/.dev" && return 0
  say "installing the test tools into $VENV (once)"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$ROOT/requirements-dev.txt" >&2
  cp "$ROOT/requirements-dev.txt" "$VENV/.dev"
}

need_arm64() { # emulation of arm64, so that images for boards are built and run here
  local name=qemu-aarch64 registry=/proc/sys/fs/binfmt_misc
  [ "$(uname -m)" != aarch64 ] || return 0
  need_apt qemu-user-static binfmt-support
  [ -f "$registry/register" ] || as_root mount -t binfmt_misc binfmt_misc "$registry" || return 0
  [ -f "$registry/$name" ] || as_root update-binfmts --import "$name" >&2 || return 0
}

cd "$ROOT"
preflight
need_python
bootstrap
need_dev
if command -v apt-get >/dev/null 2>&1 && can_be_root; then
  say "The tests need a few system packages: shellcheck, and with an engine docker-registry, busybox-static, mmdebstrap, qemu."
  need_apt shellcheck
  if [ "$NO_ENGINE" = 0 ]; then
    need_engine
    need_apt docker-registry apache2-utils busybox-static mmdebstrap debootstrap xauth
    need_arm64
    # buildx is not in every release; its tests run wherever the client can be had, and say so where it cannot.
    TEST_BUILDX=$(scripts/buildx.sh) || say "note: no client with buildx can be had here"
    export TEST_BUILDX
  fi
else
  say "note: no root or no apt-get here, so the tests use what is installed and say what they skip"
fi

SELECTION=("$@")
run_tests() { # pytest's arguments; a part in which the user's selection finds nothing is no failure
  local code=0
  say "+ pytest $*"
  "$PYTHON" -m pytest -q "$@" "${SELECTION[@]}" || code=$?
  if [ "$code" = 5 ] && [ "${#SELECTION[@]}" -gt 0 ]; then return 0; fi
  return "$code"
}

run_tests tests/lint # ruff, mypy, shellcheck, codespell
run_tests tests/unit -n auto --dist worksteal # pure
if [ "$NO_ENGINE" = 1 ]; then exit 0; fi
run_tests tests/real # a real engine, registry and model
