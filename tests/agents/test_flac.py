"""FLAC: the flow, its kinetic energy, and the temperature that prices it."""

from __future__ import annotations

import copy
import itertools
import math

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.actor_critic import Proposal
from agents.flac import FLAC, FLACPolicy, FlowActor, VelocityField, integrate
from agents.networks import ResidualBlock
from simenv.errors import ConfigurationError
from tests.agents.tiny import Bandit, regret, vector

SMALL = {"net_arch": [16, 16]}


def small(**options) -> FLAC:
    """FLAC with small networks on Pendulum."""
    options.setdefault("policy_kwargs", SMALL)
    return FLAC("MlpPolicy", "Pendulum-v1", batch_size=16, learning_starts=20, seed=0, **options)


def batch_of(model: FLAC):
    """A batch, after a warm-up."""
    model.learn(20)
    return model.sample(16)


def test_midpoint_rule_is_of_second_order():
    """For u(τ, x) = x + τ, errors of end and energy fall by four as steps double."""
    start = torch.tensor([[0.3], [-0.8]], dtype=torch.float64)
    c = start[:, 0] + 1.0
    # x(τ) = c eᵗ − τ − 1 and u = c eᵗ − 1 with c = x₀ + 1.
    end = c * math.e - 2.0
    energy = 0.5 * (c**2 * (math.e**2 - 1) / 2 - 2 * c * (math.e - 1) + 1)
    errors = []
    for steps in (16, 32, 64):
        found, spent = integrate(lambda time, x: x + time, start, steps)
        errors.append(torch.stack([found[:, 0] - end, spent - energy]).abs())
    for coarse, fine in itertools.pairwise(errors):
        # The next term of the error is a few Δ relative to the leading one: 5 % at 1/32.
        assert torch.allclose(torch.log2(coarse / fine), torch.full((2, 2), 2.0).double(), atol=0.1)


def test_energy_of_a_constant_field():
    """K = ½‖v‖², summed over dimensions, and x₁ = x₀ + v, for any number of steps."""
    velocity = torch.tensor([[3.0, -4.0], [0.0, 0.5]], dtype=torch.float64)
    start = torch.tensor([[0.1, 0.2], [-1.0, 1.0]], dtype=torch.float64)
    for steps in (1, 2, 5):
        end, energy = integrate(lambda time, x: velocity, start, steps)
        # Float64 roundings.
        assert torch.allclose(end, start + velocity, rtol=1e-14)
        assert torch.allclose(energy, torch.tensor([12.5, 0.125]).double(), rtol=1e-14)


def test_one_step_evaluates_the_field_at_start_and_middle():
    """N = 1 is two evaluations: at (0, x₀) and at (½, x₀ + ½u₀)."""
    calls = []

    def velocity(time, x):
        calls.append((time, x.clone()))
        return torch.ones_like(x)

    integrate(velocity, torch.zeros(1, 2), 1)
    assert [time for time, _ in calls] == [0.0, 0.5]
    assert [x.tolist() for _, x in calls] == [[[0.0, 0.0]], [[0.5, 0.5]]]


def test_velocity_field():
    """Xavier weights, zero biases; the velocity depends on state, time and place."""
    torch.manual_seed(0)
    field = VelocityField(3, 2, [64, 32])
    linear = [m for m in field.modules() if isinstance(m, torch.nn.Linear)]
    assert [m.out_features for m in linear] == [64, 32, 2]
    for m in linear:
        assert not m.bias.any()
        bound = math.sqrt(6 / (m.in_features + m.out_features))
        # Uniform within the bound: among 64 values or more the largest is beyond 0.9 of it.
        assert 0.9 * bound < m.weight.abs().max() <= bound
    state, x = torch.randn(1, 3), torch.randn(1, 2)
    plain = field(state, 0.0, x)
    for other in (field(state + 1, 0.0, x), field(state, 0.5, x), field(state, 0.0, x + 1)):
        assert not torch.allclose(plain, other)


