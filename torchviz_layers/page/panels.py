"""Bokeh figures of the page: one a layer and one large stage, linked by shared sources and views.

The document holds these models by name, for the page's script:

- ``samples``: one source for all layers, columns ``x0, y0, x1, ...`` by panel, ``sample`` (whose row each point is) and
  ``code`` (its colour). Points are in drawing order, not in the order of the samples: shuffled, errors last.
- ``stage``: the source of the stage, ``x, y, code`` in the same drawing order; the theatre moves it.
- ``ring-<k>``: one row, the ring around the sample under the pointer in panel k; ``ring-stage`` on the stage.
- ``plain-<who>`` and ``wrong-<who>``: which points are drawn as dots and which as crosses; who is a network's number,
  "both" or "stage".
- ``panel-<k>`` and ``stage-figure``: the figures; ``names-<k>``: where the classes' names stand.
- ``colors``: the mapper from ``code`` to a colour, shared by all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.document import Document
from bokeh.models import (
    BoxSelectTool,
    CDSView,
    ColumnDataSource,
    IndexFilter,
    LassoSelectTool,
    LinearColorMapper,
    PanTool,
    Range1d,
    ResetTool,
    WheelZoomTool,
)
from bokeh.plotting import figure
from numpy.typing import NDArray

from torchviz_layers.page.palette import class_colors
from torchviz_layers.page.records import Network, PageData, Panel

MAX_NAMED_CLASSES = 20
# The light theme's; the page's script puts its own theme's in their place before it draws.
INK, PAPER = "#1b1f24", "#ffffff"
NOT_SELECTED = "#9aa3a9"
BRUSH = "#5b84d8"


@dataclass(frozen=True)
class Marks:
    """Size in pixels and opacity of the points of a figure, from how many there are."""

    size: float
    alpha: float

    @classmethod
    def of(cls, n_samples: int, scale: float) -> Marks:
        """Return marks that leave a figure of so many points legible; `scale` is 1 for a small panel."""
        root = max(1.0, n_samples) ** 0.5
        return cls(float(np.clip(130 * scale / root, 1.5 * scale, 4 * scale)), float(np.clip(55 / root, 0.3, 0.85)))


SMALL, LARGE = 1.0, 1.9


def drawing_order(data: PageData) -> NDArray[np.int64]:
    """Return the samples in the order that they are drawn: shuffled, so that no class hides another, errors on top."""
    order = np.random.default_rng(0).permutation(data.n_samples)
    return order[np.argsort(_times_wrong(data)[order] > 0, kind="stable")]


def _times_wrong(data: PageData) -> NDArray[np.int64]:
    wrong = [_wrong(data, network) for network in data.networks]
    return np.asarray(np.sum(wrong, axis=0))


def _wrong(data: PageData, network: Network) -> NDArray[np.bool_]:
    if data.targets is None or network.predictions is None:
        return np.zeros(data.n_samples, bool)
    return np.asarray(network.predictions != data.targets)


def build_document(data: PageData) -> Document:
    """Return a Bokeh document whose roots are the panels in the order of `data.panels`, then the stage."""
    order = drawing_order(data)
    codes = _first_colors(data)[order]
    mapper = _colors(data)
    places = [place(panel) for panel in data.panels]
    samples = ColumnDataSource(name="samples", data={"sample": order.astype(np.uint32), "code": codes})
    for k, Z in enumerate(places):
        samples.data[f"x{k}"], samples.data[f"y{k}"] = Z[order, 0], Z[order, 1]
    stage = ColumnDataSource(name="stage", data={"x": places[-1][order, 0], "y": places[-1][order, 1], "code": codes})
    views = _views(data, order)
    names = data.names_of_classes

    document = Document()
    for k, (owner, Z) in enumerate(zip(owners(data), places, strict=True)):
        who = "both" if owner is None else str(owner)
        plot = _figure(f"panel-{k}", Z)
        _draw(plot, samples, (f"x{k}", f"y{k}"), mapper, views[who], Marks.of(data.n_samples, SMALL))
        # Longer names would cover a small panel; the stage shows them.
        _overlay(plot, str(k), class_centres(data, Z), font="10px", named=max(map(len, names), default=0) <= 2)
        document.add_root(plot)
    plot = _figure("stage-figure", places[-1])
    _draw(plot, stage, ("x", "y"), mapper, views["stage"], Marks.of(data.n_samples, LARGE))
    _overlay(plot, "stage", class_centres(data, places[-1]), font="15px")
    plot.add_tools(WheelZoomTool(), ResetTool())
    plot.toolbar.active_scroll = plot.select_one(WheelZoomTool)
    document.add_root(plot)
    return document


def single_figure(data: PageData, codes: NDArray[np.int64] | None) -> figure:
    """Return one large figure of the first panel, its points coloured by `codes`, with pan, wheel zoom and reset.

    Columns ``sample`` and ``answer`` hold each point's own row, for a hover tool's formatters.
    """
    order = drawing_order(data)
    Z = place(data.panels[0])
    code = np.zeros(len(order), np.float32) if codes is None else codes[order].astype(np.float32)
    rows = order.astype(np.uint32)
    source = ColumnDataSource(data={"x": Z[order, 0], "y": Z[order, 1], "code": code, "sample": rows, "answer": rows})
    marks = Marks.of(len(order), LARGE)
    plot = _figure("embedding", Z)
    plot.update(
        sizing_mode="inherit",
        width=600,
        height=600,
        toolbar_location="right",
        background_fill_alpha=1,
        border_fill_alpha=1,
    )
    _draw(plot, source, ("x", "y"), _colors(data), _views(data, order)["0"], marks)
    _overlay(plot, "embedding", class_centres(data, Z), font="15px")
    plot.add_tools(WheelZoomTool(), ResetTool())
    plot.toolbar.active_drag = plot.select_one(PanTool)
    plot.toolbar.active_scroll = plot.select_one(WheelZoomTool)
    return plot


def owners(data: PageData) -> list[int | None]:
    """Return the number of the network that each of `data.panels` belongs to; None for the input."""
    shared: list[int | None] = [] if data.input_panel is None else [None]
    return shared + [number for number, network in enumerate(data.networks) for _ in network.panels]


def place(panel: Panel) -> NDArray[np.float32]:
    """Return the panel's coordinates with NaN where a sample has no place."""
    Z = np.array(panel.Z, dtype=np.float32)
    Z[~np.isfinite(Z).all(axis=1)] = np.nan
    return Z


