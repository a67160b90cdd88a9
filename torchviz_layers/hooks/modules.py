"""The modules of a model, by the names that `model.named_modules()` would give without wrappers."""

from __future__ import annotations

import difflib
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import nn

from torchviz_layers.exceptions import CaptureError, UnknownLayerError

# Wrappers that add a component to every name inside them; the plain name is without it.
_WRAPPED_UNDER = ("_orig_mod", "_checkpoint_wrapped_module", "_fsdp_wrapped_module")

# Children of MultiheadAttention and of quantized modules that are read, never called.
_WEIGHTS_ONLY = ("out_proj", "_packed_params")


@dataclass(eq=False)
class Node:
    """One module of a model: `name` is its first plain name, `names` all of them."""

    module: nn.Module
    name: str
    names: list[str] = field(default_factory=list)
    leaf: bool = False
    """No child of it is expected to run: a layer, as long as no forward pass shows otherwise."""
    whole: bool = False
    """Always one layer: its children, if it has any, are not layers."""
    hidden: bool = False
    """Inside a whole layer, or a parametrization: chosen by its exact name only."""
    weights_of: str = ""
    """Kind of the module that reads this one's weights without calling it; empty for other modules."""

    @property
    def kind(self) -> str:
        """Name of the module's class."""
        return getattr(self.module, "original_name", type(self.module).__name__)


class ModuleTree:
    """Every module of a model, found by identity or by any of its names."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.by_id: dict[int, Node] = {}
        self.by_name: dict[str, Node] = {}
        self.root: Node
        self.elsewhere: set[Node] = set()
        """Modules that ran in a thread other than the recorded one."""
        self.compiled = False
        """Some module is compiled: hooks fire only when it runs eagerly."""
        self.replicas = 1
        """Number of devices that a DataParallel wrapper spreads a batch over."""

    @classmethod
    def of(cls, model: nn.Module) -> ModuleTree:
        """Walk `model`; raise `CaptureError` if hooks cannot see into it."""
        if not isinstance(model, nn.Module):
            raise CaptureError(f"model: expected a torch.nn.Module, got {type(model).__name__}")
        tree = cls(model)
        tree._visit(model, "", "", hidden=False)
        tree.root = tree.by_name[""]
        if isinstance(tree.root.module, torch.jit.ScriptModule):
            raise CaptureError(
                f"model: {tree.root.kind} is compiled by TorchScript and fires no hooks inside; "
                "capture the torch.nn.Module it was made from"
            )
        return tree

    def _visit(self, module: nn.Module, name: str, raw: str, *, hidden: bool) -> None:
        """Add a module and its children; `raw` is its name with the components of wrappers."""
        _refuse_sharded(module, name)
        self.compiled |= getattr(module, "_compiled_call_impl", None) is not None
        if isinstance(module, nn.DataParallel):
            self.replicas = max(self.replicas, len(module.device_ids))
        inner = unwrapped_child(module)
        if inner is not None:
            # The wrapper has no node of its own: both of its names mean the module inside it.
            inner_name, wrapped = inner
            self.compiled |= inner_name == "_orig_mod"
            self._visit(wrapped, name, _join(raw, inner_name), hidden=hidden)
            self.by_name.setdefault(raw, self.by_name[name])
            return
        node = self.by_id.get(id(module))
        if node is None:
            node = Node(module, name, leaf=_is_leaf(module), whole=_is_whole(module), hidden=hidden)
            self.by_id[id(module)] = node
        elif node.hidden and not hidden:
            # The same module is also outside of the layer that hides it.
            node.name, node.hidden = name, False
        node.names.append(name)
        self.by_name[name] = node
        self.by_name.setdefault(raw, node)
        # Parametrizations (weight norm, for example) compute weights; they are part of their module.
        for child_name, child in _children(module):
            inside = hidden or node.whole or (child_name == "parametrizations" and _is_parametrized(module))
            self._visit(child, _join(name, child_name), _join(raw, child_name), hidden=inside)
            if node.leaf and child_name in _WEIGHTS_ONLY:
                self.by_id[id(child)].weights_of = type(module).__name__

    def __iter__(self) -> Iterator[Node]:
        return iter(self.by_id.values())

    @property
    def layers(self) -> list[Node]:
        """The leaves, in order of registration."""
        return [node for node in self if node.leaf and not node.hidden]

    def find(self, wanted: str) -> tuple[Node, str, int | None] | None:
        """Return the module that a name such as `relu` or `relu:1` means, its name, and the call if one is given."""
        name, call = wanted, None
        if name not in self.by_name:
            parts = re.fullmatch(r"(.*):(\d+)", wanted)
            if parts is not None:
                name, call = parts[1], int(parts[2])
        node = self.by_name.get(name)
        if node is None:
            return None
        return node, name if name in node.names else node.name, call

    def unknown(self, wanted: object) -> UnknownLayerError:
        """Return the error for a selector that matches nothing."""
        names = [node.name for node in self if node.name and not node.hidden]
        close = difflib.get_close_matches(str(wanted), names, n=3, cutoff=0.6)
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        layers = [node.name for node in self.layers]
        shown = ", ".join([*layers[:5], "..."] if len(layers) > 5 else layers)
        return UnknownLayerError(
            f"layers: {spell(wanted)} matches no layer of {self.root.kind}; {hint}"
            f"list_layers(model) lists the {len(layers)} it has ({shown})"
        )


def call_key(name: str, call: int) -> str:
    """`relu` for the first call, `relu:1` for the second."""
    return name if call == 0 else f"{name}:{call}"


def _children(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return a module's children with their names; none of a TorchScript module, whose children fire no hooks."""
    if isinstance(module, torch.jit.ScriptModule):
        return []
    return [(name, child) for name, child in module._modules.items() if child is not None]


