"""A segmentation network: it has no classes a sample, so the page shows its layers without predictions, and says why.

python examples/segmentation.py
"""

import torch
from torch import nn
from torch.utils.data import Dataset

from torchviz_layers import UMAP, visualize_layers


class Discs(Dataset):
    """Pictures of one disc with noise, and the mask of the disc."""

    def __len__(self):
        return 300

    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(index)
        center, radius = torch.rand(2, generator=generator) * 20 + 6, torch.rand(1, generator=generator) * 6 + 3
        rows, columns = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
        mask = (rows - center[0]) ** 2 + (columns - center[1]) ** 2 < radius**2
        noise = torch.rand(32, 32, generator=generator) * 0.5
        return (mask * 0.5 + noise)[None], mask.long()


torch.manual_seed(0)
model = nn.Sequential(
    nn.Conv2d(1, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 8, 5, padding=2), nn.ReLU(), nn.Conv2d(8, 2, 1)
)
page = visualize_layers(model.eval(), Discs(), [1, 3, 4], pool="gap", reducer=UMAP(random_state=0), title="Discs")
for note in page.data.notes:
    print(note)
print(page.save("segmentation.html"))
