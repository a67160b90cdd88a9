"""PyTorch's loaders: the order of their samples, and their batches as a source."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sized
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from torchviz_layers._common.nested import describe, tensors_in
from torchviz_layers.data.batching import tokenized
from torchviz_layers.data.items import TEXT_KEYS, Reading, bare_if_one, divide, pop_first
from torchviz_layers.data.parts import ID_KEYS, TARGET_KEYS, Part, are_columns, check_inputs_and_target
from torchviz_layers.data.raw_items import loader_keeping_raw, rebuilt
from torchviz_layers.data.sources import Source, reading_errors
from torchviz_layers.exceptions import DataError


def has_plain_batches(loader: DataLoader[Any]) -> bool:
    """Whether PyTorch's own sampler makes the batches, rather than one of the user's."""
    return type(loader.batch_sampler) is BatchSampler


def count_loaded(loader: DataLoader[Any]) -> int | None:
    """Return how many samples a loader will yield, or None if that is not known before it is read."""
    batch_sampler = loader.batch_sampler
    # A batch sampler of the user's may repeat samples, or leave some out.
    if isinstance(loader.dataset, IterableDataset) or type(batch_sampler) is not BatchSampler:
        return None
    try:
        total = len(batch_sampler.sampler)  # type: ignore[arg-type]
    except TypeError:
        return None
    if batch_sampler.drop_last:
        total -= total % batch_sampler.batch_size
    return total


def keeps_order(loader: DataLoader[Any]) -> bool:
    """Whether a loader yields the same samples in the same order whenever it is read."""
    if isinstance(loader.dataset, IterableDataset):
        return False
    if loader.batch_sampler is not None and not has_plain_batches(loader):
        # A sampler of the user's: only a list of batches is known to stay the same.
        return isinstance(loader.batch_sampler, list | tuple)
    sampler = getattr(loader.batch_sampler, "sampler", loader.sampler)
    if isinstance(sampler, DistributedSampler):
        return not sampler.shuffle
    return isinstance(sampler, SequentialSampler)


def check_order(loader: DataLoader[Any]) -> None:
    """Raise `DataError` for a loader that shuffles: its rows would be other samples each time."""
    for sampler in (loader.sampler, getattr(loader.batch_sampler, "sampler", None)):
        shuffles = isinstance(sampler, RandomSampler | SubsetRandomSampler | WeightedRandomSampler)
        if shuffles or (isinstance(sampler, DistributedSampler) and sampler.shuffle):
            raise DataError(
                f"the DataLoader shuffles (its sampler is a {type(sampler).__name__}): a row must be the same sample "
                "whenever it is read; give DataLoader(dataset, batch_size, shuffle=False), or the dataset itself"
            )


class Loader(Source):
    """The batches of a DataLoader, or a list of batches, as they come."""

    def __init__(self, batches: Any, reading: Reading) -> None:
        self.batches, self.reading = batches, reading
        self.n = None
        if isinstance(batches, DataLoader):
            check_order(batches)
            self.n = count_loaded(batches)

    def parts(self, batch_size: int, whole: bool = False) -> Iterator[Part]:  # noqa: ARG002 - a loader's own are kept
        """Yield the loader's own batches."""
        loader = self.batches
        keeps = loader_keeping_raw(loader, whole) if isinstance(loader, DataLoader) else None
        return self._read(loader if keeps is None else keeps, has_raw=keeps is not None)

    def _read(self, batches: Any, has_raw: bool) -> Iterator[Part]:
        place = -1
        for place, batch in enumerate(reading_errors(batches, "batch", "the loader")):
            if not has_raw:
                yield read_batch(batch, place, self.reading)
                continue
            part = read_batch(batch[0], place, self.reading)
            is_complete = len(batch[1]) == part.size and all(raw is not None for raw in batch[1])
            yield replace(part, looks=batch[1]) if is_complete else part
        if place < 0:
            raise DataError(f"the {type(batches).__name__} yields no batch; give at least one sample")

    def first(self, whole: bool = False) -> Part:
        """Return the first batch, read without workers, which would load several ahead."""
        loader = self.batches
        if type(loader) is DataLoader and loader.num_workers and loader.batch_sampler is not None:
            indices = next(iter(loader.batch_sampler), None)
            if indices:
                alone = rebuilt(loader, loader.dataset, [indices], loader.collate_fn, workers=False)
                return Loader(alone, self.reading).first(whole)
        return super().first(whole)


