"""Whether the parts of a page's data agree."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError
from torchviz_layers.page.metadata import check_columns
from torchviz_layers.page.records import PageData, Panel
from torchviz_layers.page.views import check_views

MAX_NETWORKS = 12


def check(data: PageData) -> None:
    """Raise `PageError` if the parts do not agree; the message names the part and both numbers."""
    if not 1 <= len(data.networks) <= MAX_NETWORKS:
        raise PageError(
            f"networks: a page shows one to {MAX_NETWORKS} networks, not {len(data.networks)}; choose some of them"
        )
    if not data.panels or not data.n_samples:
        raise PageError("networks: nothing to show; pass at least one panel with at least one sample")
    for panel in data.panels:
        _check_panel(panel, data.n_samples)
    for name in ("images", "texts", "targets", "ids"):
        part = getattr(data, name)
        if part is not None and len(part) != data.n_samples:
            raise PageError(f"{name}: {len(part)} entries for {data.n_samples} samples; pass one per sample")
    check_views(data)
    check_columns(data.columns, data.n_samples)
    for network in data.networks:
        outputs = network.probabilities
        if outputs is not None and (outputs.ndim != 2 or len(outputs) != data.n_samples):
            raise PageError(
                f"probabilities of {network.name!r}: shape {outputs.shape}; pass ({data.n_samples}, n_classes)"
            )
    _check_task(data)
    for color in data.class_colors:
        if not re.fullmatch("#[0-9a-fA-F]{6}", color):
            raise PageError(f"class_colors: {color!r} is not a colour; write it as #rrggbb")
    for case in data.corner_cases:
        if not 0 <= case.sample < data.n_samples:
            raise PageError(f"corner_cases: sample {case.sample} is not one of the {data.n_samples} rows")
    if data.targets is not None and data.targets.min() < -1:
        raise PageError(
            f"targets: {int(data.targets.min())} is negative; number the classes from 0; -1 is an unlabelled sample"
        )


def _check_task(data: PageData) -> None:
    """Check what belongs to a regression or to a multi-label task."""
    n = data.n_samples
    given = [name for name in ("targets", "values", "label_sets") if getattr(data, name) is not None]
    if len(given) > 1:
        raise PageError(f"{' and '.join(given)}: a page shows one kind of target; pass one of them")
    if data.values is not None:
        _check_numbers("values", data.values, n)
        if np.isinf(data.values).any():
            raise PageError("values: some are infinite; pass NaN for a sample without a true value")
    for network in data.networks:
        if network.values is not None:
            _check_numbers(f"values of {network.name!r}", network.values, n)
            if given and given != ["values"]:
                raise PageError(
                    f"values of {network.name!r}: predicted values cannot be compared with {given[0]}; pass true values"
                )
    if data.threshold is not None and not (np.isfinite(data.threshold) and data.threshold >= 0):
        raise PageError(f"threshold: {data.threshold} is not the size of a residual; pass a number from 0 on, or None")
    if data.label_sets is None:
        return
    sets = data.label_sets
    if getattr(sets, "ndim", 0) != 2 or len(sets) != n or not sets.shape[1] or sets.dtype != bool:
        raise PageError(
            f"label_sets: {getattr(sets, 'dtype', type(sets).__name__)} of shape {np.shape(sets)}; pass bool of shape "
            f"({n}, n_labels), True where a sample has a label"
        )
    for network in data.networks:
        outputs = network.probabilities
        if outputs is not None and outputs.shape != sets.shape:
            raise PageError(
                f"probabilities of {network.name!r}: shape {outputs.shape}; pass {sets.shape}, one for each label"
            )


def _check_numbers(name: str, values: NDArray[Any], n_samples: int) -> None:
    array = np.asarray(values)
    if array.shape != (n_samples,) or array.dtype.kind not in "iuf":
        raise PageError(f"{name}: {array.dtype} of shape {array.shape}; pass numbers of shape ({n_samples},)")


def _check_panel(panel: Panel, n_samples: int) -> None:
    if panel.Z.ndim != 2 or panel.Z.shape != (n_samples, 2):
        raise PageError(f"panel {panel.layer!r}: Z has shape {panel.Z.shape}; a page draws ({n_samples}, 2)")
    near = panel.neighbors
    if near is None:
        return
    if near.ndim != 2 or len(near) != n_samples:
        raise PageError(
            f"panel {panel.layer!r}: neighbors has shape {near.shape}; pass ({n_samples}, k), rows of samples"
        )
    if near.size and not (near.min() >= 0 and near.max() < n_samples):
        raise PageError(f"panel {panel.layer!r}: neighbors name rows {near.min()}..{near.max()} of {n_samples}")
