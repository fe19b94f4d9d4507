#!/usr/bin/env bash
# What a recipe in upstream's format calls is there, tarpack brings back what it sent, and the variables lead somewhere.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server"; rm -rf "$work"' EXIT

for program in uv git git-lfs wget curl gcc g++ make ccache twine tarpack vercmp lsb_release add-apt-repository python3 pip; do
    command -v "$program"
done
[ "$(command -v python3)" = /opt/venv/bin/python3 ]
twine --version | sed -n 1p
[ -d "$PIP_WHEEL_DIR" ]
[ -n "$PYTHON_VERSION" ]
[ -n "$WGET_FLAGS" ]
if [[ $WGET_FLAGS == *--no-check-certificate* ]]; then
    echo "WGET_FLAGS turns certificates off" >&2
    exit 1
fi
python3 -c 'import Cython, packaging, pkginfo, psutil, pynvml, setuptools, wheel'

[ "$(vercmp 12.6 12.10)" = -1 ]
[ "$(vercmp 1.2.0 1.2)" = 0 ]
[ "$(vercmp 2.09 2.8)" = 1 ]

# A server of one's own: what was uploaded comes back with its modes, and nothing damaged is unpacked.
mkdir "$work/files" "$work/tree" "$work/prefix"
python3 - "$work/files" "$work/port" >/dev/null 2>&1 <<'PYTHON' &
import http.server, os, sys
folder, port = sys.argv[1:]
class Handler(http.server.SimpleHTTPRequestHandler):
    def do_PUT(self):
        name = os.path.join(folder, os.path.basename(self.path))
        with open(name, "wb") as file:
            file.write(self.rfile.read(int(self.headers["Content-Length"])))
        self.send_response(201)
        self.end_headers()
os.chdir(folder)
server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
with open(port + ".new", "w") as file:
    file.write(str(server.server_address[1]))
os.rename(port + ".new", port)
server.serve_forever()
PYTHON
server=$!
for _ in $(seq 100); do
    [ ! -s "$work/port" ] || break
    sleep 0.1
done
TAR_INDEX_URL=http://127.0.0.1:$(cat "$work/port")
export TAR_INDEX_URL TAR_UPLOAD_URL=$TAR_INDEX_URL TARPACK_TMPDIR=$work/tmp TARPACK_PREFIX=$work/prefix no_proxy=127.0.0.1
mkdir "$work/tree/bin"
printf '#!/bin/sh\necho packed\n' >"$work/tree/bin/packed"
chmod +x "$work/tree/bin/packed"
tarpack upload packed-1.0 "$work/tree"
tarpack install packed-1.0
[ "$("$work/prefix/bin/packed")" = packed ]
echo damage >>"$work/files/packed-1.0.tar.gz"
rm -r "$work/prefix/bin"
if tarpack install packed-1.0 2>"$work/said"; then
    echo "a damaged archive was unpacked" >&2
    exit 1
fi
grep -q damaged "$work/said"
[ ! -e "$work/prefix/bin" ]
if TAR_INDEX_URL='' tarpack install packed-1.0 || tarpack install absent || tarpack remove packed-1.0; then
    echo "tarpack says that it worked" >&2
    exit 1
fi
