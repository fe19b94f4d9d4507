"""TVM imports, and a function compiled for the CPU computes what it should. No GPU needed.

Exit status 77: this build needs the GPU driver to be loaded.
"""

import sys
from pathlib import Path

import numpy as np

record = Path("/opt/sources/tvm")  # of a compiled one; the wheel has none
if Path("/opt/tvm").exists():
    print(record.read_text().strip())
try:
    import tvm
except OSError as error:
    if "libcuda.so.1" in str(error):
        print("needs a GPU: this build of TVM has CUDA in it, and there is no driver (libcuda.so.1) in this container")
        sys.exit(77)
    raise
from tvm import te

print("tvm", tvm.__version__, tvm.__file__)


def add_one(length):
    """A primitive function, by the interface that every version here has."""
    given = te.placeholder((length,), name="given", dtype="float32")
    result = te.compute((length,), lambda i: given[i] + 1.0, name="result")
    return te.create_prim_func([given, result]).with_attr("global_symbol", "add_one")


def tensor(values):
    runtime = getattr(tvm, "runtime", tvm)
    make = getattr(runtime, "tensor", None) or tvm.nd.array
    return make(values)


module = tvm.IRModule({"add_one": add_one(8)})
try:
    built = tvm.build(module, target="llvm") if hasattr(tvm, "build") else tvm.compile(module, target="llvm")
except AttributeError:
    built = tvm.tir.build(module, target="llvm")
given, result = tensor(np.arange(8, dtype="float32")), tensor(np.zeros(8, dtype="float32"))
built["add_one"](given, result)
answer = result.numpy() if hasattr(result, "numpy") else np.from_dlpack(result)
assert np.array_equal(answer, np.arange(1, 9, dtype="float32")), answer
print("a function compiled for the CPU by LLVM is right")
