"""The models of a pass by name, each with the options that apply to it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from torch import nn

from torchviz_layers.exceptions import CaptureError, ModelError, StoreError
from torchviz_layers.extraction.feeding import Feeding
from torchviz_layers.extraction.input_rows import InputRows
from torchviz_layers.extraction.model_run import ModelRun
from torchviz_layers.extraction.naming import naming
from torchviz_layers.extraction.options import ExtractOptions
from torchviz_layers.hooks.arguments import signature_of
from torchviz_layers.hooks.modules import ModuleTree
from torchviz_layers.hooks.record_options import RecordOptions
from torchviz_layers.hooks.selection import Selector, select
from torchviz_layers.models import model_transform

_NO_FILE_NAME = re.compile(r'[\x00-\x1f/\\:*?"<>|]|^\.|[. ]$|^$')
_LONGEST = 200  # bytes; file systems allow 255

Layers = Selector | Mapping[str, Selector | None] | None


def one_run(model: nn.Module, layers: Layers, options: ExtractOptions, feeding: Feeding) -> ModelRun:
    """Return the only model of a pass, which has no name."""
    if isinstance(layers, Mapping):
        raise CaptureError(
            "layers: a mapping of names to layers goes with a mapping of models, as in extract({'a': model}, data, "
            "{'a': ['conv1']}); of one model, give the layers themselves"
        )
    return _run("", model, layers, options, feeding)


def named_runs(
    models: Mapping[str, nn.Module], layers: Layers, options: ExtractOptions, feeding: Feeding
) -> list[ModelRun]:
    """Return the models of a pass; raise `ModelError` for a mapping that has none, or for layers of none of them."""
    if not models:
        raise ModelError("models: the mapping is empty; give at least one, as in {'net': model}")
    for name in models:
        if not isinstance(name, str) or not name:
            raise ModelError(f"models: {name!r} is no name; give each model one, as in {{'net': model}}")
    if isinstance(layers, Mapping) and (unknown := [name for name in layers if name not in models]):
        raise ModelError(f"layers: {unknown} is none of the models ({', '.join(models)})")
    if options.out is not None:
        _check_folder(options.out, models, resume=options.resume)
    others = [model for model in models.values() if not isinstance(model, InputRows)]
    named = set().union(*map(_taken, models.values()))
    runs = []
    for name, model in models.items():
        chosen = layers.get(name) if isinstance(layers, Mapping) else layers
        own = options if options.out is None else replace(options, out=options.out / name)
        with naming(name):
            run = _run(name, model, chosen, own, feeding)
        # A list of tensors is one sample each or several arguments: the forward of a network shows which.
        if isinstance(model, InputRows) and others:
            run.reader = others[0]
        run.not_taken = frozenset(named - _taken(model)) if _taken(model) else frozenset()
        runs.append(run)
    return runs


def _taken(model: nn.Module) -> set[str]:
    """Return the keyword arguments that a model's forward names; none if it takes any, or that is not known."""
    signature = signature_of(model) if isinstance(model, nn.Module) else None
    parameters = () if signature is None else signature.parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return set()
    return {parameter.name for parameter in parameters if parameter.kind is not parameter.POSITIONAL_ONLY}


def _run(name: str, model: nn.Module, layers: Selector | None, options: ExtractOptions, feeding: Feeding) -> ModelRun:
    tree = ModuleTree.of(model)
    if isinstance(model, InputRows):
        model.begin()
        # It has one layer, and what it outputs is there already.
        options = replace(options, record=RecordOptions(), device="cpu", autocast=None)
        layers = None
    transform = model_transform(model)
    if transform is not None and not feeding.unit_pictures:
        transform = None
    return ModelRun(name, tree, replace(options, selection=select(tree, layers)), model, transform)


def _check_folder(out: Path, models: Mapping[str, nn.Module], *, resume: bool) -> None:
    """Raise `StoreError` if `out` is the store of one model, a name is not that of a folder, or a store is there."""
    if (out / "zarr.json").is_file():
        raise StoreError(
            f"{out}: holds the activations of one model, and those of {', '.join(models)} would go into folders of "
            "it; give another path"
        )
    for name in models:
        if _NO_FILE_NAME.search(name) or len(name.encode()) > _LONGEST:
            other = re.sub(r"\W+", "_", name)[:40].strip("_") or "net"
            raise StoreError(
                f"out: {name!r} cannot be the name of a folder; rename that model, as in {{{other!r}: model}}"
            )
        # Before any of them runs: no store is begun if another one is there already.
        store = out / name
        if not resume and store.exists() and (not store.is_dir() or any(store.iterdir())):
            raise StoreError(f"{store}: exists already; pass resume=True (--resume) to continue it, or another path")
