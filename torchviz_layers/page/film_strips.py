"""What the template writes itself: the headings, the scores, and where each layer's frame stands on the film-strips."""

from __future__ import annotations

from typing import Any

from torchviz_layers.page import summaries as facts
from torchviz_layers.page.records import PageData, Panel

# Below this share of true neighbours a plane gets a warning badge.
DOUBTFUL = 0.9

# Letters at a layer's end that stay where its name is cut short: they tell conv_1 from conv_2.
TAIL = 5

# Up to so many layers a network stand in one row, whose frames share its width; strips of more stand one above another.
FEW = 3

# What a drag does, and the sign that stands for it, as a path in a box of 16 x 16.
BRUSHES = {
    "lasso": "M3 9C1 5 5 2 9 2s6 3 5 6-5 5-8 4-4-2-3-3 4 1 3 5",
    "box": "M2.5 3.5h11v9h-11z",
    "pan": "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2",
}


def layout(data: PageData) -> dict[str, Any]:
    """Return the template's values: names as they are (the template escapes them), numbers as text."""
    columns = max(len(network.panels) for network in data.networks)
    first = 0 if data.input_panel is None else 1
    lanes = []
    for k, network in enumerate(data.networks):
        panels = [
            _frame(panel, first + step, network.name, column=_column(step, len(network.panels), columns))
            for step, panel in enumerate(network.panels)
        ]
        lanes.append({"k": k, "name": network.name, "story": facts.biggest_step(data, network), "panels": panels})
        first += len(network.panels)
    return {
        "title": data.title,
        "about": _about(data),
        "notes": data.notes,
        "networks": [_score(data, k) for k in range(len(data.networks))],
        "shared": [] if data.input_panel is None else [_frame(data.input_panel, 0, "", column=1)],
        "lanes": lanes,
        "columns_of_frames": columns,
        "few": columns <= FEW,
        "frames": first,
        "brushes": BRUSHES,
        "marked": data.targets is not None and any(network.probabilities is not None for network in data.networks),
        "journeys": any(panel.neighbors is not None for panel in data.panels),
    }


def _column(step: int, count: int, columns: int) -> int:
    """Return the column, from 1, of a network's layer: strips one above another stand by depth."""
    return step + 1 if columns <= FEW else round((step + 1) * columns / count)


def _about(data: PageData) -> str:
    parts = [data.title, facts.counted("sample", data.count_of_all or data.n_samples)]
    if data.n_classes:
        parts.append(facts.counted("class", data.n_classes))
    return " · ".join(part for part in parts if part)


def _score(data: PageData, k: int) -> dict[str, Any]:
    network = data.networks[k]
    accuracy = network.accuracy(data.targets)
    return {"k": k, "name": network.name, "accuracy": None if accuracy is None else f"{accuracy:.2%}"}


def _frame(panel: Panel, k: int, owner: str, column: int) -> dict[str, Any]:
    trust = panel.trustworthiness
    detail = [panel.kind, " × ".join(str(size) for size in panel.shape)]
    return {
        "k": k,
        "layer": panel.layer,
        "head": panel.layer[:-TAIL] if len(panel.layer) > 2 * TAIL else panel.layer,
        "tail": panel.layer[-TAIL:] if len(panel.layer) > 2 * TAIL else "",
        "owner": owner,
        "column": column,
        "detail": ", ".join(part for part in detail if part) or "layer",
        "doubtful": trust is not None and trust < DOUBTFUL,
        "trust": "" if trust is None else f"{trust:.2f}",
        "purity": None if panel.purity is None else f"{panel.purity:.1%}",
    }
