#!/usr/bin/env bash
# TVM, as MLC loads it, finds the GPU and has the kernels that q4f16_ft needs. Exit status 77: there is none here.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

if ! ldconfig -p | grep -q 'libcuda\.so\.1' || { [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvhost-gpu ] && [ ! -e /dev/nvgpu ]; }; then
    echo "needs a GPU: there is none in this container"
    exit 77
fi
python3 - <<'PYTHON'
import tvm

device = tvm.cuda(0)
assert device.exist, "TVM finds no GPU"
print("compute capability", device.compute_version)
find = getattr(tvm, "get_global_func", None) or tvm.ffi.get_global_func
assert find("cutlass.ft_preprocess_weight", True), "TVM was built without the weight-only kernels"
PYTHON
