"""The corner cases as the page's script reads them."""

from __future__ import annotations

from typing import Any

import numpy as np

from torchviz_layers.page.corner_case import CornerCaseLike
from torchviz_layers.page.records import PageData

MAX_CASES_A_KIND = 250


def listed_cases(data: PageData) -> list[dict[str, Any]]:
    """Return the first corner cases of each kind."""
    # They come strongest first within a kind.
    seen: dict[str, int] = {}
    cases = []
    for case in data.corner_cases:
        seen[case.kind] = seen.get(case.kind, 0) + 1
        if seen[case.kind] <= MAX_CASES_A_KIND:
            cases.append(
                {
                    "kind": str(case.kind),
                    "sample": int(case.sample),
                    "score": finite_number(case.score),
                    "reason": str(case.reason),
                    **_suspicion(case),
                }
            )
    return cases


def _suspicion(case: CornerCaseLike) -> dict[str, Any]:
    """Return what only suspect labels have, and a class only those of one class a sample; other records may lack it."""
    probability, proposed = getattr(case, "probability", None), getattr(case, "proposed", None)
    if probability is None:
        return {}
    stated = {"probability": round(float(probability), 4)}
    return stated if proposed is None else stated | {"proposed": int(proposed)}


def count_cases(data: PageData) -> dict[str, int]:
    """Return how many cases of each kind there are; the page and the data may have only the first of them."""
    totals: dict[str, int] = {}
    for case in data.corner_cases:
        kind = str(case.kind)
        totals[kind] = totals.get(kind, 0) + 1
    for case in data.corner_cases:
        totals[str(case.kind)] = max(totals[str(case.kind)], getattr(case, "total", None) or 0)
    return totals


def finite_number(value: float | None) -> float | None:
    """Return a number as JSON can contain it: NaN and infinity as None."""
    if value is None or not np.isfinite(value):
        return None
    return float(value)
