"""Cholesky factors of matrices that are positive definite but for rounding."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor


def cholesky(matrices: Tensor, ridge: float) -> Tensor:
    """Return the lower factors of symmetric matrices (..., k, k), each of which has had `ridge` added to its diagonal.

    Where samples are almost equal, rounding makes eigenvalues negative. Those matrices get as much more on the diagonal
    as makes the least eigenvalue `ridge`.
    """
    factors, failed = torch.linalg.cholesky_ex(matrices)
    if not failed.any():
        return cast("Tensor", factors)
    lowest = torch.linalg.eigvalsh(matrices)[..., :1].clamp(max=0)  # (..., 1)
    raised = matrices + torch.diag_embed((ridge - lowest).expand(matrices.shape[:-1]))
    chosen: Tensor = torch.where((failed > 0)[..., None, None], torch.linalg.cholesky(raised), factors)
    return chosen
