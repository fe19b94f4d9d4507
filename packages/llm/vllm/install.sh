#!/usr/bin/env bash
# Install what vLLM imports; with `wheel`, vLLM itself from the Python index as well. Needs VLLM_VERSION.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

apt-get update
apt-get install -y --no-install-recommends libnuma1
apt-get clean
rm -rf /var/lib/apt/lists/*

python3 -m pip install --no-deps --require-hashes -r "$here/vllm-$VLLM_VERSION.lock"
if [ "${1:-}" = wheel ]; then
    python3 -m pip install --no-deps --only-binary vllm --require-hashes -r "$here/sdist-$VLLM_VERSION.lock"
fi
if python3 -c 'import importlib.util as u, sys; sys.exit(u.find_spec("cv2") is None)'; then
    echo "OpenCV is in the image already"
else
    python3 -m pip install --no-deps --require-hashes -r "$here/opencv.lock"
fi
python3 -c 'import importlib.metadata as m; print("vllm==" + m.version("vllm"))' >> /etc/pip/constraints.txt
