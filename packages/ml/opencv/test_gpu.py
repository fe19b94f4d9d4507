"""The GPU filters an image as the CPU does. Exit status 77: there is none here."""

import ctypes
import re
import sys

import numpy as np

try:
    ctypes.CDLL("libcuda.so.1")
except OSError:
    print("needs a GPU: there is no driver (libcuda.so.1) in this container")
    sys.exit(77)

import cv2

if "NVIDIA CUDA" not in cv2.getBuildInformation():
    print("a build without CUDA: there is nothing to ask a GPU")
    sys.exit(0)
if cv2.cuda.getCudaEnabledDeviceCount() == 0:
    print("needs a GPU: OpenCV finds none in this container")
    sys.exit(77)

cv2.cuda.printShortCudaDeviceInfo(0)
image = np.random.RandomState(0).randint(0, 255, (240, 320), np.uint8)
on_gpu = cv2.cuda.GpuMat()
on_gpu.upload(image)
_, halves = cv2.threshold(image, 127, 255, cv2.THRESH_BINARY)
_, halves_gpu = cv2.cuda.threshold(on_gpu, 127, 255, cv2.THRESH_BINARY)
assert np.array_equal(halves, halves_gpu.download())

if re.search(r"cuDNN: +YES", cv2.getBuildInformation()):  # a network, y = relu(x), computes there

    def field(number, payload):
        return bytes([number << 3 | 2, len(payload)]) + payload

    def value(name):  # float [1, 4]
        shape = field(1, bytes([8, 1])) + field(1, bytes([8, 4]))
        return field(1, name) + field(2, field(1, b"\x08\x01" + field(2, shape)))

    node = field(1, field(1, b"x") + field(2, b"y") + field(4, b"Relu"))
    graph = node + field(2, b"g") + field(11, value(b"x")) + field(12, value(b"y"))
    model = b"\x08\x07" + field(8, b"\x10\x0d") + field(7, graph)
    network = cv2.dnn.readNetFromONNX(np.frombuffer(model, np.uint8))
    network.setPreferableBackend(cv2.dnn.DNN_BACKEND_CUDA)
    network.setPreferableTarget(cv2.dnn.DNN_TARGET_CUDA)
    network.setInput(np.array([[-1, 2, -3, 4]], np.float32))
    assert np.array_equal(network.forward(), np.array([[0, 2, 0, 4]], np.float32))
