"""A torchvision resnet on a folder of class folders; pass a folder of your own, or none to draw a small one.

python examples/resnet_on_folder.py [FOLDER] [torchvision:resnet18@DEFAULT]
"""

import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image

from torchviz_layers import UMAP, load_dataset, load_model, visualize_layers


def draw(folder: Path, n: int = 24) -> Path:
    """Draw `n` pictures of stripes and `n` of checks, in random colours."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[:64, :64] // 8 % 2
    for name, pattern in (("stripes", rows), ("checks", rows ^ columns)):
        (folder / name).mkdir(parents=True)
        for k in range(n):
            ink, paper = rng.integers(0, 255, (2, 3))
            noise = rng.integers(0, 60, (64, 64, 3))
            pixels = np.where(pattern[..., None] == 1, ink, paper) // 2 + noise
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{k:02}.png")
    return folder


folder = Path(sys.argv[1]) if len(sys.argv) > 1 else draw(Path(tempfile.mkdtemp()) / "patterns")
model = load_model(sys.argv[2] if len(sys.argv) > 2 else "torchvision:resnet18")
samples = load_dataset(folder, size=64)
page = visualize_layers(
    model, samples, ["maxpool", "layer1.1.relu:1", "layer3.1.relu:1", "avgpool"], reducer=UMAP(random_state=0)
)
for panel in page.data.panels:
    print(f"{panel.layer:18} purity {panel.purity:.2f}")
print(page.save("resnet.html"))
