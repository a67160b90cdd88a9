"""torchvision's ImageFolder with a normalising transform, and a timm network; pass a folder, or none to draw one.

The network is fed exactly what the dataset yields; the page shows the pictures as they were before the transform.

pip install timm
python examples/imagefolder_timm.py [FOLDER] [resnet10t]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
import timm
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from torchviz_layers import UMAP, visualize_layers


def draw(folder: Path, n: int = 24) -> Path:
    """Draw `n` pictures of stripes and `n` of checks, in random colours."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:96, :96] // 12 % 2
    for name, pattern in (("stripes", rows), ("checks", rows ^ columns)):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            ink, paper = rng.integers(0, 255, (2, 3))
            pixels = np.where(pattern[..., None] == 1, ink, paper) // 2 + rng.integers(0, 60, (96, 96, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k:02}.png")
    return folder


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else draw(Path(tempfile.mkdtemp()) / "patterns")
normalised = transforms.Compose(
    [
        transforms.Resize(72),
        transforms.CenterCrop(64),
        transforms.ToTensor(),
        transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)
loader = DataLoader(datasets.ImageFolder(folder, normalised), batch_size=32)
model = timm.create_model(sys.argv[2] if len(sys.argv) > 2 else "resnet10t", pretrained=False, num_classes=2).eval()
page = visualize_layers(model, loader, ["layer?", "fc"], pool="gap", reducer=UMAP(random_state=0), title="patterns")
for panel in page.data.panels:
    print(f"{panel.layer:20} purity {panel.purity:.2f}")
print(page.save("patterns.html"))
