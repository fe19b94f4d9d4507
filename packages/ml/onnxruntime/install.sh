#!/usr/bin/env bash
# Install ONNX Runtime ORT_VERSION: the wheel that was compiled, under /opt/onnxruntime; the GPU wheel at ORT_URL (called ORT_WHEEL where
# the address does not say it, with the checksum ORT_SHA256 where one is known); or else what ORT_LOCK holds: by default the CPU wheel
# of the Python index.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
lock=$here/${ORT_LOCK:-cpu-$ORT_VERSION.lock}

# The CPU package has another name and the same files: it must not be installed over this one. A package that asks for it finds
# it there already, in this version and without files.
keep_gpu_build() {
    python3 - <<'PYTHON'
import pathlib, subprocess, sys, sysconfig
freeze = subprocess.check_output([sys.executable, "-m", "pip", "list", "--format", "freeze"], universal_newlines=True)
version = next(line.split("==")[1] for line in freeze.splitlines() if line.startswith("onnxruntime-gpu=="))
with open("/etc/pip/constraints.txt", "a") as constraints:
    constraints.write("onnxruntime-gpu==%s\nonnxruntime==%s\n" % (version, version))
info = pathlib.Path(sysconfig.get_paths()["purelib"], "onnxruntime-%s.dist-info" % version)
info.mkdir()
(info / "METADATA").write_text("Metadata-Version: 2.1\nName: onnxruntime\nVersion: %s\nSummary: provided by onnxruntime-gpu\n" % version)
(info / "INSTALLER").write_text("jetson-containers\n")
(info / "RECORD").write_text("".join("%s/%s,,\n" % (info.name, file) for file in ("METADATA", "INSTALLER", "RECORD")))
PYTHON
}

find_cuda_libraries() { # the loader does not look into Python's directories by itself
    python3 - > /etc/ld.so.conf.d/jetson-containers-onnxruntime.conf <<'PYTHON'
import pathlib, sysconfig
for directory in sorted(pathlib.Path(sysconfig.get_paths()["purelib"], "nvidia").glob("*/lib")):
    print(directory)
PYTHON
    ldconfig
}

shopt -s nullglob
compiled=(/opt/onnxruntime/onnxruntime_gpu-*.whl)
if [ "${#compiled[@]}" -gt 0 ]; then
    python3 -m pip install --no-deps --require-hashes -r "$here/dependencies.lock"
    python3 -m pip install --no-deps --no-index "${compiled[@]}"
    rm -rf /opt/onnxruntime
    keep_gpu_build
    exit 0
fi

if [ -z "${ORT_URL:-}" ]; then
    python3 -m pip install --no-deps --require-hashes -r "$lock"
    if grep -q '^onnxruntime-gpu==' "$lock"; then
        find_cuda_libraries
        keep_gpu_build
    fi
    exit 0
fi

work=$(mktemp -d)
name=${ORT_WHEEL:-${ORT_URL##*/}}
python3 -m pip install --no-deps --require-hashes -r "$here/dependencies.lock"
python3 - "$ORT_URL" "$work/$name" <<'PYTHON'
import sys, urllib.request
urllib.request.urlretrieve(sys.argv[1], sys.argv[2])
PYTHON
if [ -n "${ORT_SHA256:-}" ]; then
    echo "$ORT_SHA256  $work/$name" | sha256sum --check --strict
fi
python3 -m pip install --no-deps --no-index "$work/$name"
rm -rf "$work"
keep_gpu_build