def test_noise_is_cut_and_actions_bounded():
    """x₀ is a normal draw cut to [-1, 1]; actions stay within bounds whatever the field."""
    model = small()
    actor, seen = model.actor, torch.zeros(4000, 3)
    assert isinstance(actor, FlowActor)
    with torch.no_grad():
        actor.velocity.layers[-1].weight.zero_()
        noise = torch.atanh(actor(seen))
        # P(|N(0, 1)| > 1) = 0.3173; 4000 draws have a standard deviation of 0.0074, five of them.
        assert noise.abs().max() < 1 + 1e-5
        assert abs(float((noise.abs() > 1 - 1e-5).float().mean()) - 0.3173) < 0.037
        actor.velocity.layers[-1].weight.normal_().mul_(1e3)
        actions, _ = model.predict(np.random.default_rng(0).normal(size=(50, 3)))
    assert np.abs(actions).max() <= 2.0
    assert np.abs(actions).max() > 1.99


def test_there_is_no_deterministic_mode():
    """Both modes draw from torch's global generator, and a seed fixes the draw."""
    model, seen = small(), np.zeros((4, 3), np.float32)
    for deterministic in (True, False):
        torch.manual_seed(3)
        first, _ = model.predict(seen, deterministic=deterministic)
        again, _ = model.predict(seen, deterministic=deterministic)
        torch.manual_seed(3)
        same, _ = model.predict(seen, deterministic=deterministic)
        assert np.array_equal(first, same)
        assert not np.array_equal(first, again)
        assert len(np.unique(first)) == 4


def test_losses_are_the_papers():
    """Target r + γ m (min Q̄ − α K') and actor's loss E[α K − min Q], K from the integrator."""
    model = small(ent_coef=0.5)
    batch = batch_of(model)
    alpha = torch.tensor(0.5)
    torch.manual_seed(1)
    target = model.target(batch, alpha)
    torch.manual_seed(1)
    action, energy = model.actor.action_log_prob(batch.next_observations)
    assert (energy >= 0).all()
    value = torch.cat(model.critic_target(batch.next_observations, action), dim=1).amin(dim=1)
    expected = batch.rewards[:, 0] + 0.99 * (1 - batch.dones[:, 0]) * (value - 0.5 * energy)
    # Float32 roundings.
    assert torch.allclose(target[:, 0], expected, rtol=1e-5)
    proposal = model.propose(batch.observations)
    loss = model.actor_loss(batch, proposal, alpha)
    value = torch.cat(model.critic(batch.observations, proposal.actions), dim=1).amin(dim=1)
    assert torch.allclose(loss, (0.5 * proposal.penalty[:, 0] - value).mean(), rtol=1e-5)
    loss.backward()
    assert all(p.grad is not None for p in model.actor.parameters())


@pytest.mark.parametrize(("energy", "sign"), [(7.6, 1.0), (7.4, -1.0)])
def test_temperature_follows_the_energy(energy, sign):
    """Above the budget α rises, below it falls, by Adam's step; it starts from exp(−2)."""
    model = FLAC(
        "MlpPolicy",
        vector(Bandit, 1),
        energy_budget=7.5,
        learning_rate=2e-3,
        policy_kwargs=SMALL,
    )
    assert model.log_ent_coef.item() == pytest.approx(-2.0, rel=1e-6)
    proposal = Proposal(torch.zeros(4, 1), torch.full((4, 1), energy))
    assert float(model.update_temperature(proposal)) == pytest.approx(math.exp(-2.0), rel=1e-6)
    assert model.log_ent_coef.item() == pytest.approx(-2.0, rel=1e-6)
    model.update_duals(None, proposal)
    # Adam's first step is its step size, here a tenth of 2e-3, to within its ε of 1e-8 / 0.1.
    assert model.log_ent_coef.item() + 2.0 == pytest.approx(sign * 2e-4, rel=1e-2)


