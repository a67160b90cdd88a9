"""Three checkpoints of one training run on one page, to see what the later epochs correct.

python examples/three_checkpoints.py
"""

import copy

import torch
from torch import nn

from torchviz_layers import UMAP, load_dataset, visualize_layers

torch.manual_seed(0)
digits = load_dataset("digits")
train, test = digits[:1200], digits[1200:]
model = nn.Sequential(
    nn.Conv2d(1, 8, 5, stride=2), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(1152, 32), nn.ReLU(), nn.Linear(32, 10)
)
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
checkpoints = {}
for epoch in range(1, 13):
    for images, targets, _ids in train.batches(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(images), targets).backward()
        optimizer.step()
    if epoch in (1, 3, 12):
        checkpoints[f"epoch {epoch}"] = copy.deepcopy(model)

page = visualize_layers(checkpoints, test, reducer=UMAP(random_state=0), title="Digits, early to late")
for network in page.data.networks:
    print(f"{network.name}: accuracy {network.accuracy(page.data.targets):.3f}")
print(page.save("three_checkpoints.html"))
