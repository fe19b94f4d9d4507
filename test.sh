#!/usr/bin/env bash
# Everything CI checks: sets up what the tests need, then runs the linters, the pure tests, and those on a real engine.
set -euo pipefail
ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
# shellcheck source=scripts/python.sh
. "$ROOT/scripts/python.sh"
# shellcheck source=scripts/system.sh
. "$ROOT/scripts/system.sh"

PURE_PACKAGES=(bubblewrap shellcheck)
ENGINE_PACKAGES=(docker-registry apache2-utils busybox-static mmdebstrap debootstrap xauth)
ARM64_PACKAGES=(qemu-user-static binfmt-support)
BROWSER_PACKAGES=(chromium chromium-driver)

usage() {
  cat <<HELP
usage: ./test.sh [--no-engine] [-k EXPRESSION] [-m EXPRESSION] [-x] [-v] [PATH...] [-- PYTEST OPTIONS]

Runs everything CI checks: the quick pure tests, the linters and the long ones, then the tests on a real container engine.

  --no-engine   only what needs no container engine
  -k, -m, -x, -v
                as pytest has them; further options of pytest stand behind --
  PATH          only the tests in these files and directories; FILE::TEST as pytest has it
  -h, --help    show this and change nothing

Before the tests it makes $VENV and, as root or with sudo, installs with apt-get what is missing of:
  ${PURE_PACKAGES[*]}
and unless --no-engine is given: docker.io where no engine answers,
  ${ENGINE_PACKAGES[*]}
and on a machine that is not aarch64:
  ${ARM64_PACKAGES[*]}
and where there is no browser with its driver, and the release has them as packages:
  ${BROWSER_PACKAGES[*]}
HELP
}

wrong() { # message
  usage >&2
  say "error: $1"
  exit 2
}

test_path() { # what the user named, from here or from the checkout, goes into PATHS relative to the checkout
  local file="${1%%::*}" relative
  [ -e "$file" ] || file="$ROOT/$file"
  [ -e "$file" ] || wrong "there is no $1"
  relative=$(realpath --relative-to="$ROOT" "$file")
  case "$relative" in
    .) relative=tests ;;
    tests | tests/lint* | tests/unit* | tests/faults* | tests/real*) ;;
    *) return 1 ;;
  esac
  PATHS+=("$relative${1#"${1%%::*}"}")
}

NO_ENGINE="${NO_ENGINE:-0}" ASK=0 SELECTION=() PATHS=()
while [ $# -gt 0 ]; do
  case "$1" in
    --no-engine) NO_ENGINE=1 ;;
    -h | --help) usage; exit 0 ;;
    -k | -m)
      [ $# -gt 1 ] || wrong "$1 needs a value"
      SELECTION+=("$1" "$2")
      shift
      ;;
    -x | -v | -vv) SELECTION+=("$1") ;;
    --) shift; SELECTION+=("$@"); break ;;
    -*) wrong "unknown option: $1 (options of pytest stand behind --)" ;;
    *)
      test_path "$1" || wrong "$1 holds no tests (they are below $ROOT/tests)"
      ;;
  esac
  shift
done

need_dev() { # the test tools, into the same virtual environment; a stamp as in scripts/python.sh
  cmp -s "$ROOT/requirements-dev.txt" "$VENV/.dev" && return 0
  say "installing the test tools into $VENV (once)"
  "$PYTHON" -m pip install --quiet --disable-pip-version-check -r "$ROOT/requirements-dev.txt" >&2
  cp "$ROOT/requirements-dev.txt" "$VENV/.dev"
}

need_arm64() { # emulation of arm64, so that images for boards are built and run here
  local name=qemu-aarch64 registry=/proc/sys/fs/binfmt_misc
  [ "$(uname -m)" != aarch64 ] || return 0
  need_apt "${ARM64_PACKAGES[@]}"
  [ -f "$registry/register" ] || as_root mount -t binfmt_misc binfmt_misc "$registry" || return 0
  [ -f "$registry/$name" ] || as_root update-binfmts --import "$name" >&2 || return 0
}

need_browser() { # for the tests of our pages; Ubuntu has Chromium as a snap only, which no driver of its own goes with
  local package
  if command -v chromedriver && { command -v chromium || command -v google-chrome; }; then return 0; fi >/dev/null 2>&1
  for package in "${BROWSER_PACKAGES[@]}"; do
    apt-cache show "$package" >/dev/null 2>&1 || { say "note: no package $package here, so no page is tested in a browser"; return 0; }
  done
  need_apt "${BROWSER_PACKAGES[@]}"
}

cd "$ROOT"
preflight
need_python
bootstrap
need_dev
if command -v apt-get >/dev/null 2>&1 && can_be_root; then
  say "Installing what the tests need and is missing of the system packages that ./test.sh --help lists."
  need_apt "${PURE_PACKAGES[@]}"
  if [ "$NO_ENGINE" = 0 ]; then
    need_engine
    need_apt "${ENGINE_PACKAGES[@]}"
    need_arm64
    need_browser
    # buildx is not in every release; its tests run wherever the client can be had, and say so where it cannot.
    TEST_BUILDX=$(scripts/buildx.sh) || say "note: no client with buildx can be had here"
    export TEST_BUILDX
  fi
else
  say "note: no root or no apt-get here, so the tests use what is installed and say what they skip"
fi

run_tests() { # directories, --, pytest's arguments; only what the user's paths have in common with the directories
  local code=0 directory path paths=()
  while [ "$1" != -- ]; do
    directory="$1"
    shift
    if [ "${#PATHS[@]}" = 0 ]; then paths+=("$directory"); fi
    for path in "${PATHS[@]}"; do
      if [[ "$path/" == "$directory"/* ]]; then
        paths+=("$path")
      elif [[ "$directory/" == "$path"/* ]]; then
        paths+=("$directory")
      fi
    done
  done
  shift
  [ "${#paths[@]}" -gt 0 ] || return 0
  say "+ pytest ${paths[*]} $*"
  "$PYTHON" -m pytest -q "${paths[@]}" "$@" "${SELECTION[@]}" || code=$?
  # A part in which the user's selection finds nothing is no failure.
  if [ "$code" = 5 ] && [ "$((${#SELECTION[@]} + ${#PATHS[@]}))" -gt 0 ]; then return 0; fi
  return "$code"
}

# What is pure. All of it at once where the user chose; otherwise first what is quick, then the linters and other long
# tests, for which only the files that have some are imported.
PARALLEL=(-n auto --dist worksteal --ignore=tests/faults/real)
if [ "$((${#SELECTION[@]} + ${#PATHS[@]}))" -gt 0 ]; then
  run_tests tests/lint tests/unit tests/faults -- "${PARALLEL[@]}"
else
  mapfile -t LONG < <(grep -rl --include='test_*.py' 'pytest\.mark\.long$' tests/unit tests/faults | sort)
  run_tests tests/unit tests/faults -- "${PARALLEL[@]}" -m "not long"
  run_tests tests/lint "${LONG[@]}" -- "${PARALLEL[@]}" -m long
fi
if [ "$NO_ENGINE" = 1 ]; then exit 0; fi
run_tests tests/real -- # a real engine, registry and model
run_tests tests/faults/real -- -m quick # faults of these; all of them: python -m tests.faults
