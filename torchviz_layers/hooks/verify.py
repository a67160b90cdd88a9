"""The oracle: plain hooks on every module that clone everything, beside which a capture can be held."""

from __future__ import annotations

from collections.abc import Mapping
from threading import get_ident
from typing import Any

from torch import Tensor, nn

from torchviz_layers._common.nested import map_tensors, tensors_in
from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.hooks import calls_itself
from torchviz_layers.hooks.modules import ModuleTree, Node, call_key


class CloneOracle:
    """Records every module's answers of the last forward pass the slow and certain way."""

    def __init__(self, tree: ModuleTree) -> None:
        self.tree = tree
        self.outputs: dict[Node, list[Any]] = {}
        self._handles: list[Any] = []
        self._thread = 0

    def open(self) -> None:
        """Put a hook on every module."""
        self._thread = get_ident()
        root = self.tree.root.module
        self._handles.append(root.register_forward_pre_hook(self._begin))
        for node in self.tree:
            self._handles.append(node.module.register_forward_hook(self._hook(node)))

    def close(self) -> None:
        """Remove the hooks."""
        while self._handles:
            self._handles.pop().remove()

    def _begin(self, root: nn.Module, _args: Any) -> None:
        if get_ident() == self._thread and not calls_itself(root):
            self.outputs.clear()

    def _hook(self, node: Node) -> Any:
        def keep(_module: nn.Module, _args: Any, output: Any) -> None:
            if get_ident() != self._thread:
                return
            self.outputs.setdefault(node, []).append(map_tensors(output, lambda tensor: tensor.detach().clone()))

        return keep

    def calls(self) -> Mapping[str, tuple[Node, Any]]:
        """Return every recorded answer by the name of its call."""
        return {
            call_key(name, call): (node, output)
            for node, outputs in self.outputs.items()
            for name in node.names
            for call, output in enumerate(outputs)
        }


def first_difference(got: Any, truth: Any) -> str | None:
    """Say how two structures of tensors differ, or return None."""
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
    equal = one == other
    return bool((equal | ((one != one) & (other != other))).all())  # NaN is equal to NaN


def disagreement(layer: str, how: str) -> CaptureError:
    """Return the error for a capture that differs from the oracle."""
    return CaptureError(f"verify: {layer!r} holds {how} than a hook that clones everything; please report this model")
