"""The commands that show something in the browser: demo, explore, serve."""

from __future__ import annotations

import time
import webbrowser
from pathlib import Path
from typing import Any

import click

from torchviz_layers.cli.arguments import (
    check_writable,
    one_each,
    open_model,
    parse_layers,
    reducer_from_options,
    shown_name,
    split_name,
)
from torchviz_layers.cli.data_options import DataChoice, data_options
from torchviz_layers.cli.inputs import fit_inputs
from torchviz_layers.cli.options import (
    POOL_HELP,
    TRANSFORM_HELP,
    batch_size_option,
    device_option,
    reducer_option,
    seed_option,
)
from torchviz_layers.cli.reporting import about_predictions
from torchviz_layers.exceptions import MissingDatasetError, ModelError


@click.command(short_help="Show the two bundled MNIST networks on one page.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    default="demo",
    show_default=True,
    metavar="DIR",
    help="Folder of the page.",
)
@click.option("--download", is_flag=True, help="Download MNIST if it is not on this disk.")
@device_option
def demo(out: Path, download: bool, device: str) -> None:
    """Show the last two layers of the two bundled MNIST networks on one page, DIR/index.html.

    The samples are MNIST's test set if it is on disk (or with --download), otherwise scikit-learn's digits.
    """
    from torchviz_layers.data import load_dataset
    from torchviz_layers.models import load_model

    try:
        samples = load_dataset("mnist", download=download)
    except MissingDatasetError:
        click.echo("MNIST is not on this disk (--download fetches it): scikit-learn's digits are shown instead.")
        samples = load_dataset("digits")
    models = {"dense128": load_model("mnist_dense128"), "LeNet60": load_model("mnist_lenet60")}
    reducer = reducer_from_options("umap", None, device)
    _write_page(models, samples, [-2, -1], out / "index.html", reducer=reducer, device=device)


@click.command(short_help="Show the layers of one to twelve models on one page.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@data_options
@click.option(
    "--out",
    type=click.Path(dir_okay=False, path_type=Path),
    default="page.html",
    show_default=True,
    help="The file to write.",
)
@click.option(
    "--layers",
    multiple=True,
    help=(
        "Names, globs or indices, separated by commas. Default: all layers that compute something. Once for all models "
        "or once per model."
    ),
)
@click.option(
    "--transform", "transforms", multiple=True, help=f"{TRANSFORM_HELP} Once for all models or once per model."
)
@click.option("--weights", multiple=True, help="A checkpoint, once per model: safetensors or a state dict.")
@reducer_option
@seed_option
@click.option("--pool", help=f"{POOL_HELP} Default: token_mean for texts, otherwise none.")
@batch_size_option
@device_option
def explore(
    models: tuple[str, ...],
    data: DataChoice,
    out: Path,
    layers: tuple[str, ...],
    transforms: tuple[str, ...],
    weights: tuple[str, ...],
    reducer: str,
    seed: int | None,
    pool: str | None,
    batch_size: int,
    device: str,
) -> None:
    """Show the layers of one to twelve MODELs on one page; all of them run in one pass over the data.

    A MODEL is a bundled name (mnist_dense128, mnist_lenet60), a .h5, .keras or .onnx file, package.module:factory, or
    torchvision:resnet18@DEFAULT. NAME=MODEL sets the name that the page shows.
    """
    from torchviz_layers.page.checks import MAX_NETWORKS

    if len(models) > MAX_NETWORKS:
        raise click.UsageError(f"{len(models)} models: a page shows at most {MAX_NETWORKS}; leave some out")
    chosen = [parse_layers(text) for text in one_each(layers, models)]
    transform_of_each = one_each(transforms, models)
    weights_of_each = one_each(weights, models)
    samples = data.load()
    # Two models of the same name would share an entry.
    named = dict(split_name(spec) for spec in models)
    if len(named) < len(models):
        raise ModelError(f"two models are both called {next(iter(named))!r}: name them, as in a={models[0]}")
    loaded: dict[str, Any] = {}
    for (name, spec), transform, checkpoint in zip(named.items(), transform_of_each, weights_of_each, strict=True):
        model = open_model(spec, transform=transform, weights=checkpoint)
        loaded[shown_name(name, spec, model, taken=loaded)] = model
    # All models are loaded first: a name that cannot be found is the quicker error.
    for (name, model), transform in zip(loaded.items(), transform_of_each, strict=True):
        fit_inputs(name, model, samples, transform)
    layers_of_each = dict(zip(loaded, chosen, strict=True))
    made = reducer_from_options(reducer, seed, device)
    _write_page(loaded, samples, layers_of_each, out, reducer=made, pool=pool, batch_size=batch_size, device=device)


def _write_page(models: dict[str, Any], samples: Any, layers: Any, out: Path, **options: Any) -> None:
    """Build and save a page; print how well the models predict, the page's notes, and its path on the last line.

    `options` are those of `visualize_layers`.
    """
    from torchviz_layers.pipeline import visualize_layers

    # Before the work, which may take minutes.
    check_writable(out)
    start = time.perf_counter()
    page = visualize_layers(models, samples, layers, **options)
    for network in page.data.networks:
        line = about_predictions(page.data, network, samples.name)
        if line:
            click.echo(line)
    for note in page.data.notes:
        click.echo(note)
    path = page.save(out)
    click.echo(f"{path.stat().st_size / 1e6:.1f} MB in {time.perf_counter() - start:.1f} s")
    click.echo(str(path))


@click.command(short_help="Show a store live in the browser.")
@click.argument("store", type=click.Path(path_type=Path))
@data_options
@click.option(
    "--port", type=click.IntRange(0, 65535), default=5006, show_default=True, help="Port to listen on; 0: any free one."
)
@click.option("--address", default="localhost", show_default=True, help="Interface to listen on; 0.0.0.0 for all.")
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Further host name under which a browser may open the page.",
)
@click.option(
    "--marks",
    type=click.Path(dir_okay=False, path_type=Path),
    help="JSON file for the marks. Default: beside the store.",
)
@click.option("--no-browser", is_flag=True, help="Do not open the browser; only print the address.")
def serve(
    store: Path,
    data: DataChoice,
    port: int,
    address: str,
    origins: tuple[str, ...],
    marks: Path | None,
    no_browser: bool,
) -> None:
    """Show a STORE live in the browser until Ctrl-C: embed selections again, find neighbours, mark samples.

    --data, the data that the store was extracted from, adds pictures, texts, rows or series, class names and columns.
    """
    from torchviz_layers import live
    from torchviz_layers.extraction import Activations

    # The store first: if it is missing, that shows sooner than after loading the data.
    activations = Activations.load(store)
    samples = data.load() if data.data is not None else None

    def started(url: str) -> None:
        click.echo("Ctrl-C ends the server")
        click.echo(url)
        if not no_browser:
            webbrowser.open(url)

    live.serve(activations, samples, port=port, address=address, allow_origins=origins, marks=marks, started=started)
