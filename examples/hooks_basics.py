"""The hook API in one page: list the layers, capture some, pool them, reach their gradients.

python examples/hooks_basics.py
"""

import torch
from torchvision.models import resnet18

from torchviz_layers import capture, list_layers

model = resnet18(weights=None).eval()
x = torch.randn(4, 3, 64, 64)

for layer in list_layers(model, x)[:4]:
    print(f"{layer.name:18} {layer.kind:12} {layer.output_shape} x {layer.calls}")

# Layers by name, glob, type or index. Every value is what the layer output at that moment, although resnet18's ReLUs
# overwrite their input and its blocks add to their convolutions' outputs in place.
with capture(model, ["layer4", "layer1.*.bn?", "layer1.0.relu", -1]) as acts, torch.no_grad():
    model(x)
for name, value in acts.items():
    print(f"{name:18} {tuple(value.shape)}")
print("the second call of a reused module:", tuple(acts["layer1.0.relu:1"].shape))

# A few numbers a sample, computed inside the hook: nothing larger is ever kept.
with capture(model, "layer?", pool="gap") as pooled, torch.no_grad():
    model(x)
print({name: tuple(value.shape) for name, value in pooled.items()})

# Grad-CAM needs the graph.
with capture(model, "layer4", detach=False) as kept:
    scores = model(x)
(gradient,) = torch.autograd.grad(scores.max(1).values.sum(), kept["layer4"])
heat = (kept["layer4"] * gradient.mean((2, 3), keepdim=True)).sum(1).relu()
print("Grad-CAM:", tuple(heat.shape))
