"""Records -> one page: facts, pictures and figures brought together in the template."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.page import film_strips as frames
from torchviz_layers.page import interop
from torchviz_layers.page import summaries as facts
from torchviz_layers.page.columns import Column, column, rows, share
from torchviz_layers.page.document import OfflineDocument
from torchviz_layers.page.geometry import owners, place, square
from torchviz_layers.page.records import Network, PageData, Panel, check
from torchviz_layers.page.sampling import thinned
from torchviz_layers.page.thumbnails import shrinking, thumbnails

# What a browser draws at ease: measured with 10 panels on a canvas without a graphics card.
MAX_SAMPLES = 20_000
MAX_CASES_A_KIND = 250
TOP = 3

# In the order in which they may use one another.
SCRIPTS = (
    "store",
    "dom",
    "roving_tabindex",
    "state",
    "thumbnails",
    "scatter",
    "toolbar",
    "card",
    "journey",
    "gallery",
    "matrix",
    "curves",
    "theatre",
    "queue",
    "export",
    "main",
)


@dataclass(frozen=True)
class LiveParts:
    """What the page holds besides, inside the live page: arrays for its script, and the layers to search in."""

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
        names = " and ".join(network.name for network in self.data.networks)
        size = len(self.html.encode()) / 1e6
        return f"<Page of {names}: {self.data.n_samples:,} samples, {len(self.data.panels)} panels, {size:.1f} MB>"

    def to_frame(self) -> Any:
        """Return a pandas DataFrame: a row a sample, with its id, truth, answers, and x and y in every layer."""
        return interop.to_frame(self.data)

    def save_parquet(self, path: str | Path) -> Path:
        """Write the same columns and the pictures as Parquet, which embedding-atlas reads; return the path."""
        return interop.save_parquet(self.data, path)

    def save_projector(self, folder: str | Path) -> Path:
        """Write the layouts, labels and pictures as files of TensorBoard's projector; return the folder."""
        return interop.save_projector(self.data, folder)


def build_page(data: PageData, *, max_samples: int = MAX_SAMPLES) -> Page:
    """Return the page of one or two networks: linked panels of all layers, pictures, corner cases, in one offline file.

    Parameters
    ----------
    data
        What it shows.
    max_samples
        Above this number a part of the samples is shown, all errors and corner cases among them, and the page says so.

    Raises
    ------
    PageError
        Where the parts of `data` do not fit one another.
    """
    check(data)
    data = announced(thinned(data, max_samples))
    return Page(render(data), data)


def announced(data: PageData) -> PageData:
    """Return the data with a note on what their pictures lose, where they lose anything."""
    return replace(data, notes=tuple(filter(None, (*data.notes, shrinking(data.images)))))


def render(data: PageData, live: LiveParts | None = None) -> str:
    """Return the page's text, with the live page's own controls where there are any."""
    from torchviz_layers.page.figures import build_document

    extra = live.columns if live else {}
    return str(
        environment()
        .get_template("page.html")
        .render(
            **frames.layout(data),
            meta=meta(data),
            columns=columns(data) | {name: column(values) for name, values in extra.items()},
            figures=build_document(data).to_json(deferred=False),
            bokeh=bokeh_script(),
            style=template("page.css") + (template("live_section.css") if live else ""),
            script=bundle((*SCRIPTS, "live") if live else SCRIPTS),
            live=live,
        )
    )


def meta(data: PageData) -> dict[str, Any]:
    """Return what is not an array: names, sentences, numbers of a panel, the queue."""
    groups = facts.subsets(data)
    return {
        "title": data.title,
        "n": data.n_samples,
        "headline": facts.headline(data, groups),
        "classes": list(data.names_of_classes),
        "colors": data.colors_of_classes,
        "hasTargets": data.targets is not None,
        "ids": _ids(data),
        "texts": None if data.texts is None else [str(text) for text in data.texts],
        "networks": [_network(data, network) for network in data.networks],
        "panels": _panels(data),
        "subsets": [{"name": group.name, "label": group.label} for group in groups],
        "cases": _cases(data),
    }


def _ids(data: PageData) -> list[str] | None:
    if data.ids is None:
        return None
    ids = [str(name) for name in data.ids]
    return None if ids == [str(row) for row in range(data.n_samples)] else ids


def _network(data: PageData, network: Network) -> dict[str, Any]:
    index = {id(panel): k for k, panel in enumerate(data.panels)}
    return {
        "name": network.name,
        "accuracy": network.accuracy(data.targets),
        "classifies": network.probabilities is not None,
        "journey": [index[id(panel)] for panel in facts.journey(data, network)],
    }


