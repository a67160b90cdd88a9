"""Build and save the page once embeddings and neighbours are there, beside five figures in the notebook's way.

The coordinates are made up (clouds a class): building does not look at them.
"""

from __future__ import annotations

import argparse
import base64
import tempfile
from dataclasses import replace
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.browser import GOALS, first_render
from benchmarks.data import samples_of
from benchmarks.report import Table
from benchmarks.timing import interleave
from torchviz_layers import Samples
from torchviz_layers.corner_cases import find_corner_cases
from torchviz_layers.page import Network, PageData, Panel, build_page

LAYERS = {
    "dense128": ("dense_0", "dense_1"),
    "LeNet60": ("conv_0", "average_pooling2d", "conv_1", "average_pooling2d_1", "dense_0", "dense_1", "dense_2"),
}


def run(options: argparse.Namespace) -> list[Table]:
    """Measure the page of two networks and ten panels."""
    samples = samples_of(options, 500 if options.quick else 10_000)
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder)
        data = page_data(samples)
        contenders = {
            "ours: ten panels, journeys": partial(_save_page, data, out),
            "ours, corner cases found too": partial(_find_and_save, samples, out),
            "notebook's way: five figures": partial(_save_figures, samples, data, out),
        }
        repeats = options.repeats or (1 if options.quick else 5)
        timings = interleave(contenders, repeats=repeats, device="cpu", check=lambda _, files: _check(files))
        rows = [timing.row(name) for name, timing in timings.items()]
        sizes = [out / "page.html"], [out / "page.html"], sorted(out.glob("figure*.html"))
        for row, files in zip(rows, sizes, strict=True):
            row["html_mb"] = sum(file.stat().st_size for file in files) / 1e6
            row["over_notebook"] = row["seconds"] / rows[-1]["seconds"]
    saved = Table("page", f"Page: {len(samples):,} images of {samples.name}, from arrays to saved file", rows)
    return [saved, _in_a_browser(samples, repeats)]


