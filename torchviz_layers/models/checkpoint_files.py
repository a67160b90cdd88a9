"""Files with weights, read without running any code that is in them."""

from __future__ import annotations

import pickle
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from torchviz_layers.exceptions import ModelError

_INSTEAD = "write torch.save(model.state_dict(), ...) instead"
# The first bytes of text files that are often downloaded instead of the weights, and what they are.
_OTHER_FILES = (
    (b"version https://git-lfs", "a git-lfs pointer, not the file itself: fetch that with `git lfs pull`"),
    (b"<", "a web page or XML: the download went to the wrong address"),
    (b"{", "JSON, perhaps a model's configuration or the index of its parts, not the weights themselves"),
)


class LeftOut:
    """A placeholder in a checkpoint for an object whose class is not imported.

    For each such class `_load_tensors` makes a subclass with the class's name in `of`. It accepts whatever the pickle
    passes to the real class and ignores it.
    """

    of = ""

    def __new__(cls, *_args: Any, **_kwargs: Any) -> LeftOut:
        """Ignore the arguments."""
        return object.__new__(cls)

    def __init__(self, *_args: Any, **_kwargs: Any) -> None:
        """Ignore the arguments."""

    def __setstate__(self, state: Any) -> None:
        """Ignore the object's state."""


def read_checkpoint(path: Path) -> Mapping[str, Any]:
    """Return the mapping that a checkpoint holds.

    Besides the weights, a training loop may save options and counts (`argparse.Namespace`, NumPy's scalars, classes of
    its own). None of these is imported or called: each becomes a `LeftOut`.

    Raises
    ------
    ModelError
        If the file cannot be read, is no checkpoint, or does not contain a mapping.
    """
    try:
        _refuse_other_files(path)
        state = _load_safetensors(path) if path.suffix == ".safetensors" else _load_tensors(path)
    except ModelError:
        raise
    except OSError as problem:
        raise ModelError(f"{path} cannot be read: {problem.strerror or problem}") from problem
    except pickle.UnpicklingError as problem:
        # PyTorch's own message recommends weights_only=False, which would run the file's code.
        raise ModelError(
            f"{path} is no checkpoint that can be read safely: it holds more than tensors, which could run code, or is "
            f"no file of torch.save; {_INSTEAD}"
        ) from problem
    except Exception as problem:  # safetensors and PyTorch each have their own; all mean that the file cannot be used
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise ModelError(f"{path} is no checkpoint that can be read safely: {reason}") from problem
    if isinstance(state, LeftOut):
        raise ModelError(
            f"{path} holds a whole object ({state.of}) as torch.save(model, ...) writes it, and only the code of its "
            f"classes can read that; {_INSTEAD}"
        )
    if not isinstance(state, Mapping):
        raise ModelError(
            f"{path} holds {type(state).__name__}, no state dict: write torch.save(model.state_dict(), ...)"
        )
    return state


def _refuse_other_files(path: Path) -> None:
    """Raise `ModelError` if the file starts like one of `_OTHER_FILES`."""
    with path.open("rb") as file:
        start = file.read(64)
    # A safetensors file starts with its header's length in 8 bytes. The first may be "{" or "<"; the last are zero.
    is_text = b"\0" not in start
    for magic, what in _OTHER_FILES:
        if is_text and start.startswith(magic):
            raise ModelError(f"{path} is no checkpoint: it is {what}")


def _load_safetensors(path: Path) -> Mapping[str, Any]:
    from safetensors.torch import load_file

    weights: Mapping[str, Any] = load_file(path)
    return weights


def _load_tensors(path: Path) -> Any:
    """Read what `torch.save` wrote; classes that PyTorch does not know to be safe are replaced by `LeftOut`."""
    try:
        names = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except ValueError:  # a file from before PyTorch 1.6, or no checkpoint at all
        names = []
    # PyTorch looks a class up by the name in the file: under that name it finds the placeholder, never the real class.
    placeholders: list[Any] = [(type("LeftOut", (LeftOut,), {"of": name}), name) for name in names]
    try:
        with torch.serialization.safe_globals(placeholders), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="'torch.load' received a zip file that looks like a TorchScript")
            return torch.load(path, "cpu", weights_only=True)
    except pickle.UnpicklingError as problem:
        if not names:
            raise
        raise ModelError(
            f"{path} is no checkpoint that can be read safely: besides tensors it holds objects of {', '.join(names)}; "
            f"{_INSTEAD}"
        ) from problem
    except RuntimeError as problem:
        if "TorchScript" not in str(problem):
            raise
        raise ModelError(
            f"{path} is a TorchScript program, no state dict: "
            f"torch.save(torch.jit.load({path.name!r}).state_dict(), ...) writes its weights"
        ) from problem
