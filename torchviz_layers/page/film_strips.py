"""Values of the page's template: headings, scores, and which column of its film strip each layer's panel is in."""

from __future__ import annotations

from typing import Any

from torchviz_layers.page import summaries
from torchviz_layers.page.headline import subsets
from torchviz_layers.page.outcomes import count_labelled, count_unlabelled
from torchviz_layers.page.records import Network, PageData, Panel
from torchviz_layers.page.subset import counted
from torchviz_layers.page.tasks import task_of

# A panel of lower trustworthiness gets a warning badge.
DOUBTFUL = 0.9

# Where a layer's name is cut short, its last letters stay: they distinguish conv_1 from conv_2.
TAIL = 5  # letters at the end of a long name that are always shown: there the layers of a network differ
SHORT = 10  # letters of a name that keeps fewer
SHORT_TAIL = 3

# With at most so many layers per network and panels in all, all strips share one row; strips of more layers are
# one above another.
FEW, FEW_PANELS = 3, 7

# Of more networks the strips scroll, and what is listed for each network is listed more briefly.
MANY = 2
ACROSS = 8  # panels side by side where short strips of many networks share a row

# What a drag of the mouse can do, each with its icon: a path in a box of 16 x 16.
BRUSHES = {
    "lasso": "M3 9C1 5 5 2 9 2s6 3 5 6-5 5-8 4-4-2-3-3 4 1 3 5",
    "box": "M2.5 3.5h11v9h-11z",
    "pan": "M8 1.5v13M1.5 8h13M6 3.5l2-2 2 2M6 12.5l2 2 2-2M3.5 6l-2 2 2 2M12.5 6l2 2-2 2",
}


def template_values(data: PageData) -> dict[str, Any]:
    """Return the template's values: numbers as text, names as they are, because the template escapes them."""
    columns = max(len(network.panels) for network in data.networks)
    few = columns <= FEW and len(data.panels) <= FEW_PANELS
    many = len(data.networks) > MANY
    shared = []
    if data.input_panel is not None:
        shared.append(_panel(data.input_panel, 0, "", column=1, task=data.task))
    first = len(shared)  # number of the network's first panel in `data.panels`
    lanes = []
    for k, network in enumerate(data.networks):
        panels = [
            _panel(
                panel,
                first + step,
                network.name,
                column=step + 1 if few else _column(step, len(network.panels), columns),
                task=data.task,
            )
            for step, panel in enumerate(network.panels)
        ]
        lanes.append(
            {
                "k": k,
                "name": network.name,
                "accuracy": _formatted(network.accuracy(data.targets), ".1%") if many else None,
                "story": _story(data, network),
                "panels": panels,
            }
        )
        first += len(network.panels)
    return {
        "title": data.title,
        "about": _about(data),
        "notes": data.notes,
        "networks": [_score(data, k) for k in range(len(data.networks))],
        "shared": shared,
        "lanes": lanes,
        "columns_of_panels": columns,
        "few": few,
        "many": many,
        "across": 1 if few or not many else max(1, ACROSS // columns),
        "panels": first,
        "brushes": BRUSHES,
        "telling": _telling(data),
        "marked": bool(subsets(data)) and (data.targets is not None or task_of(data) is not None),
        "journeys": data.has_neighbors,
    }


def _column(step: int, count: int, columns: int) -> int:
    """Return the column, from 1, of a network's layer in its strip.

    Layers of the same relative depth are in the same column.
    """
    return round((step + 1) * columns / count)


def _story(data: PageData, network: Network) -> str:
    """Return the sentences beside a network's name: its best layers, and whether it has no predictions."""
    silent = not _predicts(network) and any(_predicts(other) for other in data.networks)
    parts = [
        "no predictions"
        if silent and data.task != "classification"
        else "no predictions: its outputs are no class scores"
        if silent
        else "",
        summaries.best_layers(data, network),
    ]
    return " · ".join(filter(None, parts))


def _predicts(network: Network) -> bool:
    return network.classifies or network.values is not None


def _about(data: PageData) -> str:
    parts = [data.title, counted("sample", data.count_of_all or data.n_samples)]
    if count_unlabelled(data):
        parts.append(f"{count_labelled(data):,} labelled")
    if data.n_classes:
        parts.append(counted("class", data.n_classes))
    if data.label_sets is not None:
        parts.append(counted("label", data.label_sets.shape[1]))
    return " · ".join(filter(None, parts))


def _score(data: PageData, k: int) -> dict[str, Any]:
    network = data.networks[k]
    task = task_of(data)
    found = (
        (_formatted(network.accuracy(data.targets), ".2%"), None, "Accuracy") if task is None else task.score(network)
    )
    score, second, meaning = found or (None, None, "")
    return {"k": k, "name": network.name, "score": score, "second": second, "meaning": meaning}


def _telling(data: PageData) -> list[str]:
    """Return the notes on networks that have no predictions: what the page lacks should not surprise."""
    silent = [network.name for network in data.networks if not _predicts(network)]
    return [note for note in data.notes if any(note.startswith(name) for name in silent)]


# By task: the short name of the measure in a panel's caption, and what it is.
_MEASURES = {
    "regression": ("R²", "R² of the mean value of a sample’s neighbours in activation space"),
    "multilabel": (
        "overlap",
        "Mean Jaccard index of a sample’s label set and those of its neighbours in activation space",
    ),
}
_PURITY = ("purity", "Purity: mean share of a sample’s neighbours in activation space that have its label")


def _formatted(value: float | None, form: str, minus: str = "-") -> str | None:
    """Return a number as text; None if it is unknown."""
    return None if value is None else format(value, form).replace("-", minus)


def _panel(panel: Panel, k: int, owner: str, column: int, task: str | None) -> dict[str, Any]:
    # In two parts, so that the browser cuts the first one short and keeps the second.
    head, tail = panel.layer, ""
    kept = TAIL if len(panel.layer) > SHORT else SHORT_TAIL
    if len(panel.layer) > kept + 1:
        head, tail = panel.layer[:-kept], panel.layer[-kept:]
    measure, meaning = _MEASURES.get(task or "", _PURITY)
    trust = panel.trustworthiness
    detail = ", ".join(filter(None, (panel.kind, panel.shape_text)))
    return {
        "k": k,
        "layer": panel.layer,
        "head": head,
        "tail": tail,
        "owner": owner,
        "column": column,
        "detail": detail or "layer",
        "doubtful": trust is not None and trust < DOUBTFUL,
        "trust": _formatted(trust, ".2f"),
        "measured": _formatted(panel.purity, ".1%") or _formatted(panel.neighbor_r2, ".2f", minus="−"),
        "measure": measure,
        "meaning": meaning,
    }
