"""The commands that read a model's layers: layers, extract, embed."""

from __future__ import annotations

import os
from pathlib import Path

import click

from torchviz_layers.cli.arguments import (
    check_writable,
    open_model,
    parse_layers,
    parse_shape,
    reducer_from_options,
)
from torchviz_layers.cli.data_options import DataChoice, data_options
from torchviz_layers.cli.inputs import fit_inputs, naming_inputs
from torchviz_layers.cli.options import (
    POOL_HELP,
    TRANSFORM_HELP,
    batch_size_option,
    device_option,
    layers_option,
    reducer_option,
    seed_option,
)

_LOOKED_AT = 16  # samples that are read to list layers


@click.command(short_help="List a model's layers.")
@click.argument("model")
@data_options
@click.option("--input-shape", metavar="3,224,224", help="Shape of one sample, if no data are given.")
@click.option("--transform", help=TRANSFORM_HELP)
def layers(model: str, data: DataChoice, input_shape: str | None, transform: str | None) -> None:
    """List the layers of MODEL in call order: name, kind, output shape, bytes per sample, number of calls."""
    import torch

    from torchviz_layers.hooks import list_layers

    # One sample, or zeros of its shape, shows the layers' outputs; without both, only names and kinds are listed.
    shape = None if input_shape is None else parse_shape(input_shape)
    module = open_model(model, transform=transform)
    if data.data is not None:
        example = fit_inputs(model, module, data.first(_LOOKED_AT).load(), transform)
    else:
        example = None if shape is None else torch.zeros(1, *shape)
    with naming_inputs(model, example):
        table = list_layers(module, example)
    click.echo(str(table))


@click.command(short_help="Save the outputs of a model's layers.")
@click.argument("model")
@data_options
@layers_option
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The Zarr store to write, say acts.zarr.")
@click.option("--resume", is_flag=True, help="Continue a store that an earlier run has started.")
@click.option(
    "--pool",
    default="none",
    show_default=True,
    help=POOL_HELP,
)
@click.option("--transform", help=TRANSFORM_HELP)
@click.option("--weights", help="A checkpoint: safetensors or a state dict.")
@batch_size_option
@device_option
def extract(
    model: str,
    data: DataChoice,
    layers: str | None,
    out: Path,
    resume: bool,
    pool: str,
    transform: str | None,
    weights: str | None,
    batch_size: int,
    device: str,
) -> None:
    """Save the outputs of MODEL's layers to a Zarr store.

    The same command works under torchrun.
    """
    from torchviz_layers import extraction

    wanted = parse_layers(layers)
    samples = data.load()
    module = open_model(model, transform=transform, weights=weights)
    example = fit_inputs(model, module, samples, transform)
    with naming_inputs(model, example):
        extraction.extract(
            module, samples, wanted, device=device, pool=pool, out=out, resume=resume, batch_size=batch_size
        )
    if samples.notice and _is_first_process():
        click.echo(samples.notice)
    click.echo(str(out))


@click.command(short_help="Embed a store's layers in two dimensions.")
@click.argument("store", type=click.Path(path_type=Path))
@click.option("--layers", help="Names, globs or indices, separated by commas. Default: all layers of the store.")
@reducer_option
@seed_option
@click.option(
    "--fit-on",
    type=click.IntRange(1),
    metavar="ROWS",
    help="Fit on this many rows and transform the others. Default: all rows, or as many as a quarter of the free "
    "memory holds.",
)
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="The file to write: .parquet, .npz or .zarr."
)
@device_option
def embed(
    store: Path, layers: str | None, reducer: str, seed: int | None, fit_on: int | None, out: Path, device: str
) -> None:
    """Embed the layers of a STORE in two dimensions, one row per sample.

    The same command works under torchrun.
    """
    from torchviz_layers import reducers
    from torchviz_layers._common.selectors import resolve_layers
    from torchviz_layers.extraction import Activations
    from torchviz_layers.reducers.tables import check_target, write_embeddings

    # What can be wrong is checked before the work.
    check_target(out)
    activations = Activations.load(store)
    names = resolve_layers(activations, parse_layers(layers))
    check_writable(out)
    made = reducer_from_options(reducer, seed, device)
    embeddings = reducers.embed(activations, names, reducer=made, fit_on=fit_on, device=device)
    # Under torchrun all processes have the result, and the first one writes it.
    if not _is_first_process():
        return
    for name, embedding in embeddings.items():
        click.echo(f"{name}: {embedding.engine} in {embedding.seconds:.1f} s ({embedding.reason})")
    click.echo(str(write_embeddings(embeddings, activations, out)))


def _is_first_process() -> bool:
    """Whether this is the process that prints and writes; under torchrun there are others."""
    return int(os.environ.get("RANK", "0")) == 0
