"""Options that several commands have."""

from __future__ import annotations

import click

TRANSFORM_HELP = "How to fit images to the model: pad=2, resize=32, squeeze, ..., joined by +."
POOL_HELP = "How an output becomes one row per sample: none, flatten, gap, token_mean, cls, last_token."

device_option = click.option(
    "--device", default="auto", show_default=True, help="Where to compute: auto, cpu, cuda, cuda:1, mps."
)
batch_size_option = click.option(
    "--batch-size",
    type=click.IntRange(min=1),
    default=256,
    show_default=True,
    help="Samples per forward pass; a loader keeps its own.",
)
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
