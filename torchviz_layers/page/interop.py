"""What a page shows, for other tools: a DataFrame, or a Parquet file as embedding-atlas reads it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers._common.parquet import write_parquet
from torchviz_layers.exceptions import MissingDependencyError
from torchviz_layers.page import summaries
from torchviz_layers.page.document import write_beside
from torchviz_layers.page.metadata import MAX_COLUMNS, Field, read_fields, table_values, told_apart
from torchviz_layers.page.pictures import in_size, planned
from torchviz_layers.page.records import Network, PageData
from torchviz_layers.page.tasks import task_of
from torchviz_layers.page.thumbnails import png
from torchviz_layers.page.views import feature_names

MAX_FEATURES = 100  # rows of more features are not repeated in the table


def table(data: PageData) -> dict[str, NDArray[Any]]:
    """Return the page's columns, one entry per sample.

    id, text and truth, the reader's own columns, predictions, x and y of every layer, and the features of rows. In a
    regression there is a residual a network, in a multi-label task truth and predictions are lists "a; b".
    """
    own = _own(data)
    # The reader's columns stand behind what they describe: id, text and truth.
    first = {name: own.pop(name) for name in ("id", "text", "truth") if name in own}
    given: dict[Any, Any] = dict(data.columns)
    names = told_apart(given, own_names(data))
    columns = first | {name: table_values(given[key]) for name, key in zip(names, given, strict=True)} | own
    return columns | _features(data, columns)


def shown_fields(data: PageData) -> list[Field]:
    """Return the reader's columns that the page shows, the first of very many."""
    shown = dict(list(data.columns.items())[:MAX_COLUMNS])
    return read_fields(shown, own_names(data))


def own_names(data: PageData) -> list[str]:
    """Return the names that a column of the reader cannot have in an export."""
    # "row" is in the files that the page itself writes, "image" in Parquet files.
    return [*_own(data), "row", "image"]


def _features(data: PageData, columns: Iterable[str]) -> dict[str, NDArray[Any]]:
    """Return the features of up to MAX_FEATURES in columns of their names."""
    if data.rows is None or np.shape(data.rows)[1] > MAX_FEATURES:
        return {}
    values = np.asarray(data.rows)
    names = feature_names(data)
    titles = told_apart(names, [*columns, "image"])
    return {title: values[:, number] for number, title in enumerate(titles)}


def _own(data: PageData) -> dict[str, NDArray[Any]]:
    """Return what is the page's own: id, text, truth, predictions, x and y of every layer."""
    names = np.asarray(data.names_of_classes, dtype=object)
    columns: dict[str, NDArray[Any]] = {"id": data.sample_ids}
    if data.texts is not None:
        columns["text"] = np.asarray(list(map(str, data.texts)), dtype=object)
    if data.targets is not None:
        # The last entry, None, is what -1 (unlabelled) refers to.
        columns["truth"] = np.array([*names, None], dtype=object)[data.targets]
    task = task_of(data)
    if task is not None:
        columns |= task.table()
    for network in [] if task is not None else data.networks:
        columns |= _predictions(data, network, names)
    for title, Z in _titled(data):
        columns[f"{title} x"], columns[f"{title} y"] = Z[:, 0], Z[:, 1]
    return columns


def _predictions(data: PageData, network: Network, names: NDArray[Any]) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    if network.probabilities is not None and network.predictions is not None:
        columns[f"{network.name} prediction"] = names[network.predictions]
        columns[f"{network.name} confidence"] = network.probabilities.max(axis=1)
    # A step of the journey becomes the name of its layer; behind the last: not right there; None without a label.
    first_right = summaries.right_from(data, network)
    if first_right is not None:
        steps = [panel.layer for panel in summaries.journey(data, network)]
        right = "agree" if data.targets is None else "right"
        names_of_steps = np.asarray([*steps, "not at the end", None], dtype=object)
        columns[f"{network.name} neighbours {right} from"] = names_of_steps[first_right]
    return columns


def _titled(data: PageData) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield each panel's name, "NETWORK/LAYER" or that of the input, and its embedding."""
    if data.input_panel is not None:
        yield data.input_panel.layer, data.input_panel.Z
    for network in data.networks:
        for panel in network.panels:
            yield f"{network.name}/{panel.layer}", panel.Z


def to_frame(data: PageData) -> Any:
    """Return `table` as a pandas DataFrame.

    Raises
    ------
    MissingDependencyError
        If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependencyError("pandas", "parquet", "a DataFrame") from error
    return pd.DataFrame(table(data))


def save_parquet(data: PageData, path: str | Path) -> Path:
    """Write `table` and, as PNG in a column ``image``, the pictures in the size in which the page shows them.

    ``embedding-atlas FILE --x "input x" --y "input y" --image image`` shows it.

    Raises
    ------
    MissingDependencyError
        If pyarrow is not installed.
    PageError
        If the file cannot be written.
    """
    columns: dict[str, Any] = dict(table(data))
    if data.images is not None:
        pictures = in_size(data.images, planned(data.images))
        columns["image"] = [{"bytes": png(picture)} for picture in pictures]
    return write_beside(Path(path), lambda beside: write_parquet(columns, beside))
