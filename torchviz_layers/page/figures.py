"""Bokeh figures of the page: the large one of the stage, and a pattern for those of the layers.

The page's script makes a layer's figure from the pattern when it comes into view: a hundred figures at once would take
seconds. All are linked by shared sources and views. The document holds these models by name, for the script:

- ``samples``: one source for all layers, with the columns ``sample`` (row of the sample that a point is) and ``code``
  (its colour). The script adds ``x0, y0, x1, ...`` by panel. Points are in drawing order, which is not that of the
  samples: shuffled, errors last.
- ``stage``: the source of the stage, ``x, y, code`` in the same drawing order; the script fills it with a layer's
  points, and the theatre moves them.
- ``ring-stage``: the ring around the sample under the pointer, and smaller ones around its neighbours; ``ring-<k>`` in
  panel k.
- ``plain-<owner>`` and ``wrong-<owner>``: which points are dots and which are crosses, filled by the script; owner is
  the number of a network, "both" (the input) or "stage". They are in ``view-plain-<owner>`` and ``view-wrong-<owner>``.
- ``stage-figure`` and ``panel-<k>``: the figures; ``names-stage`` and ``names-<k>``: positions of the classes' names;
  ``named``: the classes whose names are shown, in all figures.
- ``colors``: the mapper from ``code`` to a colour, shared by all.
- ``parts``: an empty source whose tags keep the views and the panels' figures in the document.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.core.serialization import Serializer
from bokeh.document import Document
from bokeh.models import (
    BoxSelectTool,
    CDSView,
    ColorBar,
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

from torchviz_layers.page.geometry import (
    MAX_PLACED_CLASSES,
    Marks,
    class_centres,
    coordinates,
    drawing_order,
    first_colors,
    square_ranges,
)
from torchviz_layers.page.outcomes import errors_of, labelled
from torchviz_layers.page.palette import class_colors
from torchviz_layers.page.records import PageData
from torchviz_layers.page.tasks import task_of

# Colours of the light theme; the page's script replaces them by those of the reader's theme before it draws.
INK, PAPER = "#1b1f24", "#ffffff"
BRUSH = "#5b84d8"

# Scale of the points in the panels and on the stage.
SMALL, LARGE = 1.0, 1.9

# In the pattern, the columns of a panel's points; the script replaces them by those of the panel, ``x0`` and ``y0``.
PATTERN_XY = ("panel-x", "panel-y")


def build_figures(data: PageData) -> dict[str, Any]:
    """Return the figures as the page's script reads them.

    It has the keys ``document`` (a Bokeh document as JSON, whose roots are the stage and `parts`), ``pattern`` (the
    figure of a layer as JSON, with references to models of the document) and ``own`` (ids of the pattern's own models,
    of which each copy needs new ones).
    """
    order = drawing_order(data)
    codes = first_colors(data)[order]
    mapper = _colors(data)
    samples = ColumnDataSource(name="samples", data={"sample": order.astype(np.uint32), "code": codes})
    last = coordinates(data.panels[-1])
    source = ColumnDataSource(name="stage", data={"x": [], "y": [], "code": []})
    views = {owner: _empty_views(owner) for owner in ("both", "stage", *map(str, range(len(data.networks))))}
    centres = class_centres(data, last, MAX_PLACED_CLASSES)
    named = _named(centres)
    stage = _figure("stage-figure", last)
    _draw(stage, source, ("x", "y"), mapper, views["stage"], Marks.of(data.n_samples, LARGE))
    _overlay(stage, "stage", centres, named, font="15px")
    _add_zoom(stage)

    pattern = _figure("panel", last)
    # All panels share one source, each with its own pair of columns: a selection in one is a selection in all.
    _draw(pattern, samples, PATTERN_XY, mapper, views["both"], Marks.of(data.n_samples, SMALL))
    _overlay(pattern, "panel", centres, named, font="10px")
    shared = [samples, mapper, *(view for pair in views.values() for view in pair)]
    parts = ColumnDataSource(name="parts", tags=shared)
    document = Document()
    with document.models.freeze():  # without it Bokeh visits all models again for every root
        document.add_root(stage)
        document.add_root(parts)
    own = pattern.references() - set(document.models)
    return {
        "document": document.to_json(deferred=False),
        "pattern": Serializer(references=set(document.models), deferred=False).encode(pattern),
        "own": sorted(model.id for model in own),
    }


def single_figure(data: PageData, codes: NDArray[np.int64] | None, values: NDArray[np.float64] | None = None) -> figure:
    """Return one large figure of the first panel, its points coloured by `codes`, with pan, wheel zoom and reset.

    Codes of -1 are drawn as unlabelled. Where targets are not classes, `values` replace the codes, and the figure has a
    colour bar. The columns ``sample``
    and ``label`` both contain the row of each point's sample, for the two formatters of a hover tool.
    """
    order = drawing_order(data)
    Z = coordinates(data.panels[0])
    shown: NDArray[Any] = np.zeros(data.n_samples)
    mapper = _colors(data)
    if values is not None:
        shown, mapper = values, _scale(values)
    elif codes is not None:
        shown = np.where(codes < 0, data.n_classes, codes)
    code = shown[order].astype(np.float32)
    rows = order.astype(np.uint32)
    source = ColumnDataSource(data={"x": Z[order, 0], "y": Z[order, 1], "code": code, "sample": rows, "label": rows})
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
    if values is not None:
        plot.add_layout(ColorBar(color_mapper=mapper, width=12), "right")
    wrong = errors_of(data, data.networks[0])[order]
    _draw(plot, source, ("x", "y"), mapper, (_view("plain-0", ~wrong), _view("wrong-0", wrong)), marks)
    centres = class_centres(data, Z)
    _overlay(plot, "embedding", centres, _named(centres), font="15px")
    _add_zoom(plot)
    # A plot is looked at by dragging and zooming; the brushes are there, but not active.
    plot.toolbar.logo = None
    plot.toolbar.active_drag = next(tool for tool in plot.tools if isinstance(tool, PanTool))
    return plot


def _colors(data: PageData) -> LinearColorMapper:
    task = task_of(data)
    if task is not None:
        _, low, high, scale = task.first_colors()
        # A sample without a value is drawn in ink; the script replaces it by the theme's.
        return LinearColorMapper(name="colors", low=low, high=high, palette=list(scale), nan_color=INK)
    palette = data.colors_of_classes or class_colors(1)
    if data.targets is not None and not labelled(data).all():
        palette = [*palette, INK]  # of unlabelled samples; the script replaces it by the theme's
    return LinearColorMapper(name="colors", low=-0.5, high=len(palette) - 0.5, palette=palette)


def _scale(values: NDArray[np.float64]) -> LinearColorMapper:
    from bokeh.palettes import Viridis256

    return LinearColorMapper(name="colors", low=float(values.min()), high=float(values.max()), palette=Viridis256)


def _empty_views(owner: str) -> tuple[CDSView, CDSView]:
    """Return the views of an owner's dots and crosses, to which the script assigns the points that pass the filters."""
    plain, wrong = _view(f"plain-{owner}", np.zeros(0, bool)), _view(f"wrong-{owner}", np.zeros(0, bool))
    plain.name, wrong.name = f"view-plain-{owner}", f"view-wrong-{owner}"
    return plain, wrong


