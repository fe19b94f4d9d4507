#!/usr/bin/env bash
set -eux

for variable in PIP_WHEEL_DIR PIP_INDEX_URL UV_DEFAULT_INDEX TWINE_REPOSITORY_URL TWINE_USERNAME TWINE_PASSWORD WGET_FLAGS PYTHON_VERSION; do
    [ -n "${!variable}" ]
done
[ "$(command -v python3)" = /opt/venv/bin/python3 ]

tarpack install toolbelt-1.0 || echo "nothing ready-made, compiling"
mkdir -p /tmp/toolbelt/made/bin
gcc -O2 -o /tmp/toolbelt/made/bin/toolbelt /tmp/toolbelt/hello.c
cp /tmp/toolbelt/made/bin/toolbelt /usr/local/bin/
tarpack upload toolbelt-1.0 /tmp/toolbelt/made || echo "failed to upload tarball"

git clone --depth=1 https://toolbelt.invalid/team/parts.git /opt/parts
grep -q parts /opt/parts/README

uv pip install iniconfig
uv pip show iniconfig
mkdir -p "$PIP_WHEEL_DIR"
pip3 wheel --no-deps --wheel-dir="$PIP_WHEEL_DIR" iniconfig
twine upload --verbose "$PIP_WHEEL_DIR"/iniconfig*.whl || echo "failed to upload wheel to ${TWINE_REPOSITORY_URL}"

# shellcheck disable=SC2086 # several options in one variable, as such recipes write it
wget $WGET_FLAGS --output-document=/dev/null http://deb.debian.org/debian/dists/stable/Release
curl -fsSL -o /dev/null "$PIP_INDEX_URL/iniconfig/"
[ "$(vercmp "$PYTHON_VERSION" 3.6)" -gt 0 ]
lsb_release -cs
