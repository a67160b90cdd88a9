"""The command line: each command parses, makes one call of the library, and ends with an exit code."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import sys
import time
import warnings
import webbrowser
from pathlib import Path
from typing import Any, Literal

import click

from torchviz_layers._common.version import __version__
from torchviz_layers.cli.arguments import (
    asked_reducer,
    check_writable,
    fit_images,
    load_data,
    one_each,
    open_model,
    parse_layers,
    parse_shape,
    split_name,
    take_shapes,
)
from torchviz_layers.exceptions import ConversionError, MissingDatasetError, ModelError, TorchvizLayersError

# Heavy modules are imported inside the commands, so that `--help` answers at once.

device_option = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps.")
data_option = click.option(
    "--data", "data_spec", metavar="SPEC", help="mnist, mnist:train, fashion-mnist, cifar10, digits, a folder or .npz."
)
limit_option = click.option("--limit", type=click.IntRange(min=1), help="Take the first so many samples.")
size_option = click.option("--image-size", type=click.IntRange(min=1), help="Resize and crop a folder's images.")
download_option = click.option("--download", is_flag=True, help="Let torchvision fetch a dataset that is not on disk.")
layers_option = click.option(
    "--layers", help="Names, globs or indices, joined by commas; default all that compute something."
)
reducer_option = click.option("--reducer", default="umap", show_default=True, help="umap, pca, tsne, pacmap, ...")
seed_option = click.option("--seed", type=int, help="Of the reducer's random numbers; 0 for UMAP by default.")


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="torchviz-layers")
@click.option("--debug", is_flag=True, help="Show the traceback of an error.")
@click.pass_context
def cli(context: click.Context, debug: bool) -> None:
    """See how a network folds its samples, layer by layer."""
    context.obj = debug


def main() -> None:
    """Run the command line; errors of the library end in one line, Ctrl-C in exit code 130."""
    atexit.register(gc.freeze)  # or the interpreter, ending, would look at every object of torch once more
    warnings.formatwarning = lambda message, *_, **__: f"torchviz-layers: {message}\n"  # whoever reads has no source
    try:
        cli(standalone_mode=False)
    except click.ClickException as problem:
        problem.show()
        sys.exit(problem.exit_code)
    except (click.Abort, KeyboardInterrupt):
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # a second Ctrl-C ends what is still ending, without a traceback
        click.echo("torchviz-layers: interrupted", err=True)
        sys.exit(130)
    except TorchvizLayersError as problem:
        if "--debug" in sys.argv:
            raise
        click.echo(f"torchviz-layers: {problem}", err=True)
        sys.exit(1)
    except OSError as problem:
        if "--debug" in sys.argv:
            raise
        where = problem.filename
        if where is None:  # the output; what is left in its buffer would fail once more when the interpreter ends
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            where = "the output cannot be written"
        click.echo(f"torchviz-layers: {where}: {problem.strerror or problem}", err=True)
        sys.exit(1)


@cli.command(short_help="One page of the two bundled MNIST networks.")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), default="demo", show_default=True)
@download_option
@device_option
def demo(out: Path, download: bool, device: str) -> None:
    """Show the main job: the last two layers of the two bundled MNIST networks on one page, DIR/index.html.

    Takes MNIST's test set where it is on disk (or with --download), else scikit-learn's digits, which come along.
    """
    from torchviz_layers.data import load_dataset
    from torchviz_layers.models import load_model

    try:
        samples = load_dataset("mnist", download=download)
    except MissingDatasetError:
        click.echo("MNIST is not on this disk (--download fetches it): scikit-learn's digits take its place.")
        samples = load_dataset("digits")
    models = {"dense128": load_model("mnist_dense128"), "LeNet60": load_model("mnist_lenet60")}
    _write_page(models, samples, [-2, -1], out / "index.html", device=device)


@cli.command(short_help="One page of the layers of one or two models.")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...")
@data_option
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default="page.html", show_default=True)
@click.option(
    "--layers",
    multiple=True,
    help="Names, globs or indices, joined by commas; default all that compute. Once for all, or once a model.",
)
@click.option(
    "--transform",
    "transforms",
    multiple=True,
    help="What makes images fit: pad=2, resize=32, squeeze, ... joined by +. Once for all models, or once a model.",
)
@click.option("--weights", multiple=True, help="A checkpoint, once a model; safetensors, or a state dict.")
@reducer_option
@seed_option
@limit_option
@size_option
@download_option
@device_option
def explore(
    models: tuple[str, ...],
    data_spec: str | None,
    out: Path,
    layers: tuple[str, ...],
    transforms: tuple[str, ...],
    weights: tuple[str, ...],
    reducer: str,
    seed: int | None,
    limit: int | None,
    image_size: int | None,
    download: bool,
    device: str,
) -> None:
    """Show the layers of one or two MODELs on one page.

    A MODEL is a bundled name (mnist_dense128, mnist_lenet60), a .h5, .keras or .onnx file, package.module:factory, or
    torchvision:resnet18@DEFAULT; NAME=MODEL gives it a name of your own.
    """
    chosen = [parse_layers(text) for text in one_each(layers, models)]
    samples = load_data(data_spec, limit=limit, size=image_size, download=download)
    named = dict(split_name(spec) for spec in models)
    if len(named) < len(models):
        raise ModelError(f"two models are both called {next(iter(named))!r}: name them, as in a={models[0]}")
    loaded = {
        name: open_model(spec, transform=transform, weights=checkpoint)
        for (name, spec), transform, checkpoint in zip(
            named.items(), one_each(transforms, models), one_each(weights, models), strict=True
        )
    }
    for name, model in loaded.items():
        fit_images(name, model, samples, transformed=bool(transforms))
    wanted = dict(zip(loaded, chosen, strict=True))
    _write_page(loaded, samples, wanted, out, reducer=reducer, seed=seed, device=device)


@cli.command("layers", short_help="List a model's layers.")
@click.argument("model")
@data_option
@click.option("--input-shape", metavar="3,224,224", help="One sample's shape, where there is no data.")
@click.option("--transform", help="What makes images fit: pad=2, resize=32, squeeze, ... joined by +.")
def list_layers_command(model: str, data_spec: str | None, input_shape: str | None, transform: str | None) -> None:
    """List the layers of MODEL: call order, name, kind, output shape, bytes a sample, times called."""
    import torch

    from torchviz_layers.hooks import list_layers

    shape = None if input_shape is None else parse_shape(input_shape)
    module = open_model(model, transform=transform)
    if data_spec is not None:
        example = fit_images(model, module, load_data(data_spec, limit=1), transformed=transform is not None)
    else:
        example = None if shape is None else torch.zeros(1, *shape)
    click.echo(str(list_layers(module, example)))


@cli.command("extract", short_help="Store what a model's layers answer.")
@click.argument("model")
@data_option
@layers_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The Zarr store to write, acts.zarr say.")
@click.option("--resume", is_flag=True, help="Go on with a store that an earlier run has begun.")
@click.option("--pool", default="none", show_default=True, help="none, flatten, gap, token_mean, cls, last_token.")
@click.option("--transform", help="What makes images fit: pad=2, resize=32, squeeze, ... joined by +.")
@click.option("--weights", help="A checkpoint: safetensors, or a state dict.")
@click.option("--batch-size", type=click.IntRange(min=1), default=256, show_default=True)
@limit_option
@size_option
@download_option
@device_option
def extract_command(
    model: str,
    data_spec: str | None,
    layers: str | None,
    out: Path,
    resume: bool,
    pool: str,
    transform: str | None,
    weights: str | None,
    batch_size: int,
    limit: int | None,
    image_size: int | None,
    download: bool,
    device: str,
) -> None:
    """Store what the layers of MODEL answer; the same command works under torchrun."""
    from torchviz_layers.extraction import extract
    from torchviz_layers.models import model_transform, naming_model

    wanted = parse_layers(layers)
    samples = load_data(data_spec, limit=limit, size=image_size, download=download)
    module = open_model(model, transform=transform, weights=weights)
    fit_images(model, module, samples, transformed=transform is not None)
    batches = samples.batches(batch_size, model_transform(module))
    options: Any = {"device": device, "pool": pool, "out": out, "resume": resume, "total": len(samples)}
    with naming_model(model, samples.images.shape[1:]):
        extract(module, batches, wanted, **options)
    click.echo(str(out))


@cli.command("embed", short_help="Lay a store's layers out in the plane.")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--layers", help="Names, globs or indices, joined by commas; default all that the store has.")
@reducer_option
@seed_option
@click.option(
    "--fit-on",
    type=click.IntRange(1),
    metavar="ROWS",
    help="Fit on so many rows and transform the others; default all, or what a quarter of free memory holds.",
)
@click.option("--out", type=click.Path(path_type=Path), required=True, help=".parquet, .npz or .zarr.")
@device_option
def embed_command(
    store: Path, layers: str | None, reducer: str, seed: int | None, fit_on: int | None, out: Path, device: str
) -> None:
    """Lay the layers of a STORE out in the plane, one row a sample; the same command works under torchrun."""
    from torchviz_layers._common.selectors import resolve_layers
    from torchviz_layers.extraction import Activations
    from torchviz_layers.reducers import embed
    from torchviz_layers.reducers.tables import check_target, write_embeddings

    check_target(out)
    activations = Activations.load(store)
    names = resolve_layers(activations, parse_layers(layers))
    check_writable(out)
    made = asked_reducer(reducer, seed, device)
    embeddings = embed(activations, names, reducer=made, fit_on=fit_on, device=device)
    if int(os.environ.get("RANK", "0")):
        return  # under torchrun the first process writes
    for name, embedding in embeddings.items():
        click.echo(f"{name}: {embedding.engine} in {embedding.seconds:.1f} s ({embedding.reason})")
    click.echo(str(write_embeddings(embeddings, activations, out)))


@cli.command("serve", short_help="Show a store live in the browser.")
@click.argument("store", type=click.Path(path_type=Path))
@data_option
@click.option("--port", type=click.IntRange(0, 65535), default=5006, show_default=True, help="0: any that is free.")
@click.option("--address", default="localhost", show_default=True, help="Interface to listen on; 0.0.0.0 for all.")
@click.option(
    "--allow-origin",
    "origins",
    multiple=True,
    metavar="HOST[:PORT]",
    help="Whose pages may connect, besides localhost.",
)
@click.option("--marks", type=click.Path(dir_okay=False, path_type=Path), help="JSON file of marks; default beside it.")
@click.option("--no-browser", is_flag=True, help="Only print the address.")
@size_option
@download_option
def serve_command(
    store: Path,
    data_spec: str | None,
    port: int,
    address: str,
    origins: tuple[str, ...],
    marks: Path | None,
    no_browser: bool,
    image_size: int | None,
    download: bool,
) -> None:
    """Show a STORE live in the browser until Ctrl-C: lay selections out anew, find neighbours, mark samples.

    --data, the data that the store was made from, brings pictures and class names.
    """
    from torchviz_layers.extraction import Activations
    from torchviz_layers.live import serve

    activations = Activations.load(store)  # before the data: it is the quicker one to be missing
    samples = load_data(data_spec, size=image_size, download=download) if data_spec else None

    def started(url: str) -> None:
        click.echo("Ctrl-C ends the server")
        click.echo(url)
        if not no_browser:
            webbrowser.open(url)

    options: Any = {"port": port, "address": address, "allow_origins": origins, "marks": marks}
    serve(activations, samples, **options, started=started)


@cli.command(short_help="Convert a Keras file to PyTorch.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--layout", type=click.Choice(["torch", "keras"]), default="torch", show_default=True)
@click.option("--source", type=click.Path(path_type=Path), help="Write model.py, and model.safetensors beside it.")
@click.option("--onnx", type=click.Path(path_type=Path), help="Write model.onnx, checked with ONNX Runtime.")
@click.option("--verify", "verified", is_flag=True, help="Compare each layer with Keras, which must be installed.")
@click.option("--reference", type=click.Path(path_type=Path), help="Compare with outputs of Keras stored in a .npz.")
@click.option("--input-shape", multiple=True, metavar="3,224,224", help="One sample's shape, if the file has none.")
def convert(
    file: Path,
    layout: Literal["torch", "keras"],
    source: Path | None,
    onnx: Path | None,
    verified: bool,
    reference: Path | None,
    input_shape: tuple[str, ...],
) -> None:
    """Convert a Keras FILE (.h5, .hdf5, .keras) to PyTorch: print its layers, and write what is asked for."""
    from torchviz_layers.convert import conversion_table, convert_keras, export_onnx, verify, write_source

    for out in filter(None, (source, onnx)):
        check_writable(out)
    module: Any = convert_keras(file, layout=layout)
    if input_shape:
        take_shapes(module, input_shape, file)
    click.echo(str(conversion_table(module)))
    if verified or reference:
        outcome = verify(file, reference=reference)
        click.echo(str(outcome))
        if not outcome.passed:
            raise ConversionError(
                f"{file}: the converted model differs from Keras, first at {outcome.first_difference!r}"
            )
    if onnx:
        click.echo(f"ONNX Runtime agrees within {export_onnx(module, onnx):.1e}")
        click.echo(str(onnx))
    if source:
        code, weights = write_source(module, source)
        click.echo(str(weights))
        click.echo(str(code))


def _write_page(
    models: dict[str, Any],
    samples: Any,
    layers: Any,
    out: Path,
    *,
    device: str,
    reducer: str = "umap",
    seed: int | None = None,
) -> None:
    from torchviz_layers.pipeline import visualize_layers

    check_writable(out)
    start = time.perf_counter()
    page = visualize_layers(models, samples, layers, reducer=asked_reducer(reducer, seed, device), device=device)
    for network in page.data.networks:
        if (accuracy := network.accuracy(page.data.targets)) is not None:
            click.echo(f"{network.name}: accuracy {accuracy:.4f} on {samples.name}, {len(samples):,} samples")
    for note in page.data.notes:
        click.echo(note)
    path = page.save(out)
    click.echo(f"{path.stat().st_size / 1e6:.1f} MB in {time.perf_counter() - start:.1f} s")
    click.echo(str(path))
