#!/usr/bin/env bash
# Install Open WebUI in an environment of its own: it pins nearly two hundred packages to exact versions, also of those that a
# GPU build of the image has in another one. Needs OPENWEBUI_VERSION and TORCH_VERSION.
# PIP_FIND_LINKS may name a directory or page of wheels that is asked for torch first.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
prefix=/opt/open-webui
python=$prefix/bin/python
wanted=torch==$TORCH_VERSION

python3 -m venv "$prefix"
"$python" -m pip install --no-cache-dir --no-deps --require-hashes -r "$here/open-webui-$OPENWEBUI_VERSION.lock"
# The CPU build: it only makes embeddings of documents; models run in a server. The default index would bring gigabytes of CUDA.
if [ -n "${PIP_FIND_LINKS:-}" ] && "$python" -m pip install --no-cache-dir --no-deps --no-index "$wanted"; then
    echo "$wanted came from the wheelhouse $PIP_FIND_LINKS"
else
    "$python" -m pip install --no-cache-dir --no-deps --index-url https://download.pytorch.org/whl/cpu "$wanted"
fi
ln -s "$prefix/bin/open-webui" /usr/local/bin/open-webui
