"""A model learns through Accelerate, is placed by a device map, and the command line runs."""

import subprocess

import accelerate
import torch
from accelerate import Accelerator, dispatch_model, infer_auto_device_map

print("accelerate", accelerate.__version__, "torch", torch.__version__)
subprocess.run(["accelerate", "env"], check=True, stdout=subprocess.DEVNULL)

accelerator = Accelerator(cpu=True)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Linear(2, 8), torch.nn.Tanh(), torch.nn.Linear(8, 1))
x = torch.randn(64, 2)
data = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, x.sum(1, keepdim=True)), batch_size=16)
model, optimizer, data = accelerator.prepare(model, torch.optim.Adam(model.parameters(), lr=0.02), data)
for _ in range(60):
    for inputs, wanted in data:
        optimizer.zero_grad()
        loss = torch.nn.functional.mse_loss(model(inputs), wanted)
        accelerator.backward(loss)
        optimizer.step()
assert loss.item() < 0.1, loss.item()

plain = accelerator.unwrap_model(model)
device_map = infer_auto_device_map(plain, max_memory={"cpu": "1GiB"})
assert set(device_map.values()) == {"cpu"}, device_map
assert torch.allclose(dispatch_model(plain, device_map, force_hooks=True)(x), plain(x))
