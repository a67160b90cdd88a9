"""The batches that a loader yields: inputs, and perhaps targets and sample ids."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, DistributedSampler

from torchviz_layers._common.arrays import as_numpy
from torchviz_layers._common.files import printable
from torchviz_layers._common.nested import describe, map_tensors
from torchviz_layers.data.loaders import count_loaded, has_plain_batches
from torchviz_layers.data.loaders import keeps_order as loader_keeps_order
from torchviz_layers.exceptions import CaptureError, DataError
from torchviz_layers.hooks.arguments import (
    are_pictures,
    as_inputs,
    is_one_argument,
    samples_in,
    take_samples,
    takes_list,
)

_TARGET_KEYS = ("labels", "label", "targets", "target")
_ID_KEYS = ("ids", "id", "sample_ids")

# The axis of the samples is found by a second pass with one of these numbers of samples. One sample comes last, as some
# models squeeze that axis away.
OTHER_BATCH_SIZES = (2, 3, 1)


class HasSize(Protocol):
    """What a loader's item is read as: a `Batch`, or the batches of several models."""

    @property
    def size(self) -> int:
        """Number of samples."""


Item = TypeVar("Item", bound=HasSize)


@dataclass(frozen=True)
class Batch:
    """One batch: the inputs of the model, and one target and one id a sample."""

    inputs: Any
    size: int
    targets: npt.NDArray[Any] | None = None
    ids: npt.NDArray[Any] | None = None

    def ids_from(self, start: int) -> npt.NDArray[Any]:
        """Return the ids; where the loader gives none, the positions of the samples, from `start` on."""
        if self.ids is not None:
            return self.ids
        return np.arange(start, start + self.size)

    def part(self, start: int, stop: int) -> Batch:
        """Return samples `start` to `stop`."""
        if stop - start == self.size:
            return self
        inputs = take_samples(self.inputs, self.size, range(start, stop))
        targets = None if self.targets is None else self.targets[start:stop]
        ids = None if self.ids is None else self.ids[start:stop]
        return Batch(inputs, stop - start, targets, ids)

    def of_size(self, size: int) -> Batch:
        """Return the inputs of `size` samples: the first ones, repeated where there are too few."""
        return Batch(resize(self.inputs, self.size, size), size)


def as_batch(batch: Any, model: nn.Module | None = None, keys: Sequence[str] | None = None) -> Batch:
    """Read a tensor, `(inputs, targets[, ids])` or a mapping of keyword arguments; raise `DataError` otherwise.

    The forward of `model` decides whether a list of tensors is its one argument or its arguments. Of a mapping `keys`
    are the arguments; by default all but targets and ids.
    """
    targets = ids = None
    if isinstance(batch, Mapping):
        inputs: Any = dict(batch)
        targets = _pop_first(inputs, _TARGET_KEYS)
        ids = _pop_first(inputs, _ID_KEYS)
        if keys is not None:
            inputs = _pick(batch, keys)
    elif isinstance(batch, list) and _is_list_of_samples(batch, model):
        inputs = batch
    elif isinstance(batch, list | tuple) and 1 <= len(batch) <= 3:
        # A DataLoader's collation makes a list of the tuple (inputs, targets, ids).
        inputs, targets, ids = (*batch, None, None)[:3]
        if keys is not None and isinstance(inputs, Mapping):
            inputs = _pick(inputs, keys)
    elif isinstance(batch, Tensor):
        inputs = batch
    else:
        raise DataError(
            f"batches: a batch is a tensor, (inputs, targets, ids) or a mapping of tensors, got {describe(batch)}"
        )
    # How many samples there are, by what came with the inputs: it decides how a list of tensors is read.
    known = next((len(column) for column in (targets, ids) if isinstance(column, Sized)), None)
    inputs = as_inputs(model, inputs, known)
    size = samples_in(inputs, known)
    if size is None:
        raise DataError(f"batches: no tensor of this batch has an axis of samples: {describe(batch)}")
    return Batch(inputs, size, _column("targets", targets, size), _column("ids", ids, size))


def _pick(batch: Mapping[Any, Any], keys: Sequence[str]) -> dict[Any, Any]:
    absent = [key for key in keys if key not in batch]
    if absent:
        raise DataError(f"inputs: {absent[0]!r} is none of the batch's keys: {', '.join(map(str, batch))}")
    return {key: batch[key] for key in keys}


def _is_list_of_samples(batch: list[Any], model: nn.Module | None) -> bool:
    """Whether a whole batch is a list of tensors for a forward that takes a list, not (inputs, targets, ids)."""
    return is_one_argument(model, batch) and (len(batch) > 3 or (takes_list(model) and are_pictures(batch)))


def _pop_first(inputs: dict[Any, Any], keys: Sequence[str]) -> Any:
    """Remove the first of the keys that there is, and return its value."""
    for key in keys:
        if key in inputs:
            return inputs.pop(key)
    return None


