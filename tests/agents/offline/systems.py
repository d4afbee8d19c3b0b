"""Systems whose dynamics are known, as datasets."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from agents.offline.data import Transitions


def drift(observations: Tensor, actions: Tensor) -> Tensor:
    """The mean of s' − s (B, 2) of `linear`: 0.2 a − 0.1 s₀, and 0.1 s₀."""
    first = 0.2 * actions[:, 0] - 0.1 * observations[:, 0]
    return torch.stack([first, 0.1 * observations[:, 0]], dim=1)


def linear(
    size: int = 3_000,
    noise: float = 0.02,
    *,
    costs: bool = False,
    narrow: bool = False,
    device: str = "cpu",
) -> Transitions:
    """A linear system: r = −s₀², c = a², and an end of the episode where s₀' > 0.8.

    Args:
        size: transitions.
        noise: deviation of s' where s₀ = −1; it grows linearly to five times that at s₀ = 1.
        costs: keep them.
        narrow: s₁ near s₀ and a near −s₀, so that most of the box is outside; else all uniform.
        device: where the transitions lie.
    """
    rng = np.random.default_rng(0)
    s = rng.uniform(-1.0, 1.0, (size, 2)).astype(np.float32)
    a = rng.uniform(-1.0, 1.0, (size, 1)).astype(np.float32)
    if narrow:
        s[:, 1], a[:, 0] = 0.9 * s[:, 0] + 0.1 * s[:, 1], 0.1 * a[:, 0] - 0.9 * s[:, 0]
    change = drift(torch.as_tensor(s), torch.as_tensor(a)).numpy()
    std = noise * (1 + 2 * (s[:, :1] + 1))
    after = s + change + std * rng.standard_normal((size, 2))
    more = {"costs": a[:, 0] ** 2} if costs else {}
    ends = after[:, 0] > 0.8
    return Transitions.from_arrays(s, a, -(s[:, 0] ** 2), after, ends, device=device, **more)
