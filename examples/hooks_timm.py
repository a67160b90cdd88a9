"""Any timm model: features of a vision transformer's blocks, one row of numbers an image.

pip install timm
python examples/hooks_timm.py
"""

import re

import timm
import torch

from torchviz_layers import extract, list_layers

model = timm.create_model("vit_tiny_patch16_224", pretrained=False)  # pretrained=True downloads weights
images = torch.randn(8, 3, 224, 224)

print(list_layers(model, images[:1]))
print(extract(model, images.split(4), re.compile(r"^blocks\.\d+$"), pool="cls"))
