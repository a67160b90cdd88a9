"""The stages composed: extraction, embedding, measures, corner cases, page."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from torchviz_layers.data import Samples
from torchviz_layers.data.class_names import class_names_of_model
from torchviz_layers.exceptions import DataError, ModelError
from torchviz_layers.extraction import InputRows, extract
from torchviz_layers.hooks import computing_layers
from torchviz_layers.page import Page, build_page
from torchviz_layers.page.checks import MAX_NETWORKS
from torchviz_layers.panels import INPUT
from torchviz_layers.pipeline.stages import Stages
from torchviz_layers.reducers import Reducer
from torchviz_layers.reducers.registry import checked_reducer

if TYPE_CHECKING:
    from torchviz_layers._common.nested import OneSelect
    from torchviz_layers.hooks.pooling import Pool

Layers = str | int | Sequence[str | int] | None


def visualize_layers(
    models: nn.Module | Mapping[str, nn.Module],
    data: Any,
    layers: Layers | Mapping[str, Layers] = None,
    *,
    reducer: str | Reducer = "umap",
    pool: Pool | None = None,
    select: OneSelect | Mapping[str, OneSelect] | None = None,
    device: str | torch.device = "auto",
    batch_size: int = 256,
    title: str | None = None,
    progress: bool = True,
    **about_data: Any,
) -> Page:
    """Show the same samples in the layers of one to twelve networks, on one self-contained page.

    Parameters
    ----------
    models : nn.Module, or mapping of name to nn.Module
        One to twelve networks; one without a name is called by its class. All of them run on each batch of a single
        pass over the data. A module's `transform`, if it has one, turns pictures in [0, 1] into its input.
    data : Samples, or anything that `Samples.of` takes
        A Dataset, a DataLoader, arrays, `(X, y)`, a DataFrame, pictures, texts, ...
    layers : str, int or sequence of such, or mapping of model name to such, optional
        Qualified names, globs (`conv_*`), or indices in order of execution (-1 the last). Default: every layer that
        computes something.
    reducer : str or object with `fit_transform`
        What reduces a layer to two dimensions, for example `UMAP(random_state=0)`.
    pool : str, function or mapping of layer to such, optional
        How an output becomes one row a sample, as in `extract`. Default: the mean over tokens for texts, whose lengths
        differ; otherwise all numbers.
    select : int, str, tuple, function or mapping of layer to such, optional
        Which of several tensors of a layer's output is meant, as in `extract`: `{"lstm": 0}`.
    device : str or torch.device
        "auto": the first CUDA device, or else the CPU.
    batch_size : int
        Samples per forward pass; a DataLoader keeps its own.
    title : str, optional
        The page's title. Default: the name of the data.
    progress : bool
        Show a progress bar for what takes more than two seconds.
    **about_data
        Passed to `Samples.of`: `targets`, `columns`, `class_names`, `tokenizer`, `limit`, ...

    Returns
    -------
    Page
        `save(path)` writes it, `show()` opens it, a notebook displays it.

    Raises
    ------
    DataError
        If the data cannot be read; the message says what is accepted. If there are fewer than two samples.
    ModelError
        If the samples do not fit a model, or the model fails on them; the message names both.
    UnknownLayerError
        If a layer's name matches nothing.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    >>> rows, kinds = torch.rand(40, 4), ["ant", "bee"] * 20
    >>> visualize_layers(model, (rows, kinds), reducer="pca", progress=False).save("page.html")  # doctest: +SKIP
    """
    named = _checked_models(models)
    selectors = _selectors(named, layers)
    # Before the forward passes, which may take minutes: a reducer that cannot be made is an error.
    base = checked_reducer(reducer, device)
    samples = Samples.of(data, **_checked_options(about_data))
    captured = extract(
        {_name_beside(named): InputRows(), **named},
        samples,
        selectors,
        pool=pool if pool is not None else _pool_of(samples),
        select=select,
        device=device,
        batch_size=batch_size,
        progress=progress,
    )
    if len(samples) < 2:
        raise DataError(f"{samples.name}: a page needs at least two samples, got {len(samples)}")
    samples = _named_by_models(samples, named)
    of_input = captured.pop(_name_beside(named))
    stages = Stages(named, captured, samples, of_input, base, device)
    return build_page(stages.page_data(None if title is None else str(title), progress=progress))


def _checked_models(models: Any) -> dict[str, nn.Module]:
    """Return the networks by name; raise `ModelError` for what is none."""
    named = {type(models).__name__: models} if isinstance(models, nn.Module) else models
    if not isinstance(named, Mapping):
        raise ModelError(
            f"models: expected a torch.nn.Module or a mapping of names to modules, got {type(models).__name__}; "
            "write {'first': model_a, 'second': model_b}"
        )
    if not 1 <= len(named) <= MAX_NETWORKS:
        raise ModelError(f"models: one to {MAX_NETWORKS} networks expected, got {len(named)}")
    for name, model in named.items():
        if not isinstance(model, nn.Module):
            raise ModelError(
                f"models: {name!r} is a {type(model).__name__}, not a torch.nn.Module; call load_model(...)"
            )
    return {str(name): model for name, model in named.items()}


def _checked_options(about_data: dict[str, Any]) -> dict[str, Any]:
    """Return the options of `Samples.of`; raise `DataError` for names that it does not have."""
    known = [name for name in inspect.signature(Samples.of).parameters if name != "data"]
    for name in about_data:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {close[0]}? " if close else ""
            raise DataError(
                f"{name}= is no option of visualize_layers or Samples.of; {hint}These describe data: {', '.join(known)}"
            )
    return about_data


def _selectors(named: Mapping[str, nn.Module], layers: Any) -> dict[str, Any]:
    """Return which layers of each network are extracted, as `extract` takes it."""
    chosen = layers if isinstance(layers, Mapping) else dict.fromkeys(named, layers)
    if unknown := set(chosen) - set(named):
        raise ModelError(f"layers: {sorted(unknown)} is none of the models ({', '.join(named)})")
    selectors = {}
    for name, model in named.items():
        selectors[name] = chosen.get(name)
        computing = set(computing_layers(model))
        if selectors[name] is None and computing:
            selectors[name] = _only(computing)
    return selectors


def _only(names: set[str]) -> Any:
    # A function, unlike a list of names, leaves out layers whose output has no axis of samples.
    def is_wanted(layer: str, _module: nn.Module) -> bool:
        return layer in names

    return is_wanted


def _pool_of(samples: Samples) -> Pool:
    # Batches of texts are padded to different lengths, so that only a mean over tokens has one size.
    return "token_mean" if samples.view == "text" else "none"


def _named_by_models(samples: Samples, named: Mapping[str, nn.Module]) -> Samples:
    """Return the samples with the class names that a network's configuration has, if their targets are among these.

    Names that came with the data take precedence.
    """
    if samples.names_given or samples.task not in ("classification", "multilabel"):
        return samples
    for model in named.values():
        names = class_names_of_model(model)
        if names:
            with suppress(DataError):  # the network has other classes
                return samples.with_class_names(names)
    return samples


def _name_beside(named: Mapping[str, nn.Module]) -> str:
    """Return a name for the inputs, which are extracted beside the networks: one of these may be called "input"."""
    name = INPUT
    while name in named:
        name += "_"
    return name
