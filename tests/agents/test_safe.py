"""Cost critics, their targets and the budget that they are held against."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.spaces import Box, Dict
from gymnasium.wrappers import TimeLimit
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.cal import CAL
from agents.environments import make_vec
from agents.horizon import find_horizon
from agents.saclag import SACLag
from agents.sacpid import SACPID
from agents.safe import CostCritics, discounted_budget, spread
from simenv.errors import ConfigurationError
from tests.agents.constrained import TINY, Bandit, Chain, bandits, random_batch

AGENTS = (CAL, SACLag, SACPID)


def make(cls: type = CAL, env: object = None, **options: object):
    """A tiny agent on the bandit."""
    options = {"cost_limit": 0.5, "horizon": 1, **TINY, **options}
    return cls("MlpPolicy", bandits(2) if env is None else env, **options)


# ---------------------------------------------------------------------- budget and horizon


@pytest.mark.parametrize("gamma", [0.5, 0.99, 1.0])
@pytest.mark.parametrize("horizon", [1, 7, 400])
def test_discounted_budget(gamma, horizon):
    """The budget is the discounted sum of a cost that is spent evenly."""
    evenly = 10.0 / horizon
    expected = sum(evenly * gamma**t for t in range(horizon))
    # Sums of up to 400 doubles, each rounded to 1e-16 of its size.
    assert discounted_budget(10.0, gamma, horizon) == pytest.approx(expected, rel=1e-12)


def test_the_budget_of_the_paper():
    """A limit of 10 in 400 steps at γ = 0.99 is 2.455, as the authors' code has it."""
    assert discounted_budget(10.0, 0.99, 400) == pytest.approx(2.455, abs=5e-4)


def test_budget_discount_is_that_of_the_costs():
    """`cost_gamma` overrides `gamma` in the budget; left out, it is the same."""
    env = make_vec("Pendulum-v1", cost="effort")
    own = make(env=env, cost_limit=40.0, horizon=None, gamma=0.9, cost_gamma=0.99)
    assert own.cost_budget == pytest.approx(discounted_budget(40.0, 0.99, 200))
    same = make(env=env, cost_limit=40.0, horizon=None, gamma=0.9)
    assert same.cost_budget == pytest.approx(discounted_budget(40.0, 0.9, 200))


def test_horizon_of_environments():
    """The horizon is found in Gymnasium's registry, in a time limit, and in simenv's tasks."""
    assert find_horizon(make_vec("Pendulum-v1", 2)) == 200
    assert find_horizon(DummyVecEnv([lambda: TimeLimit(Bandit(), 12)])) == 12
    model = CAL("MlpPolicy", "simenv/FingerReach2D-Safe-v0", num_envs=2, **TINY)
    assert (model.horizon, model.cost_limit) == (15, 0.3)


def test_an_unknown_horizon_is_an_error():
    """Without a stated number of steps, one has to be given."""
    with pytest.raises(ConfigurationError, match="give horizon"):
        make(horizon=None)
    assert make(horizon=4).horizon == 4


# ---------------------------------------------------------------------- cost critics


def test_members_are_perceptrons_of_their_own():
    """Batched products equal each member's layers applied one after the other."""
    critics, inputs = CostCritics(3, [5, 4], 2), torch.randn(7, 3)
    for bias in critics.biases:
        torch.nn.init.normal_(bias)
    for member in range(2):
        hidden = inputs
        for layer in range(3):
            hidden = hidden @ critics.weights[layer][member] + critics.biases[layer][member]
            hidden = hidden * torch.sigmoid(hidden) if layer < 2 else hidden
        # float32 sums of at most five products, in another order.
        torch.testing.assert_close(critics(inputs)[:, member], hidden[:, 0], rtol=1e-5, atol=1e-6)


def test_initial_weights():
    """Weights are normal with 1/(2 √inputs), cut off at two deviations; biases are zero."""
    critics = CostCritics(64, [256], 4)
    weight, std = critics.weights[0], 0.5 / 8
    assert weight.abs().max() <= 2 * std
    # A normal cut off at ±2σ has deviation 0.880 σ; 65,536 draws pin it to 0.3 % (1/√(2n)).
    assert weight.std().item() == pytest.approx(0.880 * std, rel=0.01)
    assert not any(bias.any() for bias in critics.biases)


def test_upper_bound():
    """Q̂_c is the mean plus k unbiased standard deviations; a lone member has none."""
    batch = random_batch()
    for members in (1, 4):
        model = make(cost_critics=members, cost_pessimism=0.7)
        observations, actions = batch.observations, batch.actions
        values = model.cost_values(model.cost_ensemble, observations, actions)
        assert values.shape == (6, members)
        numbers = values.detach().numpy()
        expected = numbers.mean(axis=1)
        if members > 1:
            expected = expected + 0.7 * numbers.std(axis=1, ddof=1)
        bound = model.cost_bound(observations, actions)
        # Four float32 numbers of size 0.1.
        np.testing.assert_allclose(bound.detach().numpy()[:, 0], expected, atol=1e-6)


