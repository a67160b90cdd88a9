"""What layers a model has, in the order in which they run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn

from torchviz_layers._common.nested import describe, tensors_in
from torchviz_layers.exceptions import CaptureError, DataError
from torchviz_layers.hooks.arguments import as_inputs, check_fit, copy_of, samples_in, type_hint
from torchviz_layers.hooks.batches import OTHER_BATCH_SIZES, as_arguments, resize
from torchviz_layers.hooks.devices import device_of
from torchviz_layers.hooks.forward_hooks import ForwardHooks
from torchviz_layers.hooks.layer_table import LayerInfo, LayerTable
from torchviz_layers.hooks.model_state import evaluation_mode, restored_state
from torchviz_layers.hooks.modules import ModuleTree, Node

# PyTorch runs hooks in `module(x)`, not in `module.forward(x)`.
_WHY_NO_HOOKS = "it was skipped, only its weights are read, or .forward(...) was called, which runs no hooks"


@dataclass
class Survey:
    """Records which modules run and the shapes of their outputs; keeps no tensor."""

    infos: dict[Node, LayerInfo] = field(default_factory=dict)
    ran: set[Node] = field(default_factory=set)
    leaves: set[Node] = field(default_factory=set)

    @property
    def layers(self) -> list[Node]:
        """The layers, in order of execution."""
        return [node for node in self.infos if node in self.leaves]

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start."""

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:  # noqa: ARG002 the protocol's
        """Record that a module has begun to run."""
        self.ran.add(node)
        # Made here and not in `leave`, so that the order is that in which the modules start.
        self.infos.setdefault(node, LayerInfo(node.name, node.kind))

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> None:  # noqa: ARG002
        """Record the shape and size of an output."""
        if leaf:
            self.leaves.add(node)
        info = _info_of(node, output)
        if call > 0:
            first = self.infos[node]
            sizes = (first.bytes_per_sample, info.bytes_per_sample)
            total = None if None in sizes else sum(filter(None, sizes))
            info = replace(first, calls=call + 1, bytes_per_sample=total)
        self.infos[node] = info


def _info_of(node: Node, output: Any) -> LayerInfo:
    found = [tensor for _, tensor in tensors_in(output)]
    dtype = found[0].dtype if found else None
    if len(found) != 1 or found[0].is_nested:
        return LayerInfo(node.name, node.kind, None, dtype, None, 1, structure=describe(output))
    (tensor,) = found
    size = math.prod(tensor.shape[1:]) * tensor.element_size()
    return LayerInfo(node.name, node.kind, tuple(tensor.shape), dtype, size, 1)


def list_layers(model: nn.Module, example: Any = None, *, leaves_only: bool = True) -> LayerTable:
    """List the layers of `model`, in call order where an example is given, else as they were registered.

    Parameters
    ----------
    model : torch.nn.Module
        The network; its training flags and its weights stay as they are.
    example : tensor, tuple of arguments, mapping of keyword arguments or list, optional
        One batch for a forward pass in eval mode; a list of tensors is read as by `extract`. With it the
        table has shapes, types, sizes and numbers of calls, and the reason for each layer that did not run. A second
        pass over two samples shows which outputs have an axis of samples.
    leaves_only : bool
        Leave out modules that are made of other modules that run.

    Returns
    -------
    LayerTable
        Records of name, kind, output_shape, dtype, bytes_per_sample, calls and reason.

    Raises
    ------
    CaptureError
        The model is one that hooks cannot see into (TorchScript, FSDP), or its forward pass fails on `example`.

    Examples
    --------
    >>> from torch import nn
    >>> [layer.name for layer in list_layers(nn.Sequential(nn.Linear(3, 2), nn.ReLU()), torch.zeros(1, 3))]
    ['0', '1']
    """
    tree = ModuleTree.of(model)
    example = as_inputs(tree.root.module, example)
    if example is None:
        nodes = tree.layers if leaves_only else [node for node in tree if not node.hidden]
        return LayerTable(tree.root.kind, [_unseen(node, set(), tree) for node in nodes])
    survey = run_survey(tree, example)
    _mark_sample_axes(survey, tree, example)
    shown = survey.leaves if leaves_only else survey.ran
    layers = [info for node, info in survey.infos.items() if node in shown and not node.hidden]
    layers += [_unseen(node, survey.ran, tree) for node in tree.layers if node not in survey.ran]
    return LayerTable(tree.root.kind, layers)


