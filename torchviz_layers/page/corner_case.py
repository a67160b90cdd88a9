"""What the page reads of a corner case."""

from __future__ import annotations

from typing import Protocol


class CornerCaseLike(Protocol):
    """A sample that deserves a look, as `find_corner_cases` returns it."""

    @property
    def kind(self) -> str:
        """Name of its kind; each kind is a queue on the page."""

    @property
    def sample(self) -> int:
        """Row of the sample."""

    @property
    def score(self) -> float:
        """How strong the case is; the strongest of a kind comes first."""

    @property
    def reason(self) -> str:
        """One sentence for the reader."""
