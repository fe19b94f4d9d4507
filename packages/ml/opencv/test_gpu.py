"""The GPU filters an image as the CPU does. Exit status 77: there is none here."""

import ctypes
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
