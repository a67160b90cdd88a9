"""How much memory the rows of all models of one pass may take together."""

from __future__ import annotations

from dataclasses import dataclass, field

from torchviz_layers._common.memory import memory_limit


@dataclass
class MemoryBudget:
    """Bytes that are granted to one table after another, until none are left.

    What is granted is not in use yet: memory is taken as rows come. So the budget counts it, and not the system.
    """

    wanted: int | None = None
    """What the caller allows; None for four fifths of what is available at the first request."""
    limit: int | None = None
    """Bytes in all, known after the first request; None if the system does not say."""
    _granted: dict[int, int] = field(default_factory=dict)
    """Bytes by the `id` of what they were granted to."""

    def grant(self, owner: object, size: int) -> bool:
        """Whether `owner` may take `size` bytes in all; if not, what was granted to it before is free again."""
        if not self._granted:
            self.limit = memory_limit(self.wanted)
        others = sum(granted for table, granted in self._granted.items() if table != id(owner))
        is_granted = self.limit is None or others + size <= self.limit
        self._granted[id(owner)] = size if is_granted else 0
        return is_granted
