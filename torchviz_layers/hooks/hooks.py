"""Listening to the modules of one model in one thread, without leaving anything on the model.

The hooks are PyTorch's global ones, filtered by thread and by module. What a global hook cannot do is done beside it,
with hooks that do nothing in a copy or a pickle of the model made meanwhile:

- Keyword arguments reach it through the module's own set of hook ids that take them.
- Global hooks run before a module's own, which may return another answer. A module that has such hooks gets one more,
  for the time of each call, so that the last word is heard; one that has hooks before its forward, which may change
  what it is given, gets one for the time of the block where inputs are wanted.
- A `TransformerEncoderLayer`, whose fused fast path looks for hooks on itself only, gets that hook in every call.
"""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import partial
from threading import get_ident
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from torchviz_layers.exceptions import CaptureError
from torchviz_layers.hooks.arguments import named_arguments
from torchviz_layers.hooks.modules import ModuleTree, Node
from torchviz_layers.hooks.transforms import in_transform, outside_transforms, unwrapped

if TYPE_CHECKING:
    from collections.abc import Iterator

_in_backward = torch._C._current_graph_task_id  # -1 outside of a backward pass


class Listener(Protocol):
    """Who is told about a forward pass."""

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start a forward pass of the whole model with these arguments, by the names of forward's parameters."""

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Hear that a module is about to run; what is returned comes back in `leave`."""

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> Any:
        """Record that a module has run, for the `call`-th time, and whether it ran no other module of the model.

        What is returned, if anything, takes the output's place in the model.
        """


@dataclass(slots=True)
class _Frame:
    node: Node
    entered: Any = None
    leaf: bool = True
    own: Any = None
    """Handle of the hook that runs after those of the module itself."""


class _Hook:
    """A hook on a module; a copy or a pickle of the module carries one that does nothing."""

    def __init__(self, record: Callable[..., Any]) -> None:
        self.record = record

    def __call__(self, *call: Any) -> Any:
        return self.record(*call)

    def __reduce__(self) -> tuple[type[_Hook], tuple[Callable[..., Any]]]:
        return type(self), (_nothing,)


def _nothing(*_: Any) -> None:
    """Do nothing."""


@dataclass
class ForwardTap:
    """Tells `listener` about every call of a module of `tree` in the thread that opened the tap."""

    tree: ModuleTree
    listener: Listener
    with_kwargs: bool = False
    """Pass the keyword arguments of every module to `listener.enter`, not of the root alone."""
    paused: bool = False
    """Pass nothing on for now."""
    _thread: int = 0
    _stack: list[_Frame] = field(default_factory=list)
    _calls: dict[Node, int] = field(default_factory=dict)
    _given_late: set[Node] = field(default_factory=set)
    """Modules with hooks of their own before their forward, which may change what they are given."""
    _outside: bool = True
    """The tap was opened outside of all function transforms (vmap, grad, ...)."""
    _cleanup: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> ForwardTap:
        self._thread, self._outside = get_ident(), in_transform() is None
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
                    if self.with_kwargs and node.module._forward_pre_hooks:
                        self._given_late.add(node)
                        late = node.module.register_forward_pre_hook(_Hook(self._given), with_kwargs=True)
                        cleanup.callback(late.remove)
            cleanup.callback(self.reset)
            self._cleanup = cleanup.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def reset(self) -> None:
        """Forget a forward pass that was broken off."""
        while self._stack:
            self._pop()

    def _pop(self) -> _Frame:
        frame = self._stack.pop()
        if frame.own is not None:
            frame.own.remove()
        return frame

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> None:
        node = self._node(module)
        if node is None:
            return
        if node is self.tree.root and (not self._stack or not calls_itself(module)):
            self.reset()
            self._calls.clear()
            self.listener.begin(named_arguments(module, args, kwargs or {}))
        frame = _Frame(node)
        self._stack.append(frame)
        if module._forward_hooks or isinstance(module, nn.TransformerEncoderLayer):
            frame.own = module.register_forward_hook(_Hook(partial(self._answered, frame)))
        if node not in self._given_late:
            self._enter(frame, args, kwargs or {})

    def _given(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        node = self._node(module)
        if node is not None and self._stack and self._stack[-1].node is node:
            self._enter(self._stack[-1], args, kwargs)

    def _enter(self, frame: _Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self.with_kwargs and self._outside and in_transform() is not None:
            with outside_transforms():
                frame.entered = self.listener.enter(frame.node, unwrapped(args), unwrapped(kwargs))
        else:
            frame.entered = self.listener.enter(frame.node, args, kwargs)

    def _after(self, module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        node = self._node(module)
        if node is None:
            return None
        while self._stack and self._stack[-1].node is not node:
            self._pop()
        if output is None and _raised():
            if self._stack:
                self._pop()
        elif not self._stack or self._stack[-1].own is None:
            return self._leave(node, output)
        return None

    def _answered(self, frame: _Frame, module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        node = self._node(module)
        if node is not None and self._stack and self._stack[-1] is frame:  # not a call of the module inside this one
            return self._leave(node, output)
        return None

    def _leave(self, node: Node, output: Any) -> Any:
        frame = self._pop() if self._stack else _Frame(node)
        if self._stack and not node.hidden:
            self._stack[-1].leaf = False
        call = self._calls.get(node, 0)
        self._calls[node] = call + 1
        leaf = (frame.leaf or node.whole) and not node.hidden
        if self._outside and in_transform() is not None:
            with outside_transforms():
                self.listener.leave(node, call, unwrapped(output), frame.entered, leaf=leaf)
            return None
        return self.listener.leave(node, call, output, frame.entered, leaf=leaf)

    def _node(self, module: nn.Module) -> Node | None:
        if self.paused:
            return None
        node = self.tree.by_id.get(id(module))
        if get_ident() != self._thread:
            if node is not None:
                self.tree.elsewhere.add(node)
            return None
        # Activation checkpointing runs modules again during backward; those are no new answers.
        return None if node is None or _in_backward() != -1 else node


def _raised() -> bool:
    """Whether PyTorch calls a hook because the module raised: the function that calls it handles the error then."""
    error = sys.exc_info()[1]
    return error is not None and error.__traceback__ is not None and error.__traceback__.tb_frame is sys._getframe(2)


def calls_itself(module: nn.Module) -> bool:
    """Whether the call of `module` that has just begun is one inside another; the stack may hold a pass broken off."""
    calls, frame = 0, sys._getframe(1)
    while frame.f_back is not None and calls < 2:
        frame = frame.f_back
        calls += frame.f_code is nn.Module._call_impl.__code__ and frame.f_locals.get("self") is module
    return calls > 1


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


def execution_device(model: nn.Module) -> torch.device | None:
    """Return where the inputs of a model go whose weights the hooks of `accelerate` bring in; None for other models.

    `dispatch_model` names that device in the root's hook, `cpu_offload` in those of the modules that hold weights. A
    module may have several hooks, as the parts of one.
    """
    for module in model.modules():
        hook = getattr(module, "_hf_hook", None)
        for part in getattr(hook, "hooks", (hook,)):
            device = getattr(part, "execution_device", None)
            if device is not None:
                return torch.device(device)
    return None


def device_of(model: nn.Module) -> torch.device:
    """Return where the model's inputs go; raise `CaptureError` if its weights have no data yet."""
    managed = execution_device(model)
    if managed is not None:
        return managed
    tensor = next(model.parameters(), next(model.buffers(), None))
    if tensor is None:
        return torch.device("cpu")
    if tensor.device.type == "meta":
        raise CaptureError("model: its weights are on the 'meta' device and hold no numbers; load them first")
    return tensor.device
