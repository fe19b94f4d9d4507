#!/usr/bin/env bash
# ./run.sh [docker run options] IMAGE [COMMAND] runs a container with what the board has.
set -euo pipefail
ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
# shellcheck source=scripts/python.sh
. "$ROOT/scripts/python.sh"
# Behind the first argument `--help` may belong to the program in the container.
help_without_venv "./run.sh [docker run options] IMAGE [COMMAND]" "Runs a container with what the board has." "${1:-}"
bootstrap
exec "$PYTHON" "$ROOT/scripts/main.py" run "$@"