def run_survey(tree: ModuleTree, example: Any, device: torch.device | None = None) -> Survey:
    """Run one forward pass and record which modules ran."""
    # A copy: some models write to their inputs.
    args, kwargs = as_arguments(copy_of(example), device or device_of(tree.root.module))
    check_fit(tree.root.module, args, kwargs, "leave it out of the example")
    survey = Survey()
    with ForwardHooks(tree, survey), evaluation_mode(tree.root.module):
        try:
            tree.root.module(*args, **kwargs)
        except Exception as error:
            ran = ", ".join(info.name for info in survey.infos.values() if info.calls) or "none"
            raise CaptureError(
                f"{tree.root.kind} fails on this example ({describe(example)}): {error}; layers that ran: {ran}"
                f"{type_hint(tree.root.module, example, error)}"
            ) from error
    return survey


def _mark_sample_axes(survey: Survey, tree: ModuleTree, example: Any) -> None:
    """Mark which outputs have an axis of samples: one whose length is the number of samples in two passes."""
    try:
        size = samples_in(example)
    except DataError:  # a list of tensors that may be one sample or several
        return
    if not size:
        return
    # The first number of samples that the model takes is enough.
    for other in OTHER_BATCH_SIZES:
        if other == size:
            continue
        try:
            with restored_state(tree.root.module):
                second = run_survey(tree, resize(example, size, other))
        except CaptureError:  # the model may take one batch size only
            continue
        for node, info in survey.infos.items():
            other_info = second.infos.get(node)
            if info.output_shape is not None and other_info is not None:
                survey.infos[node] = _with_per_sample(info, other_info.output_shape or (), size, other)
        return


def _with_per_sample(info: LayerInfo, other_shape: tuple[int, ...], size: int, other: int) -> LayerInfo:
    assert info.output_shape is not None
    if (size, other) in zip(info.output_shape, other_shape, strict=False):
        return replace(info, per_sample=True)
    return replace(info, per_sample=False, bytes_per_sample=None)


def _unseen(node: Node, ran: set[Node], tree: ModuleTree) -> LayerInfo:
    """Return the line of a layer that did not run; `ran` is empty if there was no forward pass."""
    if ran:
        return LayerInfo(node.name, node.kind, calls=0, reason=why_not_run(node, ran, tree))
    return LayerInfo(node.name, node.kind, reason=_never_called(node))


def _never_called(node: Node) -> str:
    """Return why a module runs in no forward pass, if its class shows that; otherwise an empty string."""
    return f"never runs: {node.weights_of} reads its weights itself" if node.weights_of else ""


def why_not_run(node: Node, ran: set[Node], tree: ModuleTree) -> str:
    """Return the reason why a module did not run in a forward pass in which the modules `ran` did."""
    never = _never_called(node)
    if never:
        return never
    if node in tree.elsewhere:
        return "ran in another thread only, which is not recorded"
    if _has_no_forward(node.module) and list(node.module.children()):
        inside = f"{node.name}.*" if node.name else "*"
        return f"never runs: a {node.kind} contains modules and has no forward; choose those, for example {inside!r}"
    # The nearest module around it with a forward is the reason: either that one did not run, or it left this one out.
    parent = node.name
    while "." in parent:
        parent = parent.rpartition(".")[0]
        above = tree.by_name.get(parent)
        if above is not None and above in ran:
            return f"did not run, though {parent} ({above.kind}) did: {_WHY_NO_HOOKS}"
        if above is not None and not _has_no_forward(above.module):
            return f"did not run: {parent} ({above.kind}) did not"
    return f"did not run: {_WHY_NO_HOOKS}"


def _has_no_forward(module: nn.Module) -> bool:
    """Whether a module is only a container, as `nn.ModuleList` is."""
    return type(module).forward is nn.Module.forward


def computing_layers(model: nn.Module, example: Any = None) -> list[str]:
    """Return the names of the layers whose output is more than their input in another shape.

    Dropout, identities, flattening and similar layers are left out. With an example (see
    `list_layers`) the order is that of execution and layers that do not run are left out too.

    Examples
    --------
    >>> from torch import nn
    >>> computing_layers(nn.Sequential(nn.Flatten(), nn.Linear(4, 2), nn.Dropout()))
    ['1']
    """
    return [layer.name for layer in list_layers(model, example) if layer.computes]
