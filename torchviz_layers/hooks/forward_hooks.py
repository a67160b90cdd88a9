"""Hooks on all modules of one model in one thread, which leave nothing on the model.

The hooks are PyTorch's global ones, filtered by thread and by module. Some things a global hook cannot do. They need
hooks on the module itself, which do nothing in a copy or a pickle of the model that is made inside the block:

- Keyword arguments are passed to it only if its id is in the module's own set of hooks with keyword arguments.
- Global hooks run before a module's own hooks, which may return another output. A module that has such hooks gets one
  more during each call, so that the final output is recorded. A module that has hooks before its forward, which may
  change the arguments, gets one more for the whole block where inputs are recorded.
- `TransformerEncoderLayer` takes its fused fast path unless it finds hooks on itself: it gets one during each call.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from threading import get_ident
from typing import Any, Protocol

import torch
from torch import nn
from torch.nn.modules import module as torch_module

from torchviz_layers.hooks.arguments import named_arguments
from torchviz_layers.hooks.eager import eager_execution
from torchviz_layers.hooks.modules import ModuleTree, Node
from torchviz_layers.hooks.transforms import in_transform, outside_transforms, unwrapped

_in_backward = torch._C._current_graph_task_id  # -1 outside of a backward pass


class Observer(Protocol):
    """Receives the events of a forward pass."""

    def begin(self, arguments: Mapping[str, Any]) -> None:
        """Start a forward pass of the whole model with these arguments, by the names of forward's parameters."""

    def enter(self, node: Node, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """Receive the arguments of a module that is about to run; the return value is passed to `leave`."""

    def leave(self, node: Node, call: int, output: Any, entered: Any, *, leaf: bool) -> Any:
        """Receive the output of a module's `call`-th call; `leaf` says that it ran no other module of the model.

        A return value that is not None replaces the output in the model.
        """


@dataclass(slots=True)
class _Frame:
    """A call of a module that has not ended."""

    node: Node
    entered: Any = None
    """What the observer returned for the arguments."""
    leaf: bool = True
    own: Any = None
    """Handle of the hook that runs after the module's own hooks, if it has any."""


class _Hook:
    """A hook on a module; in a copy or a pickle of the module it does nothing."""

    def __init__(self, record: Callable[..., Any]) -> None:
        self.record = record

    def __call__(self, *call: Any) -> Any:
        return self.record(*call)

    def __reduce__(self) -> tuple[type[_Hook], tuple[Callable[..., Any]]]:
        return type(self), (_nothing,)


def _nothing(*_: Any) -> None:
    """Do nothing."""


@dataclass
class ForwardHooks:
    """Passes every call of a module of `tree` to `observer`, in the thread that entered the context manager."""

    tree: ModuleTree
    observer: Observer
    with_kwargs: bool = False
    """Pass the keyword arguments of every module to `observer.enter`, not those of the root alone."""
    paused: bool = False
    """Pass on nothing for now."""
    _thread: int = 0
    _stack: list[_Frame] = field(default_factory=list)
    """The calls that have begun and not ended, the innermost last."""
    _calls: dict[Node, int] = field(default_factory=dict)
    _has_pre_hooks: set[Node] = field(default_factory=set)
    """Modules with hooks of their own before their forward, which may change the arguments."""
    _outside: bool = True
    """The context manager was entered outside of all function transforms (vmap, grad, ...)."""
    _cleanup: ExitStack = field(default_factory=ExitStack)

    def __enter__(self) -> ForwardHooks:
        self._thread, self._outside = get_ident(), in_transform() is None
        with ExitStack() as cleanup:
            # Compiled code fires no hooks. Once the compiler is loaded, a compiled function may call the model too.
            if self.tree.compiled or "torch._dynamo.eval_frame" in sys.modules:
                cleanup.enter_context(eager_execution())
            before = torch_module.register_module_forward_pre_hook(self._before)
            cleanup.callback(before.remove)
            after = torch_module.register_module_forward_hook(self._after, always_call=True)
            cleanup.callback(after.remove)
            for node in self.tree if self.with_kwargs else (self.tree.root,):
                if not isinstance(node.module, torch.jit.ScriptModule):
                    self._ask_for_kwargs(node, before.id, cleanup)
            cleanup.callback(self.reset)
            self._cleanup = cleanup.pop_all()
        return self

    def _ask_for_kwargs(self, node: Node, hook_id: int, cleanup: ExitStack) -> None:
        """Have PyTorch pass the keyword arguments of a module to the global hook with this id."""
        with_kwargs = node.module._forward_pre_hooks_with_kwargs
        with_kwargs[hook_id] = True
        cleanup.callback(with_kwargs.pop, hook_id, None)
        if self.with_kwargs and node.module._forward_pre_hooks:
            self._has_pre_hooks.add(node)
            last = node.module.register_forward_pre_hook(_Hook(self._after_pre_hooks), with_kwargs=True)
            cleanup.callback(last.remove)

    def __exit__(self, *_: object) -> None:
        self._cleanup.close()

    def reset(self) -> None:
        """Forget a forward pass that did not end."""
        while self._stack:
            self._pop()

    def _pop(self) -> _Frame:
        frame = self._stack.pop()
        if frame.own is not None:
            frame.own.remove()
        return frame

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any] | None = None) -> None:
        """Run as PyTorch's global hook before a forward."""
        node = self._node(module)
        if node is None:
            return
        # Frames on the stack may be left from a pass that an error ended, so a call of the root begins a new pass
        # unless Python's own stack says that it is inside another call of the root.
        if node is self.tree.root and (not self._stack or not calls_itself(module)):
            self.reset()
            self._calls.clear()
            self.observer.begin(named_arguments(module, args, kwargs or {}))
        frame = _Frame(node)
        self._stack.append(frame)
        if module._forward_hooks or isinstance(module, nn.TransformerEncoderLayer):
            frame.own = module.register_forward_hook(_Hook(partial(self._after_own_hooks, frame)))
        if node not in self._has_pre_hooks:
            self._enter(frame, args, kwargs or {})

    def _after_pre_hooks(self, module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        """Run as a module's last hook before its forward, where the others may have changed the arguments."""
        node = self._node(module)
        if node is not None and self._stack and self._stack[-1].node is node:
            self._enter(self._stack[-1], args, kwargs)

    def _enter(self, frame: _Frame, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if self.with_kwargs and self._outside and in_transform() is not None:
            with outside_transforms():
                frame.entered = self.observer.enter(frame.node, unwrapped(args), unwrapped(kwargs))
        else:
            frame.entered = self.observer.enter(frame.node, args, kwargs)

    def _after(self, module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        """Run as PyTorch's global hook after a forward, also after one that raised."""
        node = self._node(module)
        if node is None:
            return None
        # Frames above this module's are of calls that ended by an error which the model handled.
        while self._stack and self._stack[-1].node is not node:
            self._pop()
        if output is None and _raised():
            if self._stack:
                self._pop()
            return None
        # A module with hooks of its own is recorded after these.
        if self._stack and self._stack[-1].own is not None:
            return None
        return self._leave(node, output)

    def _after_own_hooks(self, frame: _Frame, module: nn.Module, _args: tuple[Any, ...], output: Any) -> Any:
        """Run as a module's last hook after its forward."""
        node = self._node(module)
        # The hook also fires for calls of the module inside this one, which have frames of their own.
        if node is not None and self._stack and self._stack[-1] is frame:
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
                self.observer.leave(node, call, unwrapped(output), frame.entered, leaf=leaf)
            return None
        return self.observer.leave(node, call, output, frame.entered, leaf=leaf)

    def _node(self, module: nn.Module) -> Node | None:
        """Return the node of a module whose call is to be recorded, or None."""
        if self.paused:
            return None
        node = self.tree.by_id.get(id(module))
        if get_ident() != self._thread:
            if node is not None:
                self.tree.elsewhere.add(node)
            return None
        # Activation checkpointing runs modules again during backward: those outputs are not new.
        return None if node is None or _in_backward() != -1 else node


def _raised() -> bool:
    """Whether PyTorch calls a hook because the module raised: the function that calls it handles the error then."""
    error = sys.exc_info()[1]
    return error is not None and error.__traceback__ is not None and error.__traceback__.tb_frame is sys._getframe(2)


def calls_itself(module: nn.Module) -> bool:
    """Whether the call of `module` that has just begun is inside another call of it, by Python's own stack."""
    calls, frame = 0, sys._getframe(1)
    while frame.f_back is not None and calls < 2:
        frame = frame.f_back
        is_call = frame.f_code is nn.Module._call_impl.__code__
        if is_call and frame.f_locals.get("self") is module:
            calls += 1
    return calls > 1
