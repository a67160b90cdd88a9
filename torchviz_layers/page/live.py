"""The page inside the live page, and the shell around it, which talks to the server."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.assets import bundle, environment, page_style, template
from torchviz_layers.page.build import LiveParts, announced, render
from torchviz_layers.page.checks import check
from torchviz_layers.page.pictures import shown_pictures
from torchviz_layers.page.records import PageData


def live_page(data: PageData, rows: NDArray[np.int64], layers: tuple[str, ...]) -> str:
    """Return the page of `data` with the live page's controls in it.

    Parameters
    ----------
    data
        What it shows.
    rows
        Row in the store of every sample, of shape (n_samples,), by which the server identifies it.
    layers
        Names of the layers in which neighbours can be searched; they need not be shown.

    Raises
    ------
    PageError
        If the parts of `data` do not agree.
    """
    # The data are thinned already (`panels.compose`), so that rows in the store are known.
    check(data)
    pictures = shown_pictures(data.images)
    return render(announced(data, pictures), pictures, LiveParts({"store-row": rows.astype(np.uint32)}, layers))


def shell_template() -> Any:
    """Return the Jinja template of the shell, for a Bokeh document."""
    return environment().get_template("live.html")


def shell_style() -> str:
    """Return the shell's style: the page's, and what the shell adds."""
    return page_style() + template("live.css")


def shell_script() -> str:
    """Return the shell's script: an ES module whose default export takes ``{channel}``, the server's Bokeh model."""
    return bundle(("dom", "shell")) + "\nexport default modules.shell.connect;\n"
