"""What a page shows, for other tools: a DataFrame, Parquet (embedding-atlas), TensorBoard's projector."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from torchviz_layers.exceptions import MissingDependencyError
from torchviz_layers.page import summaries as facts
from torchviz_layers.page.document import write_beside
from torchviz_layers.page.records import Network, PageData
from torchviz_layers.page.thumbnails import png, thumbnails

# TensorBoard reads no sprite larger than this.
SPRITE_SIDE = 8192


def table(data: PageData) -> dict[str, NDArray[Any]]:
    """Return the page's columns, one entry a sample: id, truth, each network's answers, x and y of every layer."""
    names = np.asarray(data.names_of_classes, dtype=object)
    columns: dict[str, NDArray[Any]] = {"id": np.arange(data.n_samples) if data.ids is None else np.asarray(data.ids)}
    if data.texts is not None:
        columns["text"] = np.asarray([str(text) for text in data.texts], dtype=object)
    if data.targets is not None:
        columns["truth"] = names[data.targets]
    for network in data.networks:
        columns |= _answers(data, network, names)
    for title, panel in _titled(data):
        columns[f"{title} x"], columns[f"{title} y"] = panel[:, 0], panel[:, 1]
    return columns


def _answers(data: PageData, network: Network, names: NDArray[Any]) -> dict[str, NDArray[Any]]:
    columns: dict[str, NDArray[Any]] = {}
    if network.probabilities is not None and network.predictions is not None:
        columns[f"{network.name} prediction"] = names[network.predictions]
        columns[f"{network.name} confidence"] = network.probabilities.max(axis=1)
    settled = facts.settling(data, network)
    if settled is not None:
        steps = [panel.layer for panel in facts.journey(data, network)]
        columns[f"{network.name} settles at"] = np.asarray([*steps, "never"], dtype=object)[settled]
    return columns


def _titled(data: PageData) -> Iterator[tuple[str, NDArray[np.float32]]]:
    """Yield each panel's name, the network's before the layer's, and its layout."""
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
        Where pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise MissingDependencyError("pandas", "parquet", "a DataFrame") from error
    return pd.DataFrame(table(data))


def save_parquet(data: PageData, path: str | Path) -> Path:
    """Write `table` and, as PNG in a column ``image``, the pictures.

    ``embedding-atlas FILE --x "input x" --y "input y" --image image`` shows it.

    Raises
    ------
    MissingDependencyError
        Where pyarrow is not installed.
    PageError
        Where the file cannot be written.
    """
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError("pyarrow", "parquet", "a Parquet file") from error
    columns: dict[str, Any] = {name: pa.array(values) for name, values in table(data).items()}
    if data.images is not None:
        columns["image"] = pa.array([{"bytes": png(picture)} for picture in thumbnails(data.images)])
    return write_beside(Path(path), lambda beside: pq.write_table(pa.table(columns), beside))


def save_projector(data: PageData, folder: str | Path) -> Path:
    """Write every layer's layout as a tensor of TensorBoard's projector, with labels and one sheet of pictures.

    ``tensorboard --logdir FOLDER`` shows it. The sheet is left out where it would be larger than TensorBoard reads.

    Raises
    ------
    PageError
        Where the folder cannot be written.
    """
    folder = Path(folder)
    labels = {name: values for name, values in table(data).items() if not name.endswith((" x", " y"))}
    _write(folder / "metadata.tsv", _tsv([list(labels), *zip(*labels.values(), strict=True)]))
    shared: dict[str, Any] = {"metadataPath": "metadata.tsv"}
    sheet = None if data.images is None else _sheet(thumbnails(data.images))
    if sheet is not None:
        _write(folder / "sprite.png", png(sheet[0]))
        shared["sprite"] = {"imagePath": "sprite.png", "singleImageDim": sheet[1]}
    embeddings = []
    for k, (title, Z) in enumerate(_titled(data)):
        _write(folder / f"layer-{k}.tsv", _tsv(np.nan_to_num(Z, posinf=0, neginf=0).tolist()))
        embeddings.append({"tensorName": title, "tensorPath": f"layer-{k}.tsv", "tensorShape": list(Z.shape), **shared})
    # The projector's configuration is a protocol buffer in text form, of which JSON's strings and numbers are a part.
    _write(folder / "projector_config.pbtxt", "".join(_message("embeddings", entry) for entry in embeddings).encode())
    return folder


_FIELDS = {
    "tensorName": "tensor_name",
    "tensorPath": "tensor_path",
    "metadataPath": "metadata_path",
    "imagePath": "image_path",
}


def _message(name: str, fields: dict[str, Any]) -> str:
    lines = []
    for key, value in fields.items():
        if isinstance(value, dict):
            lines.append(_message(key, value))
        elif key == "singleImageDim":
            lines += [f"single_image_dim: {size}" for size in value]
        elif key in _FIELDS:
            lines.append(f"{_FIELDS[key]}: {json.dumps(value)}")
    return f"{name} {{\n" + "\n".join(lines) + "\n}\n"


def _tsv(lines: Any) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
    writer.writerows([[_flat(field) for field in line] for line in lines])
    return text.getvalue().encode()


def _flat(field: Any) -> str:
    """Return a field without what ends a field or a line."""
    return " ".join(str(field).split())


def _sheet(block: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], list[int]] | None:
    """Return all pictures in rows on one square sheet, and a picture's width and height; None where it is too large."""
    n, height, width, channels = block.shape
    across = int(np.ceil(np.sqrt(n)))
    if across * max(height, width) > SPRITE_SIDE:
        return None
    full = np.zeros((across * across, height, width, channels), np.uint8)
    full[:n] = block
    sheet = full.reshape(across, across, height, width, channels).swapaxes(1, 2)
    return sheet.reshape(across * height, across * width, channels), [width, height]


def _write(path: Path, content: bytes) -> Path:
    return write_beside(path, lambda beside: beside.write_bytes(content))
