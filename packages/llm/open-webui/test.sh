#!/usr/bin/env bash
# The package and its web page are there and its command line answers. No network, no GPU needed.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export DATA_DIR=$work WEBUI_SECRET_KEY=test HF_HUB_OFFLINE=1

/opt/open-webui/bin/python - <<'PYTHON'
import importlib.metadata
import importlib.util
from pathlib import Path

print("open-webui", importlib.metadata.version("open-webui"))
package = Path(importlib.util.find_spec("open_webui").submodule_search_locations[0])
assert (package / "frontend" / "index.html").is_file()
PYTHON
open-webui --help | grep serve
