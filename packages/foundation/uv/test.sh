#!/usr/bin/env bash
# uv runs, sees the image's environment, installs into it, and respects the constraints that keep GPU builds.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

uv --version
[ "$(uv python find)" = /opt/venv/bin/python ]
uv pip list > "$work/list"
grep -q '^pip ' "$work/list"

# Two versions of a package of nothing: what the constraints file holds is not replaced.
python3 - "$work" <<'PYTHON'
import sys, zipfile
for version in ("1.0", "2.0"):
    info = "jc_uv_test-%s.dist-info/" % version
    with zipfile.ZipFile("%s/jc_uv_test-%s-py3-none-any.whl" % (sys.argv[1], version), "w") as wheel:
        wheel.writestr("jc_uv_test.py", "version = %r\n" % version)
        wheel.writestr(info + "METADATA", "Metadata-Version: 2.1\nName: jc-uv-test\nVersion: %s\n" % version)
        wheel.writestr(info + "WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(info + "RECORD", "jc_uv_test.py,,\n%sMETADATA,,\n%sWHEEL,,\n%sRECORD,,\n" % (info, info, info))
PYTHON
[ "$UV_CONSTRAINT" = /etc/pip/constraints.txt ]
uv pip install --offline --no-index --find-links "$work" jc-uv-test==1.0
python3 -c 'import jc_uv_test; assert jc_uv_test.version == "1.0"'
echo 'jc-uv-test==1.0' > "$work/constraints.txt"
if UV_CONSTRAINT=$work/constraints.txt uv pip install --offline --no-index --find-links "$work" jc-uv-test==2.0 2> "$work/said"; then
    echo "the constraints file was ignored" >&2
    exit 1
fi
grep -q 'jc-uv-test==1.0' "$work/said"
grep -q 'jc-uv-test==2.0' "$work/said"
uv pip uninstall jc-uv-test
[ ! -e ~/.cache/uv ]
