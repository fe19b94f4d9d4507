"""A model runs and gives what NumPy gives, and the execution provider of this image is compiled in."""

import os
import subprocess
import sys

import numpy as np
import onnxruntime as ort

# y = relu(x @ w), x [n, 3], w [3, 2]: written by hand, so that this test needs no package `onnx`
def field(number, payload):
    return bytes([number << 3 | 2, len(payload)]) + payload


def value_info(name, *dims):
    shape = b"".join(field(1, bytes([8, dim]) if dim else field(2, b"n")) for dim in dims)
    return field(1, name) + field(2, field(1, b"\x08\x01" + field(2, shape)))


WEIGHT = np.array([[1, -1], [2, 0], [0, 3]], dtype=np.float32)
TENSOR = b"\x08\x03\x08\x02\x10\x01" + field(8, b"w") + field(9, WEIGHT.tobytes())
NODES = [field(1, b"x") + field(1, b"w") + field(2, b"h") + field(4, b"MatMul"), field(1, b"h") + field(2, b"y") + field(4, b"Relu")]
GRAPH = b"".join(field(1, node) for node in NODES) + field(2, b"g") + field(5, TENSOR) + field(11, value_info(b"x", 0, 3)) + field(12, value_info(b"y", 0, 2))
MODEL = b"\x08\x07" + field(8, b"\x10\x0d") + field(7, GRAPH)


def run(providers):
    session = ort.InferenceSession(MODEL, providers=providers)
    x = np.array([[1, 2, 3], [-4, 1, 0]], dtype=np.float32)
    (y,) = session.run(None, {"x": x})
    assert np.allclose(y, np.maximum(x @ WEIGHT, 0)), y
    return session.get_providers()


if __name__ == "__main__":
    print("onnxruntime", ort.__version__, "providers", ort.get_available_providers())
    assert os.environ["ONNXRUNTIME_PROVIDER"] in ort.get_available_providers()
    assert run(["CPUExecutionProvider"]) == ["CPUExecutionProvider"]
    subprocess.check_call([sys.executable, "-m", "pip", "install", "--no-index", "onnxruntime==" + ort.__version__])