def square(Z: NDArray[np.float32]) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return ranges of x and y of one length, so that a square panel shows distances as they are."""
    placed = Z[np.isfinite(Z).all(axis=1)].astype(np.float64)
    if not len(placed):
        return (-1.0, 1.0), (-1.0, 1.0)
    low, high = placed.min(axis=0), placed.max(axis=0)
    half = 0.5 * float((high - low).max()) * 1.08 or 1.0
    x, y = (low + high) / 2
    return (float(x - half), float(x + half)), (float(y - half), float(y + half))


def class_centres(data: PageData, Z: NDArray[np.float32]) -> dict[str, list[Any]]:
    """Return where each class's name stands: the median of its points, NaN without any; nothing for too many names."""
    labels = data.labels(data.networks[0])
    centres: dict[str, list[Any]] = {"x": [], "y": [], "text": []}
    if labels is None or data.n_classes > MAX_NAMED_CLASSES:
        return centres
    placed = np.isfinite(Z).all(axis=1)
    for code, name in enumerate(data.names_of_classes):
        members = Z[placed & (labels == code)]
        x, y = np.median(members, axis=0) if len(members) else (np.nan, np.nan)
        centres["x"].append(float(x))
        centres["y"].append(float(y))
        centres["text"].append(name if len(name) <= 12 else name[:11] + "…")
    return centres


def _colors(data: PageData) -> LinearColorMapper:
    count = max(1, data.n_classes)
    return LinearColorMapper(name="colors", low=-0.5, high=count - 0.5, palette=class_colors(count))