def _column(what: str, values: Any, size: int) -> npt.NDArray[Any] | None:
    """Return targets or ids as an array: text in NumPy's string type, integers as int64."""
    if values is None:
        return None
    if isinstance(values, list | tuple) and any(isinstance(value, Mapping) for value in values):
        raise DataError(f"batches: {what} that are mappings are no column; give (inputs, None), or one value a sample")
    column = as_numpy(values) if isinstance(values, Tensor) else np.asarray(values)
    if column.ndim == 0 or len(column) != size:
        raise DataError(f"batches: {what} of shape {column.shape} do not fit {size} samples")
    # NumPy's fixed-width text has another type whenever the longest text is another, so all text becomes one type.
    if column.dtype.kind == "S":
        column = np.strings.decode(column, "utf-8", "backslashreplace")
    if column.dtype.kind in "UO":
        try:
            return column.astype(np.dtypes.StringDType())
        except (TypeError, UnicodeEncodeError):  # other objects, or file names that are not UTF-8
            texts = [printable(str(value)) for value in column.ravel()]
            return np.array(texts, np.dtypes.StringDType()).reshape(column.shape)
    # As for text: integers of any width are one type.
    if column.dtype.kind in "iu":
        return column.astype(np.int64)
    return column


def resize(inputs: Any, size: int, new: int) -> Any:
    """Return inputs of `new` samples, made from `size` samples, which are repeated where they are too few."""
    if new <= size:
        return take_samples(inputs, size, range(new))
    return take_samples(inputs, size, [index % size for index in range(new)])


def count_samples(batches: Iterable[Any], as_batch: Callable[[Any], Batch] = as_batch) -> int | None:
    """Return how many samples a loader will yield, or None if that is not known before it is read."""
    if isinstance(batches, DataLoader):
        return count_loaded(batches)
    if isinstance(batches, list | tuple):
        return sum(as_batch(batch).size for batch in batches)
    return None


def keeps_order(batches: Iterable[Any]) -> bool:
    """Whether a loader yields the same samples in the same order whenever it is read."""
    if isinstance(batches, DataLoader):
        return loader_keeps_order(batches)
    return isinstance(batches, list | tuple)


def check_stable(batches: Iterable[Any], first: Batch, out: Path | None = None, processes: int = 1) -> None:
    """Raise `CaptureError` if the loader's samples cannot be recognised in a later run, or in another process.

    `out` is the store; one that an earlier run left is named in the message.
    """
    sampler = getattr(batches, "sampler", None)
    if processes > 1 and isinstance(sampler, DistributedSampler) and sampler.num_replicas > 1:
        raise CaptureError(
            f"batches: its DistributedSampler gives each of {sampler.num_replicas} processes other samples, and "
            "extract divides one loader's batches itself; give a DataLoader without it"
        )
    if first.ids is None and not keeps_order(batches):
        left = ""
        if out is not None and out.exists():
            left = f"; to start again remove {out}, or give another path"
        raise CaptureError(
            "batches: without ids, and not known to come in the same order every time; resume and torchrun need either "
            f"(inputs, targets, ids) batches, or a DataLoader without shuffling, or a list{left}"
        )


def read(
    batches: Iterable[Any],
    needs: Callable[[int, int], bool],
    *,
    may_skip: bool,
    as_batch: Callable[[Any], Item],
) -> Iterator[tuple[int, Item | int]]:
    """Yield (row of its first sample, batch) for every batch; for a batch that was not loaded, its size.

    The first batch is always loaded. With `may_skip`, and a loader of which single batches can be loaded, the batches
    that are not needed are not loaded. `needs(start, stop)` is called after the first batch was processed: only then
    is it known which rows are missing.
    """
    if may_skip and isinstance(batches, DataLoader) and keeps_order(batches) and has_plain_batches(batches):
        yield from _read_needed(batches, needs, as_batch)
        return
    start = 0
    for item in batches:
        batch = as_batch(item)
        if batch.size:
            yield start, batch
        start += batch.size


def _read_needed(
    loader: DataLoader[Any], needs: Callable[[int, int], bool], as_batch: Callable[[Any], Item]
) -> Iterator[tuple[int, Item | int]]:
    assert loader.batch_sampler is not None
    # The indices of every batch are known without loading a sample.
    plan: list[tuple[int, list[int]]] = []
    start = 0
    for indices in loader.batch_sampler:
        plan.append((start, list(indices)))
        start += len(indices)
    if not plan:
        return
    (_, first), *rest = plan
    yield 0, as_batch(next(iter(_loader_of(loader, [first]))))
    needed = [needs(start, start + len(indices)) for start, indices in rest]
    # One loader for all that is needed, so that its workers load ahead.
    to_load = [indices for (_, indices), is_needed in zip(rest, needed, strict=True) if is_needed]
    loaded = iter(_loader_of(loader, to_load)) if to_load else iter(())
    for (start, indices), is_needed in zip(rest, needed, strict=True):
        if is_needed:
            yield start, as_batch(next(loaded))
        else:
            yield start, len(indices)


def _loader_of(loader: DataLoader[Any], batches: list[list[int]]) -> DataLoader[Any]:
    return DataLoader(
        loader.dataset, batch_sampler=batches, num_workers=loader.num_workers, collate_fn=loader.collate_fn,
        pin_memory=loader.pin_memory, timeout=loader.timeout, worker_init_fn=loader.worker_init_fn,
        multiprocessing_context=loader.multiprocessing_context, prefetch_factor=loader.prefetch_factor,
    )  # fmt: skip


def as_arguments(inputs: Any, device: torch.device) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Return a model's inputs as positional and keyword arguments, on `device`."""

    # `non_blocking` matters for pinned memory: the copy to the card runs while Python continues.
    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, non_blocking=True)

    if isinstance(inputs, Mapping):
        return (), {name: map_tensors(part, move) for name, part in inputs.items()}
    if isinstance(inputs, list | tuple) and not hasattr(inputs, "_fields"):
        return tuple(map_tensors(part, move) for part in inputs), {}
    return (map_tensors(inputs, move),), {}
