"""Options that several commands have."""

from __future__ import annotations

import click

TRANSFORM_HELP = "How to fit images to the model: pad=2, resize=32, squeeze, ..., joined by +."

device_option = click.option(
    "--device", default="auto", show_default=True, help="Where to compute: auto, cpu, cuda, cuda:1, mps."
)
data_option = click.option(
    "--data",
    "data_spec",
    metavar="SPEC",
    help="The samples: mnist, mnist:train, fashion-mnist, cifar10, digits, a folder or an .npz file.",
)
limit_option = click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Use only the first N samples.")
size_option = click.option(
    "--image-size", type=click.IntRange(min=1), help="Resize and crop the images of a folder to this size."
)
download_option = click.option("--download", is_flag=True, help="Download a dataset that is not on this disk.")
layers_option = click.option(
    "--layers", help="Names, globs or indices, separated by commas. Default: all layers that compute something."
)
reducer_option = click.option(
    "--reducer",
    default="umap",
    show_default=True,
    help="How layers are reduced to two dimensions: umap, pca, tsne, pacmap, ...",
)
seed_option = click.option("--seed", type=int, help="Seed of the reducer's random numbers. Default: 0 for UMAP.")
