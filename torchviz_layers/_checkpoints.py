"""Checkpoints: read without running code, unwrapped where that makes their keys fit, and loaded."""

from __future__ import annotations

import difflib
import pickle
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from torchviz_layers.exceptions import ModelError

# Under which key training loops save the state dict beside the optimizer's.
KEYS = ("state_dict", "model_state_dict", "model_state", "model", "net", "network", "module")
# What DataParallel and a LightningModule put before every key; torch.compile puts its own wherever it was called.
PREFIXES = ("module.", "model.")
COMPILED = "_orig_mod."
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
    found = list(_candidates(_read(path)))
    prefixes = ("module.", COMPILED)
    wrapped = tuple(prefix for prefix in prefixes if own and all(key.startswith(prefix) for key in own))
    variants = [variant for candidate in found for variant in _variants(candidate, wrapped)]
    fitting = [variant for variant in variants if not _misfits(variant.state, own)]
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


def _read(path: Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    try:
        state = load_file(path) if path.suffix == ".safetensors" else torch.load(path, "cpu", weights_only=True)
    except OSError as problem:
        raise ModelError(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except pickle.UnpicklingError as problem:  # PyTorch's message recommends to read it unsafely
        raise ModelError(
            f"{path} is no checkpoint that can be read safely: it holds more than tensors, which could run code, or is "
            "no file of torch.save; write torch.save(model.state_dict(), ...) instead"
        ) from problem
    except Exception as problem:  # each reader has its own errors; all mean that the file cannot be used
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise ModelError(f"{path} is no checkpoint that can be read safely: {reason}") from problem
    if not isinstance(state, Mapping):
        raise ModelError(
            f"{path} holds {type(state).__name__}, no state dict: write torch.save(model.state_dict(), ...)"
        )
    return state


def _candidates(state: Mapping[Any, Any], under: tuple[str, ...] = ()) -> Iterator[_Candidate]:
    """Yield the mapping itself and those under the keys that training loops use, two levels deep."""
    nested = [key for key in KEYS if isinstance(state.get(key), Mapping)] if len(under) < 2 else []
    if not nested or any(isinstance(value, torch.Tensor) for value in state.values()):
        yield _Candidate({str(key): value for key, value in state.items()}, under)
    for key in nested:
        yield from _candidates(state[key], (*under, key))


def _variants(candidate: _Candidate, wrapped: tuple[str, ...]) -> Iterator[_Candidate]:
    """Yield a state dict as it is, then with one prefix after the other taken off, then with the model's own put on."""
    yield candidate
    bare = candidate.unwrapped(COMPILED, anywhere=True)
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


def _why_not(variants: list[_Candidate], own: Mapping[str, Any]) -> str:
    """Say what keeps the candidate with the most keys of the model from fitting."""
    best = max(variants, key=lambda variant: (len(own.keys() & variant.state.keys()), -len(variant.without)))
    misfits = "; ".join(_misfits(best.state, own))
    if not str(best):
        return misfits
    return f"{best}, {misfits}; save the model's part alone, torch.save(model.state_dict(), ...)"


def _misfits(state: Mapping[str, Any], own: Mapping[str, Any]) -> list[str]:
    """Say in a few words what keeps a state dict from fitting."""
    missing = [key for key in own if key not in state]
    extra = [key for key in state if key not in own]
    reshaped = [
        f"{key} {tuple(state[key].shape)} for {tuple(own[key].shape)}"
        for key in own
        if key in state and getattr(state[key], "shape", None) != getattr(own[key], "shape", None)
        if hasattr(state[key], "shape") and hasattr(own[key], "shape")
    ]
    no_tensors = [
        key for key in own if key in state and hasattr(own[key], "shape") and not hasattr(state[key], "shape")
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


def _equal(one: Any, other: Any) -> bool:
    return torch.equal(one, other) if isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) else False
