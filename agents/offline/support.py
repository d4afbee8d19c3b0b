"""Where the data are: kernel densities of points, and the share of points outside."""

from __future__ import annotations

import math

import torch
from torch import Tensor

ROWS = 512
"""Points whose distances are held at once."""
OUTSIDE = 0.05
"""Share of the data themselves that counts as outside."""


def scott(data: Tensor) -> float:
    """Bandwidth M^(−1 / (D + 4)) for data (M, D) of deviation 1 (Scott, 1992, eq. 6.41)."""
    size, dim = data.shape
    return float(size ** (-1.0 / (dim + 4)))


def log_density(
    points: Tensor, data: Tensor, bandwidth: float, *, leave_out: bool = False
) -> Tensor:
    """Log of the density of data, each of them a Gaussian N(xⱼ, h²).

    Args:
        points: (N, D).
        data: (M, D).
        bandwidth: h.
        leave_out: leave datum i out of the density at point i, where N = M.

    Returns:
        (N,).
    """
    size, dim = data.shape
    found = [
        _log_sum(rows, data, bandwidth, first if leave_out else None)
        for first, rows in zip(range(0, len(points), ROWS), points.split(ROWS), strict=True)
    ]
    count = size - 1 if leave_out else size
    scale = math.log(count) + dim * math.log(bandwidth * math.sqrt(2.0 * math.pi))
    return torch.cat(found) - scale


def _log_sum(rows: Tensor, data: Tensor, bandwidth: float, first: int | None) -> Tensor:
    """The log of Σⱼ exp(−‖x − xⱼ‖² / 2h²), without j = i + first."""
    exponents = -0.5 * (torch.cdist(rows, data) / bandwidth).square()
    if first is not None:
        exponents.diagonal(first).fill_(-math.inf)
    return exponents.logsumexp(dim=1)


def outside_share(
    points: Tensor,
    data: Tensor,
    *,
    quantile: float = OUTSIDE,
    bandwidth: float | None = None,
    leave_out: bool = False,
) -> float:
    """Share of points in less density than all but a few of the data are in.

    The bound is a quantile of the density at the data themselves, each left out of its own.

    Args:
        points: (N, D), standardised as the data are.
        data: (M, D), standardised.
        quantile: share of the data below the bound.
        bandwidth: of the kernels; None: Scott's rule.
        leave_out: point i belongs to datum i, which is left out of its density (N = M).
    """
    width = scott(data) if bandwidth is None else bandwidth
    bound = log_density(data, data, width, leave_out=True).quantile(quantile)
    found = log_density(points, data, width, leave_out=leave_out)
    return float((found < bound).float().mean())
