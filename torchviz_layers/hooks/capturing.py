"""The hook API: record what every layer of a model outputs, as it was at that moment.

::

    with capture(model, layers=["conv*", "dense_1", -1]) as acts:
        model(x)
    acts["dense_1"]     # tensor of shape (batch, 42)
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from torchviz_layers._common.nested import OneSelect
from torchviz_layers.exceptions import CaptureError, UnknownLayerError
from torchviz_layers.hooks.copies import Copier, current_value, describe_record
from torchviz_layers.hooks.forward_hooks import ForwardHooks
from torchviz_layers.hooks.layer_table import LayerInfo, LayerTable
from torchviz_layers.hooks.listing import computing_layers, list_layers, why_not_run
from torchviz_layers.hooks.modules import ModuleTree, call_key
from torchviz_layers.hooks.pooling import Pool
from torchviz_layers.hooks.record_options import At, Calls, RecordOptions
from torchviz_layers.hooks.recorder import Recorder
from torchviz_layers.hooks.selection import Selector
from torchviz_layers.hooks.selection import select as select_layers

__all__ = ["Capture", "LayerInfo", "LayerTable", "capture", "computing_layers", "list_layers"]


def capture(
    model: nn.Module,
    layers: Selector | None = None,
    *,
    at: At = "output",
    calls: Calls = "all",
    pool: Pool = "none",
    select: OneSelect | Mapping[str, OneSelect] | None = None,
    mask: Tensor | None = None,
    detach: bool = True,
    device: str | torch.device | None = None,
    dtype: torch.dtype | None = None,
) -> Capture:
    """Record the outputs (or inputs) of layers while the block runs.

    Every value is as it was at that moment, whatever later operations do to its memory in place, and includes what your
    own hooks change. Our hooks are removed when the block is left, also by an error; a copy of the model that is made
    inside the block has no hooks, and forward passes in other threads are not recorded.
    Each forward pass of the model starts a new record: after the block it contains the last pass.

    Parameters
    ----------
    model : torch.nn.Module
        Any eager model; compiled ones (`torch.compile`) run eagerly inside the block. Its mode (train or eval), its
        gradients and its device stay as they are.
    layers : selector or sequence of selectors, optional
        A qualified name (`"layer1.0.relu"`, or `"layer1.0.relu:1"` for its second call alone), a glob or a compiled
        regular expression over names, a module, a module type, an index in order of execution (`-1` is the last layer)
        or a function of (name, module). Default: every layer, that is every module that runs no other module.
    at : {"output", "input"}
        What to record. An input is recorded before the module runs: its only argument itself, or the tuple of its
        arguments, the last of which is the dict of those given by name (that dict alone if all are).
    calls : {"all", "first", "last"}
        Which calls of a module that runs several times. All of them are named `relu`, `relu:1`, `relu:2`.
    pool : {"none", "flatten", "gap", "token_mean", "cls", "last_token"}, function, or mapping of glob to these
        Applied inside the hook to rows (n, ...): `gap` is the mean over all axes after the second, `token_mean` over
        the axes between first and last, where the mask is true; `cls` is the first token of each sample where the mask
        is true, and `last_token` the last one.
    select : int, str, tuple of these, or function, or mapping of glob to these
        Which part of an output that is a tuple, mapping or record. Without it the whole structure is kept; pooling
        needs one tensor.
    mask : tensor of shape (n, tokens), optional
        Which tokens count, for `token_mean`, `cls` and `last_token`: true where one does. Default: the model's own
        argument `attention_mask` (1 is a token), `src_key_padding_mask` or `padding_mask` (True is padding), passed by
        name or by position. A mask of the tokens' shape whose ones may be either is an error; where there is none, a
        warning says that all tokens count; `cls` is position 0 then.
    detach : bool
        False keeps the autograd graph: the recorded tensor is one that the model's output was computed from, so that
        `torch.autograd.grad` and `retain_grad` work, whether it was later overwritten in place or not (the model
        continues with a clone of it). Looking up an input that was overwritten in place, by its module or later, is an
        error: no gradient reaches it.
    device, dtype : optional
        The device to copy to, and the floating type of the copies.

    Returns
    -------
    Capture
        A mapping from layer name to value, in order of execution, filled while the block runs.

    Raises
    ------
    UnknownLayerError
        A selector matches nothing (at once), or a name is looked up that was not recorded (with the reason).
    CaptureError
        The model is one that hooks cannot see into, an output is ambiguous where one tensor is needed, or a tensor of
        `detach=False` that is looked up has lost its gradient.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> with capture(model, layers=-1) as acts:
    ...     output = model(torch.ones(4, 3))
    >>> acts["1"].shape
    torch.Size([4, 2])
    """
    options = RecordOptions(at, calls, pool, select, mask)
    tree = ModuleTree.of(model)
    if tree.replicas > 1:
        raise CaptureError(
            f"model: DataParallel splits each batch over {tree.replicas} devices; capture(model.module) sees all of it"
        )
    copier = Copier(detach, None if device is None else torch.device(device), dtype)
    return Capture(tree, Recorder(select_layers(tree, layers), options, copier))


class Capture(Mapping[str, Any]):
    """What `capture` recorded: layer name -> value, in order of execution.

    A call can be looked up by any name of its module, and by index (`acts[-1]`).
    """

    def __init__(self, tree: ModuleTree, recorder: Recorder) -> None:
        self._tree, self._recorder = tree, recorder
        self._hooks: ForwardHooks | None = None

    def __enter__(self) -> Capture:
        if self._hooks is not None:
            raise CaptureError("this capture is open already; call capture(...) for another one")
        hooks = ForwardHooks(self._tree, self._recorder, with_kwargs=self._recorder.options.at == "input")
        self._hooks = hooks.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._hooks is not None:
            self._hooks.__exit__()
            self._hooks = None

    def _values(self) -> dict[str, Any]:
        return self._recorder.result()

    def __getitem__(self, layer: str | int) -> Any:
        values = self._values()
        if isinstance(layer, int):
            names = list(values)
            if not -len(names) <= layer < len(names):
                raise UnknownLayerError(f"index {layer} is out of range: {len(names)} calls were recorded")
            return current_value(values[names[layer]])
        key = self._key(layer, values)
        if key not in values:
            raise UnknownLayerError(self._why_not(layer))
        return current_value(values[key])

    def __iter__(self) -> Iterator[str]:
        return iter(self._values())

    def __len__(self) -> int:
        return len(self._values())

    def __contains__(self, layer: object) -> bool:
        values = self._values()
        return isinstance(layer, str) and self._key(layer, values) in values

    def __repr__(self) -> str:
        lines = [f"  {name or '(model)'}: {describe_record(record)}" for name, record in self._values().items()]
        return "\n".join([f"Capture of {self._tree.root.kind}, calls: {len(lines)}", *lines])

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the recorded calls, in order of execution."""
        return tuple(self)

    def _key(self, layer: str, values: Mapping[str, Any]) -> str:
        """Return the recorded name that `layer` means: itself, or another name of the same module's call."""
        if layer in values:
            return layer
        found = self._tree.find(layer)
        if found is None:
            return layer
        node, _, call = found
        # A call is recorded under one of its module's names, or under the name that it was chosen by.
        for name in (*node.names, self._recorder.selection.nodes.get(node, node.name)):
            key = call_key(name, call or 0)
            if key in values:
                return key
        return layer

    def _why_not(self, layer: str) -> str:
        found = self._tree.find(layer)
        if found is None:
            return str(self._tree.unknown(layer))
        node = found[0]
        if self._recorder.passes == 0 and not self._recorder.ran:
            return f"{layer!r}: the model has not run inside the block, in the thread that opened it"
        if node in self._recorder.ran:
            return f"{layer!r}: it ran, but this call of it was not chosen; recorded: {', '.join(list(self)[:8])}"
        return f"{layer!r}: {why_not_run(node, self._recorder.ran, self._tree)}"
