"""Fixtures shared by all tests: the data folder of `TORCHVIZ_LAYERS_DATA`, quiet and the same on every machine."""

import gc
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
import torch

from tests.keras_files import read_without_a_child
from torchviz_layers.convert.keras_files import reading
from torchviz_layers.data import datasets as data

WHOLE_SUITE = 1000  # tests from which on compiling beforehand pays
# Files that take long, so that no worker is left alone with one at the end; those that need no compiled kernel first.
LONGEST = (
    "page_hostile",
    "page_browser",
    "convert",
    "convert_writing",
    "serve",
    "documents",
    "umap_learn",
    "cli",
    "benchmarks_cuda",
)
_warm_up: list[subprocess.Popen[bytes]] = []


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    places = {f"test_{name}.py": place for place, name in enumerate(LONGEST)}
    items.sort(key=lambda item: places.get(item.path.name, len(places)))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Have Numba's kernels compiled while the first tests run: once, not by each worker that comes to need them."""
    first = os.environ.get("PYTEST_XDIST_WORKER", "gw0") == "gw0"
    if first and len(session.items) > WHOLE_SUITE and not session.config.option.collectonly:
        command = [sys.executable, "-m", "tests.warm_up"]
        root = Path(__file__).parents[1]
        nothing = subprocess.DEVNULL
        _warm_up.append(subprocess.Popen(command, cwd=root, stdout=nothing, stderr=nothing))


def pytest_configure(config: pytest.Config) -> None:
    """Share the cores between the workers of pytest-xdist: threads that wait for a core slow all of them down."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        # Numba has no variable for this: with NUMBA_NUM_THREADS, tests that need two threads could not ask for them.
        numba.set_num_threads(min(torch.get_num_threads(), numba.config.NUMBA_NUM_THREADS))
        return
    workers = getattr(config.option, "numprocesses", None)
    if workers:
        threads = max(1, (os.cpu_count() or 1) // workers)
        for library in ("OMP", "OPENBLAS", "MKL"):  # their thread pools are made when the workers import them
            os.environ.setdefault(f"{library}_NUM_THREADS", str(threads))


def pytest_sessionfinish() -> None:
    """Leave no process behind."""
    for process in _warm_up:
        process.kill()
        process.wait()


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


@pytest.fixture
def few_digits(monkeypatch) -> None:
    """Let `digits` be its first 250 samples: for tests of what a command does, not of what it finds."""
    load = data.load_digits
    monkeypatch.setattr(data, "load_digits", lambda split: load(split)[:250])


@pytest.fixture
def read_in_this_process(monkeypatch) -> None:
    """Read Keras files without a process for each, which takes longer than all else that is done with a small file.

    For files of ours, which are sound. That a process of its own reads a file is what `test_convert_reading.py` and the
    tests of real files are about.
    """
    monkeypatch.setattr(reading, "_ask_child", read_without_a_child)


@pytest.fixture(autouse=True)
def _seed_torch() -> None:
    torch.manual_seed(0)
