"""The progress bar of an extraction."""

from __future__ import annotations

from typing import Any


def progress_bar(model: str, total: int | None, *, shown: bool) -> Any:
    """Return a bar that counts samples; it appears after two seconds."""
    from tqdm import tqdm

    return tqdm(total=total, unit=" samples", desc=model, delay=2, disable=None if shown else True, unit_scale=True)
