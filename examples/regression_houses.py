"""A regression: prices of made-up houses from their position, age, rooms and income, with planted outliers.

pip install pandas
python examples/regression_houses.py
"""

import numpy as np
import pandas as pd
import torch
from torch import nn

from torchviz_layers import UMAP, Samples, visualize_layers

torch.manual_seed(0)
rng = np.random.default_rng(0)
n = 1500
longitude, latitude = rng.uniform(-124, -114, n), rng.uniform(32, 42, n)
age, rooms, income = rng.uniform(1, 52, n), rng.gamma(9, 0.6, n), rng.gamma(4, 1.0, n)
near_coast = np.exp(-((longitude + 124 - 0.8 * (42 - latitude)) ** 2) / 4)
price = 0.4 * income + 0.1 * rooms - 0.005 * age + 1.5 * near_coast + rng.normal(0, 0.15, n)
price[:10] += 3.0  # ten prices that nothing explains: the page leads to them

features = {"longitude": longitude, "latitude": latitude, "age": age, "rooms": rooms, "income": income}
table = pd.DataFrame(features)
table = (table - table.mean()) / table.std()

model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 1))
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
inputs, target = torch.tensor(table.to_numpy(np.float32)), torch.tensor(price, dtype=torch.float32)[:, None]
for _ in range(300):
    optimizer.zero_grad()
    nn.functional.huber_loss(model(inputs), target, delta=0.3).backward()
    optimizer.step()

# Shown beside the standardised features that the network is fed.
columns = {"age (years)": age.round(), "price (100,000)": price, "region": np.where(latitude > 37, "north", "south")}
samples = Samples.of(table, targets=price, columns=columns, name="houses")
page = visualize_layers(model.eval(), samples, reducer=UMAP(random_state=0))
largest = [case.sample for case in page.data.corner_cases if case.kind == "large residual"][:10]
print(f"planted outliers among the ten largest residuals: {sum(sample < 10 for sample in largest)}")
print(page.save("houses.html"))
