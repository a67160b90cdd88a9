"""A table with named columns and an MLP: scikit-learn's breast-cancer data.

pip install pandas
python examples/table_breast_cancer.py
"""

import torch
from sklearn.datasets import load_breast_cancer
from torch import nn

from torchviz_layers import UMAP, Samples, visualize_layers

torch.manual_seed(0)
data = load_breast_cancer(as_frame=True)
features = data.data
table = (features - features.mean()) / features.std()
table["diagnosis"] = data.target.map(dict(enumerate(data.target_names)))

# The network's output k is the class of data.target_names[k]; sorted names would be in another order.
columns = {"mean radius (mm)": features["mean radius"], "worst area (mm²)": features["worst area"]}
samples = Samples.of(table, targets="diagnosis", class_names=data.target_names, columns=columns, name="breast cancer")

model = nn.Sequential(nn.Linear(30, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU(), nn.Linear(16, 2))
X = torch.tensor(features.sub(features.mean()).div(features.std()).values, dtype=torch.float32)
y = torch.tensor(data.target.values)
optimizer = torch.optim.Adam(model.parameters(), 1e-2, weight_decay=1e-4)
train = torch.arange(len(X)) % 3 > 0
for _ in range(60):
    optimizer.zero_grad()
    nn.functional.cross_entropy(model(X[train]), y[train]).backward()
    optimizer.step()

page = visualize_layers(model.eval(), samples, reducer=UMAP(random_state=0))
print(f"accuracy {page.data.networks[0].accuracy(page.data.targets):.3f}")
print(page.save("breast_cancer.html"))
