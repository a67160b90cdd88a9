"""A million pictures through a network on two cards, to a map and a page.

torchrun --nproc-per-node 2 examples/million.py              rows to a store, a card a process; fit on the first card
torchrun --nproc-per-node 2 examples/million.py              again after an interruption: it goes on where it was
torchrun --nproc-per-node 2 examples/million.py --images 6000 --side 64 --shown 1000          the same, small, on CPUs
"""

import argparse
import os

import numpy as np
import torch
import torchvision
from torch.utils.data import DataLoader, Dataset

from torchviz_layers import UMAP, embed, extract
from torchviz_layers.page import Network, PageData, Panel, build_page

parser = argparse.ArgumentParser()
parser.add_argument("--images", type=int, default=1_000_000)
parser.add_argument("--side", type=int, default=224)
parser.add_argument("--shown", type=int, default=20_000)
parser.add_argument("--out", default="million")
options = parser.parse_args()


class Pictures(Dataset):
    """Stands for your data: a picture and its class by number, the same ones every time."""

    def __len__(self) -> int:
        return options.images

    def __getitem__(self, number: int) -> tuple[torch.Tensor, int]:
        random = torch.Generator().manual_seed(number)
        picture, kind = torch.rand(3, options.side, options.side, generator=random), number % 10
        picture[:, : options.side // 2] *= kind / 10
        return picture, kind


torch.manual_seed(0)
model = torchvision.models.resnet18()  # weights=... for what it learned
loader = DataLoader(Pictures(), batch_size=250, num_workers=min(8, os.cpu_count() or 1))  # unshuffled

# Both processes run everything up to `embed`: each extracts its own chunks, on its own card.
acts = extract(model, loader, ["layer2", "avgpool"], pool="gap", thumbnails=28, out=f"{options.out}.zarr", resume=True)
maps = embed(acts, reducer=UMAP(random_state=0))

if os.environ.get("RANK", "0") == "0":
    panels = tuple(Panel(layer, found.Z) for layer, found in maps.items())
    data = PageData(
        title=f"{options.images:,} pictures",
        networks=(Network("resnet18", panels),),
        images=np.asarray(acts.thumbnails).transpose(0, 3, 1, 2),  # bytes, channels first: 2.4 GB for a million
        targets=acts.targets,
        notes=tuple(f"{layer}: embedded by {found.engine} ({found.reason})" for layer, found in maps.items()),
    )
    print(build_page(data, max_samples=options.shown).save(f"{options.out}.html"))