def test_spread_of_equal_members_has_a_finite_gradient():
    """Where members agree exactly, the standard deviation does not spoil the actor."""
    values = torch.ones(3, 4, requires_grad=True)
    spread(values).sum().backward()
    assert torch.isfinite(values.grad).all()


def test_the_bound_has_gradients_through_mean_and_spread():
    """Gradients in the actions equal central differences, and leave the critics alone."""
    model = make(cost_pessimism=2.0)
    model.cost_ensemble.double()
    model.critic.extract_features = lambda observations, _: observations
    observations = random_batch().observations.double()
    actions = random_batch().actions.double().requires_grad_()
    model.cost_bound(observations, actions).sum().backward()
    assert all(p.grad is None for p in model.cost_ensemble.parameters())
    step = 1e-5
    with torch.no_grad():
        ahead, behind = (model.cost_bound(observations, actions + s) for s in (step, -step))
    # Each row depends on its own action; central differences err by step² and 1e-16 / step.
    torch.testing.assert_close(actions.grad, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)


# ---------------------------------------------------------------------- targets


def test_cost_target():
    """Each member's target is c + γ_c (1 − terminated) times its own target network."""
    model, batch = make(cost_gamma=0.6, cost_critics=3), random_batch()
    with torch.no_grad():
        for weight, bias in zip(
            model.cost_ensemble_target.weights, model.cost_ensemble_target.biases, strict=True
        ):
            weight.zero_()
            bias.copy_(torch.arange(3.0)[:, None, None])
    expected = batch.costs + 0.6 * (1 - batch.dones) * torch.arange(3.0)
    torch.testing.assert_close(model.cost_target(batch), expected)


@pytest.mark.parametrize("n_steps", [1, 3])
@pytest.mark.parametrize(("terminates", "expected"), [(True, (2.5, 3.0)), (False, (4.0, 6.0))])
def test_costs_of_a_chain(terminates, expected, n_steps):
    """Costs beyond a time limit count, those beyond a termination do not, whatever `n_steps`."""
    model = make(
        env=DummyVecEnv([lambda: Chain(terminates)]),
        horizon=2,
        cost_gamma=0.5,
        n_steps=n_steps,
        tau=0.2,
        learning_rate=1e-2,
    ).learn(200)
    batch = random_batch(2, 2)._replace(observations=torch.eye(2))
    found = model.cost_values(model.cost_ensemble, batch.observations, batch.actions).mean(dim=1)
    # Right and wrong differ by 1.5 at least; the critics come to within a tenth in 190 updates.
    assert found.tolist() == pytest.approx(expected, abs=0.25)


def test_targets_follow():
    """Target networks of the costs move by τ of their distance, those of the rewards as well."""
    model = make(tau=0.25)
    for own, target in (
        (model.cost_ensemble, model.cost_ensemble_target),
        (model.critic, model.critic_target),
    ):
        for parameter in own.parameters():
            parameter.data.fill_(1.0)
        for parameter in target.parameters():
            parameter.data.fill_(0.0)
    model.update_targets()
    for target in (model.cost_ensemble_target, model.critic_target):
        assert all((p == 0.25).all() for p in target.parameters())


# ---------------------------------------------------------------------- the agents


@pytest.mark.parametrize("cls", AGENTS)
def test_state_is_named(cls):
    """What training depends on can be saved by name, and plain numbers travel as such."""
    model, other = (make(cls, seed=seed).learn(60) for seed in (0, 1))
    modules, tensors = model._get_torch_save_params()
    assert {"cost_ensemble", "cost_ensemble_target", "cost_optimizer"} <= set(modules)
    for name in modules:
        target = other
        for part in name.split("."):
            target = getattr(target, part)
        assert target.state_dict()
    for name in tensors:
        assert isinstance(getattr(model, name), torch.Tensor)
    assert model.get_extra_state() != other.get_extra_state() or cls is CAL
    other.set_extra_state(model.get_extra_state())
    assert other.get_extra_state() == model.get_extra_state()


@pytest.mark.parametrize("cls", AGENTS)
def test_same_seed_same_training(cls):
    """Training repeats to the last bit with the same seed."""
    first, again, other = (make(cls, seed=seed).learn(40) for seed in (0, 0, 1))
    for name in ("cost_ensemble", "actor"):
        one, two, three = (
            torch.cat([p.flatten() for p in getattr(m, name).parameters()])
            for m in (first, again, other)
        )
        assert torch.equal(one, two)
        assert not torch.equal(one, three)


