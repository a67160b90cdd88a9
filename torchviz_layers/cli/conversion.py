"""The command that converts a Keras file."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import click

from torchviz_layers.cli.arguments import check_writable, set_input_shapes
from torchviz_layers.exceptions import ConversionError


@click.command(short_help="Convert a Keras file to PyTorch.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--layout",
    type=click.Choice(["torch", "keras"]),
    default="torch",
    show_default=True,
    help="Order of an image's axes: channels first (torch) or last (keras).",
)
@click.option("--source", type=click.Path(path_type=Path), help="Write model.py, and model.safetensors beside it.")
@click.option("--onnx", type=click.Path(path_type=Path), help="Write model.onnx and compare it in ONNX Runtime.")
@click.option("--verify", "verified", is_flag=True, help="Compare each layer with Keras, which must be installed.")
@click.option("--reference", type=click.Path(path_type=Path), help="Compare with Keras's outputs in an .npz file.")
@click.option("--input-shape", multiple=True, metavar="3,224,224", help="Shape of one sample, if the file has none.")
def convert(
    file: Path,
    layout: Literal["torch", "keras"],
    source: Path | None,
    onnx: Path | None,
    verified: bool,
    reference: Path | None,
    input_shape: tuple[str, ...],
) -> None:
    """Convert a Keras FILE (.h5, .hdf5, .keras) to PyTorch: print its layers, and write the files asked for."""
    from torchviz_layers.convert import conversion_table, convert_keras, export_onnx, verify, write_source

    # Before the work: a conversion may take minutes.
    for out in filter(None, (source, onnx)):
        check_writable(out)
    module: Any = convert_keras(file, layout=layout)
    if input_shape:
        set_input_shapes(module, input_shape, file)
    click.echo(str(conversion_table(module)))
    if verified or reference:
        outcome = verify(file, reference=reference)
        click.echo(str(outcome))
        if not outcome.passed:
            raise ConversionError(
                f"{file}: the converted model differs from Keras, first at {outcome.first_difference!r}"
            )
    # Paths come last, each on a line of its own, for scripts that read them.
    if onnx:
        click.echo(f"ONNX Runtime agrees within {export_onnx(module, onnx):.1e}")
        click.echo(str(onnx))
    if source:
        code, weights = write_source(module, source)
        click.echo(str(weights))
        click.echo(str(code))
