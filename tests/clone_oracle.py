"""The oracle of capture and extract: plain hooks on every module that clone everything it outputs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from torchviz_layers._common.nested import map_tensors, tensors_in
from torchviz_layers.hooks.forward_hooks import calls_itself
from torchviz_layers.hooks.modules import ModuleTree, Node, call_key


class CloneOracle:
    """Records every module's outputs of the last forward pass inside the block, slowly and surely."""

    def __init__(self, model: nn.Module) -> None:
        self.tree = ModuleTree.of(model)
        self.outputs: dict[Node, list[Any]] = {}
        self._handles = ExitStack()
        self._thread = 0

    def __enter__(self) -> CloneOracle:
        self._thread = get_ident()
        root = self.tree.root.module
        self._handles.callback(root.register_forward_pre_hook(self._begin).remove)
        for node in self.tree:
            self._handles.callback(node.module.register_forward_hook(self._hook(node)).remove)
        return self

    def __exit__(self, *_: object) -> None:
        self._handles.close()

    def _begin(self, root: nn.Module, _args: Any) -> None:
        if get_ident() == self._thread and not calls_itself(root):
            self.outputs.clear()

    def _hook(self, node: Node) -> Any:
        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            if get_ident() == self._thread:
                self.outputs.setdefault(node, []).append(map_tensors(output, lambda tensor: tensor.detach().clone()))

        return keep

    def calls(self) -> dict[str, Any]:
        """Return every recorded output by the name of its call."""
        return {
            call_key(name, call): output
            for node, outputs in self.outputs.items()
            for name in node.names
            for call, output in enumerate(outputs)
        }

    def last_calls(self) -> dict[str, Any]:
        """Return each module's last output by the module's names."""
        return {name: outputs[-1] for node, outputs in self.outputs.items() for name in node.names}


def assert_recorded(got: Mapping[str, Any], truth: Mapping[str, Any]) -> None:
    """Assert that everything recorded has the tensors that the oracle saw."""
    assert len(got) > 0
    for name in got:
        difference = first_difference(got[name], truth[name])
        assert difference is None, f"{name!r}: {difference}"


def first_difference(got: Any, truth: Any) -> str | None:
    """Return how two structures of tensors differ, or None."""
    ours, theirs = list(tensors_in(got)), list(tensors_in(truth))
    if len(ours) != len(theirs):
        return f"{len(ours)} tensors instead of {len(theirs)}"
    for (path, one), (_, other) in zip(ours, theirs, strict=True):
        if not _equal(one.detach().cpu(), other.detach().cpu()):
            return f"other numbers{f' at {path}' if path else ''}"
    return None


def _equal(one: Tensor, other: Tensor) -> bool:
    if one.is_nested or other.is_nested:
        return all(_equal(a, b) for a, b in zip(one.unbind(), other.unbind(), strict=True))
    if one.shape != other.shape:
        return False
    one, other = one.to_dense(), other.to(one.dtype).to_dense()
    return bool(((one == other) | (one.isnan() & other.isnan())).all())
