"""Loading a checkpoint into a model whose keys may differ by what wrapped the model when it was saved.

A file may hold several mappings, and the keys of each may have prefixes. All plausible readings of the file are listed,
and the first whose keys and shapes are exactly the model's is loaded. If two readings fit and differ, that is an error:
a guess could load the wrong weights without anybody noticing.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy

from torchviz_layers.exceptions import ModelError
from torchviz_layers.models.checkpoint_files import LeftOut, read_checkpoint

# Keys under which training loops save the state dict, next to the optimizer's.
KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# Prefixes that DataParallel and a LightningModule add to every key.
PREFIXES = ("module.", "model.")
# What torch.compile, FSDP and activation checkpointing add at each module that they wrap, anywhere in a key.
COMPILED = "_orig_mod."
_WRAPPERS = (COMPILED, "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_SHOWN = 3  # keys in an error
_MOST_PREFIXES = 3


@dataclass(frozen=True)
class _Candidate:
    """One way to read a checkpoint as a state dict."""

    state: Mapping[str, Any]
    under: tuple[str, ...] = ()  # the keys that led to it
    without: tuple[str, ...] = ()  # the prefixes that were removed

    def __str__(self) -> str:
        parts = []
        if self.under:
            parts.append(f"under {'.'.join(self.under)!r}")
        if self.without:
            parts.append(f"without the prefix {''.join(self.without)!r}")
        return ", ".join(parts)

    def count(self, prefix: str) -> int:
        """Return how many keys have the prefix."""
        return sum(key.startswith(prefix) for key in self.state)

    def unwrapped(self, prefix: str, *, anywhere: bool = False) -> _Candidate:
        """Remove a prefix from the keys (or, with `anywhere`, from inside them), unless two keys would collide."""
        state = {}
        for key, value in self.state.items():
            state[key.replace(prefix, "") if anywhere else key.removeprefix(prefix)] = value
        collided = len(state) < len(self.state)
        if collided or state.keys() == self.state.keys():
            return self
        return _Candidate(state, self.under, (*self.without, prefix))


def load_weights(model: nn.Module, path: Path, name: str) -> None:
    """Load a checkpoint into a model; raise `ModelError` with the keys that differ where it does not fit exactly."""
    own = model.state_dict()
    content = read_checkpoint(path)
    variants = _all_variants(_candidates(content), model, own)
    fitting = _fitting(variants, own)
    if not fitting:
        # Perhaps the state dict is under a key that is not in KEYS. Those come second: next to a state dict that fits,
        # such a mapping may be something else (an average of the weights) and is no reason for an error.
        others = _all_variants(_other_candidates(content), model, own)
        fitting = _fitting(others, own)
        variants += others
    if not fitting:
        raise ModelError(f"{path} does not fit {name}: {_why_not(variants, own)}")
    first = fitting[0]
    for other in fitting[1:]:
        if not all(_equal(first.state[key], other.state[key]) for key in own):
            raise ModelError(
                f"{path} holds two different state dicts that fit {name}, {first} and {other}: which is meant "
                "cannot be known; write torch.save(model.state_dict(), ...) of the one"
            )
    try:
        model.load_state_dict(dict(first.state))
    except (RuntimeError, TypeError) as problem:
        raise ModelError(f"{path} does not fit {name}: {problem}") from problem


def _fitting(variants: list[_Candidate], own: Mapping[str, Any]) -> list[_Candidate]:
    return [variant for variant in variants if not _misfits(variant.state, own)]


def _candidates(state: Mapping[Any, Any], under: tuple[str, ...] = ()) -> Iterator[_Candidate]:
    """Yield the mapping itself and those under `KEYS`, two levels deep."""
    nested = []
    if len(under) < 2:
        nested = [key for key in KEYS if isinstance(state.get(key), Mapping)]
    # With tensors of its own, the mapping may be the state dict although it has such a key.
    if not nested or _has_tensors(state):
        yield _Candidate({str(key): value for key, value in state.items()}, under)
    for key in nested:
        yield from _candidates(state[key], (*under, key))


def _other_candidates(state: Mapping[Any, Any]) -> Iterator[_Candidate]:
    """Yield the mappings with tensors under keys that are not in `KEYS`."""
    for key, value in state.items():
        if key not in KEYS and isinstance(value, Mapping) and _has_tensors(value):
            yield _Candidate({str(name): part for name, part in value.items()}, (str(key),))


def _has_tensors(state: Mapping[Any, Any]) -> bool:
    return any(isinstance(value, torch.Tensor) for value in state.values())


def _all_variants(candidates: Iterator[_Candidate], model: nn.Module, own: Mapping[str, Any]) -> list[_Candidate]:
    """Return every candidate in every variant; `own` is the model's state dict."""
    # The model itself may be wrapped (DataParallel, torch.compile) while the checkpoint is not.
    keys = _Candidate(own)
    wrapped = [prefix for prefix in ("module.", COMPILED) if own and keys.count(prefix) == len(own)]
    variants = []
    for candidate in candidates:
        variants += [_completed(variant, model, own) for variant in _variants(candidate, wrapped)]
    return variants


