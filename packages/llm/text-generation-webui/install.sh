#!/usr/bin/env bash
# Install text-generation-webui at its commit, with what it pins in an environment of its own on top of the image's.
# Needs TGWUI_REF.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
# shellcheck source-path=SCRIPTDIR source=../../shared/git/fetch.sh
. "$here/fetch.sh"

prefix=/opt/text-generation-webui
python=$prefix/venv/bin/python

apt-get update
apt-get install -y --no-install-recommends ca-certificates git
apt-get clean
rm -rf /var/lib/apt/lists/*

fetch_git https://github.com/oobabooga/text-generation-webui "$TGWUI_REF" "$prefix"
record_source text-generation-webui "$prefix" /
rm -rf "$prefix/.git"

# gradio 4 pins FastAPI and pydantic to releases of 2024; here they win over the image's, and nowhere else
python3 -m venv "$prefix/venv"
packages=$("$python" -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])')
python3 -c 'import sysconfig; print(sysconfig.get_paths()["purelib"])' > "$packages/image.pth"
"$python" -m pip install --no-cache-dir --no-deps --ignore-installed --require-hashes -r "$here/text-generation-webui.lock"
# the application asks this module where its llama-server is; ours is compiled for the platform's GPU
cp "$here/llama_cpp_binaries.py" "$packages/"
