"""CQL: its losses by hand, its three gaps, saving and going on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import distributions as D
from torch import nn

from agents.offline.cql import CQL, Candidates, soft_maximum
from benchmarks import offline_pendulum
from simenv.errors import ConfigurationError
from tests.agents.offline.models import assert_resumes
from tests.agents.offline.sets import BATCH, bandit, regret

TINY = {"net_arch": (8,), "batch_size": 16, "seed": 0, "gamma": 0.5, "num_samples": 2}
NARROW = 1e-6
"""Deviation of a policy that all but always gives its mean."""


class Known(nn.Module):
    """Twin values s + a and 2 s of states (…, 1) and actions (…, 1); it counts its calls."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, states, actions):
        self.calls += 1
        return torch.cat([states + actions, 2 * states + 0 * actions], dim=-1)

    def smallest(self, *inputs):
        return self(*inputs).min(dim=-1, keepdim=True).values


class Aimed(nn.Module):
    """A squashed policy whose mean is tanh(s / 4), as narrow as can be."""

    def parameters_of(self, observations):
        return observations / 4, torch.full_like(observations, NARROW)

    def sample(self, observations):
        return torch.tanh(observations / 4), torch.zeros_like(observations)


def known(**options) -> CQL:
    """With networks whose values are known."""
    model = CQL(bandit(10), **TINY | options)
    model.critic, model.critic_target, model.actor = Known(), Known(), Aimed()
    return model


# ------------------------------------------------------------------ the conservative term


def test_the_soft_maximum_runs_over_all_candidates():
    """By hand, one state and critic at a time, over all M actions and no others."""
    torch.manual_seed(0)
    values, density = torch.randn(3, 6, 2), torch.randn(3, 6, 1)
    found = soft_maximum(values, density, temperature=2.0)
    assert found.shape == (3, 2)
    for state in range(3):
        for critic in range(2):
            terms = [
                math.exp(values[state, k, critic] / 2 - density[state, k, 0]) for k in range(6)
            ]
            assert found[state, critic].item() == pytest.approx(2 * math.log(sum(terms)), rel=1e-5)


def test_the_soft_maximum_estimates_an_integral():
    """Whatever the actions are drawn from, the mean over M is ∫ exp Q da, here of Q = a on [-1, 1].

    With 40,000 actions the estimate spreads by less than 1 % of the integral, 2 sinh 1.
    """
    torch.manual_seed(0)
    count = 40_000
    uniform = 2 * torch.rand(1, count, 1) - 1
    wedge = D.TransformedDistribution(
        D.Beta(torch.tensor(1.5), torch.tensor(1.2)), D.AffineTransform(-1.0, 2.0)
    )
    drawn = wedge.sample((1, count, 1))
    actions = torch.cat([uniform, drawn], dim=1)
    density = torch.cat([torch.full_like(uniform, math.log(0.5)), wedge.log_prob(drawn)], dim=1)
    found = soft_maximum(actions, density) - math.log(2 * count)
    assert found.item() == pytest.approx(math.log(2 * math.sinh(1)), abs=0.02)


def test_candidates_are_uniform_then_of_both_states():
    """N of each along the second axis, with the densities that torch's distributions give."""
    torch.manual_seed(0)
    model = CQL(bandit(10), **TINY | {"num_samples": 500})
    actions, density = model.candidates(BATCH)
    assert (actions.shape, density.shape) == ((2, 1500, 1), (2, 1500, 1))
    assert actions.abs().max() <= 1
    assert torch.all(density[:, :500] == math.log(0.5))
    # Uniform on [-1, 1]: mean 0 within five standard errors of 1/√(3 · 1000).
    assert actions[:, :500].mean().abs() < 5 / math.sqrt(3000)
    for begin, states in ((500, BATCH.observations), (1000, BATCH.next_observations)):
        mean, std = model.actor.parameters_of(states)
        squashed = D.TransformedDistribution(D.Normal(mean, std), D.TanhTransform())
        part = slice(begin, begin + 500)
        inside = actions[:, part].abs() < 0.99
        expected = squashed.log_prob(actions[:, part, 0])[..., None]
        torch.testing.assert_close(density[:, part][inside], expected[inside], rtol=1e-3, atol=1e-3)
        before = torch.atanh(actions[:, part, 0].clamp(-1 + 1e-6, 1 - 1e-6))
        # Five standard errors of the mean of 500.
        assert ((before.mean(dim=1) - mean[:, 0]).abs() < 5 * std[:, 0] / math.sqrt(500)).all()


def test_gaps_by_hand():
    """Both critics, all values at s, by two states and three chosen actions."""
    model = known()
    chosen = torch.tensor([[[0.1], [0.2], [0.3]], [[-0.1], [0.0], [0.4]]])
    density = torch.tensor([[[-0.5], [0.0], [0.5]], [[-1.0], [0.3], [0.2]]])
    model.candidates = lambda batch: Candidates(chosen, density)
    gaps, _ = model.gaps(BATCH)
    one = [
        math.log(sum(math.exp(s + a - d) for a, d in zip(actions, densities, strict=True)))
        for s, actions, densities in zip(
            (1.0, 2.0), chosen[..., 0].tolist(), density[..., 0].tolist(), strict=True
        )
    ]
    # Of the first critic, less Q at the data: 1.5 and 1.5.
    assert gaps[0].item() == pytest.approx((one[0] - 1.5 + one[1] - 1.5) / 2, rel=1e-5)
    # The second critic does not look at actions: log Σ exp(−log μ) alone.
    two = [math.log(sum(math.exp(-d) for d in row)) for row in density[..., 0].tolist()]
    assert gaps[1].item() == pytest.approx(sum(two) / 2, rel=1e-5)


