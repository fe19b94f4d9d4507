"""The library that was asked for computes and learns on the CPU, and agrees with the image's NumPy.

Exit status 77: the libraries come from a host that is not there.
"""

import os
import re
import subprocess
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

# As pip calls it: the wheel of the Python index has no `+cu130` in its version, and torch.__version__ has.
shown = subprocess.check_output([sys.executable, "-m", "pip", "show", "torch"], universal_newlines=True)
installed = re.search("^Version: (.+)$", shown, re.M).group(1)
with open("/etc/pip/constraints.txt") as file:
    assert re.search("^torch==" + re.escape(installed) + "$", file.read(), re.M), "nothing keeps pip from replacing this build"
if os.path.isdir("/usr/local/cuda"):
    assert torch.version.cuda, "a CPU build in an image with CUDA"
