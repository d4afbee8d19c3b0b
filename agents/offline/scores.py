"""Score networks: the gradient of the logarithm of a density, learnt from noisy data."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from agents.offline.networks import mlp
from agents.offline.options import LEVELS

NUM_LEVELS = 10


class ScoreNetwork(nn.Module):
    """S(x, σ) ≈ ∇ log p_σ(x), p_σ the density of standardised data with noise N(0, σ²) added.

    S = −x / (1 + σ²) + F(x / √(1 + σ²), ¼ log σ) / (σ √(1 + σ²)): the score of data of mean 0 and
    deviation 1, and a network F of inputs and outputs of size 1 for what they are beyond that
    (Karras et al., arXiv:2206.00364, eq. 7 and table 1 with σ_data = 1).

    Args:
        dim: D.
        widths: of the hidden layers.
    """

    def __init__(self, dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.network = mlp(dim + 1, dim, widths)

    def forward(self, points: Tensor, sigma: Tensor | float) -> Tensor:
        """Scores (B, D) of points (B, D) at noise σ, a number or (B, 1)."""
        noise = torch.as_tensor(sigma).to(points).expand(len(points), 1)
        spread = (1.0 + noise.square()).sqrt()
        found = self.network(torch.cat([points / spread, 0.25 * noise.log()], dim=-1))
        scores: Tensor = found / (noise * spread) - points / spread.square()
        return scores


def noise_levels(device: torch.device | str = "cpu") -> Tensor:
    """Geometric levels of noise (L,), the least first (Song & Ermon, arXiv:1907.05600)."""
    least, largest = LEVELS
    share = torch.linspace(0.0, 1.0, NUM_LEVELS, device=device)
    return least * (largest / least) ** share


def denoising_loss(network: ScoreNetwork, points: Tensor) -> Tensor:
    """E σ² ‖S(x + σε, σ) + ε/σ‖² / D over levels and noise (Song & Ermon, eqs. 5 and 6).

    Args:
        network: S.
        points: x (B, D), standardised; every one of them gets its own level.
    """
    levels = noise_levels(points.device)
    sigma = levels[torch.randint(len(levels), (len(points), 1), device=points.device)]
    noise = torch.randn_like(points)
    return (sigma * network(points + sigma * noise, sigma) + noise).square().mean()
