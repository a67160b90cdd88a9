"""Compiled modules run eagerly, so that their hooks fire."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

# PyTorch's stance is one for the whole process, and several blocks may be open at the same time: the first one sets
# the stance, and the last one to be left restores it.
_lock = threading.Lock()
_stance = ExitStack()
_users = 0


@contextmanager
def eager_execution() -> Iterator[None]:
    """Run compiled modules eagerly within the block."""
    global _users
    # PyTorch warns that global hooks see the wrapper that torch.compile makes; it is not in our tree, so it is ignored.
    warnings.filterwarnings("ignore", message="Using `torch.compile.module.` when there are global hooks")
    with _lock:
        if _users == 0:
            _stance.enter_context(torch.compiler.set_stance("force_eager"))
        _users += 1
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _stance.close()
