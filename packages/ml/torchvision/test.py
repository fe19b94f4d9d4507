"""The compiled operators are those of this torch, a picture goes through the network code, nothing is downloaded.

Exit status 77: a part needs a GPU.
"""

import os
import re
import sys
import tempfile

try:
    import torch
except (ImportError, OSError) as error:
    from_host = os.environ.get("CUDA_COMES_FROM") == "host" and re.match("lib(cu|nv|npp)", str(error))
    if not from_host or os.path.exists("/dev/nvhost-gpu"):
        raise
    print("needs a GPU: on JetPack 4 CUDA comes from the host, with --runtime nvidia:", error)
    sys.exit(77)
import torchvision

NEEDS_GPU = 77


def boxes(device):
    corners = torch.tensor([[0.0, 0.0, 1.0, 1.0], [0.0, 0.0, 1.0, 1.0], [2.0, 2.0, 3.0, 3.0]], device=device)
    return corners, torch.tensor([0.9, 0.8, 0.7], device=device)


def main():
    print("torchvision", torchvision.__version__, "torch", torch.__version__)
    assert len(torchvision.ops.nms(*boxes("cpu"), 0.5)) == 2

    picture = torch.arange(3 * 16 * 16).reshape(3, 16, 16).to(torch.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "picture.png")
        torchvision.io.write_png(picture, path)
        assert torch.equal(torchvision.io.read_image(path), picture)

    with torch.no_grad():
        scores = torchvision.models.resnet18().eval()(torch.zeros(1, 3, 64, 64))
    assert scores.shape == (1, 1000)

    if torch.version.cuda is None:
        return 0
    if not torch.cuda.is_available():
        print("needs a GPU: torchvision's operators on it")
        return NEEDS_GPU
    assert len(torchvision.ops.nms(*boxes("cuda"), 0.5)) == 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