@pytest.mark.parametrize("cls", AGENTS)
def test_what_is_logged(cls):
    """Cost critics, budget and multiplier are logged beside SAC's numbers."""
    model = make(cls, cost_limit=0.2).learn(60, log_interval=1000)
    logged = {k.removeprefix("train/"): v for k, v in model.logger.name_to_value.items()}
    own = {"rectification", "violation"} if cls is CAL else {"episode_cost"}
    shared = {"cost_critic_loss", "cost_value", "cost_std", "actor_loss", "critic_loss"}
    assert shared | own <= set(logged)
    assert logged["cost_budget"] == pytest.approx(0.2)
    assert logged["multiplier"] > 0


@pytest.mark.parametrize("cls", AGENTS)
def test_the_cost_critics_follow_the_schedule(cls):
    """The step size of the cost critics is the networks', that of multipliers is not."""
    model = make(cls, learning_rate=lambda left: 0.01 * left)
    model.learn(60)
    rate = model.actor.optimizer.param_groups[0]["lr"]
    assert rate < 0.01
    assert model.cost_optimizer.param_groups[0]["lr"] == rate
    if cls is not SACPID:
        assert model.dual_optimizer.param_groups[0]["lr"] == model.dual_learning_rate


@pytest.mark.parametrize(
    ("cls", "num_envs", "window"),
    [(SACLag, 2, 10), (SACLag, 16, 16), (SACPID, 4, 12), (SACPID, 5, 10), (SACPID, 16, 16)],
)
def test_a_measurement_holds_all_environments(cls, num_envs, window):
    """By default a window is as long as there are environments that end together, at least 10."""
    assert make(cls, bandits(num_envs)).episode_costs.maxlen == window
    assert make(cls, bandits(num_envs), cost_window=3).episode_costs.maxlen == 3


@pytest.mark.parametrize("cls", [SACLag, SACPID])
def test_the_measured_cost_goes_on_after_a_restore(cls):
    """The cost measured last is restored, and with it what the next updates do."""
    model, other = (make(cls, cost_window=2, cost_limit=0.5) for _ in range(2))
    for cost in (0.75, 1.25):
        model.episode_ended(cost)
    other.set_extra_state(model.get_extra_state())
    for agent in (model, other):
        agent.update_duals(random_batch(), agent.propose(random_batch().observations))
        assert agent._notes["episode_cost"][-1].item() == 1.0
    assert torch.equal(model.multiplier, other.multiplier)
    assert model.multiplier.item() > 0


# ---------------------------------------------------------------------- errors


def test_an_environment_without_costs_is_an_error():
    """It is said which environments have costs, for ids at once, else at the first step."""
    with pytest.raises(ConfigurationError, match="take simenv/SoftWalker2D-Safe-v0"):
        CAL("MlpPolicy", "simenv/SoftWalker2D-v0", cost_limit=10.0)
    model = CAL("MlpPolicy", "Pendulum-v1", cost_limit=10.0, **TINY)
    with pytest.raises(ConfigurationError, match="gives no info"):
        model.learn(1)


def test_a_missing_limit_is_an_error():
    """Only simenv's ids have a limit of their own."""
    with pytest.raises(ConfigurationError, match="give cost_limit"):
        make(cost_limit=None)


class Goal(gymnasium.Env):
    """Observations that are dictionaries."""

    observation_space = Dict({"observation": Box(-1.0, 1.0, (1,), np.float32)})
    action_space = Bandit.action_space


def test_dictionary_observations_are_an_error():
    """Their buffer keeps no costs."""
    with pytest.raises(ConfigurationError, match="keeps no costs"):
        CAL("MultiInputPolicy", Goal(), cost_limit=1.0, horizon=1, **TINY)


@pytest.mark.parametrize(
    ("cls", "option", "value"),
    [
        (CAL, "cost_limit", -1.0),
        (CAL, "cost_limit", float("nan")),
        (CAL, "cost_gamma", 1.5),
        (CAL, "horizon", 0),
        (CAL, "cost_critics", 0),
        (CAL, "cost_pessimism", -0.1),
        (CAL, "penalty", -1.0),
        (CAL, "dual_learning_rate", float("inf")),
        (CAL, "initial_multiplier", 0.0),
        (CAL, "dual_actions", "target"),
        (SACLag, "cost_window", 0),
        (SACLag, "dual_learning_rate", -1e-3),
        (SACLag, "initial_multiplier", -1.0),
        (SACPID, "integral_gain", -1.0),
        (SACPID, "max_multiplier", float("nan")),
    ],
)
def test_options_outside_their_bounds(cls, option, value):
    """The error names the option and its value."""
    with pytest.raises(ConfigurationError, match=f"{option} = {value!r}"):
        make(cls, **{option: value})