def _panels(data: PageData) -> list[dict[str, Any]]:
    described = []
    for owner, panel in zip(owners(data), data.panels, strict=True):
        x, y = square(place(panel))
        described.append(
            {
                "layer": panel.layer,
                "network": owner,
                "kind": panel.kind,
                "shape": " × ".join(str(size) for size in panel.shape),
                "purity": _number(panel.purity),
                "probe": _number(panel.probe_accuracy),
                "trust": _number(panel.trustworthiness),
                "cka": _number(panel.cka),
                "unplaced": facts.unplaced(panel),
                "x": x,
                "y": y,
            }
        )
    return described


def _number(value: float | None) -> float | None:
    return None if value is None or not np.isfinite(value) else float(value)


def _cases(data: PageData) -> list[dict[str, Any]]:
    seen: dict[str, int] = {}
    cases = []
    for case in data.corner_cases:
        seen[case.kind] = seen.get(case.kind, 0) + 1
        if seen[case.kind] <= MAX_CASES_A_KIND:
            cases.append(
                {
                    "kind": str(case.kind),
                    "sample": int(case.sample),
                    "score": _number(case.score),
                    "reason": str(case.reason),
                }
            )
    return cases


def columns(data: PageData) -> dict[str, Column]:
    """Return the arrays of the page, by the names that its script reads."""
    arrays: dict[str, NDArray[Any]] = {}
    if data.images is not None:
        arrays["pixels"] = thumbnails(data.images)
    if data.targets is not None:
        arrays["target"] = rows(data.targets, data.n_classes)
    for group in facts.subsets(data):
        arrays[f"subset-{group.name}"] = rows(np.flatnonzero(group.mask), data.n_samples)
    for k, panel in enumerate(data.panels):
        arrays |= _journey_columns(data, k, panel)
    for number, network in enumerate(data.networks):
        arrays |= _answer_columns(data, number, network)
        settle = facts.settling(data, network)
        if settle is not None:
            arrays[f"settle-{number}"] = settle.astype(np.uint8)
    return {name: column(values) for name, values in arrays.items()}


def _answer_columns(data: PageData, number: int, network: Network) -> dict[str, NDArray[Any]]:
    outputs = network.probabilities
    if outputs is None:
        return {}
    finite = np.nan_to_num(outputs, nan=0.0)
    top = np.argsort(-finite, axis=1, kind="stable")[:, :TOP]
    # argmax and a stable sort agree on ties: the first column is the prediction.
    found = {
        f"top-{number}": rows(top, data.n_classes),
        f"share-{number}": share(np.take_along_axis(finite, top, axis=1)),
    }
    if data.targets is not None and data.targets.max() < outputs.shape[1]:
        found[f"truth-{number}"] = share(finite[np.arange(len(finite)), data.targets])
    return found


def _journey_columns(data: PageData, k: int, panel: Panel) -> dict[str, NDArray[Any]]:
    if panel.neighbors is None:
        return {}
    found = {f"near-{k}": rows(panel.neighbors[:, : facts.SHOWN_NEIGHBORS], data.n_samples)}
    votes = facts.panel_votes(data, panel)
    if votes is not None:
        found[f"vote-{k}"] = rows(votes, data.n_classes)
    return found


@cache
def template(name: str) -> str:
    """Return the text of a file beside the templates."""
    return (resources.files("torchviz_layers.page") / "templates" / name).read_text(encoding="utf-8")


def bundle(names: tuple[str, ...]) -> str:
    """Return ES modules as one script, each in a scope of its own: a file opened from disk may not import others.

    A module may import only from those before it, by names in braces, and export only where it declares.
    """
    return "\n".join(["const modules = {};", *(_scoped(name, template(f"js/{name}.js")) for name in names)])


def _scoped(name: str, text: str) -> str:
    exported = re.findall(r"^export (?:async )?(?:function|const|class) (\$|\w+)", text, flags=re.MULTILINE)
    text = re.sub(r'^import (\{[^}]*\}) from "\./(\w+)\.js";$', r"const \1 = modules.\2;", text, flags=re.MULTILINE)
    text = re.sub(r"^export ", "", text, flags=re.MULTILINE)
    return f"modules.{name} = await (async () => {{\n{text}\nreturn {{ {', '.join(exported)} }};\n}})();"


@cache
def bokeh_script() -> str:
    """Return BokehJS, minified, without the components that the page does not use."""
    from bokeh.resources import Resources

    return "\n".join(Resources(mode="inline", minified=True, components=["bokeh"]).js_raw)


def environment() -> Any:
    """Return the templates: what they are given is escaped, and what they are not given is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(template), autoescape=True, undefined=jinja2.StrictUndefined
    )
    environment.filters["script_json"] = script_json
    return environment


def script_json(value: Any) -> Any:
    """Return JSON that is safe inside a script element, whatever its strings say."""
    from markupsafe import Markup

    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return Markup(text)
