"""When a forward pass can stop: after the last call that is wanted."""

from __future__ import annotations

from dataclasses import dataclass, field

from torchviz_layers.hooks.modules import Node


class StopForward(BaseException):
    """Ends a forward pass after the last call that is wanted; no `except Exception` of a model can swallow it."""


@dataclass
class StopRule:
    """Learns from two equal forward passes after which module call nothing is wanted any more.

    From the third pass on the calls are compared with those passes, and the pass is stopped there. If they ever differ,
    no pass is stopped any more: a model whose calls vary may run a wanted layer later.
    """

    enabled: bool
    _known: list[Node] = field(default_factory=list)
    """The modules in the order in which they began in the passes before."""
    _stop_at: int = 0
    """How many of these had begun when the last wanted output was recorded."""
    _now: list[Node] = field(default_factory=list)
    """The modules that began in this pass."""
    _wanted_until: int = 0
    """How many of these had begun at the last wanted output so far."""
    _agreed: int = 0
    """Number of equal passes, up to 2."""

    def begin(self) -> None:
        """Start a forward pass."""
        self._now, self._wanted_until = [], 0

    def enter(self, node: Node) -> None:
        """Raise `StopForward` if everything wanted has been recorded and the calls are those of the passes before."""
        if not self.enabled:
            return
        index = len(self._now)
        self._now.append(node)
        if self._agreed < 2 or index > self._stop_at:
            return
        if self._known[index] is not node:
            self.enabled = False
        elif index == self._stop_at:
            raise StopForward

    def wanted(self) -> None:
        """Note that a wanted output was just recorded."""
        self._wanted_until = len(self._now)

    def end(self) -> None:
        """End a whole forward pass."""
        if not self.enabled or self._agreed >= 2:
            return
        if self._agreed == 1 and (self._now, self._wanted_until) != (self._known, self._stop_at):
            self.enabled = False
        self._known, self._stop_at = self._now, self._wanted_until
        self._agreed += 1
        # Where the last call is wanted there is nothing to stop.
        self.enabled &= self._stop_at < len(self._known)
