"""Two ways to compare floating-point results that hold on any processor.

A library picks its kernel by the processor, the batch size, the strides, the number of threads and whether gradients
are recorded, and kernels add in different orders. Two passes over the same samples therefore differ in the last places
on one machine and agree to the byte on another. So a test either computes with whole numbers, whose sums are exact in
every order (`whole_numbers`, `whole_samples`), and may compare bytes; or it allows what rounding explains.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import nn

# What two passes of a small converted network may differ by, relative to its largest output: some tens of summands a
# unit, each of which rounds by half an `eps` in either pass.
ROUNDING = 40 * float(np.finfo(np.float32).eps)


def whole_numbers(model: nn.Module) -> nn.Module:
    """Make weights whole numbers from -3 to 3 and every normalisation an exact one; return `model`."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randint(-3, 4, parameter.shape, generator=generator))
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.eps = 0.0  # the statistics of a new layer are a mean of 0 and a variance of 1
    return model


def whole_samples(*shape: int) -> torch.Tensor:
    """Return random samples in steps of an eighth from -2 to 2: products and sums of these are exact, too."""
    return torch.randint(-16, 17, shape, generator=torch.Generator().manual_seed(0)) / 8


def assert_same_sums(actual: ArrayLike | torch.Tensor, expected: ArrayLike | torch.Tensor, *, summands: int) -> None:
    """Hold results to each other that are the same sums of `summands` terms, added in any order.

    Each of `summands - 1` additions rounds by at most half a unit in the last place of the partial sum that it makes
    (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 4.2). The largest result stands for the
    partial sums, and both sides round: `summands * eps * max |expected|`. For a network `summands` counts along its
    longest path.
    """
    actual, expected = _array(actual), _array(expected)
    eps = max(np.finfo(values.dtype).eps for values in (actual, expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=summands * eps * np.abs(expected).max(initial=0))


def _array(values: Any) -> np.ndarray:
    return values.detach().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
