"""Stein variational gradient descent: particles that flow to a density known up to a factor."""

from __future__ import annotations

import math

import torch
from torch import Tensor

LEAST_WIDTH = 1e-8
"""Floor of the squared width, for particles that all coincide."""


def median_width(squares: Tensor) -> Tensor:
    """Width h = med/log(m) of squared distances (m, m): a particle's kernels sum to about one.

    Liu & Wang, "Stein variational gradient descent" (arXiv:1608.04471), section 5.
    """
    return (squares.median() / math.log(max(len(squares), 2))).clamp(min=LEAST_WIDTH)


def stein_direction(particles: Tensor, scores: Tensor) -> Tensor:
    """φ(gᵢ) = 1/m Σⱼ [k(gⱼ, gᵢ) ∇log p(gⱼ) + ∇_{gⱼ} k(gⱼ, gᵢ)], (m, G).

    Liu & Wang (arXiv:1608.04471), equation 8, with k(a, b) = exp(−|a − b|²/h).

    Args:
        particles: (m, G).
        scores: ∇log p at each of them, (m, G).
    """
    squares = (particles[:, None] - particles).square().sum(dim=2)
    width = median_width(squares)
    kernel = torch.exp(-squares / width)
    # ∇_{gⱼ} k(gⱼ, gᵢ) = 2/h (gᵢ − gⱼ) k(gⱼ, gᵢ), summed over j.
    apart = particles * kernel.sum(dim=1, keepdim=True) - kernel @ particles
    return (kernel @ scores + 2.0 / width * apart) / len(particles)