def test_the_critics_are_asked_once_for_all_candidates():
    """One pass gives Q at the data, at random actions and at the policy's."""
    model = known()
    model.gaps(BATCH)
    assert model.critic.calls == 1


def test_logged_gaps_by_hand():
    """Q(s, π) and Q(s, random) less Q at the data, means over critics and states."""
    model = known()
    uniform = torch.tensor([[[0.6], [0.2]], [[-0.6], [0.0]]])
    policy = torch.tensor([[[0.9], [0.9]], [[0.5], [0.5]]])
    following = torch.full((2, 2, 1), -1.0)
    actions = torch.cat([uniform, policy, following], dim=1)
    model.candidates = lambda batch: Candidates(actions, torch.zeros_like(actions))
    _, found = model.gaps(BATCH)
    # Only the first of the two critics looks at actions, hence the half; the data's have mean 0.
    assert found["policy_gap"].item() == pytest.approx(0.5 * 0.7, rel=1e-5)
    assert found["random_gap"].item() == pytest.approx(0.5 * 0.05, rel=1e-4)
    assert found["data_value"].item() == pytest.approx((1.5 + 1.5 + 2 + 4) / 4)


def test_the_term_pushes_data_up_and_candidates_down():
    """Its slope is −1 / B at the data's actions and a softmax over the candidates."""
    model = CQL(bandit(10), **TINY)
    asked = []

    def critic(states, actions):
        asked.append(torch.zeros(2, 7, 2, requires_grad=True))
        return asked[0]

    model.critic = critic
    gaps, _ = model.gaps(BATCH)
    model.conservative_loss(gaps).backward()
    slope = asked[0].grad
    torch.testing.assert_close(slope[:, 0], torch.full((2, 2), -5.0 / 2))
    assert (slope[:, 1:] > 0).all()
    torch.testing.assert_close(slope[:, 1:].sum(dim=1), torch.full((2, 2), 5.0 / 2))


# ------------------------------------------------------------------ the other losses


def test_the_target_has_no_entropy():
    """r + γ (1 − d) min Q̄(s', tanh(s' / 4)): 1 + ½ (2 + tanh ½), and the end its reward alone."""
    model = known()
    model.actor.sample = lambda s: (torch.tanh(s / 4), torch.full_like(s, 7.0))
    expected = [1 + 0.5 * (2 + math.tanh(0.5)), 3.0]
    assert model.target(BATCH)[:, 0].tolist() == pytest.approx(expected)


def test_the_critics_step_down_both_losses(monkeypatch):
    """The loss is the Bellman error and α_c times the sum of the gaps."""
    model, seen = known(conservative_weight=3.0), []
    monkeypatch.setattr(model, "descend", lambda _, name, loss: seen.append(loss) or loss)
    gaps = torch.tensor([2.0, 5.0])
    monkeypatch.setattr(model, "gaps", lambda batch: (gaps, {}))
    model.update_critic(BATCH)
    assert seen[0].item() == pytest.approx(model.critic_loss(BATCH).item() + 3 * 7)


def test_the_lagrangian_form_by_hand():
    """α_c α' Σ (gap − τ); α' rises above the threshold and falls below, and Adam starts at 1."""
    model = known(conservative_weight=3.0, lagrange_threshold=4.0, learning_rate=0.1)
    model.log_multiplier.data.fill_(math.log(0.5))
    assert model.conservative_loss(torch.tensor([2.0, 5.0])).item() == pytest.approx(
        3 * 0.5 * (2 + 5 - 8)
    )
    assert model.multiplier_loss(torch.tensor([2.0, 5.0])).item() == pytest.approx(3 * 0.5 * 0.5)
    for gap, sign in ((9.0, 1), (1.0, -1)):
        model = known(lagrange_threshold=4.0, learning_rate=0.1)
        before = model.multiplier.item()
        assert before == 1
        gaps = torch.full((2,), gap)
        model.descend(model.multiplier_optimizer, "m", model.multiplier_loss(gaps))
        assert model.log_multiplier.item() == pytest.approx(sign * 0.1, rel=1e-4)


def test_a_multiplier_comes_back_from_its_bound(monkeypatch):
    """It is held at 10⁶, and falls again once the gap is below its threshold."""
    model = CQL(bandit(10), **TINY, lagrange_threshold=4.0, learning_rate=0.1)
    model.log_multiplier.data.fill_(math.log(1e6))
    for gap, falls in ((9.0, False), (1.0, True)):
        monkeypatch.setattr(model, "gaps", lambda batch, gap=gap: (torch.full((2,), gap), {}))
        model.multiplier_optimizer.state.clear()
        model.update_critic(model.sample())
        assert (model.multiplier.item() < 0.99e6) == falls
        assert model.multiplier.item() <= 1e6 * (1 + 1e-5)


