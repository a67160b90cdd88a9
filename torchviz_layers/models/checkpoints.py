"""Checkpoints: read without running code, unwrapped where that makes their keys fit, and loaded."""

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

# Under which key training loops save the state dict beside the optimizer's.
KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# What DataParallel and a LightningModule put before every key.
PREFIXES = ("module.", "model.")
# What torch.compile, FSDP and activation checkpointing put before the keys of each module that they wrap.
COMPILED = "_orig_mod."
_WRAPPERS = (COMPILED, "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_SHOWN = 3
_MOST_PREFIXES = 3


@dataclass(frozen=True)
class _Candidate:
    """A state dict found in a checkpoint, with what was taken off around it."""

    state: Mapping[str, Any]
    under: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"under {'.'.join(self.under)!r}"] if self.under else []
        parts += [f"without the prefix {''.join(self.without)!r}"] if self.without else []
        return ", ".join(parts)

    def unwrapped(self, prefix: str, *, anywhere: bool = False) -> _Candidate:
        """Take a prefix off the keys that have it, unless two keys would become one."""
        state = {
            key.replace(prefix, "") if anywhere else key.removeprefix(prefix): value
            for key, value in self.state.items()
        }
        if len(state) < len(self.state) or state.keys() == self.state.keys():
            return self
        return _Candidate(state, self.under, (*self.without, prefix))


def load_weights(model: nn.Module, path: Path, name: str) -> None:
    """Load a checkpoint into a model; raise `ModelError` with the keys that differ where it does not fit exactly."""
    own = model.state_dict()
    content = read_checkpoint(path)
    variants = _all_variants(_candidates(content), model, own)
    fitting = [variant for variant in variants if not _misfits(variant.state, own)]
    if not fitting:  # perhaps a state dict under a key of the training loop's own choice
        others = _all_variants(_other_candidates(content), model, own)
        fitting = [variant for variant in others if not _misfits(variant.state, own)]
        variants += others
    if not fitting:
        raise ModelError(f"{path} does not fit {name}: {_why_not(variants, own)}")
    for other in fitting[1:]:
        if not all(_equal(fitting[0].state[key], other.state[key]) for key in own):
            raise ModelError(
                f"{path} holds two different state dicts that fit {name}, {fitting[0]} and {other}: which is meant "
                "cannot be known; write torch.save(model.state_dict(), ...) of the one"
            )
    try:
        model.load_state_dict(dict(fitting[0].state))
    except (RuntimeError, TypeError) as problem:
        raise ModelError(f"{path} does not fit {name}: {problem}") from problem


def _candidates(state: Mapping[Any, Any], under: tuple[str, ...] = ()) -> Iterator[_Candidate]:
    """Yield the mapping itself and those under the keys that training loops use, two levels deep."""
    nested = [key for key in KEYS if isinstance(state.get(key), Mapping)] if len(under) < 2 else []
    if not nested or any(isinstance(value, torch.Tensor) for value in state.values()):
        yield _Candidate({str(key): value for key, value in state.items()}, under)
    for key in nested:
        yield from _candidates(state[key], (*under, key))


def _other_candidates(state: Mapping[Any, Any]) -> Iterator[_Candidate]:
    """Yield the mappings with tensors that lie under keys which `_candidates` does not know."""
    for key, value in state.items():
        if key in KEYS or not isinstance(value, Mapping):
            continue
        if any(isinstance(part, torch.Tensor) for part in value.values()):
            yield _Candidate({str(name): part for name, part in value.items()}, (str(key),))


def _all_variants(candidates: Iterator[_Candidate], model: nn.Module, own: Mapping[str, Any]) -> list[_Candidate]:
    prefixes = ("module.", COMPILED)
    wrapped = tuple(prefix for prefix in prefixes if own and all(key.startswith(prefix) for key in own))
    return [_completed(variant, model, own) for candidate in candidates for variant in _variants(candidate, wrapped)]


