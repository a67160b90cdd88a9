"""A corner case: its record, and how cases of a kind are ranked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace


@dataclass(frozen=True)
class CornerCase:
    """One sample that deserves a look.

    Attributes
    ----------
    kind : str
        Name of its queue. Of classes: `label suspect`, `A wrong, B right` (with the networks' names) or, of more than
        two networks, `all wrong`, `only A wrong` and `only A right`, then `changes at the end`,
        `changes and ends wrong` and `confident but isolated`. Of a regression: `large residual`, `networks disagree`,
        `isolated`. Of several labels a sample: `label suspect`, those of the networks, and `confident but isolated`.
    sample : int
        Row of the sample.
    score : float
        How strong the case is; comparable within a kind.
    reason : str
        One sentence for the reader.
    probability : float or None
        Of a suspect label: the probability that it is wrong, in [0, 1]; None for other kinds.
    proposed : int or None
        Of a suspect class label: the class that the networks predict in its place, as their output's number.
    proposed_name : str
        The name of that class; empty for other kinds.
    total : int or None
        How many cases of the kind there are, where that is known; the list may have only the first of them.
    """

    kind: str
    sample: int
    score: float
    reason: str
    probability: float | None = None
    proposed: int | None = None
    proposed_name: str = ""
    total: int | None = None


def ranked(cases: Sequence[CornerCase], limit: int) -> list[CornerCase]:
    """Return the cases kind by kind in the order found, each kind by descending score, at most `limit` of it.

    A sample that two networks add to the same kind stays there once, with its higher score.
    """
    by_kind: dict[str, dict[int, CornerCase]] = {case.kind: {} for case in cases}
    for case in sorted(cases, key=lambda case: (-case.score, case.sample)):
        by_kind[case.kind].setdefault(case.sample, case)
    result: list[CornerCase] = []
    for of_kind in by_kind.values():
        first = list(of_kind.values())[:limit]
        result += [replace(case, total=max(len(of_kind), case.total or 0)) for case in first]
    return result