def _in_a_browser(samples: Samples, repeats: int) -> Table:
    """Measure the file's size and the times to the first render and after actions, of pages at the goals' sizes."""
    some = samples[np.arange(len(samples) // 2)]
    cases = {
        f"two networks of two layers, {len(samples):,} samples": (many_networks(samples, 2, 2), 6.0, 1.5),
        f"two networks of ten layers, three columns, {len(samples):,} samples": (with_columns(samples), 8.0, 2.0),
        f"twelve networks of eight layers, {len(some):,} samples": (many_networks(some), 12.0, 3.0),
    }
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (data, megabytes, seconds) in cases.items():
            (file,) = _save_page(data, Path(folder))
            row = {"name": name, "html_mb": file.stat().st_size / 1e6, "goal_mb": megabytes, "goal_seconds": seconds}
            rows.append(row | first_render(file, repeats))
    goals = ", ".join(f"{what} {goal:.0f} ms" for what, goal in GOALS.items())
    title = (
        f"Page in Chromium, from opening or an action to the first frame; all: to the last one in view (goals: {goals})"
    )
    return Table("page-browser", title, rows)


def page_data(samples: Samples) -> PageData:
    """Return everything the page of both networks needs, corner cases included, from made-up layers."""
    assert samples.targets is not None
    generator = np.random.default_rng(0)
    targets = samples.targets
    networks = []
    for name, layers in LAYERS.items():
        probabilities = _probabilities(targets, generator)
        panels = tuple(_panel(layer, targets, generator) for layer in layers)
        networks.append(Network(name, panels, probabilities))
    return _with_cases(samples, networks, _panel("input", targets, generator))


def many_networks(samples: Samples, count: int = 12, layers: int = 8) -> PageData:
    """Return everything a page of many networks needs, corner cases included, from made-up layers."""
    assert samples.targets is not None
    generator = np.random.default_rng(0)
    targets = samples.targets
    networks = []
    for number in range(count):
        panels = tuple(_panel(f"layer {step}", targets, generator) for step in range(layers))
        networks.append(Network(f"network {number}", panels, _probabilities(targets, generator)))
    return _with_cases(samples, networks, _panel("input", targets, generator))


def with_columns(samples: Samples) -> PageData:
    """Return everything a page of two networks of ten layers needs, with columns: numbers, choices and dates."""
    generator = np.random.default_rng(1)
    n = len(samples)
    columns = {
        "length": generator.normal(20, 5, n),
        "source": np.array(["web", "print", "radio"])[generator.integers(0, 3, n)],
        "written": np.datetime64("2024-01-01") + generator.integers(0, 700, n).astype("m8[D]"),
    }
    return replace(many_networks(samples, count=2, layers=10), columns=columns)


def _probabilities(targets: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Return probabilities of ten classes (n, 10), of which the true one is the largest but for a few samples."""
    noise = generator.gumbel(size=(len(targets), 10)) + 8 * np.eye(10)[targets]
    return (np.exp(noise) / np.exp(noise).sum(1, keepdims=True)).astype(np.float32)


def _with_cases(samples: Samples, networks: list[Network], pixels: Panel) -> PageData:
    assert samples.targets is not None
    return PageData(
        title="made-up layers",
        networks=tuple(networks),
        images=samples.shown.images,
        targets=samples.targets,
        class_names=samples.class_names,
        ids=samples.ids,
        input_panel=pixels,
        corner_cases=find_corner_cases(
            {network.name: network.probabilities for network in networks if network.probabilities is not None},
            samples.targets,
            neighbors={
                network.name: {panel.layer: panel.neighbors for panel in (pixels, *network.panels)}
                for network in networks
            },
        ),
    )


def _panel(layer: str, targets: np.ndarray, generator: np.random.Generator) -> Panel:
    centres = generator.normal(0, 6, (10, 2))
    Z = (centres[targets] + generator.normal(0, 1, (len(targets), 2))).astype(np.float32)
    return Panel(layer, Z, generator.integers(0, len(targets), (len(targets), 8)), 0.9, 0.9, 0.95, 0.5)


def _save_page(data: PageData, out: Path) -> list[Path]:
    build_page(data).save(out / "page.html")
    return [out / "page.html"]


def _find_and_save(samples: Samples, out: Path) -> list[Path]:
    return _save_page(page_data(samples), out)


def _check(files: list[Path]) -> None:
    for file in files:
        assert "bokeh" in file.read_text(encoding="utf-8").lower(), f"{file.name} holds no plot"


def _save_figures(samples: Samples, data: PageData, out: Path) -> list[Path]:
    """Save five figures with one PNG a point in a table of strings, as the notebook has them."""
    panels = (data.input_panel, *(panel for network in data.networks for panel in network.panels[-2:]))
    files = []
    for number, panel in enumerate(panels):
        assert panel is not None
        files.append(out / f"figure{number}.html")
        _save_figure(panel.Z, samples, files[-1])
    return files


def _save_figure(Z: np.ndarray, samples: Samples, path: Path) -> None:
    from bokeh import palettes, plotting
    from bokeh.models import CategoricalColorMapper, ColumnDataSource, HoverTool

    assert samples.targets is not None
    columns: dict[str, Any] = {"x": Z[:, 0], "y": Z[:, 1]}
    columns["image"] = [_data_url(image[0]) for image in samples.shown.images]
    columns["digit"] = [str(digit) for digit in samples.targets]
    figure = plotting.figure(width=600, height=600, tools="pan,wheel_zoom,reset")
    figure.add_tools(HoverTool(tooltips="<div><img src='@image'/> <span>@digit</span></div>"))
    mapper = CategoricalColorMapper(factors=[str(digit) for digit in range(10)], palette=palettes.Spectral10)
    color = {"field": "digit", "transform": mapper}
    figure.scatter("x", "y", source=ColumnDataSource(columns), color=color, alpha=0.6, size=4)
    plotting.save(figure, path, title="figure", resources="inline")


def _data_url(image: np.ndarray) -> str:
    from PIL import Image

    buffer = BytesIO()
    Image.fromarray((255 * (1 - image)).astype(np.uint8)).save(buffer, format="png")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()
