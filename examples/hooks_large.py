"""More samples than memory holds: a store that survives being killed, and several processes that share it.

python examples/hooks_large.py                                             one process
torchrun --nproc-per-node 2 examples/hooks_large.py                        two, the same bytes
kill -9 it and start it again                                              it continues where it was
"""

import os
import sys

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from torchviz_layers import extract

torch.manual_seed(0)
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 128), nn.ReLU(), nn.Linear(128, 10))
images, targets = torch.rand(20_000, 1, 28, 28), torch.randint(10, (20_000,))
loader = DataLoader(TensorDataset(images, targets), batch_size=500)  # no shuffling: its order can be relied on

out = sys.argv[1] if len(sys.argv) > 1 else "hooks_large.zarr"
acts = extract(model, loader, ["1", "3"], out=out, resume=True)
if os.environ.get("RANK", "0") == "0":
    print(acts)  # arrays that are read as they are indexed; xarray.open_zarr(out, consolidated=False) reads them too
    print(acts["1"][:2, :4], acts.targets[:2], acts.provenance["model_fingerprint"])
