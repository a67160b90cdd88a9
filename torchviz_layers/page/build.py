"""Records -> one page: summaries, pictures and figures, filled into the template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page import film_strips, interop, summaries
from torchviz_layers.page.answers import answers
from torchviz_layers.page.assets import SCRIPTS, bokeh_license, bundle, environment, packed_bokeh, page_style, template
from torchviz_layers.page.case_list import count_cases, finite_number, listed_cases
from torchviz_layers.page.checks import check
from torchviz_layers.page.columns import Column, column, packed_text, place, rows, share
from torchviz_layers.page.document import OfflineDocument
from torchviz_layers.page.geometry import MAX_PLACED_CLASSES, class_centres, coordinates, owners, square_ranges
from torchviz_layers.page.headline import headline, subsets
from torchviz_layers.page.metadata import MAX_COLUMNS, field_columns, field_meta
from torchviz_layers.page.pictures import Pictures, shown_pictures
from torchviz_layers.page.records import Network, PageData, Panel
from torchviz_layers.page.sampling import thinned
from torchviz_layers.page.subset import Subset
from torchviz_layers.page.summaries import joined
from torchviz_layers.page.tasks import task_of
from torchviz_layers.page.views import shown_view, view_notes

# A browser without a graphics card still draws 10 panels of this many points smoothly.
MAX_SAMPLES = 20_000
# Most probable classes that the card of a sample shows: of many networks it has one line each.
TOP, TOP_OF_MANY = 3, 1


@dataclass(frozen=True)
class LiveParts:
    """What the page contains in addition, inside the live page.

    Parameters
    ----------
    columns
        Further arrays for its script, by name.
    layers
        Names of the layers in which neighbours can be searched.
    """

    columns: Mapping[str, NDArray[Any]]
    layers: Sequence[str]


class Page(OfflineDocument):
    """The page as one HTML file, and the data it shows.

    Parameters
    ----------
    html
        The file's text.
    data
        What it shows.
    """

    def __init__(self, html: str, data: PageData) -> None:
        super().__init__(html, height=920)
        self.data = data

    def __repr__(self) -> str:
        names = joined([network.name for network in self.data.networks])
        size = len(self.html.encode()) / 1e6
        return f"<Page of {names}: {self.data.n_samples:,} samples, {len(self.data.panels)} panels, {size:.1f} MB>"

    def to_frame(self) -> Any:
        """Return a pandas DataFrame, one row per sample.

        It has the id, the text, the truth, the columns of `PageData.columns`, predictions, x and y in every layer,
        and up to 100 features. A column or feature whose name one of the others has is "NAME (column)".
        """
        return interop.to_frame(self.data)

    def save_parquet(self, path: str | Path) -> Path:
        """Write the columns of `to_frame` and the pictures as a Parquet file for embedding-atlas; return the path."""
        return interop.save_parquet(self.data, path)


def build_page(data: PageData, *, max_samples: int = MAX_SAMPLES) -> Page:
    """Return the page of one to twelve networks: linked panels of all layers, pictures, corner cases, one file.

    Parameters
    ----------
    data
        What it shows.
    max_samples
        Of more samples a part is shown, with all errors and corner cases among it, and the page says so.

    Raises
    ------
    PageError
        If the parts of `data` do not agree.
    """
    check(data)
    data = thinned(data, max_samples)
    pictures = shown_pictures(data.images)
    data = announced(data, pictures)
    return Page(render(data, pictures), data)


def announced(data: PageData, pictures: Pictures) -> PageData:
    """Return the data with notes on what its task leaves out, and on what is shown smaller than it is."""
    task = task_of(data)
    left_out = [] if task is None else task.notes()
    notes = [*data.notes, *left_out, pictures.shrinking, *view_notes(data)]
    if len(data.columns) > MAX_COLUMNS:
        notes.append(f"shown: the first {MAX_COLUMNS} of {len(data.columns)} columns")
    return replace(data, notes=tuple(filter(None, notes)))


def render(data: PageData, pictures: Pictures, live: LiveParts | None = None) -> str:
    """Return the page's HTML, with the live page's own controls if `live` is given."""
    from torchviz_layers.page.figures import build_figures

    # The page of a session of the live page has further controls, styles, a script and columns.
    style = page_style()
    scripts: tuple[str, ...] = SCRIPTS
    shown = subsets(data)
    fields = interop.shown_fields(data)
    view, described = shown_view(data)
    described |= {"pictures": pictures.meta}
    arrays = columns(data, shown) | pictures.columns | view | field_columns(fields)
    if live:
        style += template("live_section.css")
        scripts = (*scripts, "live")
        arrays |= {name: column(values) for name, values in live.columns.items()}
    html = (
        environment()
        .get_template("page.html")
        .render(
            **film_strips.template_values(data),
            meta=meta(data, shown) | described | {"fields": list(map(field_meta, fields))},
            columns=arrays,
            sheets=pictures.sheets,
            figures=build_figures(data),
            bokeh=packed_bokeh(),
            bokeh_license=bokeh_license(),
            style=style,
            script=packed_text(bundle(scripts)),
            live=live,
        )
    )
    return str(html)


def meta(data: PageData, subsets: Sequence[Subset]) -> dict[str, Any]:
    """Return what is not an array, as JSON-able values: names, sentences, numbers of a panel, the queue."""
    task = task_of(data)
    return {
        "title": data.title,
        "n": data.n_samples,
        "headline": headline(data, subsets),
        "answers": answers(data),
        "classes": list(data.names_of_classes),
        "colors": data.colors_of_classes,
        "task": data.task,
        **({} if task is None else task.meta()),
        "hasTargets": data.targets is not None,
        "ids": _ids(data),
        "networks": [_network(data, network) for network in data.networks],
        "panels": _panels(data),
        "subsets": [{"name": subset.name, "label": subset.label} for subset in subsets],
        "cases": listed_cases(data),
        "caseTotals": count_cases(data),
    }


def _ids(data: PageData) -> list[str] | None:
    if data.ids is None:
        return None
    ids = list(map(str, data.ids))
    # Without ids the script names a sample by its row; so ids that equal the rows need no space in the file.
    if ids == list(map(str, range(data.n_samples))):
        return None
    return ids


def _network(data: PageData, network: Network) -> dict[str, Any]:
    # By identity: two panels may be equal, and comparing their arrays would be slow.
    index = {id(panel): k for k, panel in enumerate(data.panels)}
    return {
        "name": network.name,
        "accuracy": network.accuracy(data.targets),
        "classifies": network.classifies and data.task == "classification",
        "journey": [index[id(panel)] for panel in summaries.journey(data, network)],
    }


def _panels(data: PageData) -> list[dict[str, Any]]:
    """Return names, measures and ranges of the panels."""
    described = []
    for owner, panel in zip(owners(data), data.panels, strict=True):
        # The same ranges as in the panel's figure: the script returns to them after zooming.
        Z = coordinates(panel)
        x, y = square_ranges(Z)
        described.append(
            {
                "layer": panel.layer,
                "network": owner,
                "kind": panel.kind,
                "shape": panel.shape_text,
                "purity": finite_number(panel.purity),
                "neighborR2": finite_number(panel.neighbor_r2),
                "probeR2": finite_number(panel.probe_r2),
                "probe": finite_number(panel.probe_accuracy),
                "trust": finite_number(panel.trustworthiness),
                "cka": finite_number(panel.cka),
                "missing": summaries.count_missing(panel),
                "x": x,
                "y": y,
                "names": _places(class_centres(data, Z, MAX_PLACED_CLASSES)),
            }
        )
    return described


def _places(centres: dict[str, list[Any]]) -> dict[str, list[float | None]]:
    """Return x and y of the classes' names, to five digits; None for a name that is not drawn."""
    return {axis: [finite_number(float(f"{value:.5g}")) for value in centres[axis]] for axis in ("x", "y")}


