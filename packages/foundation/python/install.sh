#!/usr/bin/env bash
# Make /opt/venv with the requested Python: the distribution's own where it is that version, a standalone build
# fetched by uv otherwise.
set -euo pipefail

version=${1:?which Python, for example 3.10}
here=$(cd "$(dirname "$0")" && pwd)
venv=/opt/venv

apt-get update
apt-get install -y --no-install-recommends ca-certificates python3 python3-venv
apt-get clean
rm -rf /var/lib/apt/lists/*

distribution=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')

install_locked() { # PYTHON LOCK: every file that pip takes must have a hash of the lock
    "$1" -m pip install --no-cache-dir --disable-pip-version-check --no-deps --require-hashes -r "$2"
}

if [ "$distribution" = "$version" ]; then
    echo "python $version is the distribution's own"
    python3 -m venv --system-site-packages "$venv"
else
    echo "the distribution has python $distribution; fetching a standalone build of $version"
    python3 -m venv /tmp/uv
    install_locked /tmp/uv/bin/python "$here/uv.lock"
    # uv carries the SHA-256 of each build it can fetch, so its version pins the interpreter too
    UV_PYTHON_INSTALL_DIR=/opt/python UV_CACHE_DIR=/tmp/uv-cache \
        /tmp/uv/bin/uv python install --no-config --no-bin "$version"
    interpreter=$(UV_PYTHON_INSTALL_DIR=/opt/python /tmp/uv/bin/uv python find --no-config --managed-python "$version")
    "$interpreter" -m venv --system-site-packages "$venv"
    rm -rf /tmp/uv /tmp/uv-cache
fi

install_locked "$venv/bin/python" "$here/python.lock"

# A package that installs a GPU build of a library adds its exact version here; a later `pip install` in this
# environment that would replace it then fails at once and names both. The file is read by this environment's pip only.
mkdir -p /etc/pip
cat > /etc/pip/constraints.txt <<'CONSTRAINTS'
# Exact versions that later installs into /opt/venv may not change. One `name==version` a line.
CONSTRAINTS
cat > "$venv/pip.conf" <<'CONFIG'
[install]
constraint = /etc/pip/constraints.txt
CONFIG

found=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$found" != "$version" ]; then
    echo "asked for python $version, $venv has $found" >&2
    exit 1
fi
