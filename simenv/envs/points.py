"""Sets of points: some of many, and distances between two."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def evenly(total: int, count: int) -> Tensor:
    """`count` of `total` indices, the first and the last among them, spread evenly, int64."""
    return torch.as_tensor(np.linspace(0, total - 1, count).round().astype(np.int64))


def between(x: Tensor, y: Tensor) -> Tensor:
    """Distances (N, P, M) [m] of points (N, P, d) to points (N, M, d)."""
    # Expanding the square, torch's choice for many points, loses what is nearer than 0.3 mm at 1 m.
    distances: Tensor = torch.cdist(x, y, compute_mode="donot_use_mm_for_euclid_dist")
    return distances


def chamfer(x: Tensor, y: Tensor) -> Tensor:
    """Mean distance (N,) [m] to the nearest of the other set, both ways."""
    apart = between(x, y)
    return (apart.amin(dim=2).mean(dim=1) + apart.amin(dim=1).mean(dim=1)) / 2