def test_defaults_and_options():
    """Budget 2.5 per dimension, every second update, a tenth of the rate; options arrive."""
    model = small(learning_rate=lambda left: 1e-3 * left)
    assert (model.target_entropy, model.policy_delay, model.actor.flow_steps) == (-2.5, 2, 1)
    assert model.ent_coef_optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)
    kwargs = {"net_arch": {"pi": [8], "qf": [24]}, "layer_norm": True, "normalize": True}
    model = small(flow_steps=3, policy_kwargs=kwargs, ent_coef=0.2)
    assert model.actor.flow_steps == 3
    assert model.actor.velocity.layers[0][0].out_features == 8
    assert model.critic.qf0[1].normalized_shape == (24,)
    assert float(model.update_temperature(None)) == pytest.approx(0.2)
    assert kwargs == {"net_arch": {"pi": [8], "qf": [24]}, "layer_norm": True, "normalize": True}
    residual = small(policy_kwargs={"net_arch": [16], "simba": True})
    assert any(isinstance(m, ResidualBlock) for m in residual.actor.modules())
    model.learn(24)
    residual.learn(24)


def test_actor_and_temperature_wait_for_each_other():
    """Of two updates, the first moves actor and temperature, the second the critics alone."""
    model = small()
    batch = batch_of(model)
    watched = model.actor.velocity.layers[-1].weight, model.log_ent_coef, model.critic.qf0[0].weight
    moved = []
    for index in range(4):
        before = [p.detach().clone() for p in watched]
        model.update(batch, index)
        moved.append([not torch.equal(a, b) for a, b in zip(before, watched, strict=True)])
    assert moved == [[True, True, True], [False, False, True]] * 2


def test_options_out_of_bounds():
    """Errors name value and remedy."""
    for options, found in (
        ({"policy_kwargs": {"flow_steps": 0}}, "flow_steps = 0 must be at least 1"),
        ({"flow_steps": -1}, "flow_steps = -1 must be at least 1"),
        ({"energy_budget": 0.0}, "energy_budget = 0.0 must be positive"),
        ({"munchausen": 0.9}, "munchausen = 0.9 needs log π"),
        ({"use_sde": True}, "use_sde = True needs log π"),
        ({"target_entropy": -1.0}, "energy_budget takes the place"),
    ):
        with pytest.raises(ConfigurationError, match=found):
            small(**options)


def test_state_round_trip():
    """Weights, statistics, optimisers and temperature put into another agent, both learn alike."""
    first = small(policy_kwargs={**SMALL, "normalize": True})
    first.learn(40)
    second = small(policy_kwargs={**SMALL, "normalize": True})
    # Optimisers keep the tensors they are given.
    second.set_parameters(copy.deepcopy(first.get_parameters()))
    with torch.no_grad():
        second.log_ent_coef.copy_(first.log_ent_coef)
    second._n_updates = first._n_updates
    batch = first.sample(16)
    for model in (first, second):
        torch.manual_seed(4)
        for index in range(3):
            model.update(batch, index)
    expected, found = first.policy.state_dict(), second.policy.state_dict()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert torch.equal(first.log_ent_coef, second.log_ent_coef)


def test_dictionaries_and_files(tmp_path):
    """A policy for dictionaries acts within bounds, and comes back from its file with its steps."""
    box = spaces.Box(-1, 1, (2,), np.float32)
    space = spaces.Dict({"goal": box, "position": box})
    policy = FLACPolicy(space, box, lambda _: 1e-3, net_arch=[8], flow_steps=3)
    policy.save(str(tmp_path / "policy.pt"))
    loaded = FLACPolicy.load(str(tmp_path / "policy.pt"))
    seen = {"goal": torch.randn(5, 2), "position": torch.randn(5, 2)}
    found = []
    for each in (policy, loaded):
        torch.manual_seed(0)
        found.append(each(seen))
    assert found[0].shape == (5, 2)
    assert (found[0].abs() <= 1).all()
    assert torch.equal(*found)
    loaded.actor.flow_steps = 1
    torch.manual_seed(0)
    assert not torch.equal(loaded(seen), found[0])


def test_flac_solves_a_bandit():
    """Reward −(a − 0.4)²: the actions, all of them drawn, come to 0.4."""
    model = FLAC(
        "MlpPolicy",
        vector(Bandit, goal=0.4, slope=0.0),
        learning_rate=1e-2,
        batch_size=64,
        learning_starts=64,
        seed=0,
        policy_kwargs={"net_arch": [32]},
    )
    env = Bandit(goal=0.4, slope=0.0)
    assert regret(model, env) > 0.1
    model.learn(8 * 300)
    # Noise of ±0.1 around the best action costs 0.01.
    assert regret(model, env) < 0.02
