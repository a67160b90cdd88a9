"""The page inside the live page, and what stands around it: the frame that talks to the server."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page.build import MAX_SAMPLES, LiveParts, announced, bundle, environment, render, template
from torchviz_layers.page.records import PageData, check
from torchviz_layers.page.sampling import thinned


def live_page(
    data: PageData, rows: NDArray[np.int64], layers: tuple[str, ...], *, max_samples: int = MAX_SAMPLES
) -> str:
    """Return the page of `data` with the live page's controls in it.

    Parameters
    ----------
    data
        What it shows.
    rows
        Row in the store of every sample, of shape (n_samples,): the names that the page calls them by outside.
    layers
        Names of the layers in which neighbours can be searched, those that are not shown too.
    max_samples
        Above this number a part of the samples is shown, as on the offline page.

    Raises
    ------
    PageError
        Where the parts of `data` do not fit one another.
    """
    check(data)
    ids = np.arange(data.n_samples) if data.ids is None else np.asarray(data.ids)
    shown = thinned(replace(data, ids=np.arange(data.n_samples)), max_samples)
    kept = np.asarray(shown.ids)
    shown = announced(replace(shown, ids=ids[kept]))
    return render(shown, LiveParts({"store-row": rows[kept].astype(np.uint32)}, layers))


def shell_template() -> Any:
    """Return the Jinja template of the frame around the page, for a Bokeh document."""
    return environment().get_template("live.html")


def shell_style() -> str:
    """Return the frame's style: the page's own, and what the frame adds."""
    return template("page.css") + template("live.css")


def shell_script() -> str:
    """Return the frame's script, an ES module whose default export takes ``{channel}``: the server's Bokeh model."""
    return bundle(("dom", "shell")) + "\nexport default modules.shell.connect;\n"