def unwrapped_child(module: nn.Module) -> tuple[str, nn.Module] | None:
    """Return the one child of a wrapper that only changes how it runs, or None for any other module."""
    children = _children(module)
    if len(children) == 1 and children[0][0] in _WRAPPED_UNDER:
        return children[0]
    if isinstance(module, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return "module", module.module
    return None


def _refuse_sharded(module: nn.Module, name: str) -> None:
    # Without an import: a model can be sharded only if its owner has imported the module, which is slow to load.
    if "torch.distributed.fsdp" not in sys.modules:
        return
    fsdp = sys.modules["torch.distributed.fsdp"]
    # The second one is not in every version of PyTorch.
    kinds = [getattr(fsdp, kind, None) for kind in ("FullyShardedDataParallel", "FSDPModule")]
    if isinstance(module, tuple(filter(None, kinds))):
        raise CaptureError(
            f"model: {name or 'it'} is sharded by FSDP, each process has a part of its weights; gather them first "
            "(torch.distributed.checkpoint.state_dict.get_model_state_dict(model, options=StateDictOptions("
            "full_state_dict=True))) and capture an unsharded copy"
        )


def _is_parametrized(module: nn.Module) -> bool:
    return "parametrizations" in module._modules and nn.utils.parametrize.is_parametrized(module)


def _is_whole(module: nn.Module) -> bool:
    """Whether a module is one layer even if it runs itself again, or modules that are not its children."""
    return not _children(module) or getattr(module, "is_layer", False) is True


def _is_leaf(module: nn.Module) -> bool:
    """Whether no child of a module is expected to run, as far as its class tells."""
    children = [name for name, _ in _children(module)]
    if children == ["parametrizations"] or _is_whole(module):
        return True
    # Quantized modules have a child that contains packed weights; attention reads those of its projection itself.
    quantized = type(module).__module__.startswith(("torch.ao.nn.quantized", "torch.nn.quantized"))
    return isinstance(module, nn.MultiheadAttention) or (quantized and children == ["_packed_params"])


def _join(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix else name


def spell(wanted: object) -> str:
    """Return how to write a selector in a message."""
    if isinstance(wanted, type):
        return wanted.__name__
    return repr(wanted.pattern) if isinstance(wanted, re.Pattern) else repr(wanted)
