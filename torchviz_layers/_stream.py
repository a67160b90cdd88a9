"""The loop of `extract`: batches in, rows out."""

from __future__ import annotations

import logging
import tempfile
import weakref
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from torchviz_layers._batches import Batch, as_batch, count_samples, keeps_order, to_device
from torchviz_layers._hooks import ForwardTap, device_of, forward_only
from torchviz_layers._listing import run_survey, why_silent
from torchviz_layers._memory import available_memory, parse_size
from torchviz_layers._modules import ModuleTree, Selection
from torchviz_layers._outputs import OneSelect, tensors_in
from torchviz_layers._pooling import Pool
from torchviz_layers._provenance import data_fingerprint, describe_run, model_fingerprint
from torchviz_layers._ranks import Ranks, local_device, ranks
from torchviz_layers._store import Store, discard
from torchviz_layers._table import Table, check_disk
from torchviz_layers._writer import RowWriter, StopForward, StopRule
from torchviz_layers.activations import Activations, format_bytes, mask_of
from torchviz_layers.exceptions import CaptureError, DataError, StoreError, UnknownLayerError

_log = logging.getLogger("torchviz_layers")


@dataclass(frozen=True)
class Options:
    """The options of `extract`, checked."""

    selection: Selection
    at: str
    calls: str
    pool: Pool
    select: OneSelect | Mapping[str, OneSelect] | None
    batch_dim: int | Mapping[str, int] | None
    device: str | torch.device
    dtype: torch.dtype | None
    autocast: torch.dtype | None
    predictions: bool
    thumbnails: int | None
    out: Path | None
    resume: bool
    max_memory: int | str | None
    keep_on: torch.device | None
    pad: bool
    refuse: bool
    verify: bool
    total: int | None
    progress: bool


