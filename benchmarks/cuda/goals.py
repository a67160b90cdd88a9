"""One line of the CUDA suite's result, and what becomes of it: plain JSON, one line of text. Imports no torch."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

REACHED, MISSED, FAILED, MEASURED, NOT_MEASURED = "reached", "missed", "failed", "measured", "not measured"
Row = dict[str, Any]


@dataclass(frozen=True)
class Goal:
    """One line of the suite's result.

    Parameters
    ----------
    name
        What was looked at.
    wanted
        The goal, in words.
    measured
        What was found, in words.
    outcome
        One of the five words above; `measured` where there is no goal.
    figures
        Numbers of the JSON file: seconds, peak_mb, shares.
    """

    name: str
    wanted: str
    measured: str
    outcome: str
    figures: dict[str, Any] = field(default_factory=dict)

    def row(self) -> Row:
        """Return the goal as a row of a table, of what JSON has; an error's message may have several lines."""
        words = {"name": self.name, "goal": self.wanted, "measured": self.measured, "outcome": self.outcome}
        row: Row = plain(self.figures)
        return {key: on_one_line(word) for key, word in words.items()} | row


class OtherEngineError(RuntimeError):
    """Another engine computed a map than the one that is checked or timed."""


def described(error: BaseException) -> str:
    """Return an error's kind and message on one line."""
    return f"{type(error).__name__}: {on_one_line(str(error)) or 'without a message'}"


def on_one_line(text: str) -> str:
    """Join the lines of a text."""
    return " ".join(text.split())


def plain(value: Any) -> Any:
    """Return a value as JSON has it: NumPy's numbers as Python's, NaN and infinity as null."""
    if isinstance(value, dict):
        return {str(key): plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # an array, a tensor or one of their numbers
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
