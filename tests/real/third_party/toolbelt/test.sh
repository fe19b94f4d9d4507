#!/usr/bin/env bash
set -e
[ "$(toolbelt)" = "toolbelt works" ]
python3 -c 'import iniconfig'
[ -z "$PIP_INDEX_URL$UV_DEFAULT_INDEX$TWINE_PASSWORD" ]
