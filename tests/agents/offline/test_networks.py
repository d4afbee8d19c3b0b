"""Networks against torch's own distributions and hand-computed values."""

from __future__ import annotations

import math

import pytest
import torch
from torch import distributions as D

from agents.offline.networks import (
    Critics,
    GaussianActor,
    SquashedGaussianActor,
    Standardiser,
    mlp,
)


def test_critics_are_independent_and_the_least_counts():
    """Each member is its own network; `smallest` is their minimum."""
    critics = Critics(3, (8,), count=3)
    states, actions = torch.randn(5, 2), torch.randn(5, 1)
    values = critics(states, actions)
    joined = torch.cat([states, actions], dim=1)
    assert values.shape == (5, 3)
    assert torch.equal(values[:, 1:2], critics.members[1](joined))
    assert torch.equal(critics.smallest(states, actions)[:, 0], values.min(dim=1).values)
    assert len(set(values[0].tolist())) == 3


def test_layer_norm_is_optional():
    """Where asked, every hidden layer has one."""
    norms = [type(m).__name__ for m in mlp(2, 1, (4, 4), layer_norm=True)].count("LayerNorm")
    assert norms == 2
    assert "LayerNorm" not in str(mlp(2, 1, (4, 4)))


def test_the_gaussian_has_the_density_of_torchs():
    """Log π of actions at the very bound is finite and that of `torch.distributions`."""
    actor = GaussianActor(2, 3, (8,))
    actor.log_std.data = torch.tensor([-1.0, 0.0, 0.5])
    states, actions = torch.randn(4, 2), torch.tensor([[1.0, -1.0, 0.3]]).expand(4, 3)
    expected = D.Normal(actor(states), actor.log_std.exp()).log_prob(actions).sum(-1, keepdim=True)
    torch.testing.assert_close(actor.log_prob(states, actions), expected)


def test_draws_of_the_gaussian_spread_as_it_says():
    """Mean and deviation of many draws, whose bound is five standard errors."""
    torch.manual_seed(0)
    actor = GaussianActor(1, 1, (4,))
    actor.log_std.data.fill_(math.log(0.05))
    states = torch.zeros(20_000, 1)
    with torch.no_grad():
        draws, mean = actor.sample(states), actor(states[:1])
    assert abs(draws.mean() - mean) < 5 * 0.05 / math.sqrt(20_000)
    assert draws.std() == pytest.approx(0.05, rel=5 / math.sqrt(2 * 20_000))


def test_the_squashed_gaussian_has_the_density_of_torchs():
    """Of drawn actions and of given ones, as `torch.distributions` transforms it."""
    torch.manual_seed(0)
    actor = SquashedGaussianActor(2, 3, (8,))
    states = torch.randn(6, 2)
    actions, log_prob = actor.sample(states)
    squashed = D.TransformedDistribution(
        D.Normal(*actor.parameters_of(states)), D.TanhTransform(cache_size=1)
    )
    expected = squashed.log_prob(actions).sum(-1, keepdim=True)
    # atanh of float32 actions loses what 1 - a² loses: about 1e-7 / (1 - a²), with |a| < 0.999.
    torch.testing.assert_close(log_prob, expected, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(actor.log_prob(states, actions), expected, rtol=1e-3, atol=1e-3)


def test_actions_at_the_bound_have_a_finite_density():
    """Data hold them; value and gradient stay finite."""
    actor = SquashedGaussianActor(1, 1, (4,))
    log_prob = actor.log_prob(torch.zeros(2, 1), torch.tensor([[1.0], [-1.0]]))
    log_prob.sum().backward()
    assert torch.isfinite(log_prob).all()
    assert all(torch.isfinite(p.grad).all() for p in actor.parameters())


def test_standardised_observations():
    """Mean 0, deviation 1 of the data; a constant feature does not blow up; nothing before."""
    data = torch.randn(1_000, 2) * torch.tensor([5.0, 0.0]) + torch.tensor([3.0, 7.0])
    norm = Standardiser(2)
    torch.testing.assert_close(norm(data), data)
    norm.fit(data)
    seen = norm(data)
    torch.testing.assert_close(seen.mean(0), torch.zeros(2), rtol=0, atol=1e-4)
    # std / (std + 1e-3) with std near 5.
    torch.testing.assert_close(
        seen[:, 0].std(correction=0), torch.tensor(1 - 2e-4), atol=1e-4, rtol=0
    )
    assert seen[:, 1].abs().max() < 1e-2
