#!/usr/bin/env bash
# TVM, as MLC loads it, finds the GPU, has the kernels that q4f16_ft needs, and compiles beside Triton's LLVM. Exit status 77: there is none here.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

if ! ldconfig -p | grep -q 'libcuda\.so\.1' || { [ ! -e /dev/nvidiactl ] && [ ! -e /dev/nvhost-gpu ] && [ ! -e /dev/nvgpu ]; }; then
    echo "needs a GPU: there is none in this container"
    exit 77
fi
python3 - <<'PYTHON'
import tvm
from tvm import te

try:
    import triton  # MLC imports it where the image has it, and its library brings another LLVM into the process
except ImportError:
    triton = None

device = tvm.cuda(0)
assert device.exist, "TVM finds no GPU"
print("compute capability", device.compute_version)
find = getattr(tvm, "get_global_func", None) or tvm.ffi.get_global_func
assert find("cutlass.ft_preprocess_weight", True), "TVM was built without the weight-only kernels"

given = te.placeholder((8,), name="given", dtype="float32")
result = te.compute((8,), lambda i: given[i] + 1.0, name="result")
module = tvm.IRModule({"add_one": te.create_prim_func([given, result]).with_attr("global_symbol", "add_one")})
(tvm.build if hasattr(tvm, "build") else tvm.compile)(module, target="llvm")
print("compiled by LLVM", "beside Triton's" if triton else "without Triton")
PYTHON
