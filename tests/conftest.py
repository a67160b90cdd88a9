"""Fixtures shared by all tests: the data folder of `TORCHVIZ_LAYERS_DATA`, quiet and the same on every machine."""

import gc
import os
from pathlib import Path

import pytest
import torch


@pytest.fixture(scope="module", autouse=True)
def _little_garbage():
    """Spare the garbage collector what other modules have left: Bokeh calls it for every session that ends."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """Return the folder with `mnist/` and `keras/`; skip where it is not set."""
    folder = os.environ.get("TORCHVIZ_LAYERS_DATA")
    if not folder:
        pytest.skip("TORCHVIZ_LAYERS_DATA is not set: this test needs MNIST or real Keras files")
    return Path(folder).resolve()


@pytest.fixture(autouse=True)
def _seed_torch() -> None:
    torch.manual_seed(0)
