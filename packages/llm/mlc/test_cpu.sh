#!/usr/bin/env bash
# Without a GPU: MLC's library loads beside the wheel of TVM, has its engine and its tokenizers, and LLVM compiles for the CPU.
set -euo pipefail
trap 'echo "line $LINENO failed: $BASH_COMMAND" >&2' ERR

cat /opt/sources/mlc-tvm /opt/sources/mlc-tokenizers-cpp
python3 - <<'PYTHON'
import json
import tempfile

import numpy as np
import tvm
from mlc_llm import MLCEngine
from mlc_llm.tokenizers import Tokenizer
from tvm import te

print("tvm", tvm.__version__, MLCEngine)
for name in ("mlc.serve.create_threaded_engine", "mlc.tokenizers.Tokenizer"):
    assert tvm.get_global_func(name, allow_missing=True), name + " is not there: MLC's library was not loaded"

words = {"<unk>": 0, "a": 1, "jetson": 2}
plain = {
    "version": "1.0", "truncation": None, "padding": None, "added_tokens": [], "normalizer": None,
    "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None,
    "model": {"type": "WordLevel", "vocab": words, "unk_token": "<unk>"},
}
with tempfile.TemporaryDirectory() as directory:
    with open(directory + "/tokenizer.json", "w") as file:
        json.dump(plain, file)
    found = list(Tokenizer(directory).encode("a jetson"))
assert found == [1, 2], found
print("the tokenizers compiled from Rust answer", found)

given = te.placeholder((8,), name="given", dtype="float32")
result = te.compute((8,), lambda i: given[i] * 2.0, name="result")
function = te.create_prim_func([given, result]).with_attr("global_symbol", "double")
built = tvm.compile(tvm.IRModule({"double": function}), target="llvm")
numbers, out = tvm.runtime.tensor(np.arange(8, dtype="float32")), tvm.runtime.tensor(np.zeros(8, dtype="float32"))
built["double"](numbers, out)
assert out.numpy().tolist() == [2.0 * each for each in range(8)]
print("LLVM compiled for", tvm.target.Target("llvm"))
PYTHON
