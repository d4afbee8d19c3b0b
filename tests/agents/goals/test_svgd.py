"""Stein variational gradient descent against densities whose moments are known."""

import math

import torch

from agents.goals.svgd import median_width, stein_direction

MEANS, WEIGHTS, VARIANCE = ((-1.0, 0.0), (1.0, 0.5)), (0.4, 0.6), 0.5


def mixture_scores(points):
    """∇log of a mixture of two round normal densities at points (m, 2)."""
    points = points.clone().requires_grad_()
    squares = (points[:, None] - points.new_tensor(MEANS)).square().sum(dim=2)
    log_parts = points.new_tensor(WEIGHTS).log() - squares / (2 * VARIANCE)
    return torch.autograd.grad(torch.logsumexp(log_parts, dim=1).sum(), points)[0]


def test_particles_take_up_a_mixture():
    """Mean and covariance of the particles are those of a two-dimensional mixture."""
    generator = torch.Generator().manual_seed(0)
    particles = 3.0 * torch.randn(60, 2, generator=generator, dtype=torch.float64)
    optimizer = torch.optim.Adam([particles], lr=0.05)
    for _ in range(400):
        particles.grad = -stein_direction(particles, mixture_scores(particles))
        optimizer.step()
    # The mixture's mean is Σ w μ, its covariance 0.25 · 0.96 ΔΔᵀ between the parts, Δ = (2, 0.5),
    # and 0.5 within them. m particles at rest fall short of a variance by some 1/√m of the width of
    # a part (0.5 here), the outermost having neighbours on one side alone; the mean is free of it.
    covariance = torch.tensor([[0.96 + 0.5, 0.24], [0.24, 0.06 + 0.5]], dtype=torch.float64)
    expected = torch.tensor([0.2, 0.3], dtype=torch.float64)
    torch.testing.assert_close(particles.mean(dim=0), expected, atol=0.03, rtol=0.0)
    torch.testing.assert_close(particles.T.cov(), covariance, atol=0.5 / 60**0.5, rtol=0.0)


def test_direction_of_two_particles():
    """Two particles on a line against the formula written out."""
    particles = torch.tensor([[0.0], [1.0]], dtype=torch.float64)
    scores = torch.tensor([[3.0], [-1.0]], dtype=torch.float64)
    squares = torch.tensor([[0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    width = float(median_width(squares))
    near = math.exp(-1.0 / width)
    # ∇_{g₂}k(g₂, g₁) = −2/h (g₂ − g₁) k, which pushes the first particle away from the second.
    first = (3.0 - near - 2.0 / width * near) / 2
    second = (3.0 * near - 1.0 + 2.0 / width * near) / 2
    found = stein_direction(particles, scores)
    torch.testing.assert_close(found, torch.tensor([[first], [second]], dtype=torch.float64))


def test_coinciding_particles_stay_finite():
    """Particles in one place have no median distance, and still a direction."""
    found = stein_direction(torch.zeros(3, 2), torch.ones(3, 2))
    torch.testing.assert_close(found, torch.ones(3, 2))
