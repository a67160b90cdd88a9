"""Files with weights, read without running any code that is in them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from torchviz_layers.exceptions import ModelError

_WAY_OUT = "write torch.save(model.state_dict(), ...) instead"
_NO_CHECKPOINTS = (
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself: fetch that with `git lfs pull`"),
    (b"<", "a web page or XML: the download went to the wrong address"),
    (b"{", "JSON, perhaps a model's configuration or the index of its parts, not the weights themselves"),
)


class LeftOut:
    """Stands in a checkpoint for an object of a class that is not imported; `of` is the name of the class."""

    of = ""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> LeftOut:
        """Take whatever the file passes, and keep none of it."""
        return object.__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Take whatever the object was made of, and keep nothing of it."""

    def __setstate__(self, state: Any) -> None:
        """Keep nothing of the object's state."""


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return the mapping that a checkpoint holds.

    Beside the weights a training loop may save options and counts (`argparse.Namespace`, NumPy's scalars, classes of
    its own). Nothing of those is imported or called: a `LeftOut` stands in the place of each.

    Raises
    ------
    ModelError
        The file cannot be read, is no checkpoint, or holds something else than a mapping.
    """
    try:
        _refuse_other_files(path)
        state = _load_safetensors(path) if path.suffix == ".safetensors" else _load_tensors(path)
    except ModelError:
        raise
    except OSError as problem:
        raise ModelError(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except pickle.UnpicklingError as problem:  # PyTorch's message recommends to read it unsafely
        raise ModelError(
            f"{path} is no checkpoint that can be read safely: it holds more than tensors, which could run code, or is "
            f"no file of torch.save; {_WAY_OUT}"
        ) from problem
    except Exception as problem:  # each reader has its own errors; all mean that the file cannot be used
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise ModelError(f"{path} is no checkpoint that can be read safely: {reason}") from problem
    if isinstance(state, LeftOut):
        raise ModelError(
            f"{path} holds a whole object ({state.of}) as torch.save(model, ...) writes it, and only the code of its "
            f"classes can read that; {_WAY_OUT}"
        )
    if not isinstance(state, Mapping):
        raise ModelError(
            f"{path} holds {type(state).__name__}, no state dict: write torch.save(model.state_dict(), ...)"
        )
    return state


def _refuse_other_files(path: Path) -> None:
    with path.open("rb") as file:
        start = file.read(64)
    is_text = b"\0" not in start  # the length that a safetensors file begins with may look like a letter
    for magic, what in _NO_CHECKPOINTS:
        if is_text and start.startswith(magic):
            raise ModelError(f"{path} is no checkpoint: it is {what}")


def _load_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    weights: Mapping[str, Any] = load_file(path)
    return weights


def _load_tensors(path: Path) -> Any:
    """Read what `torch.save` wrote, with a class of no effect for each class that is not known to be safe."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:  # a file of before PyTorch 1.6, or no checkpoint at all
        names = []
    stand_ins: list[Any] = [(type("LeftOut", (LeftOut,), {"of": name}), name) for name in names]
    try:
        with torch.serialization.safe_globals(stand_ins), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="'torch.load' received a zip file that looks like a TorchScript")
            return torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        if not names:
            raise
        raise ModelError(
            f"{path} is no checkpoint that can be read safely: beside tensors it holds objects of {', '.join(names)}; "
            f"{_WAY_OUT}"
        ) from problem
    except RuntimeError as problem:
        if "TorchScript" not in str(problem):
            raise
        raise ModelError(
            f"{path} is a TorchScript program, no state dict: "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), ...) writes its weights"
        ) from problem
