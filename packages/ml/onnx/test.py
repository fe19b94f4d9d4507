"""A model is made, checked, given its shapes, written, and read back the same."""

import os
import tempfile

import numpy as np
import onnx
from onnx import TensorProto, checker, helper, numpy_helper, shape_inference

print("onnx", onnx.__version__, "opset", onnx.defs.onnx_opset_version(), "ir", onnx.IR_VERSION)

weight = np.arange(12, dtype=np.float32).reshape(3, 4)
graph = helper.make_graph(
    [helper.make_node("MatMul", ["x", "w"], ["h"]), helper.make_node("Relu", ["h"], ["y"])],
    "tiny",
    [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
    [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 4])],
    [numpy_helper.from_array(weight, "w")],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
checker.check_model(model)

inferred = shape_inference.infer_shapes(model)
hidden = next(value for value in inferred.graph.value_info if value.name == "h")
assert [d.dim_value for d in hidden.type.tensor_type.shape.dim] == [2, 4]

with tempfile.TemporaryDirectory() as work:
    path = os.path.join(work, "tiny.onnx")
    onnx.save(model, path)
    again = onnx.load(path)
assert np.array_equal(numpy_helper.to_array(again.graph.initializer[0]), weight)

model.graph.node[0].op_type = "NoSuchOperator"
try:
    checker.check_model(model)
except checker.ValidationError as error:
    assert "NoSuchOperator" in str(error), error
else:
    raise AssertionError("an operator that does not exist passed the check")
