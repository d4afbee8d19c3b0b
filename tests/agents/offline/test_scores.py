"""Score networks: levels of noise, the denoising loss, and scores that are known."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.offline.scores import ScoreNetwork, denoising_loss, noise_levels


def test_noise_levels_are_geometric():
    """From .01 to 1, each the same multiple of the one before."""
    levels = noise_levels()
    assert (levels[0].item(), levels[-1].item()) == pytest.approx((0.01, 1.0))
    torch.testing.assert_close(levels[1:] / levels[:-1], torch.full((9,), 100 ** (1 / 9)))


def test_denoising_loss():
    """Without F the score at x = 0 is −σε / (1 + σ²), so that ε / (1 + σ²) is left."""
    network = ScoreNetwork(3, (4,))
    nn.init.zeros_(network.network[-1].weight)
    nn.init.zeros_(network.network[-1].bias)
    torch.manual_seed(0)
    found = denoising_loss(network, torch.zeros(50_000, 3))
    # E 1 / (1 + σ²)² over the levels; 150,000 squared normals are good to √(2 / 150,000).
    expected = (1 + noise_levels().square()).pow(-2).mean()
    torch.testing.assert_close(found, expected, rtol=0.015, atol=0)


def test_the_score_of_a_gaussian():
    """−(Σ + σ²)⁻¹ x for correlated x of deviation 1, by direction and by size."""
    torch.manual_seed(0)
    covariance = torch.tensor([[1.0, 0.8, 0.0], [0.8, 1.0, -0.4], [0.0, -0.4, 1.0]])
    points = torch.randn(20_000, 3) @ torch.linalg.cholesky(covariance).T
    network = ScoreNetwork(3, (64, 64))
    optimizer = torch.optim.Adam(network.parameters(), 3e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 1_000)
    for _ in range(1_000):
        optimizer.zero_grad()
        denoising_loss(network, points[torch.randint(20_000, (256,))]).backward()
        optimizer.step()
        schedule.step()
    seen = points[:2_000]
    for sigma in (0.2, 0.5, 1.0):
        exact = -seen @ torch.linalg.inv(covariance + sigma**2 * torch.eye(3))
        found = network(seen, sigma).detach()
        assert torch.cosine_similarity(found, exact).mean() > 0.98
        assert (found - exact).norm() / exact.norm() < 0.2
