#!/usr/bin/env bash
# Install the wheel that the artifact part compiled, and the libraries that it reads pictures with.
# Needs TORCHVISION_VERSION and TORCHVISION_PYTHON (which lock: py36, py38, py310).
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)

install_first() { # of these packages the first that the distribution has
    local name
    for name in "$@"; do
        if apt-cache show "$name" > /dev/null 2>&1; then
            apt-get install -y --no-install-recommends "$name"
            return
        fi
    done
    echo "error: the distribution has none of: $*" >&2
    return 1
}

apt-get update
install_first libjpeg-turbo8 libjpeg62-turbo
install_first libpng16-16t64 libpng16-16
apt-get clean
rm -rf /var/lib/apt/lists/*

python3 -m pip install --no-deps --require-hashes -r "$here/run-$TORCHVISION_PYTHON.lock"
python3 -m pip install --no-deps --no-index /opt/torchvision/torchvision-*.whl
installed=$(python3 -m pip show torchvision | sed -n 's/^Version: //p')
[[ $installed == "$TORCHVISION_VERSION"* ]]
# the wheel of the Python index has other operators ("operator torchvision::nms does not exist"): pip may not replace this one
echo "torchvision==$installed" >> /etc/pip/constraints.txt
