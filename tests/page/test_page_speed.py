"""The page beside the notebook's own way of showing the same digits, in the same run."""

import base64
import io
import time

import numpy as np
import pytest

from tests.pages import mnist_page
from torchviz_layers.page import build_page


def notebook_figure(Z: np.ndarray, images: np.ndarray, said: np.ndarray, truth: np.ndarray) -> str:
    """One figure as the notebook makes it: a PNG a point, all as strings in one source."""
    from bokeh.embed import file_html
    from bokeh.models import CategoricalColorMapper, ColumnDataSource, HoverTool
    from bokeh.palettes import Spectral10
    from bokeh.plotting import figure
    from bokeh.resources import INLINE
    from PIL import Image

    def encoded(image: np.ndarray) -> str:
        buffer = io.BytesIO()
        Image.fromarray((255 * (1 - image)).astype(np.uint8)).save(buffer, format="png")
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()

    columns = {"x": Z[:, 0], "y": Z[:, 1], "image": [encoded(image[0]) for image in images]}
    source = ColumnDataSource(columns | {"digit": [str(code) for code in said], "true": [str(code) for code in truth]})
    plot = figure(width=600, height=600, tools="pan,wheel_zoom,reset")
    plot.add_tools(HoverTool(tooltips="<img src='@image'> @digit (true: @true)"))
    colors = CategoricalColorMapper(factors=[str(code) for code in range(10)], palette=Spectral10)
    plot.scatter("x", "y", source=source, color={"field": "digit", "transform": colors}, size=4, alpha=0.6)
    return file_html(plot, INLINE)


@pytest.mark.slow
@pytest.mark.usefixtures("data_dir")
def test_the_page_of_ten_panels_takes_no_longer_than_the_notebook_s_five_figures():
    data = mnist_page((2, 7))
    build_page(data)  # Bokeh's import and first use are nobody's
    started = time.process_time()
    page = build_page(data)
    ours = time.process_time() - started
    said = data.networks[0].predictions
    started = time.process_time()
    texts = [notebook_figure(panel.Z, data.images, said, data.targets) for panel in data.panels[:5]]
    theirs = time.process_time() - started
    sizes = len(page.html) / 1e6, sum(map(len, texts)) / 1e6
    assert ours <= theirs, f"page {ours:.2f} s, notebook {theirs:.2f} s; MB {sizes}"
    assert sizes[0] <= sizes[1]
