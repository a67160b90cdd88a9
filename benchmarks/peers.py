"""Other ways to capture activations, each as `capture(model, batches) -> {layer[:call]: tensor (n, ...)}`."""

from __future__ import annotations

import importlib.util
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

Batches = Sequence[Tensor]
Captured = dict[str, Tensor]


def leaves(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules without children, by name."""
    return {name: module for name, module in model.named_modules() if not list(module.children())}


def key(name: str, call: int) -> str:
    """Return the name of a call: `relu`, `relu:1`, ..."""
    return f"{name}:{call}" if call else name


def _joined(parts: dict[str, list[Tensor]]) -> Captured:
    return {name: torch.cat(tensors) for name, tensors in parts.items()}


@torch.inference_mode()
def plain_forward(model: nn.Module, batches: Batches) -> Captured:
    """Run the model and keep nothing."""
    for batch in batches:
        model(batch)
    return {}


@torch.inference_mode()
def cloned(model: nn.Module, batches: Batches) -> Captured:
    """Clone every call of every leaf: the truth."""
    parts: dict[str, list[Tensor]] = defaultdict(list)
    calls: dict[str, int] = {}

    def keep(name: str, _module: nn.Module, _args: Any, output: Tensor) -> None:
        parts[key(name, calls.get(name, 0))].append(output.clone())
        calls[name] = calls.get(name, 0) + 1

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in leaves(model).items()]
    try:
        for batch in batches:
            calls.clear()
            model(batch)
    finally:
        for handle in handles:
            handle.remove()
    return _joined(parts)


@torch.inference_mode()
def preallocated(model: nn.Module, batches: Batches) -> Captured:
    """Copy every call into one array a call, laid out at the first batch: the floor of anything that captures all."""
    total = sum(len(batch) for batch in batches)
    arrays: Captured = {}
    calls: dict[str, int] = {}
    row = 0

    def keep(name: str, _module: nn.Module, _args: Any, output: Tensor) -> None:
        call = key(name, calls.get(name, 0))
        calls[name] = calls.get(name, 0) + 1
        if call not in arrays:
            arrays[call] = torch.empty((total, *output.shape[1:]), dtype=output.dtype)
        arrays[call][row : row + len(output)] = output

    handles = [module.register_forward_hook(partial(keep, name)) for name, module in leaves(model).items()]
    try:
        for batch in batches:
            calls.clear()
            model(batch)
            row += len(batch)
    finally:
        for handle in handles:
            handle.remove()
    return arrays


@torch.inference_mode()
def torchvision_extractor(model: nn.Module, batches: Batches) -> Captured:
    """`create_feature_extractor` of all leaves, outputs concatenated."""
    from torchvision.models.feature_extraction import create_feature_extractor

    nodes = _nodes(model)
    extractor = create_feature_extractor(model, list(nodes))
    parts: dict[str, list[Tensor]] = defaultdict(list)
    for batch in batches:
        for node, output in extractor(batch).items():
            parts[node].append(output)
    return _joined({nodes[node]: tensors for node, tensors in parts.items()})


@torch.inference_mode()
def truncated_models(model: nn.Module, batches: Batches) -> Captured:
    """One model a layer, cut off behind it, each run over all samples: the notebook's way."""
    from torchvision.models.feature_extraction import create_feature_extractor

    captured = {}
    for node, call in _nodes(model).items():
        cut = create_feature_extractor(model, [node])
        captured[call] = torch.cat([cut(batch)[node] for batch in batches])
    return captured


def _nodes(model: nn.Module) -> dict[str, str]:
    """Return torchvision's name of every leaf call (`conv_0` is `conv` to it) -> ours."""
    from torchvision.models.feature_extraction import NodePathTracer

    tracer = NodePathTracer()
    calls: Counter[str] = Counter()
    nodes = {}
    for node in tracer.trace(model).nodes:
        if node.op == "call_module":
            nodes[tracer.node_to_qualname[node]] = key(node.target, calls[node.target])
            calls[node.target] += 1
    return nodes


def captum_activations(model: nn.Module, batches: Batches) -> Captured:
    """`captum.attr.LayerActivation` over all leaves, one call a batch."""
    from captum.attr import LayerActivation

    names = leaves(model)
    reader = LayerActivation(model, list(names.values()))
    parts: dict[str, list[Tensor]] = defaultdict(list)
    with torch.no_grad():
        for batch in batches:
            for name, output in zip(names, reader.attribute(batch), strict=True):
                last = output[-1] if isinstance(output, tuple) else output
                parts[name].append(last.detach())
    return _joined(parts)


@torch.inference_mode()
def timm_hooks(model: nn.Module, batches: Batches) -> Captured:
    """`timm`'s FeatureHooks on all leaves, outputs concatenated."""
    from timm.models._features import FeatureHooks

    hooks = FeatureHooks(list(leaves(model)), model.named_modules())
    parts: dict[str, list[Tensor]] = defaultdict(list)
    try:
        for batch in batches:
            model(batch)
            for name, output in hooks.get_output(batch.device).items():
                parts[name].append(output)
    finally:
        for handle in hooks._handles:  # it offers no way to remove them
            handle.remove()
    return _joined(parts)


def torchlens_extract(model: nn.Module, batches: Batches) -> Captured:
    """`torchlens.extract` of every call of every leaf, outputs concatenated."""
    import torchlens

    wanted = _torchlens_names(model, batches[0])
    parts: dict[str, list[Tensor]] = defaultdict(list)
    with torch.no_grad():
        for batch in batches:
            for name, output in torchlens.extract(model, batch, wanted).items():
                parts[name].append(output.detach())
    return _joined(parts)


def _torchlens_names(model: nn.Module, batch: Tensor) -> dict[str, str]:
    """Return call -> torchlens's name of it; it counts the passes of a reused module from 1."""
    calls = list(cloned(model, [batch[:2]]))
    again = {name.split(":")[0] for name in calls if ":" in name}
    names = {}
    for call in calls:
        name, _, number = call.partition(":")
        names[call] = f"{name}:{int(number or 0) + 1}" if name in again else name
    names[calls[-1]] = "output_1"  # it does not find a closing softmax by its module's name
    return names


SLOWEST = "one truncated model a layer"
PEERS: dict[str, tuple[str, Callable[[nn.Module, Batches], Captured]]] = {
    "torchvision extractor": ("torchvision", torchvision_extractor),
    "captum LayerActivation": ("captum", captum_activations),
    "timm FeatureHooks": ("timm", timm_hooks),
    "torchlens extract": ("torchlens", torchlens_extract),
    SLOWEST: ("torchvision", truncated_models),
}


def obstacle(name: str, model: nn.Module, batch: Tensor) -> str | None:
    """Say why a peer cannot run here, or None."""
    library, capture = PEERS[name]
    if importlib.util.find_spec(library) is None:
        return "not installed"
    try:
        capture(model, [batch])
    except Exception as problem:  # whatever a peer raises is its row, not the end of the run
        return f"failed: {type(problem).__name__}"
    return None