def read_batch(batch: Any, place: int, reading: Reading) -> Part:
    """Read a tensor, `(inputs[, targets[, ids]])` or a mapping; raise `DataError` otherwise."""
    targets = ids = None
    columns: dict[str, Any] = {}
    texts = None
    if isinstance(batch, Mapping):
        rest = dict(batch)
        targets = pop_first(rest, TARGET_KEYS if reading.target is None else (reading.target,))
        ids = pop_first(rest, ID_KEYS)
        inputs, columns, texts = _divide_batch(rest)
    elif isinstance(batch, list | tuple) and batch and not all(isinstance(part, str) for part in batch):
        check_inputs_and_target(batch, f"batch {place}", n_axes=2)
        inputs, targets, ids = [*batch, None, None][:3]
        if isinstance(inputs, tuple) and isinstance(targets, list | tuple) and _are_samples(inputs, len(targets)):
            inputs = list(inputs)  # as `tuple(zip(*items))` collates pictures and their boxes: no arguments, but a list
        if len(batch) > 3 or (ids is not None and not _are_ids(ids)):
            reading.remarks["of each batch only (inputs, targets, ids) are used, what follows is left out"] = None
            ids = ids if _are_ids(ids) else None
    else:
        inputs = batch
    if reading.target is not None and not isinstance(batch, Mapping):
        raise DataError(
            f"targets={reading.target!r} names a part of each batch, but batch {place} is {describe(batch)[:80]}, "
            "without names; give the targets themselves, one a sample"
        )
    if isinstance(targets, Tensor | np.ndarray) and targets.ndim == 0:
        raise DataError(
            f"batch {place}: {describe(batch)[:80]} is a single sample, with one number as its target; give the "
            "loader's dataset, Samples.of(loader.dataset), or the loader a batch_size"
        )
    size = _size(inputs, targets, ids)
    if reading.tokenizer is not None and isinstance(inputs, list | tuple) and inputs and isinstance(inputs[0], str):
        return Part(tokenized(list(inputs), place * size, reading.tokenizer), size, targets, ids, columns, list(inputs))
    if not size:
        raise DataError(
            f"batch {place}: {describe(batch)[:120]} has no input with an axis of samples; a batch is a tensor, "
            "(inputs, targets, ids) or a mapping of tensors"
        )
    return Part(inputs, size, targets, ids, columns, texts)


def _divide_batch(parts: Mapping[Any, Any]) -> tuple[Any, dict[str, Any], Any]:
    """Divide a collated dict into inputs, columns and the texts that are shown in place of tokens, if there are any.

    Collation made an axis of samples: numbers and texts have one, inputs more. A dict of nothing else is an input.
    """
    parts = {str(key): value for key, value in parts.items()}
    first = {}
    for key, value in parts.items():
        is_column = isinstance(value, list | tuple) or getattr(value, "ndim", 0) == 1
        first[key] = value[0] if is_column and len(value) else value
    divided = divide(first, text_is_input=True)
    chosen = [key for key in divided.inputs if key in parts] or list(parts)
    inputs = bare_if_one({key: parts[key] for key in chosen})
    columns = {key: parts[key] for key in divided.columns if key not in chosen}
    texts = next((parts[key] for key in TEXT_KEYS if divided.text is not None and key in parts), None)
    return inputs, columns, texts


def _are_samples(inputs: tuple[Any, ...], size: int) -> bool:
    """Whether a batch's inputs are `size` tensors, one a sample, rather than the arguments of the network."""
    return len(inputs) == size and all(isinstance(one, Tensor) for one in inputs) and not are_columns(inputs, size)


def _are_ids(values: Any) -> bool:
    """Whether a batch's third part is a column of whole numbers or texts."""
    if isinstance(values, Tensor | np.ndarray):
        return values.ndim == 1 and str(values.dtype).replace("torch.", "").startswith(("int", "uint", "<U"))
    return isinstance(values, list | tuple) and all(isinstance(value, str | int) for value in values)


def _size(inputs: Any, targets: Any, ids: Any) -> int:
    """Return the number of samples in a batch; 0 where nothing tells."""
    for values in (targets, ids):
        if isinstance(values, list | tuple) or (isinstance(values, Tensor | np.ndarray) and values.ndim):
            return len(values)
    if isinstance(inputs, list | tuple) and inputs and isinstance(inputs[0], str):
        return len(inputs)
    if isinstance(inputs, np.ndarray) and inputs.ndim:
        return len(inputs)
    first = next((tensor for _, tensor in tensors_in(inputs)), None)
    if first is not None and first.dim():
        return len(first)
    return len(inputs) if isinstance(inputs, Sized) and isinstance(inputs, list) else 0
