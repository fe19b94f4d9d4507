"""The library that was asked for computes and learns on the CPU, and agrees with the image's NumPy.

Exit status 77: the libraries come from a host that is not there.
"""

import os
import re
import sys

import numpy as np

try:
    import torch
except (ImportError, OSError) as error:
    from_host = os.environ.get("CUDA_COMES_FROM") == "host" and re.match("lib(cu|nv|npp)", str(error))
    if not from_host or os.path.exists("/dev/nvhost-gpu"):
        raise
    print("needs a GPU: on JetPack 4 CUDA comes from the host, with --runtime nvidia:", error)
    sys.exit(77)

print("torch", torch.__version__, "CUDA", torch.version.cuda, "numpy", np.__version__)

a = np.arange(12, dtype=np.float32).reshape(3, 4)
assert np.array_equal((torch.from_numpy(a) @ torch.from_numpy(a.T)).numpy(), a @ a.T)

torch.manual_seed(0)
model = torch.nn.Linear(2, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
x = torch.randn(64, 2)
y = x @ torch.tensor([[2.0], [-3.0]]) + 1
for _ in range(200):
    optimizer.zero_grad()
    loss = torch.nn.functional.mse_loss(model(x), y)
    loss.backward()
    optimizer.step()
assert loss.item() < 1e-3, loss.item()

installed = re.escape(torch.__version__)
with open("/etc/pip/constraints.txt") as file:
    assert re.search("^torch==" + installed + "$", file.read(), re.M), "nothing keeps pip from replacing this build"
if os.path.isdir("/usr/local/cuda"):
    assert torch.version.cuda, "a CPU build in an image with CUDA"
