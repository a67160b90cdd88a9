"""One embedding in one figure, with the picture of each sample under the pointer: the notebook's plot."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.build import template
from torchviz_layers.page.document import OfflineDocument
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
    point is a cross.

    Parameters
    ----------
    Z
        Embedding of shape (n_samples, 2).
    images
        Pictures of shape (n_samples, channels, height, width) or (n_samples, height, width), float in [0, 1] or uint8.
    predictions
        Predicted classes of shape (n_samples,), or probabilities or logits of shape (n_samples, n_classes).
    targets
        True classes of shape (n_samples,).
    class_names
        Names of the classes; numbers without them.
    title
        Title of the figure.

    Raises
    ------
    PageError
        Where the arrays do not fit one another.

    Examples
    --------
    >>> import numpy as np
    >>> plot = plot_embedding(np.random.default_rng(0).normal(size=(50, 2)), targets=np.arange(50) % 10)
    >>> path = plot.save("embedding.html")  # doctest: +SKIP
    """
    panel = Panel("", np.asarray(Z, dtype=np.float32))
    network = Network("", (panel,), None if predictions is None else _one_hot(np.asarray(predictions)))
    truth = None if targets is None else np.asarray(targets).astype(np.int64)
    data = PageData(title, (network,), images, None, truth, tuple(class_names or ()))
    check(data)
    data = thinned(data, MAX_SAMPLES)
    figure = _figure(data)
    return Plot(_offline(figure, title or "Embedding"), figure)


def _one_hot(predictions: NDArray[Any]) -> NDArray[np.float32]:
    """Return classes as rows of 0 and one 1; what already has a column a class is returned as it is."""
    if predictions.ndim == 2:
        return predictions.astype(np.float32)
    codes = predictions.astype(np.int64)
    return np.eye(int(codes.max(initial=0)) + 1, dtype=np.float32)[codes]


def _figure(data: PageData) -> Any:
    from torchviz_layers.page import panels

    network = data.networks[0]
    figure = panels.single_figure(data, network.predictions if network.predictions is not None else data.targets)
    figure.title.text = ". ".join(part for part in (data.title, *data.notes) if part)
    figure.add_tools(_hover(data, network.predictions))
    return figure


def _hover(data: PageData, said: NDArray[np.int64] | None) -> Any:
    from bokeh.models import CustomJSHover, HoverTool

    unknown = np.full(data.n_samples, -1, np.int32)
    words = CustomJSHover(code=template("js/hover_words.js"))
    words.args = {
        "said": unknown if said is None else said.astype(np.int32),
        "truth": unknown if data.targets is None else data.targets.astype(np.int32),
        "names": list(data.names_of_classes),
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
