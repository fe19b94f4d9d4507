#!/usr/bin/env bash
# ./build.sh PACKAGE… builds one image with all the packages; --help shows the options.
set -euo pipefail
ROOT="$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)"
# shellcheck source=scripts/python.sh
. "$ROOT/scripts/python.sh"
help_without_venv "./build.sh [OPTIONS] PACKAGE..." "Builds one image with all the packages." "$@"
bootstrap
exec "$PYTHON" "$ROOT/scripts/main.py" build "$@"