def _variants(candidate: _Candidate, wrapped: list[str]) -> Iterator[_Candidate]:
    """Yield a state dict unchanged, then with more and more prefixes removed, and with those of `wrapped` added."""
    yield candidate
    # 1. What wraps single modules, at any depth.
    bare = candidate
    for wrapper in _WRAPPERS:
        bare = bare.unwrapped(wrapper, anywhere=True)
    yield bare
    # 2. Known prefixes, as many as are nested.
    for _ in range(_MOST_PREFIXES):
        prefix = max(PREFIXES, key=bare.count)
        # More than half of the keys must have it. All would be too strict: with a few keys of something else (a loss's
        # weights, say), the error is to name these few instead of all keys.
        if 2 * bare.count(prefix) <= len(bare.state):
            break
        bare = bare.unwrapped(prefix)
        yield bare
    # 3. The model's own wrapper.
    for prefix in wrapped:
        yield _Candidate({prefix + key: value for key, value in bare.state.items()}, bare.under, bare.without)
    # 4. Any prefix that all keys share: the attribute of a wrapper of the user's own, such as self.net.
    for _ in range(_MOST_PREFIXES):
        first = {key.partition(".")[0] for key in bare.state if "." in key}
        if len(first) != 1:
            break
        bare = bare.unwrapped(f"{first.pop()}.")
        yield bare


def _completed(candidate: _Candidate, model: nn.Module, own: Mapping[str, Any]) -> _Candidate:
    """Return a state dict without the differences that older versions and other formats explain.

    - The older `weight_norm` names its arrays `weight_g` and `weight_v`.
    - Weights that several modules share are saved once by safetensors.
    - `num_batches_tracked` of batch normalisation is missing in files from before PyTorch 0.4.1.
    - `AveragedModel` adds its count `n_averaged`.
    """
    state = _with_names_of_parametrizations(candidate.state, own)
    for names in _shared_names(model):
        saved = next((key for key in names if key in state), None)
        if saved is not None:
            _fill_in(state, {key: state[saved] for key in names if key in own})
    # Without a key of the model's it is another model's state dict, and the error is to list all that is missing.
    if candidate.state.keys() & own.keys():
        _fill_in(state, {key: own[key] for key in own if key.endswith("num_batches_tracked")})
    if "n_averaged" not in own and "module." in candidate.without:
        state.pop("n_averaged", None)
    return _Candidate(state, candidate.under, candidate.without)


def _fill_in(state: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add the entries of `more` whose keys are missing in `state`."""
    for key, value in more.items():
        state.setdefault(key, value)


def _with_names_of_parametrizations(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state dict in which the older `weight_norm`'s arrays have the names that they have in the model."""
    renamed = dict(state)
    for key in own:  # such as "1.parametrizations.weight.original0", formerly "1.weight_g"
        module, found, rest = key.rpartition("parametrizations.")
        name, _, original = rest.rpartition(".")
        suffix = {"original0": "_g", "original1": "_v"}.get(original)
        old_key = f"{module}{name}{suffix}"
        if found and suffix and key not in renamed and old_key in renamed:
            renamed[key] = renamed.pop(old_key)
    return renamed


def _shared_names(model: nn.Module) -> list[list[str]]:
    """Return the names of each parameter that has more than one."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [several for several in names.values() if len(several) > 1]


def _why_not(variants: list[_Candidate], own: Mapping[str, Any]) -> str:
    """Return the reason why nothing fits: that of the variant with the most keys of the model."""
    # Among equals, the one with fewest prefixes removed: its keys are those that the user sees in the file.
    best = max(variants, key=lambda variant: (len(own.keys() & variant.state.keys()), -len(variant.without)))
    misfits = "; ".join(_misfits(best.state, own))
    objects = {key: part.of for key, part in best.state.items() if isinstance(part, LeftOut)}
    if objects and not own.keys() & best.state.keys():
        key, kind = next(iter(objects.items()))
        return f"{misfits}; {key!r} is a whole object ({kind}), not read: write torch.save(model.state_dict(), ...)"
    if not str(best):
        return misfits
    return f"{best}, {misfits}; save the model's part alone, torch.save(model.state_dict(), ...)"


def _misfits(state: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Return the reasons why a state dict does not fit the model's (`own`), with the first keys of each."""
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own]
    reshaped = []
    no_tensors = []
    for key in own:
        if key not in state:
            continue
        found, wanted = _shape(state[key]), _shape(own[key])
        if found is not None and wanted is not None and found != wanted:
            reshaped.append(f"{key} {found} for {wanted}")
        if isinstance(own[key], torch.Tensor) and not isinstance(state[key], torch.Tensor):
            no_tensors.append(key)
    # Only keys that are shown are compared with all others, which takes long for thousands.
    missing[:_SHOWN] = [key + _close(key, extra) for key in missing[:_SHOWN]]
    reasons = {
        "it lacks": missing,
        "the model has no": extra,
        "of another shape": reshaped,
        "no tensor": no_tensors,
    }
    return [f"{reason} {_shortened(keys)}" for reason, keys in reasons.items() if keys]


def _shortened(keys: list[str]) -> str:
    shown = ", ".join(keys[:_SHOWN])
    more = len(keys) - _SHOWN
    return f"{shown} and {more} more" if more > 0 else shown


def _close(key: str, others: list[str]) -> str:
    """Return a hint at the key that looks most like a missing one."""
    near = difflib.get_close_matches(key, others, n=1, cutoff=0.75)
    return f" (close: {near[0]})" if near else ""


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor; None for a lazy parameter, which accepts any, and for anything else."""
    if not isinstance(value, torch.Tensor) or is_lazy(value):
        return None
    return tuple(value.shape)


def _equal(one: Any, other: Any) -> bool:
    """Return whether two entries are equal tensors; NaN equals NaN."""
    if one is other:
        return True
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor) or one.shape != other.shape:
        return False
    both_nan = (one != one) & (other != other)
    return bool(((one == other) | both_nan).all())
