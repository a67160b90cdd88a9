"""The helpers that hold floating-point results to each other let rounding pass, and nothing else."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from tests.rounding import assert_same_sums, whole_numbers, whole_samples

BATCHES = """
import torch
from torch import nn
import tests.other_sums
from tests.rounding import assert_same_sums, whole_numbers, whole_samples

def in_batches(model, x):
    return torch.cat([model(batch) for batch in x.split(4)])

for layer, shape, summands in ((nn.Linear(64, 5), (20, 64), 65), (nn.Conv2d(3, 4, 3), (20, 3, 8, 8), 28)):
    x = torch.randn(shape)
    assert not torch.equal(in_batches(layer, x), layer(x))
    assert_same_sums(in_batches(layer, x), layer(x), summands=summands)
    exact, x = whole_numbers(layer), whole_samples(*shape)
    assert torch.equal(in_batches(exact, x), exact(x))
"""


def test_sums_in_another_order_differ_between_batch_sizes_and_whole_numbers_do_not():
    command = [sys.executable, "-c", BATCHES]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_sums_of_whole_numbers_are_exact_in_any_order():
    model, x = whole_numbers(nn.Sequential(nn.Conv1d(3, 8, 3), nn.BatchNorm1d(8))).eval(), whole_samples(5, 3, 9)
    assert torch.equal(model(x).double(), model.double()(x.double()))


@pytest.mark.parametrize(("off", "passes"), [(0.5, True), (0.99, True), (1.5, False), (np.nan, False)])
def test_the_bound_is_what_rounding_explains_and_no_more(off, passes):
    expected = np.array([2.0, -1.0], np.float32)
    bound = 10 * np.finfo(np.float32).eps * 2
    try:
        assert_same_sums(expected.astype(np.float64) + off * bound, expected, summands=10)
    except AssertionError:
        assert not passes
    else:
        assert passes
