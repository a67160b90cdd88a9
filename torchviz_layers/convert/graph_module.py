"""A finished graph and its modules -> the `nn.Module` that `convert_keras` returns."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import torch
from torch import fx, nn

from torchviz_layers._common.arrays import Array
from torchviz_layers._common.module_facts import copy_facts
from torchviz_layers.convert.keras_files.naming import class_name


class ConvertedGraph(fx.GraphModule):
    """A graph module whose input shapes and transform survive a copy and a pickle."""

    def __deepcopy__(self, memo: dict[int, Any]) -> fx.GraphModule:
        result: fx.GraphModule = super().__deepcopy__(memo)
        copy_facts(result, self)
        return result

    def __reduce__(self) -> Any:
        return _unpickled, (*super().__reduce__(), type(self).__name__)


def _unpickled(make: Callable[..., fx.GraphModule], arguments: tuple[Any, ...], name: str) -> fx.GraphModule:
    plain = make(*arguments)
    module = ConvertedGraph(plain, plain.graph, class_name=name)
    copy_facts(module, plain)
    return module.train(plain.training)


def assembled(
    graph: fx.Graph, modules: OrderedDict[str, nn.Module], constants: Mapping[str, Array], keras_name: str
) -> nn.Module:
    """Return the module of a complete graph: a Sequential for a plain chain, else one that runs the graph."""
    if _is_chain(graph, modules):
        return nn.Sequential(modules)
    root = nn.Module()
    for name, module in modules.items():
        root.add_module(name, module)
    for name, value in constants.items():
        root.register_buffer(name, torch.from_numpy(value.copy()))
    return ConvertedGraph(root, graph, class_name=class_name(keras_name))


def _is_chain(graph: fx.Graph, modules: Mapping[str, nn.Module]) -> bool:
    """Return whether every module is called once, with the output of the node before it and nothing else."""
    nodes = list(graph.nodes)
    calls = [node for node in nodes if node.op == "call_module" and not node.kwargs]
    each_once = [node.target for node in calls] == list(modules)
    return each_once and all(node.args == (before,) for before, node in pairwise(nodes))


def share_parameters(module: nn.Module, other: nn.Module) -> None:
    """Let `module` use the parameters of `other` that have the same names and shapes."""
    theirs = dict(other.named_parameters())
    for path, own in list(module.named_parameters()):
        if path in theirs and theirs[path].shape == own.shape:
            owner, _, name = path.rpartition(".")
            module.get_submodule(owner).register_parameter(name, theirs[path])
