"""One embedding in one figure; the sample under the pointer is shown with its picture and classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError
from torchviz_layers.page.assets import template
from torchviz_layers.page.checks import check
from torchviz_layers.page.document import OfflineDocument
from torchviz_layers.page.labels import read_labels
from torchviz_layers.page.pictures import data_url, in_size, planned
from torchviz_layers.page.records import Network, PageData, Panel
from torchviz_layers.page.sampling import thinned

# A browser draws this many points smoothly in a single figure.
MAX_SAMPLES = 100_000
SIDE = 600


class Plot(OfflineDocument):
    """One figure of one embedding.

    Parameters
    ----------
    html
        The figure as one HTML file.
    figure
        The Bokeh figure, to be changed or combined with others.
    """

    def __init__(self, html: str, figure: Any) -> None:
        super().__init__(html, height=SIDE + 30)
        self.figure = figure


def plot_embedding(
    Z: NDArray[Any],
    images: NDArray[Any] | Sequence[NDArray[Any]] | None = None,
    predictions: NDArray[Any] | None = None,
    targets: NDArray[Any] | None = None,
    *,
    class_names: Sequence[str] | None = None,
    title: str = "",
) -> Plot:
    """Return a figure of one embedding: hover for a sample's picture, predicted and true class; pan, zoom, reset.

    A point has the colour of its predicted class (of its true class without predictions). Where the two differ, it is a
    cross. Targets that are values instead of classes get a continuous colour scale.

    Parameters
    ----------
    Z
        Embedding of shape (n_samples, 2).
    images
        Pictures of shape (n_samples, channels, height, width) or (n_samples, height, width), float in [0, 1] or uint8.
        Drawings keep every pixel; photographs are shown at up to 224 pixels a side, smaller where there are many.
    predictions
        Predicted classes of shape (n_samples,), or probabilities or logits of shape (n_samples, n_classes). A single
        probability per sample, of shape (n_samples, 1), is that of the second of two classes.
    targets
        True classes of shape (n_samples,), integers or text; or values. Up to 12 different fractions are treated as
        classes, more of them get a colour scale.
    class_names
        Names of the classes, in the order of their numbers. Default: the numbers, or the text labels, sorted.
    title
        Title of the figure.

    Raises
    ------
    PageError
        If the shapes of the arrays do not agree, or labels are NaN.

    Examples
    --------
    >>> import numpy as np
    >>> plot = plot_embedding(np.random.default_rng(0).normal(size=(50, 2)), targets=np.arange(50) % 10)
    >>> path = plot.save("embedding.html")  # doctest: +SKIP
    """
    panel = Panel("", np.asarray(Z, dtype=np.float32))
    labels = read_labels(targets, predictions, class_names)
    network = Network("", (panel,), labels.probabilities)
    data = PageData(title, (network,), images, None, labels.targets, labels.names, ids=np.arange(len(panel.Z)))
    check(data)
    if labels.values is not None and len(labels.values) != data.n_samples:
        raise PageError(f"targets: {len(labels.values)} entries for {data.n_samples} samples; pass one per sample")
    data = thinned(data, MAX_SAMPLES)
    values = labels.values
    if values is not None:
        values = values[np.asarray(data.ids)]  # of the samples shown: their ids are their rows
    # Classes alone are given as probabilities of 0 and 1, which say nothing.
    confident = predictions is not None and np.ndim(predictions) == 2
    figure = _figure(data, values, confident)
    return Plot(_offline(figure, title or "Embedding"), figure)


def _figure(data: PageData, values: NDArray[np.float64] | None, confident: bool) -> Any:
    from torchviz_layers.page.figures import single_figure

    predictions = data.networks[0].predictions
    codes = data.targets if predictions is None else predictions
    figure = single_figure(data, codes, values)
    figure.title.text = ". ".join(filter(None, (data.title, *data.notes)))
    figure.add_tools(_hover(data, predictions, values, confident))
    return figure


def _hover(
    data: PageData, predictions: NDArray[np.int64] | None, values: NDArray[np.float64] | None, confident: bool
) -> Any:
    from bokeh.models import CustomJSHover, HoverTool

    # -1 stands for an unknown class.
    predicted = truth = np.full(data.n_samples, -1, np.int32)
    if predictions is not None:
        predicted = predictions.astype(np.int32)
    if data.targets is not None:
        truth = data.targets.astype(np.int32)
    probabilities = data.networks[0].probabilities
    shares: NDArray[Any] | list[float] = []
    if confident and probabilities is not None:
        shares = probabilities.max(axis=1).astype(np.float32)
    label = CustomJSHover(code=template("js/hover_label.js"))
    label.args = {
        "predicted": predicted,
        "truth": truth,
        "shares": shares,
        "names": list(data.names_of_classes),
        "values": [] if values is None else values,
    }
    formatters = {"@label": label}
    tooltip = "tooltip_label.html"
    if data.images is not None:
        plan = planned(data.images)
        pictures = list(in_size(data.images, plan))
        if plan.lossless:
            tooltip, script = "tooltip.html", "js/hover_picture.js"
            shown: dict[str, Any] = {"pixels": np.stack(pictures)}
        else:
            # Each a file of its own: a tooltip cannot wait until a sheet is decoded.
            files = [data_url(picture) for picture in pictures]
            tooltip, script, shown = "tooltip_photograph.html", "js/hover_file.js", {"files": files}
        formatters["@sample"] = CustomJSHover(code=template(script), args=shown)
    # limit=1: the nearest sample only, not every one under the pointer.
    return HoverTool(tooltips=template(tooltip), formatters=formatters, attachment="horizontal", limit=1)


def _offline(figure: Any, title: str) -> str:
    from bokeh.embed import file_html
    from bokeh.resources import Resources

    return str(file_html(figure, Resources(mode="inline", minified=True), title=title))
