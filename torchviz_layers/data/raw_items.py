"""What a dataset read before its transform: the picture that a reader can recognise, kept from the one reading.

torchvision's datasets call `self.transform` or `self.transforms` inside `__getitem__`. On a shallow copy of the dataset
these are replaced by functions that keep their argument and call the original.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from torchviz_layers.data.items import Reading, read_item
from torchviz_layers.data.views import is_picture, small_picture, view_of

_DEEPEST = 10  # wrappers in each other; more is a circle


class _Slot:
    """Where the transforms of all copies put what they were given last."""

    raw: Any = None


class _Keeping:
    """A transform that keeps its argument; for everything else it is the original."""

    def __init__(self, transform: Callable[..., Any], slot: _Slot) -> None:
        self._transform, self._slot = transform, slot

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._slot.raw is None:  # of several transforms the first sees what was read
            self._slot.raw = args[0] if args else kwargs.get("image")
        return self._transform(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_transform":  # while it is unpickled it has no original yet
            raise AttributeError(name)
        return getattr(self._transform, name)


class KeepsRaw(Dataset[Any]):
    """A dataset of pairs (item, raw item): a text or a small picture, or None; with `whole` whatever was read."""

    def __init__(self, dataset: Any, whole: bool) -> None:
        self._slot, self._whole = _Slot(), whole
        self._copy = _keeping(dataset, self._slot, 0)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        self._slot.raw = None
        item = self._copy[index]
        raw, self._slot.raw = self._slot.raw, None
        if self._whole or raw is None or isinstance(raw, str):
            return item, raw
        return item, small_picture(raw) if view_of(raw) == "image" else None


def _keeping(dataset: Any, slot: _Slot, depth: int) -> Any:
    """Return a shallow copy of a dataset, and of the datasets in it, whose transforms keep what they are given."""
    if depth == _DEEPEST:
        return dataset
    twin = copy.copy(dataset)
    for name in ("transform", "transforms"):
        if callable(getattr(dataset, name, None)):
            setattr(twin, name, _Keeping(getattr(dataset, name), slot))
    if isinstance(dataset, ConcatDataset):
        twin.datasets = [_keeping(part, slot, depth + 1) for part in dataset.datasets]
    elif isinstance(getattr(dataset, "dataset", None), Dataset):  # Subset, and wrappers like it
        twin.dataset = _keeping(dataset.dataset, slot, depth + 1)
    return twin


def keeping_raw(dataset: Any, index: Any, whole: bool) -> KeepsRaw | None:
    """Return the dataset with its raw items, where they show more than the items do, or are wanted whole; else None.

    They do where they are texts, or pictures whose items are none or have values outside [0, 1]; the item at `index` is
    read to decide.
    """
    if not _has_transform(dataset, 0):
        return None
    try:
        keeps = KeepsRaw(dataset, whole)
        item, raw = keeps[index]
        fed = read_item(item, 0, Reading()).input
    except Exception:  # the caller's code; if it is at fault, the pass itself says so
        return None
    if raw is None or (not whole and view_of(fed) == "image" and _in_range(fed)):
        return None
    return keeps


def _has_transform(dataset: Any, depth: int) -> bool:
    if depth == _DEEPEST:
        return False
    if isinstance(dataset, ConcatDataset):
        return any(_has_transform(part, depth + 1) for part in dataset.datasets)
    if callable(getattr(dataset, "transform", None)) or callable(getattr(dataset, "transforms", None)):
        return True
    inner = getattr(dataset, "dataset", None)
    return isinstance(inner, Dataset) and _has_transform(inner, depth + 1)


def _in_range(picture: Any) -> bool:
    """Whether a picture needs no stretching to be shown."""
    if is_picture(picture):
        return True
    values = torch.as_tensor(picture)
    return not values.is_floating_point() or (float(values.min()) >= 0 and float(values.max()) <= 1)


class _Collate:
    """A loader's collation, with the raw items beside the batch."""

    def __init__(self, collate: Callable[[list[Any]], Any]) -> None:
        self._collate = collate

    def __call__(self, pairs: list[tuple[Any, Any]]) -> tuple[Any, list[Any]]:
        return self._collate([item for item, _ in pairs]), [raw for _, raw in pairs]


def loader_keeping_raw(loader: DataLoader[Any], whole: bool) -> DataLoader[Any] | None:
    """Return a loader of the same batches, each with its raw items; None where `keeping_raw` has none."""
    if type(loader) is not DataLoader or loader.batch_sampler is None:
        return None
    first = next(iter(loader.batch_sampler), None)
    keeps = keeping_raw(loader.dataset, first[0], whole) if first else None
    return None if keeps is None else rebuilt(loader, keeps, loader.batch_sampler, _Collate(loader.collate_fn))


def rebuilt(
    loader: DataLoader[Any], dataset: Any, batch_sampler: Any, collate: Any, *, workers: bool = True
) -> DataLoader[Any]:
    """Return a loader with another dataset, batch sampler and collation, and the other settings of `loader`."""
    parallel: dict[str, Any] = {}
    if workers and loader.num_workers:
        parallel = {
            "num_workers": loader.num_workers,
            "timeout": loader.timeout,
            "worker_init_fn": loader.worker_init_fn,
            "multiprocessing_context": loader.multiprocessing_context,
            "prefetch_factor": loader.prefetch_factor,
        }
    return DataLoader(
        dataset,
        batch_sampler=batch_sampler,
        collate_fn=collate,
        pin_memory=loader.pin_memory,
        generator=loader.generator,
        **parallel,
    )
