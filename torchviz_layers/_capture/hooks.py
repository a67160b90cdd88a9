"""Listening to the modules of one model in one thread, without leaving anything on the model.

The hooks are PyTorch's global ones, filtered by thread and by module: nothing is added to the model, so that a copy or
a pickle of it made meanwhile carries no hook. Two things a global hook cannot do are done beside it: keyword arguments
reach it through the module's own set of hook ids that take them, and a `TransformerEncoderLayer`, whose fused fast path
looks for hooks on itself only, gets one that does nothing.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from torchviz_layers._capture.modules import ModuleTree, Node
from torchviz_layers.exceptions import CaptureError

if TYPE_CHECKING:
    from collections.abc import Iterator

_in_backward = torch._C._current_graph_task_id  # -1 outside of a backward pass


class Listener(Protocol):
    """Who is told about a forward pass."""

    def begin(self, kwargs: Mapping[str, Any]) -> None:
        """Hear that a forward pass of the whole model starts, with its keyword arguments."""

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Hear that a module is about to run; what is returned comes back in `leave`."""

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> None:
        """Hear that a module has run, for the `call`-th time, and whether it ran no other module of the model."""


@dataclass(slots=True)
class _Frame:
    node: Node
    entered: Any = None
    leaf: bool = True


@dataclass
class ForwardTap:
    """Tells `listener` about every call of a module of `tree` in the thread that opened the tap."""

    tree: ModuleTree
    listener: Listener
    with_kwargs: bool = False
    """Pass the keyword arguments of every module to `listener.enter`, not of the root alone."""
    _thread: int = 0
    _stack: list[_Frame] = field(default_factory=list)
    _calls: dict[Node, int] = field(default_factory=dict)
    _cleanup: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> ForwardTap:
        self._thread = get_ident()
        with ExitStack() as cleanup:
            # Where the compiler is loaded, a compiled function may call the model: that fires no hooks either.
            if self.tree.compiled or "torch._dynamo.eval_frame" in sys.modules:
                cleanup.enter_context(_eager())
            before = torch_module.register_module_forward_pre_hook(self._before)
            cleanup.callback(before.remove)
            after = torch_module.register_module_forward_hook(self._after, always_call=True)
            cleanup.callback(after.remove)
            for node in self.tree if self.with_kwargs else (self.tree.root,):
                if not isinstance(node.module, torch.jit.ScriptModule):
                    marks = node.module._forward_pre_hooks_with_kwargs
                    marks[before.id] = True
                    cleanup.callback(marks.pop, before.id, None)
            for node in self.tree:
                if isinstance(node.module, nn.TransformerEncoderLayer):
                    cleanup.callback(node.module.register_forward_pre_hook(_stay_off_the_fast_path).remove)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def reset(self) -> None:
        """Forget a forward pass that was broken off."""
        self._stack.clear()

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> None:
        node = self._node(module)
        if node is None:
            return
        if node is self.tree.root and not self._stack:
            self._calls.clear()
            self.listener.begin(kwargs or {})
        frame = _Frame(node)
        self._stack.append(frame)
        frame.entered = self.listener.enter(node, args, kwargs or {})

    def _after(self, module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
        node = self._node(module)
        if node is None:
            return
        frame = _Frame(node)
        while self._stack:
            frame = self._stack.pop()
            if frame.node is node:
                break
        if self._stack and not node.hidden:
            self._stack[-1].leaf = False
        if output is None:  # also what PyTorch passes on for a module that raised
            return
        call = self._calls.get(node, 0)
        self._calls[node] = call + 1
        self.listener.leave(node, call, output, frame.entered, leaf=(frame.leaf or node.whole) and not node.hidden)

    def _node(self, module: nn.Module) -> Node | None:
        if get_ident() != self._thread:
            return None
        node = self.tree.by_id.get(id(module))
        # Activation checkpointing runs modules again during backward; those are no new answers.
        return None if node is None or _in_backward() != -1 else node


def _stay_off_the_fast_path(_module: nn.Module, _args: tuple[Any, ...]) -> None:
    """Do nothing: its presence makes a `TransformerEncoderLayer` call its inner modules."""


_eager_lock = threading.Lock()
_eager_users = 0
_eager_exit: Callable[[], object] = lambda: None  # noqa: E731 a placeholder that is replaced


@contextmanager
def _eager() -> Iterator[None]:
    """Run compiled modules eagerly. The stance is one for the whole process: the last one out restores it."""
    global _eager_users, _eager_exit
    # The wrapper that torch.compile makes is no module of ours, so that nothing is heard twice.
    warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
    with _eager_lock:
        if _eager_users == 0:
            with ExitStack() as stack:
                stack.enter_context(torch.compiler.set_stance("force_eager"))
                _eager_exit = stack.pop_all().close
        _eager_users += 1
    try:
        yield
    finally:
        with _eager_lock:
            _eager_users -= 1
            if _eager_users == 0:
                _eager_exit()


@contextmanager
def forward_only(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, and back in its own mode afterwards; gradients are off meanwhile."""
    training = [module for module in model.modules() if module.training]
    try:
        for module in training:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def device_of(model: nn.Module) -> torch.device:
    """Return where the model's weights are; raise `CaptureError` if some have no data yet."""
    tensor = next(model.parameters(), next(model.buffers(), None))
    if tensor is None:
        return torch.device("cpu")
    if tensor.device.type == "meta":
        raise CaptureError("model: its weights are on the 'meta' device and hold no numbers; load them first")
    return tensor.device
