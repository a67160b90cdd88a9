"""A model of one's own in fifteen lines: its layers on one page.

python examples/own_model.py
"""

import torch
from torch import nn

from torchviz_layers import UMAP, load_dataset, visualize_layers

torch.manual_seed(0)
digits = load_dataset("digits")
model = nn.Sequential(nn.Flatten(), nn.Linear(784, 64), nn.ReLU(), nn.Linear(64, 10))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
for _ in range(10):
    for images, targets, _ids in digits.batches(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()
page = visualize_layers(model, digits, reducer=UMAP(random_state=0))
print(page.save("own_model.html"))
