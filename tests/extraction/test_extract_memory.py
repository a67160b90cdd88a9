"""Cards that run out of memory: how it is recognised, and that an extraction leaves everything as it was."""

from __future__ import annotations

import gc
import weakref
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.modules import module as torch_module

from tests.clone_oracle import CloneOracle
from tests.rounding import whole_numbers, whole_samples
from torchviz_layers import extract
from torchviz_layers._common.devices import is_out_of_memory
from torchviz_layers.exceptions import CaptureError

TEXTS = [
    "CUDA error: out of memory\nCompile with `TORCH_USE_CUDA_DSA` to enable device-side assertions.",
    "CUDA driver error: out of memory",
    "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`",
    "cuDNN error: CUDNN_STATUS_ALLOC_FAILED",
]
ACCELERATOR_ERROR = getattr(torch, "AcceleratorError", RuntimeError)  # not in every PyTorch
ERRORS = [torch.OutOfMemoryError("CUDA out of memory"), ACCELERATOR_ERROR(TEXTS[0]), *map(RuntimeError, TEXTS)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: f"{type(error).__name__}: {str(error)[:40]}")
def test_a_card_without_memory_is_recognised(error):
    assert is_out_of_memory(error)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("mat1 and mat2 shapes cannot be multiplied (3x4 and 5x6)"),
        RuntimeError("CUDA error: an illegal memory access was encountered"),
        ValueError("CUDA error: out of memory"),
        MemoryError("out of memory"),
    ],
    ids=str,
)
def test_other_errors_are_not_taken_for_it(error):
    assert not is_out_of_memory(error)


class Fragile(nn.Module):
    """A model with settings of its own in its forward pass, which runs out of memory in their midst."""

    def __init__(self, most: int, error: Exception | None = None, own: torch.dtype | None = None):
        super().__init__()
        layers = nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(32, 3)
        self.net = whole_numbers(nn.Sequential(*layers))
        self.most, self.error, self.own = most, error or ERRORS[0], own
        self.failed: list[weakref.ref[torch.Tensor]] = []
        """The outputs that were there when memory ran out."""

    def forward(self, x):
        own = nullcontext() if self.own is None else torch.autocast("cpu", self.own)
        with own, torch.backends.cudnn.flags(enabled=False), torch.enable_grad():
            x = self.net[:3](x)
            if len(x) > self.most:
                self.failed.append(weakref.ref(x))
                raise type(self.error)(str(self.error))
            return self.net[3](x).detach()


def settings():
    """Return what a forward pass may change of PyTorch's state."""
    return {
        "autocast": torch.is_autocast_enabled("cpu"),
        "autocast type": torch.get_autocast_dtype("cpu"),
        "autocast cache": torch.is_autocast_cache_enabled(),
        "cudnn": {
            name: getattr(torch.backends.cudnn, name)
            for name in ("enabled", "benchmark", "deterministic", "allow_tf32")
        },
        "gradients": torch.is_grad_enabled(),
        "hooks": [
            list(hooks)
            for name, hooks in vars(torch_module).items()
            if name.startswith("_global_") and isinstance(hooks, dict)
        ],
    }


def hooks_of(model):
    return [
        list(hooks)
        for module in model.modules()
        for name, hooks in vars(module).items()
        if "_hooks" in name and isinstance(hooks, dict)
    ]


BATCHES = [(rows, None, [str(place) for place in range(8)]) for rows in whole_samples(16, 1, 6, 6).split(8)]
RUNS = {
    "plain": ({}, None),
    "autocast": ({"autocast": torch.bfloat16}, None),
    "autocast of the model": ({}, torch.bfloat16),
}


@pytest.mark.parametrize("error", [ERRORS[0], ERRORS[-2]], ids=["memory", "cublas"])
@pytest.mark.parametrize("run", RUNS)
def test_after_halving_everything_is_as_it_was(tmp_path, run, error):
    options, own = RUNS[run]
    small, large = Fragile(3, error, own), Fragile(8, error, own)
    before = settings()
    extract(small, BATCHES, out=tmp_path / "small", **options)
    assert settings() == before
    assert not any(hooks_of(small))
    assert len(small.failed) == 2  # 8 and 4 samples
    extract(large, BATCHES, out=tmp_path / "large", **options)
    assert files(tmp_path / "small") == files(tmp_path / "large")


def files(path):
    return {str(file.relative_to(path)): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_memory_is_freed_when_the_forward_pass_is_gone(monkeypatch):
    model, alive = Fragile(2), []
    gc.disable()  # frees cycles whenever it likes
    try:
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: alive.append([ref() for ref in model.failed]))
        extract(model, BATCHES)
    finally:
        gc.enable()
    assert alive == [[None], [None, None]]


def test_the_parts_that_fit_are_what_a_cloning_hook_sees():
    model = Fragile(2)
    with CloneOracle(model) as oracle:
        acts = extract(model, BATCHES)
    seen = oracle.calls()
    for name, rows in acts.items():
        np.testing.assert_array_equal(rows[-2:], seen[name])  # the last part of the last batch
    assert not any(hooks_of(model))


def test_one_sample_that_does_not_fit_is_an_error_with_its_cause():
    model, before = Fragile(0, RuntimeError(TEXTS[2])), settings()
    with pytest.raises(CaptureError, match="too small for one sample") as raised:
        extract(model, BATCHES)
    assert is_out_of_memory(raised.value.__cause__)
    assert settings() == before
    assert not any(hooks_of(model))


def test_an_error_of_another_kind_is_raised_at_once():
    model = Fragile(2, RuntimeError("CUDA error: an illegal memory access was encountered"))
    with pytest.raises(RuntimeError, match="illegal memory access"):
        extract(model, BATCHES)
    assert len(model.failed) == 1
