#!/usr/bin/env bash
# cuDNN loads and is the version of the headers; with a GPU, it makes a handle. Exit status 77: a part needs a GPU.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

library=$(ldconfig -p | sed -n 's/.*=> \(.*\/libcudnn\.so\.[0-9]*\)$/\1/p' | sed -n 1p)
if [ -z "$library" ]; then
    if [ "$CUDA_COMES_FROM" = host ]; then
        echo "needs a GPU: on JetPack 4 cuDNN comes from the host, with --runtime nvidia"
        exit 77
    fi
    echo "no libcudnn in the library path" >&2
    exit 1
fi
echo "$library -> $(readlink -f "$library")"
if [[ $(ldd "$library") == *'not found'* ]]; then
    ldd "$library" >&2
    exit 1
fi
full=$(readlink -f "$library")
if [ "$CUDA_COMES_FROM" != host ]; then # what mounts the host's library on JetPack 4 leaves the headers out
    field() { sed -n "s/^#define CUDNN_$1 \([0-9]*\).*/\1/p" /usr/include/cudnn_version.h; }
    [[ $full == *".so.$(field MAJOR).$(field MINOR).$(field PATCHLEVEL)" ]]
    echo "headers: $(field MAJOR).$(field MINOR).$(field PATCHLEVEL)"
    [ -e /usr/include/cudnn.h ]
fi

if [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvhost-gpu ] && [ ! -e /dev/nvgpu ]; then
    echo "needs a GPU: making a cuDNN handle"
    exit 77
fi
command -v python3 > /dev/null || { echo "no Python in this image: making a handle is left out"; exit 0; }
python3 - "$library" <<'PYTHON'
import ctypes
import sys

cudnn = ctypes.CDLL(sys.argv[1])
cudnn.cudnnGetVersion.restype = ctypes.c_size_t
handle = ctypes.c_void_p()
status = cudnn.cudnnCreate(ctypes.byref(handle))
assert status == 0, "cudnnCreate: status %d" % status
assert cudnn.cudnnDestroy(handle) == 0
print("cuDNN", cudnn.cudnnGetVersion())
PYTHON
