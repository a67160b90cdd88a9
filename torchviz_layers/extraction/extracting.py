"""A whole dataset through a model: every layer's rows in one pass, in memory or in a store.

::

    acts = extract(model, loader, layers=["layer3", "avgpool"], pool="gap")
    acts["layer3"], acts.targets, acts.predictions
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, overload

import torch
from torch import Tensor, nn

from torchviz_layers._common.memory import parse_size
from torchviz_layers._common.nested import OneSelect
from torchviz_layers.extraction.activations import Activations
from torchviz_layers.extraction.feeding import open_data
from torchviz_layers.extraction.one_pass import OnePass
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.extraction.runs import named_runs, one_run
from torchviz_layers.hooks.pooling import Pool
from torchviz_layers.hooks.record_options import At, Calls, RecordOptions, check_choice
from torchviz_layers.hooks.selection import Selection, Selector

__all__ = ["extract"]


@overload
def extract(models: nn.Module, data: Any, layers: Selector | None = None, **options: Any) -> Activations: ...


@overload
def extract(
    models: Mapping[str, nn.Module],
    data: Any,
    layers: Selector | Mapping[str, Selector | None] | None = None,
    **options: Any,
) -> dict[str, Activations]: ...


def extract(  # type: ignore[misc]  # the overloads leave its options out, which are listed once, here
    models: nn.Module | Mapping[str, nn.Module],
    data: Any,
    layers: Selector | Mapping[str, Selector | None] | None = None,
    *,
    at: At = "output",
    calls: Calls = "all",
    pool: Pool = "none",
    select: OneSelect | Mapping[str, OneSelect] | None = None,
    mask: Tensor | Callable[[Any], Tensor] | None = None,
    inputs: Sequence[str] | None = None,
    batch_dim: int | Mapping[str, int] | None = None,
    device: str | torch.device = "auto",
    dtype: torch.dtype | None = None,
    autocast: torch.dtype | None = None,
    predictions: bool = True,
    thumbnails: int | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    max_memory: int | str | None = None,
    keep_on: str | torch.device | None = None,
    ragged: Literal["error", "pad"] = "error",
    nonfinite: Literal["keep", "refuse"] = "keep",
    total: int | None = None,
    batch_size: int = 256,
    progress: bool = True,
) -> Activations | dict[str, Activations]:
    """Run every batch through a model, or through each of several, once and keep what the layers output.

    Parameters
    ----------
    models : torch.nn.Module, or mapping of name to torch.nn.Module
        Run in eval mode without gradients; training flags, device and weights are afterwards as they were. Several
        models run on each batch of one pass, so that all of them see the same draw of data that vary; each reads the
        batches by its own forward.
    data : iterable of batches, or samples
        A DataLoader or any iterable of batches: a tensor, `(inputs, targets[, ids])`, or a mapping of keyword
        arguments, Hugging Face style (`labels` are targets, `ids` are ids). Inputs that are a tuple are arguments. A
        list of tensors is one argument if forward is annotated to take a list or takes one argument only, or if it
        needs one only and the tensors are pictures (channels, height, width); else it is the arguments. Of keyword
        arguments that only some of several models name in their forward, the others get none.

        Or samples: whatever `Samples.of` takes, such as a Dataset, an array, a table or a list of pictures. A tuple of
        two that have the same length and other shapes is `(X, y)`, samples and their targets, and not two batches; of
        two batches make a list. Pictures with values in [0, 1] go through a model's own `transform`.
    layers, at, calls, pool, select
        As in `capture`; of several models `layers` may be a mapping of name to layers, in which a name that is missing
        means the default. A layer chosen by name that does not run, or has no row for each sample, is an error; one
        chosen by a pattern or by default is listed in `Activations.skipped`.
    mask : tensor of shape (n_samples, tokens), or function, optional
        Which tokens count, for `token_mean`, `cls` and `last_token`: true where one does. A function gets a batch's
        inputs and returns the mask of shape (n, tokens). Default: the model's own mask, as in `capture`.
    inputs : sequence of str, optional
        Of batches that are mappings, the keys that the model is called with; default: all but targets and ids.
    batch_dim : int or mapping of glob to int, optional
        The axis of the samples; default: 0, or 1 inside modules with `batch_first=False`. It must be as long as the
        batch in a pass with another number of samples too.
    device : "auto", str or torch.device
        Where to run: "auto" is where the model is, or a CUDA card if the model is on the CPU and there is one.
    dtype : torch.dtype, optional
        Floating type of the rows; default: as they come (bfloat16 becomes float32 in NumPy).
    autocast : torch.dtype, optional
        Run under `torch.autocast` of this type.
    predictions : bool
        Keep the model's final output too, if it is or contains one tensor with a row a sample (or has `logits`).
        With False, a forward pass stops after the last layer that is wanted.
    thumbnails : int, optional
        Keep uint8 pictures of the inputs of at most this many pixels a side.
    out : path, optional
        Write to a Zarr v3 group there instead of to memory; of several models, to a group for each in the folder
        `out`, under its name.
    resume : bool
        Continue the store at `out` if there is one; it must be of the same model, data and settings.
    max_memory : int or str, optional
        Bytes, or a number with a unit (`"8 GB"`). Rows that take more go to a temporary store; default: four fifths
        of the available memory. Several models share it.
    keep_on : device, optional
        Leave the rows on this device, as tensors.
    ragged : {"error", "pad"}
        What to do with rows whose shape varies from batch to batch: `"pad"` fills up with zeros.
    nonfinite : {"keep", "refuse"}
        `"refuse"` makes rows with NaN or infinity an error; `Activations.nonfinite()` names those that are kept.
    total : int, optional
        Number of samples, where the loader (a generator, for example) has no length: memory is reserved for as many.
    batch_size : int
        Samples of a forward pass; what comes in batches keeps them.
    progress : bool
        Show a progress bar after two seconds.

    Returns
    -------
    Activations, or dict of str to Activations
        Layer name -> array of shape (n_samples, ...), with ids, targets, predictions and provenance. Of a mapping of
        models, that for each name.

    Raises
    ------
    CaptureError
        A layer cannot be recorded as chosen; the message says why and what to do.
    StoreError
        The store cannot be written or resumed.
    DataError
        The loader yields something that is not a batch, or the data are nothing that `Samples.of` takes.
    ModelError
        `layers` names a model that there is none of, or one of several models fails; messages begin with its name.

    Notes
    -----
    Under `torchrun` each process takes whole chunks of one store; `out` is needed then.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
    >>> acts = extract(model, torch.ones(10, 3).split(4))
    >>> acts["1"].shape
    (10, 2)
    >>> both = extract({"net": model, "relu": nn.ReLU()}, torch.ones(10, 3).split(4))
    >>> {name: len(acts.ids) for name, acts in both.items()}
    {'net': 10, 'relu': 10}
    """
    record = RecordOptions(at, calls, pool, select, mask, batch_dim)
    check_choice("ragged", ragged, ("error", "pad"))
    check_choice("nonfinite", nonfinite, ("keep", "refuse"))
    feeding = open_data(data, batch_size)
    # A single key, which would otherwise be read as a sequence of letters.
    if isinstance(inputs, str):
        inputs = (inputs,)
    shared = ExtractOptions(
        selection=Selection(leaves=True),
        record=record,
        inputs=None if inputs is None else tuple(inputs),
        device=device,
        dtype=dtype,
        autocast=autocast,
        predictions=predictions,
        thumbnails=thumbnails,
        out=None if out is None else Path(out),
        resume=resume,
        max_memory=None if max_memory is None else parse_size(max_memory),
        keep_on=None if keep_on is None else torch.device(keep_on),
        pad=ragged == "pad",
        refuse_nonfinite=nonfinite == "refuse",
        total=total,
        progress=progress,
    )
    if isinstance(models, Mapping):
        runs = named_runs(models, layers, shared, feeding)
        return dict(zip(models, OnePass(runs, feeding, shared).run(), strict=True))
    return OnePass([one_run(models, layers, shared, feeding)], feeding, shared).run()[0]