def _view(name: str, mask: NDArray[np.bool_]) -> CDSView:
    # The page's script finds the filter by its name and replaces its indices.
    return CDSView(filter=IndexFilter(name=name, indices=np.flatnonzero(mask).tolist()))


def _named(centres: dict[str, list[Any]]) -> CDSView:
    return _view("named", np.ones(len(centres["text"]), bool))


def _figure(name: str, Z: NDArray[np.float32]) -> figure:
    x, y = square_ranges(Z)
    # continuous=False: the selection changes once, at the end of the drag.
    brushes = [LassoSelectTool(continuous=False), BoxSelectTool(continuous=False)]
    for brush in brushes:
        brush.overlay.update(line_color=BRUSH, line_dash="solid", line_width=1.5, fill_color=BRUSH, fill_alpha=0.12)
    return figure(
        name=name,
        sizing_mode="stretch_both",
        x_range=Range1d(*x),
        y_range=Range1d(*y),
        x_axis_type=None,
        y_axis_type=None,
        tools=[*brushes, PanTool()],
        active_drag=brushes[0],
        toolbar_location=None,
        min_border=0,
        outline_line_color=None,
        background_fill_alpha=0,
        border_fill_alpha=0,
        # Above so many points Bokeh draws fewer of them while a reader drags.
        lod_threshold=4000,
    )


def _add_zoom(plot: figure) -> None:
    zoom = WheelZoomTool()
    plot.add_tools(zoom, ResetTool())
    plot.toolbar.active_scroll = zoom


def _draw(
    plot: figure,
    source: ColumnDataSource,
    xy: tuple[str, str],
    mapper: LinearColorMapper,
    views: tuple[CDSView, CDSView],
    marks: Marks,
) -> None:
    """Draw samples as dots and misclassified ones as crosses; selected ones are larger, the others fade.

    Selected points have an outline in the page, whose script paints them itself.
    """
    color = {"field": "code", "transform": mapper}
    dots = plot.scatter(
        *xy,
        source=source,
        view=views[0],
        size=marks.size,
        fill_color=color,
        fill_alpha=marks.alpha,
        line_color=None,
        selection_fill_alpha=0.95,
        nonselection_fill_alpha=marks.alpha / 8,
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
        nonselection_line_alpha=marks.alpha / 8,
    )
    # Selected points are a fifth larger and at least one pixel.
    for renderer in (dots, crosses):
        renderer.selection_glyph.size = renderer.glyph.size * 1.2 + 1


def _overlay(plot: figure, name: str, centres: dict[str, list[Any]], named: CDSView, font: str) -> None:
    """Add the classes' names and the rings that follow the pointer.

    The rings are on a level of their own, so that moving them does not repaint the points.
    """
    names = ColumnDataSource(name=f"names-{name}", data=centres)
    plot.text(
        "x",
        "y",
        "text",
        source=names,
        view=named,
        name="class-names",
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
    # Empty until the script fills it with the sample shown and its neighbours.
    ring = ColumnDataSource(name=f"ring-{name}", data={"x": [], "y": [], "size": [], "width": []})
    plot.scatter(
        "x",
        "y",
        source=ring,
        name="ring",
        size="size",
        fill_color=None,
        line_color=INK,
        line_width="width",
        level="overlay",
    )