def _first_colors(data: PageData) -> NDArray[np.float32]:
    """Return the codes that the page opens with: the truth or, without it, the first network's predictions."""
    labels = data.labels(data.networks[0])
    return np.zeros(data.n_samples, np.float32) if labels is None else labels.astype(np.float32)


def _views(data: PageData, order: NDArray[np.int64]) -> dict[str, tuple[CDSView, CDSView]]:
    """Return for the input, each network and the stage the views of what is drawn as dots and as crosses."""
    wrong = {str(number): _wrong(data, network)[order] for number, network in enumerate(data.networks)}
    wrong["both"] = np.all(list(wrong.values()), axis=0)
    wrong["stage"] = wrong[str(len(data.networks) - 1)]
    return {who: (_view(f"plain-{who}", ~mask), _view(f"wrong-{who}", mask)) for who, mask in wrong.items()}


def _view(name: str, mask: NDArray[np.bool_]) -> CDSView:
    return CDSView(filter=IndexFilter(name=name, indices=np.flatnonzero(mask).tolist()))


def _figure(name: str, Z: NDArray[np.float32]) -> figure:
    x, y = square(Z)
    plot = figure(
        name=name,
        sizing_mode="stretch_both",
        x_range=Range1d(*x),
        y_range=Range1d(*y),
        tools=[LassoSelectTool(continuous=False), BoxSelectTool(continuous=False), PanTool()],
        toolbar_location=None,
        min_border=0,
        outline_line_color=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        lod_threshold=4000,
    )
    plot.axis.visible = False
    plot.grid.visible = False
    plot.toolbar.active_drag = plot.select_one(LassoSelectTool)
    for brush in plot.select({"type": (LassoSelectTool, BoxSelectTool)}):
        brush.overlay.update(line_color=BRUSH, line_dash="solid", line_width=1.5, fill_color=BRUSH, fill_alpha=0.12)
    return plot


def _draw(
    plot: figure,
    source: ColumnDataSource,
    xy: tuple[str, str],
    mapper: LinearColorMapper,
    views: tuple[CDSView, CDSView],
    marks: Marks,
) -> None:
    """Draw the right samples as dots and the wrong ones as crosses; what is chosen larger, what is not a shadow."""
    color = {"field": "code", "transform": mapper}
    shadow = {"nonselection_fill_color": NOT_SELECTED, "nonselection_line_color": NOT_SELECTED}
    dots = plot.scatter(
        *xy,
        source=source,
        view=views[0],
        size=marks.size,
        fill_color=color,
        fill_alpha=marks.alpha,
        line_color=None,
        selection_fill_alpha=0.95,
        nonselection_fill_alpha=marks.alpha / 5,
        **shadow,
    )
    crosses = plot.scatter(
        *xy,
        source=source,
        view=views[1],
        marker="x",
        size=marks.size + 2.5,
        line_color=color,
        line_alpha=0.95,
        line_width=1.2,
        selection_line_alpha=1,
        nonselection_line_alpha=marks.alpha / 2,
        **shadow,
    )
    for renderer in (dots, crosses):
        renderer.selection_glyph.size = renderer.glyph.size * 1.2 + 1


def _overlay(plot: figure, name: str, centres: dict[str, list[Any]], font: str, named: bool = True) -> None:
    """Add the classes' names and, on a canvas of its own above the points, the ring that follows the pointer."""
    names = ColumnDataSource(name=f"names-{name}", data=centres)
    plot.text(
        "x",
        "y",
        "text",
        source=names,
        name="class-names",
        visible=named,
        text_align="center",
        text_baseline="middle",
        text_font_size=font,
        text_font_style="bold",
        text_color=INK,
        background_fill_color=PAPER,
        background_fill_alpha=0.72,
        border_radius=4,
        padding=1,
        level="annotation",
    )
    ring = ColumnDataSource(name=f"ring-{name}", data={"x": [], "y": []})
    plot.scatter(
        "x",
        "y",
        source=ring,
        name="ring",
        size=14,
        fill_color=None,
        line_color=INK,
        line_width=2,
        level="overlay",
    )
