"""When a forward pass can stop: after the last call that is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

from torchviz_layers.hooks.modules import Node


class StopForward(BaseException):
    """Ends a forward pass after the last call that is wanted; no `except Exception` of a model can swallow it."""


@dataclass
class StopRule:
    """Learns after which module call nothing wanted comes any more, from two whole forward passes that agree."""

    enabled: bool
    _known: list[Node] = field(default_factory=list)
    _stop_at: int = 0
    _now: list[Node] = field(default_factory=list)
    _wanted_until: int = 0
    _agreed: int = 0

    def begin(self) -> None:
        """Start a forward pass."""
        self._now, self._wanted_until = [], 0

    def enter(self, node: Node) -> None:
        """Raise `StopForward` if all that is wanted has been seen, and the model does now what it did before."""
        if not self.enabled:
            return
        at = len(self._now)
        self._now.append(node)
        if self._agreed < 2 or at > self._stop_at:
            return
        if self._known[at] is not node:
            self.enabled = False  # the calls vary: what comes later cannot be known
        elif at == self._stop_at:
            raise StopForward

    def wanted(self) -> None:
        """Note that something wanted was just seen."""
        self._wanted_until = len(self._now)

    def end(self) -> None:
        """End a whole forward pass."""
        if not self.enabled or self._agreed >= 2:
            return
        if self._agreed == 1 and (self._now, self._wanted_until) != (self._known, self._stop_at):
            self.enabled = False
        self._known, self._stop_at, self._agreed = self._now, self._wanted_until, self._agreed + 1
        self.enabled &= self._stop_at < len(self._known)