def test_an_update_steps_everything_once(monkeypatch):
    """Actor, temperature, critics, in the Lagrangian form the multiplier, in this order."""
    for threshold, last in ((None, []), (1.0, ["multiplier_loss"])):
        model, names = CQL(bandit(10), **TINY, lagrange_threshold=threshold), []
        step = model.descend
        monkeypatch.setattr(
            model,
            "descend",
            lambda o, n, x, step=step, names=names: names.append(n) or step(o, n, x),
        )
        found = model.update(model.sample())
        assert names == ["actor_loss", "temperature_loss", "critic_loss", *last]
        assert {"policy_gap", "random_gap", "data_value"} < found.keys()
        assert ("multiplier" in found) == (threshold is not None)


def test_the_actors_gradient_is_not_that_of_the_critics():
    """Gaps have gradients in the critics alone; the densities of π in nothing."""
    model = CQL(bandit(10), **TINY)
    gaps, _ = model.gaps(model.sample())
    model.conservative_loss(gaps).backward()
    assert all(p.grad is None for p in model.actor.parameters())
    assert all(p.grad is not None for p in model.critic.parameters())


@pytest.mark.parametrize(
    "option",
    [
        {"conservative_weight": -1.0},
        {"num_samples": 0},
        {"softmax_temperature": 0.0},
        {"lagrange_threshold": float("nan")},
        {"actor_learning_rate": 0.0},
    ],
)
def test_options_outside_their_bounds(option):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        CQL(bandit(10), **TINY | option)


# ------------------------------------------------------------------ learning and going on


def test_it_solves_a_bandit():
    """From uniform actions, with a weight that leaves the values their shape.

    Zero has a regret of 0.64 / 3 = 0.21; 0.01 is an error of 0.1 where actions span 2, of which the
    entropy that is held at −1 takes a part.
    """
    model = CQL(
        bandit(),
        net_arch=(32, 32),
        batch_size=64,
        learning_rate=3e-3,
        actor_learning_rate=3e-3,
        initial_temperature=0.05,
        conservative_weight=0.1,
        num_samples=4,
        seed=0,
    )
    assert regret(model.learn(400)) < 0.01


def test_a_larger_weight_makes_random_actions_look_worse():
    """All else equal; the data are near the best action, random ones are not."""
    gaps = []
    for weight in (0.0, 1.0, 10.0):
        model = CQL(
            bandit(noise=0.2),
            net_arch=(16, 16),
            batch_size=64,
            learning_rate=3e-3,
            conservative_weight=weight,
            num_samples=4,
            seed=0,
        )
        model.learn(200, log_interval=50)
        gaps.append(model.losses["random_gap"])
    assert gaps[0] > gaps[1] > gaps[2]


@pytest.mark.parametrize("threshold", [None, 2.0])
@pytest.mark.parametrize("at", [1, 13])
def test_resume_equals_the_uninterrupted_training(threshold, at, tmp_path):
    """Networks, temperature, multiplier, moments and losses agree bit by bit."""
    data, options = bandit(200), TINY | {"lagrange_threshold": threshold}

    def variables(model):
        found = model._parameters()["variables"]
        assert found.keys() == {"log_temperature"} | ({"log_multiplier"} if threshold else set())
        return list(found.values())

    assert_resumes(lambda: CQL(data, **options), tmp_path, at, variables)


def test_what_is_saved_acts_the_same(tmp_path):
    """Loaded without dataset; draws differ, means do not."""
    model = CQL(bandit(200), **TINY).learn(10)
    model.save(tmp_path / "model")
    loaded, grid = CQL.load(tmp_path / "model"), np.linspace(-1, 1, 11)[:, None]
    assert np.array_equal(loaded.predict(grid)[0], model.predict(grid)[0])
    assert np.ptp(model.predict(np.zeros((5, 1)), deterministic=False)[0]) > 0
    assert np.ptp(model.predict(np.zeros((5, 1)))[0]) == 0


# ------------------------------------------------------------------ a learning run


@pytest.mark.slow
def test_gaps_fall_with_the_weight_on_pendulum(tmp_path, monkeypatch):
    """On a set of Pendulum: Q at the policy's and at random actions, less that at the data, and Q.

    All three fall strictly from one weight to the next, as long as the policy has not found what is
    best in the data: the actor's step size is the usual one, a third of the critics'.
    """
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = offline_pendulum.make_set("medium")
    found = []
    for weight in (0.0, 0.1, 1.0, 5.0):
        model = CQL(
            dataset,
            conservative_weight=weight,
            num_samples=5,
            gamma=0.95,
            reward_scale=0.1,
            net_arch=(128, 128),
            seed=0,
        )
        found.append(model.learn(5_000, log_interval=1_000).losses)
    for name in ("policy_gap", "random_gap", "data_value"):
        values = [losses[name] for losses in found]
        assert values == sorted(values, reverse=True), (name, values)
        assert len(set(values)) == 4
