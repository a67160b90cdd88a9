"""Whether the parts of a page's data agree."""

from __future__ import annotations

import re

from torchviz_layers.exceptions import PageError
from torchviz_layers.page.records import PageData, Panel

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
    for network in data.networks:
        outputs = network.probabilities
        if outputs is not None and (outputs.ndim != 2 or len(outputs) != data.n_samples):
            raise PageError(
                f"probabilities of {network.name!r}: shape {outputs.shape}; pass ({data.n_samples}, n_classes)"
            )
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
