"""Fixtures shared by all tests: the data folder of `TORCHVIZ_LAYERS_DATA`, quiet and the same on every machine."""

import os
from pathlib import Path

import pytest
import torch


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