def _variants(candidate: _Candidate, wrapped: tuple[str, ...]) -> Iterator[_Candidate]:
    """Yield a state dict as it is, then with one prefix after the other taken off, then with the model's own put on."""
    yield candidate
    bare = candidate
    for wrapper in _WRAPPERS:
        bare = bare.unwrapped(wrapper, anywhere=True)
    yield bare
    for _ in range(_MOST_PREFIXES):
        counts = {prefix: sum(key.startswith(prefix) for key in bare.state) for prefix in PREFIXES}
        prefix = max(counts, key=lambda prefix: counts[prefix])
        # Most keys, not all: then the error says which keys are left over, a loss's weights say.
        if 2 * counts[prefix] <= len(bare.state):
            break
        bare = bare.unwrapped(prefix)
        yield bare
    for prefix in wrapped:
        yield _Candidate({prefix + key: value for key, value in bare.state.items()}, bare.under, bare.without)
    for _ in range(_MOST_PREFIXES):
        first = {key.partition(".")[0] for key in bare.state if "." in key}
        if len(first) != 1:
            break
        bare = bare.unwrapped(f"{first.pop()}.")  # an attribute of a wrapper, such as self.net
        yield bare


def _completed(candidate: _Candidate, model: nn.Module, own: Mapping[str, Any]) -> _Candidate:
    """Return a state dict with the keys that `load_state_dict` or the way of saving accounts for.

    - Weights that two modules share are saved once by safetensors.
    - The counts `num_batches_tracked` of batch normalisation are missing from files of before PyTorch 0.4.1.
    - The older `weight_norm` names its arrays `weight_g` and `weight_v`.
    - `AveragedModel` counts in `n_averaged`.
    """
    state = _with_names_of_parametrizations(candidate.state, own)
    for names in _shared_names(model):
        present = next((state[key] for key in names if key in state), None)
        if present is not None:
            state |= {key: present for key in names if key in own and key not in state}
    if candidate.state.keys() & own.keys():
        state |= {key: own[key] for key in own if key.endswith("num_batches_tracked") and key not in state}
    if "n_averaged" not in own and "module." in candidate.without:
        state.pop("n_averaged", None)
    return _Candidate(state, candidate.under, candidate.without)


def _with_names_of_parametrizations(state: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Return a state dict in which the older `weight_norm`'s arrays have the names that they have in the model."""
    renamed = dict(state)
    for key in own:
        module, found, rest = key.rpartition("parametrizations.")
        name, _, original = rest.rpartition(".")
        suffix = {"original0": "_g", "original1": "_v"}.get(original)
        old_key = f"{module}{name}{suffix}"
        if found and suffix and key not in renamed and old_key in renamed:
            renamed[key] = renamed.pop(old_key)
    return renamed


def _shared_names(model: nn.Module) -> list[list[str]]:
    """Return the names of each parameter that has several."""
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return [several for several in names.values() if len(several) > 1]


def _why_not(variants: list[_Candidate], own: Mapping[str, Any]) -> str:
    """Say what keeps the candidate with the most keys of the model from fitting."""
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
    """Say in a few words what keeps a state dict from fitting."""
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own]
    shapes = {key: (_shape(state[key]), _shape(own[key])) for key in own if key in state}
    reshaped = [
        f"{key} {found} for {wanted}"
        for key, (found, wanted) in shapes.items()
        if found is not None and wanted is not None and found != wanted
    ]
    no_tensors = [
        key
        for key in own
        if key in state and isinstance(own[key], torch.Tensor) and not isinstance(state[key], torch.Tensor)
    ]
    reasons = {
        "it lacks": [key + _close(key, extra) for key in missing[:_SHOWN]] + missing[_SHOWN:],
        "the model has no": extra,
        "of another shape": reshaped,
        "no tensor": no_tensors,
    }
    return [
        f"{words} {', '.join(found[:_SHOWN])}" + (f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else "")
        for words, found in reasons.items()
        if found
    ]


def _close(key: str, others: list[str]) -> str:
    """Return the keys that may be meant by a missing one."""
    near = difflib.get_close_matches(key, others, n=1, cutoff=0.75)
    return f" (close: {near[0]})" if near else ""


def _shape(value: Any) -> tuple[int, ...] | None:
    """Return the shape of a tensor; None of a lazy one, which takes any, and of anything else."""
    return None if not isinstance(value, torch.Tensor) or is_lazy(value) else tuple(value.shape)


def _equal(one: Any, other: Any) -> bool:
    """Whether two entries are the same tensor, or equal ones; NaN is equal to NaN."""
    if one is other:
        return True
    if not isinstance(one, torch.Tensor) or not isinstance(other, torch.Tensor) or one.shape != other.shape:
        return False
    return bool(((one == other) | ((one != one) & (other != other))).all())
