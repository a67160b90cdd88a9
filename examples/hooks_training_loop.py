"""Watch a layer while a network learns: capture the same samples every few epochs.

python examples/hooks_training_loop.py
"""

import torch
from sklearn.datasets import load_digits
from torch import nn

from torchviz_layers import extract

EVERY = 5

torch.manual_seed(0)
digits = load_digits()
x = torch.tensor(digits.data, dtype=torch.float32) / 16
y = torch.tensor(digits.target)
watched = [(x[:500], y[:500])]

model = nn.Sequential(nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(), nn.Linear(32, 10))
optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
history = {}

for epoch in range(21):
    if epoch % EVERY == 0:
        # Runs in eval mode and leaves the training flags, the running statistics and the gradients as they are.
        history[epoch] = extract(model, watched, ["2"], progress=False)
        right = (history[epoch].predictions.argmax(1) == history[epoch].targets).mean()
        print(f"epoch {epoch:2}: {right:.1%} right, {(history[epoch]['2'] == 0).mean():.0%} of layer 2 silent")
    for batch in torch.randperm(len(x)).split(128):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimizer.step()
