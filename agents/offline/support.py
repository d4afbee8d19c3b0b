"""Where the data are: kernel densities of points, and the share of points outside."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from simenv.errors import ConfigurationError, expect_shape

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
        leave_out: leave datum i out of the density at point i, where N = M, at least 2.

    Returns:
        (N,).

    Raises:
        ShapeError: `leave_out` and N ≠ M.
        ConfigurationError: no datum, or none but the one that is left out.
    """
    return log_densities(points, data, [bandwidth], leave_out=leave_out)[0]


def log_densities(
    points: Tensor, data: Tensor, bandwidths: Sequence[float], *, leave_out: bool = False
) -> Tensor:
    """`log_density` by several bandwidths, (K, N); distances are computed once for all of them."""
    size, dim = data.shape
    if leave_out:
        expect_shape("points", points.shape, data.shape)
    least = 2 if leave_out else 1
    if size < least:
        raise ConfigurationError(f"{size} data are too few for a density; it takes {least}")
    found = [points.new_zeros(len(bandwidths), 0)]
    for first in range(0, len(points), ROWS):
        squares = _squares(points[first : first + ROWS], data)
        if leave_out:
            squares.diagonal(first).fill_(math.inf)
        sums = [(squares / (-2.0 * h**2)).logsumexp(dim=1) for h in bandwidths]
        found.append(torch.stack(sums))
    count = math.log(size - 1 if leave_out else size)
    scales = [count + dim * math.log(h * math.sqrt(2.0 * math.pi)) for h in bandwidths]
    return torch.cat(found, dim=1) - points.new_tensor(scales)[:, None]


def _squares(rows: Tensor, data: Tensor) -> Tensor:
    """Squared distances (B, M).

    From products of matrices, which is several times as fast as from differences; in float64, since
    in float32 the nearest neighbours would be lost.
    """
    one, other = rows.double(), data.double()
    sizes = one.square().sum(dim=1)[:, None] + other.square().sum(dim=1)
    return torch.addmm(sizes, one, other.T, alpha=-2.0).clamp_(min=0.0).to(rows.dtype)


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
