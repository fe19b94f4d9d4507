"""Images are drawn, written, read and searched; the contrib modules are there; pip finds OpenCV under every name.

    test.py [--dnn]

`--dnn`: neural networks are made for the GPU, and windows can be opened where there is a display.
Exit status 77: the libraries come from a host that is not there.
"""

import os
import re
import subprocess
import sys
import tempfile

import numpy as np

try:
    import cv2
except (ImportError, OSError) as error:
    from_host = os.environ.get("CUDA_COMES_FROM") == "host" and re.match("lib(cu|nv|npp)", str(error))
    if not from_host or os.path.exists("/dev/nvhost-gpu"):
        raise
    print("needs a GPU: on JetPack 4 CUDA comes from the host, with --runtime nvidia:", error)
    sys.exit(77)

print("OpenCV", cv2.__version__, "numpy", np.__version__)

image = np.zeros((240, 320, 3), np.uint8)
cv2.circle(image, (160, 120), 50, (0, 255, 0), -1)
with tempfile.TemporaryDirectory() as work:
    for name in ("image.png", "image.jpg"):
        path = os.path.join(work, name)
        assert cv2.imwrite(path, image)
        again = cv2.imread(path)
        assert again.shape == image.shape and np.abs(again.astype(int) - image).mean() < 3
gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
contours = cv2.findContours(gray, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)[-2]
assert len(contours) == 1
assert abs(cv2.contourArea(contours[0]) / (np.pi * 50 * 50) - 1) < 0.05

information = cv2.getBuildInformation()
freeze = subprocess.check_output([sys.executable, "-m", "pip", "list", "--format", "freeze"], universal_newlines=True)
found = [line.split("==")[0] for line in freeze.splitlines() if line.startswith("opencv")]
assert len(found) == 4, found
subprocess.check_call([sys.executable, "-m", "pip", "install", "--no-index", "opencv-python", "opencv-python-headless"])
compiled = tuple(map(int, cv2.__version__.split(".")[:2])) >= (4, 8)  # the older one is NVIDIA's
if compiled:
    assert hasattr(cv2, "ximgproc"), "the contrib modules are missing"
if compiled and os.path.isdir("/usr/local/cuda"):
    assert re.search("Lapack: +YES", information), "OpenBLAS solves nothing in this build"
if os.path.isdir("/usr/local/cuda"):
    assert "NVIDIA CUDA" in information and hasattr(cv2, "cuda"), "no CUDA in this build"
    assert re.search("GStreamer: +YES", information), information
if "--dnn" in sys.argv[1:]:
    assert re.search(r"cuDNN: +YES", information), "cv2.dnn has no cuDNN"
    assert re.search(r"GTK\+?: +YES", information), "no windows in this build"
