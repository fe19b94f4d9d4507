"""The GPU is found, and what it multiplies is right. Exit status 77: there is none here."""

import os
import sys

import ctranslate2
import numpy as np

if not os.path.isdir("/usr/local/cuda"):
    print("a build without CUDA: there is nothing to ask a GPU")
    sys.exit(0)
if ctranslate2.get_cuda_device_count() == 0:
    print("needs a GPU: CTranslate2 finds none in this container")
    sys.exit(77)
print(sorted(ctranslate2.get_supported_compute_types("cuda")))
array = np.arange(12, dtype=np.float32).reshape(3, 4)
there = ctranslate2.StorageView.from_array(array).to_device(ctranslate2.Device.cuda)
assert there.device == "cuda"
assert np.array_equal(np.array(there.to_device(ctranslate2.Device.cpu)), array)
