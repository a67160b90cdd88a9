"""Subsets of the samples, names, and sentences that count."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A part of the headline: its text and, if a click on it selects samples, the name of their subset.
Segment = tuple[str, str | None]


@dataclass(frozen=True)
class Subset:
    """Samples that a reader may want to see alone: a name for the script, a label, and the samples as a mask."""

    name: str
    label: str
    mask: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Number of samples in it."""
        return int(np.count_nonzero(self.mask))


def counted(noun: str, count: int) -> str:
    """Return a number with its noun: "1 sample", "2,000 samples"."""
    return f"{count:,} {plural(noun, count)}"


def plural(noun: str, count: int) -> str:
    """Return the noun as it follows such a number."""
    if count == 1:
        return noun
    return noun + ("es" if noun.endswith("s") else "s")


def complete_names(given: Sequence[str], count: int) -> tuple[str, ...]:
    """Return so many names: the given ones, a number where one is missing, a number in brackets for a blank one."""
    names = list(map(str, range(count)))
    for code, name in enumerate(given[:count]):
        names[code] = str(name)
        if not names[code].strip():
            names[code] = f"({code})"  # a blank name could neither be read nor clicked
    return tuple(names)