def columns(data: PageData, subsets: Sequence[Subset]) -> dict[str, Column]:
    """Return the arrays of the page, packed, by the names under which its script reads them."""
    arrays: dict[str, NDArray[Any]] = {}
    # Columns for what the data do not have are missing, and the script leaves out the parts that need them.
    if data.targets is not None:
        arrays["target"] = rows(np.where(data.targets < 0, data.n_classes, data.targets), data.n_classes)
    for subset in subsets:
        arrays[f"subset-{subset.name}"] = rows(np.flatnonzero(subset.mask), data.n_samples)
    for k, panel in enumerate(data.panels):
        Z = coordinates(panel)
        arrays[f"place-{k}"] = place(Z, *square_ranges(Z))
        arrays |= _journey_columns(data, k, panel)
    task = task_of(data)
    if task is not None:
        arrays |= task.columns()
    for number, network in enumerate(data.networks if task is None else ()):
        arrays |= _prediction_columns(data, number, network)
        settle = summaries.right_from(data, network)
        if settle is not None:
            arrays[f"settle-{number}"] = settle.astype(np.uint8)
    return {name: column(values) for name, values in arrays.items()}


def _prediction_columns(data: PageData, number: int, network: Network) -> dict[str, NDArray[Any]]:
    """Return a network's most probable classes and their probabilities."""
    outputs = network.probabilities
    if outputs is None:
        return {}
    finite = np.nan_to_num(outputs, nan=0.0)  # (n, n_classes)
    # A stable sort and argmax resolve ties alike, so that the first column is the network's prediction.
    count = TOP_OF_MANY if len(data.networks) > film_strips.MANY else TOP
    top = np.argsort(-finite, axis=1, kind="stable")[:, :count]
    return {
        f"top-{number}": rows(top, data.n_classes),
        f"share-{number}": share(np.take_along_axis(finite, top, axis=1)),
    }


def _journey_columns(data: PageData, k: int, panel: Panel) -> dict[str, NDArray[Any]]:
    """Return the neighbours that the journey shows in a panel; the script counts their votes."""
    if panel.neighbors is None:
        return {}
    return {f"near-{k}": rows(panel.neighbors[:, : summaries.shown_neighbors(data)], data.n_samples)}