@dataclass
class Stream:
    """One extraction."""

    tree: ModuleTree
    batches: Iterable[Any]
    options: Options
    table: Table = field(default_factory=Table)
    _ranks: Ranks = field(default_factory=Ranks)
    _done: frozenset[int] = frozenset()
    _largest: int | None = None
    """Largest batch that fits the card, once that is known."""
    _temporary: Path | None = None

    def run(self) -> Activations:
        """Stream every batch through the model."""
        options = self.options
        with ExitStack() as stack:
            self._ranks = stack.enter_context(ranks())
            self._check_sharing()
            model = self.tree.root.module
            self._device = self._place(stack)
            stack.enter_context(forward_only(model))
            self.table.total = options.total if options.total is not None else count_samples(self.batches)
            self.table.keep_on, self.table.pad, self.table.mine = options.keep_on, options.pad, self._mine
            rows, first = 0, True
            bar = stack.enter_context(_progress_bar(self.tree.root.kind, self.table.total, options.progress))
            try:
                for batch in self._read():
                    if first:
                        first = False
                        if self._prepare(batch, stack):
                            break
                    if self._needs(rows, rows + batch.size):
                        self._take(batch, rows)
                    rows += batch.size
                    bar.update(batch.size)
            except BaseException:
                self._keep_what_is_there()
                raise
            if first:
                raise DataError("batches: the loader yields no sample; a generator can be read only once")
            return self._finish(rows)

    # reading

    def _read(self) -> Iterator[Batch]:
        for item in self.batches:
            batch = as_batch(item)
            if batch.size:
                yield batch

    def _check_sharing(self) -> None:
        if self._ranks.world > 1 and self.options.out is None:
            raise CaptureError("under torchrun the processes share a store: give extract(..., out=PATH)")

    def _place(self, stack: ExitStack) -> torch.device:
        model, wanted = self.tree.root.module, self.options.device
        here = device_of(model)
        if wanted == "auto":
            wanted = local_device() if here.type == "cpu" and torch.cuda.is_available() else here
        device = torch.device(wanted)
        if device.type == "cuda" and not torch.cuda.is_available():
            raise CaptureError(f"device={str(device)!r}: this machine or this build of PyTorch has no CUDA card")
        spread = {parameter.device for parameter in model.parameters()}
        if len(spread) > 1:
            return here  # spread over several devices by its owner
        if device != here:
            stack.callback(model.to, here)
            model.to(device)
        return device

    # before the first batch

    def _prepare(self, batch: Batch, stack: ExitStack) -> bool:
        """Get everything ready; return True if there is nothing left to do."""
        options, model = self.options, self.tree.root.module
        if (options.resume or self._ranks.world > 1) and batch.ids is None and not keeps_order(self.batches):
            raise CaptureError(
                "batches: without ids, and not known to come in the same order every time; resume and torchrun need either "
                "(inputs, targets, ids) batches, or a DataLoader without shuffling, or a list"
            )
        selection = options.selection
        if selection.positions:
            survey = run_survey(self.tree, _as_example(batch.inputs))
            selection = selection.at([node for node in survey.infos if node in survey.leaves])
        self._selection = selection
        self._settings = _settings(options, selection)
        self._provenance = describe_run(model, self._device, self._settings) | {
            "model_fingerprint": model_fingerprint(model),
            "data_fingerprint": data_fingerprint(batch.inputs, batch.ids),
            "samples": self.table.total,
        }
        self._writer = RowWriter(
            self.tree, self.table, selection, options.at, options.calls, options.pool, options.select, options.batch_dim,
            options.dtype, options.refuse, StopRule(enabled=not options.predictions and not options.verify),
        )  # fmt: skip
        if options.out is not None and self._open(options.out):
            return True
        self._tap = stack.enter_context(ForwardTap(self.tree, self._writer, with_kwargs=options.at == "input"))
        return False

    def _open(self, out: Path) -> bool:
        """Open the store to go on with, or wait for the first process to make it; return whether it is complete."""
        resuming = self._ranks.share(self.options.resume and (out / "zarr.json").exists())
        if not resuming:
            if not self._ranks.first:
                self._ranks.wait()
                self.table.store = Store.reopen(out)
            elif out.exists() and (not out.is_dir() or any(out.iterdir())):
                raise StoreError(f"{out}: exists already; pass resume=True to go on with it, or another path")
            return False
        store = Store.reopen(out)
        self._check_same(store)
        chunks = store.path / "ids" / "c"
        present = [int(file.name) for file in chunks.iterdir() if file.name.isdecimal()] if chunks.is_dir() else []
        self._done = frozenset(self._ranks.share([chunk for chunk in present if store.is_done(chunk)]))
        if store.header.get("partial") and self._ranks.first:
            store.write_header(partial=None)
            (chunks / str(max(present))).unlink(missing_ok=True) if present and max(present) not in self._done else None
        self.table.store = store
        return bool(store.header["complete"])

    def _check_same(self, store: Store) -> None:
        before, now = store.header["provenance"], self._provenance
        for what, key in (("model", "model_fingerprint"), ("data", "data_fingerprint"), ("settings", "settings")):
            if before.get(key) != now[key]:
                raise StoreError(
                    f"{store.path}: holds activations of another {what}: {before.get(key)} there, {now[key]} here; "
                    "give another path, or remove it"
                )

    # a batch

    def _mine(self, chunk: int) -> bool:
        """Whether this process fills `chunk`."""
        if chunk in self._done:
            return False
        pending = chunk - sum(done < chunk for done in self._done) if self._done else chunk
        return pending % self._ranks.world == self._ranks.rank

    def _needs(self, start: int, stop: int) -> bool:
        store = self.table.store
        if store is None:
            return True
        size = store.chunk_rows
        wanted = [chunk for chunk in range(start // size, (stop - 1) // size + 1) if self._mine(chunk)]
        if wanted and not self.table.start <= self.table.base < self.table.stop == start:
            self.table.move_to(max(start, wanted[0] * size)) if self.table.stop != start or not self._holds(
                start
            ) else None
        return bool(wanted)

    def _holds(self, row: int) -> bool:
        return self.table.base <= row

    def _take(self, batch: Batch, start: int) -> None:
        first = not self.table.columns
        ids = batch.ids if batch.ids is not None else np.arange(start, start + batch.size)
        for part_start, part in self._parts(Batch(batch.inputs, batch.size, batch.targets, ids)):
            self._take_part(part, start + part_start)
        if first:
            self._after_first(batch)

    def _parts(self, batch: Batch) -> Iterator[tuple[int, Batch]]:
        done = 0
        while done < batch.size:
            size = min(self._largest or batch.size, batch.size - done)
            yield done, batch if size == batch.size else batch.part(done, done + size)
            done += min(self._largest or size, size)

    def _take_part(self, batch: Batch, start: int) -> None:
        table, writer = self.table, self._writer
        table.begin(start, batch.size)
        writer.size, writer.ids = batch.size, batch.ids
        table.put("ids", batch.ids, layer=False)
        if batch.targets is not None:
            table.put("targets", batch.targets, layer=False)
        output = self._forward(batch)
        if self.options.predictions:
            prediction = _prediction(output, batch.size)
            if prediction is not None:
                table.put("predictions", prediction, layer=False)
        table.commit()

    def _forward(self, batch: Batch) -> Any:
        args, kwargs = to_device(batch.inputs, self._device)
        autocast = self.options.autocast
        with torch.autocast(self._device.type, autocast) if autocast is not None else nullcontext():
            try:
                output = self.tree.root.module(*args, **kwargs)
            except StopForward:
                self._tap.reset()
                return None
        self._writer.stop.end()
        return output

    def _after_first(self, batch: Batch) -> None:
        """Check what the first batch gave, and decide where the rows go."""
        self._check_ran()
        total, need = self.table.total, self.table.row_bytes
        _log.info(
            "%s: %s a sample%s",
            self.tree.root.kind,
            format_bytes(need),
            f", {format_bytes(need * total)} in all" if total else "",
        )
        if self.options.out is not None:
            if self.table.store is None:
                if total:
                    check_disk(self.options.out, need * total)
                self._store_at(self.options.out, batch.size)
                self._ranks.wait()
        elif self.options.keep_on is None:
            limit = parse_size(self.options.max_memory) if self.options.max_memory is not None else None
            if limit is None:
                there = available_memory()
                limit = None if there is None else there * 4 // 5
            if limit is not None and total and need * total > limit:
                self._temporary = Path(tempfile.mkdtemp(prefix="torchviz_layers-"))
                _log.warning("%s of activations go to a store in %s", format_bytes(need * total), self._temporary)
                self._store_at(self._temporary, batch.size)

    def _store_at(self, path: Path, batch_size: int) -> None:
        header = {
            "chunk_rows": self.table.chunk_rows(batch_size),
            "rows": self.table.total,
            "provenance": self._provenance,
            "skipped": self._writer.skipped,
        }
        self.table.to_store(Store.create(path, header))

    def _check_ran(self) -> None:
        ran, selection = self._writer.ran, self._selection
        for node, name in selection.nodes.items():
            if node not in ran:
                reason = why_silent(node, ran, self.tree)
                if node in selection.exact:
                    raise UnknownLayerError(f"{name!r}: {reason}")
                self._writer.skipped[name] = reason
        if not self.table.layers:
            listed = "; ".join(f"{name or '(model)'}: {reason}" for name, reason in self._writer.skipped.items())
            raise CaptureError(f"no layer gave rows: {listed or 'no module ran'}")

    # the end

    def _keep_what_is_there(self) -> None:
        if self._temporary is not None:
            discard(self._temporary)
        elif self.table.store is not None and self._ranks.world == 1:
            self.table.flush_partial()

    def _finish(self, rows: int) -> Activations:
        store, table = self.table.store, self.table
        if store is None:
            arrays, extras = table.finish()
            missing = {layer: mask_of(runs, rows) for layer, runs in table.missing().items()}
            ids = extras.pop("ids")
            return Activations(
                arrays, ids=ids.astype(np.str_) if ids.dtype.kind == "T" else ids, **extras,
                provenance=self._provenance, missing=missing, skipped=self._writer.skipped,
            )  # fmt: skip
        if not store.header["complete"]:
            table.flush_rest()
            missing_of = self._ranks.gather(table.missing())
            merged: dict[str, list[list[int]]] = dict(store.header.get("missing") or {})
            for one in missing_of:
                for layer, runs in one.items():
                    merged[layer] = merged.get(layer, []) + runs
            self._ranks.wait()
            if self._ranks.first:
                store.finish(rows, missing=merged)
            self._ranks.wait()
        acts = Activations.load(store.path)
        if self._temporary is not None:
            weakref.finalize(acts, discard, self._temporary)
        return acts


def _as_example(inputs: Any) -> Any:
    return tuple(inputs) if isinstance(inputs, list) else inputs


def _settings(options: Options, selection: Selection) -> dict[str, Any]:
    """Return what must be equal for two extractions to fit together."""

    def spell(option: Any) -> Any:
        if isinstance(option, Mapping):
            return {str(name): spell(value) for name, value in option.items()}
        return getattr(option, "__qualname__", None) or (None if option is None else str(option))

    calls = {node.name: sorted(wanted) for node, wanted in selection.calls.items()}
    return {
        "layers": "all" if selection.leaves else sorted(selection.nodes.values()),
        "only_calls": calls,
        **{name: spell(getattr(options, name)) for name in ("at", "calls", "pool", "select", "dtype", "autocast")},
        "batch_dim": spell(options.batch_dim),
        "predictions": options.predictions,
    }


def _prediction(output: Any, size: int) -> Tensor | None:
    """Return the final output as one tensor with a row a sample, if it is or holds one."""
    if isinstance(output, Mapping) and isinstance(output.get("logits"), Tensor):
        output = output["logits"]
    found = [tensor for _, tensor in tensors_in(output)]
    if len(found) == 1 and not found[0].is_nested and found[0].dim() > 0 and found[0].shape[0] == size:
        return found[0]
    return None


def _progress_bar(kind: str, total: int | None, wanted: bool) -> Any:
    from tqdm import tqdm

    return tqdm(total=total, unit=" samples", desc=kind, delay=2, disable=not wanted, unit_scale=True)
