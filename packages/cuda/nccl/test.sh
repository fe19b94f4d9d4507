#!/usr/bin/env bash
# NCCL loads and says its version; with a GPU, one rank sums with itself. Exit status 77: a part needs a GPU.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

library=$(ldconfig -p | sed -n 's/.*=> \(.*\/libnccl\.so\.2\)$/\1/p' | sed -n 1p)
[ -n "$library" ]
echo "$library -> $(readlink -f "$library")"
missing=$(ldd "$library" | sed -n 's/^\s*\(\S*\) => not found/\1/p')
[ -z "$missing" ] || { echo "missing: $missing" >&2; exit 1; }
version=$(sed -n 's/^#define NCCL_VERSION_CODE \([0-9]*\)$/\1/p' /usr/include/nccl.h)
echo "headers: $version"

if [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvhost-gpu ] && [ ! -e /dev/nvgpu ]; then
    echo "needs a GPU: making a communicator"
    exit 77
fi
command -v python3 > /dev/null || { echo "no Python in this image: making a communicator is left out"; exit 0; }
python3 - "$library" <<'PYTHON'
import ctypes
import sys

nccl = ctypes.CDLL(sys.argv[1])
version, communicator, device = ctypes.c_int(), ctypes.c_void_p(), (ctypes.c_int * 1)(0)
assert nccl.ncclGetVersion(ctypes.byref(version)) == 0
assert nccl.ncclCommInitAll(ctypes.byref(communicator), 1, device) == 0
assert nccl.ncclCommDestroy(communicator) == 0
print("NCCL", version.value)
PYTHON
