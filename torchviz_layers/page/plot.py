"""One embedding in one figure, with the picture of each sample under the pointer: the notebook's plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import PageError
from torchviz_layers.page.build import template
from torchviz_layers.page.document import OfflineDocument
from torchviz_layers.page.labels import read_labels
from torchviz_layers.page.records import Network, PageData, Panel, check
from torchviz_layers.page.sampling import thinned
from torchviz_layers.page.thumbnails import thumbnails

# A single canvas draws this many points at ease.
MAX_SAMPLES = 100_000
SIDE = 600


class Plot(OfflineDocument):
    """One figure of one embedding.

    Parameters
    ----------
    html
        The figure as one HTML file.
    figure
        The Bokeh figure, to be changed or laid out with others.
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

    Points have the colour of their predicted class (of their true one without predictions); where the two differ, the
    point is a cross. Targets that are values, not classes, have a continuous colour with a scale.

    Parameters
    ----------
    Z
        Embedding of shape (n_samples, 2).
    images
        Pictures of shape (n_samples, channels, height, width) or (n_samples, height, width), float in [0, 1] or uint8.
    predictions
        Predicted classes of shape (n_samples,), or probabilities or logits of shape (n_samples, n_classes); one
        probability a sample, of shape (n_samples, 1), is that of the second of two classes.
    targets
        True classes of shape (n_samples,), whole numbers or text; or values: fractions, up to 12 different ones as
        names, more on a scale.
    class_names
        Names of the classes, in the order of their numbers; without them numbers, or the text labels sorted.
    title
        Title of the figure.

    Raises
    ------
    PageError
        Where the arrays do not fit one another, or labels are NaN.

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
        raise PageError(f"targets: {len(labels.values)} entries for {data.n_samples} samples; pass one a sample")
    data = thinned(data, MAX_SAMPLES)
    figure = _figure(data, None if labels.values is None else labels.values[np.asarray(data.ids)])
    return Plot(_offline(figure, title or "Embedding"), figure)


def _figure(data: PageData, values: NDArray[np.float64] | None) -> Any:
    from torchviz_layers.page import figures as panels

    network = data.networks[0]
    codes = network.predictions if network.predictions is not None else data.targets
    figure = panels.single_figure(data, codes, values)
    figure.title.text = ". ".join(part for part in (data.title, *data.notes) if part)
    figure.add_tools(_hover(data, network.predictions, values))
    return figure


def _hover(data: PageData, said: NDArray[np.int64] | None, values: NDArray[np.float64] | None) -> Any:
    from bokeh.models import CustomJSHover, HoverTool

    unknown = np.full(data.n_samples, -1, np.int32)
    words = CustomJSHover(code=template("js/hover_words.js"))
    words.args = {
        "said": unknown if said is None else said.astype(np.int32),
        "truth": unknown if data.targets is None else data.targets.astype(np.int32),
        "names": list(data.names_of_classes),
        "values": [] if values is None else values,
    }
    formatters = {"@answer": words}
    if data.images is not None:
        formatters["@sample"] = CustomJSHover(code=template("js/hover_picture.js"))
        formatters["@sample"].args = {"pixels": thumbnails(data.images)}
    tooltip = template("tooltip_words.html" if data.images is None else "tooltip.html")
    # One sample, not all that lie under the pointer.
    return HoverTool(tooltips=tooltip, formatters=formatters, attachment="horizontal", limit=1)


def _offline(figure: Any, title: str) -> str:
    from bokeh.embed import file_html
    from bokeh.resources import Resources

    return str(file_html(figure, Resources(mode="inline", minified=True), title=title))
