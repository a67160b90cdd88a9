import numpy as np
import pytest
import torch

from torchviz_layers._common.cholesky import cholesky
from torchviz_layers.corner_cases.label_support import kernel_supports
from torchviz_layers.metrics import linear_probe_accuracy


def test_positive_definite_matrices_have_numpys_factors():
    rows = np.random.default_rng(0).normal(size=(3, 6, 6))
    matrices = torch.from_numpy(rows @ rows.transpose(0, 2, 1) + np.eye(6))
    np.testing.assert_allclose(cholesky(matrices, 1.0), np.linalg.cholesky(matrices.numpy()), rtol=1e-10)


def test_only_the_matrices_that_rounding_has_spoilt_are_raised():
    good, bad = torch.eye(4), torch.ones(4, 4) - 0.01 * torch.eye(4)
    factors = cholesky(torch.stack([good, bad]), 0.1)
    assert torch.equal(factors[0], torch.eye(4))
    eigenvalues = torch.linalg.eigvalsh(factors[1] @ factors[1].T)
    assert eigenvalues[0].item() == pytest.approx(0.1, abs=1e-5)


@pytest.mark.parametrize("n_classes", [1, 3])
def test_samples_that_differ_in_length_alone_have_supports_and_a_probe(n_classes):
    # Of length 1 they are the same but for rounding, which made the kernel indefinite.
    lengths = np.random.default_rng(0).uniform(size=(60, 1)).astype(np.float32)
    X, targets = np.repeat(lengths, 432, axis=1), np.arange(60) % n_classes
    for support in kernel_supports(X, targets, n_classes, np.arange(60)):
        assert np.isfinite(support).all()
    assert linear_probe_accuracy(X, np.arange(60) % 3) is not None
