"""Series of two channels and a 1-D convolution: three shapes of pulses, with their amplitude as a column.

python examples/series_conv1d.py
"""

import numpy as np
import torch
from torch import nn

from torchviz_layers import UMAP, Samples, visualize_layers

torch.manual_seed(0)
rng = np.random.default_rng(0)
n, length = 600, 96
shapes = ("square", "triangle", "sine")
kinds = rng.integers(0, 3, n)
amplitude = rng.uniform(0.5, 2.0, n)
phase = (np.arange(length) / length * 4 + rng.uniform(0, 1, (n, 1))) % 1  # (n, length)
waves = np.stack([np.sign(phase - 0.5), 4 * np.abs(phase - 0.5) - 1, np.sin(2 * np.pi * phase)])  # (3, n, length)
clean = waves[kinds, np.arange(n)] * amplitude[:, None]
series = np.stack([clean, np.gradient(clean, axis=1)], axis=1) + rng.normal(0, 0.3, (n, 2, length))
series = series.astype(np.float32)  # (n, 2, length)

model = nn.Sequential(
    nn.Conv1d(2, 16, 7, stride=2), nn.ReLU(), nn.Conv1d(16, 16, 7, stride=2), nn.ReLU(), nn.AdaptiveAvgPool1d(4),
    nn.Flatten(), nn.Linear(64, 3),
)  # fmt: skip
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
inputs, target = torch.from_numpy(series), torch.from_numpy(kinds)
for _ in range(40):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(inputs), target).backward()
    optimizer.step()

samples = Samples.of((series, kinds), class_names=shapes, columns={"amplitude": amplitude}, name="pulses")
page = visualize_layers(model.eval(), samples, reducer=UMAP(random_state=0))
print(f"accuracy {page.data.networks[0].accuracy(page.data.targets):.3f}")
print(page.save("pulses.html"))
