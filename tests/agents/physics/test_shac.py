"""SHAC and SAPO: they solve what has a known answer, go on exactly, and survive bad gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.guard import PATIENCE
from agents.physics.adjoints import Watch
from agents.physics.sapo import SAPO
from agents.physics.shac import SHAC
from agents.physics.values import window_return
from agents.physics.windows import Drawn, Stage
from simenv.errors import CheckpointError, ConfigurationError, TrainingError
from tests.agents.offline.test_algorithm import tensors
from tests.agents.physics.systems import DoubleIntegrator, lqr, play

AGENTS = (SHAC, SAPO)
TINY = {"net_arch": (8,), "critic_arch": (8,), "window": 4, "critic_epochs": 2, "seed": 1}
JUDGES = 256
"""Episodes that a policy is judged by, from starts that no training had."""
AFAR = 10**6


def make(agent, horizon: int = 200, **options):
    """A tiny one on three double integrators."""
    return agent(DoubleIntegrator(3, horizon), **TINY | options)


def score(model) -> float:
    """Mean return of its deterministic actions."""
    act = lambda seen: model.act(model.encode(seen), True)  # noqa: E731
    return play(DoubleIntegrator(JUDGES), act, AFAR)


# ------------------------------------------------------------------ learning


@pytest.mark.parametrize(("agent", "updates"), [(SHAC, 40), (SAPO, 40)])
def test_most_of_the_way_in_a_few_updates(agent, updates):
    """From −132, what no action earns, to within a quarter of the best."""
    model = agent(DoubleIntegrator(64), seed=0, normalize=False)
    model.learn(updates * model.stride)
    assert score(model) > 1.25 * play(DoubleIntegrator(JUDGES), lqr, AFAR)


@pytest.mark.slow
@pytest.mark.parametrize(("agent", "updates"), [(SHAC, 100), (SAPO, 150)])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_double_integrator_is_solved(agent, updates, seed):
    """Within 3 % of the best linear law."""
    model = agent(DoubleIntegrator(64), seed=seed, normalize=False)
    model.learn(updates * model.stride)
    assert score(model) > 1.03 * play(DoubleIntegrator(JUDGES), lqr, AFAR)


@pytest.mark.parametrize("agent", AGENTS)
def test_the_same_seed_learns_the_same(agent):
    """Equal seeds give equal bits, other seeds others; steps are counted over environments."""
    one, same = (make(agent).learn(40) for _ in range(2))
    # Four steps of three environments an update: 48 is the first multiple of 12 past 40.
    assert one.num_timesteps == 48
    mine, theirs = tensors(one), tensors(same)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    other = make(agent, seed=2).learn(40)
    assert not np.array_equal(one.predict(np.zeros(4))[0], other.predict(np.zeros(4))[0])


def test_step_sizes_fade():
    """Linearly from the first to the last, those of the values as well; or not at all."""
    model = make(SHAC, learning_rate=1e-2, critic_learning_rate=2e-2, final_learning_rate=1e-3)
    model.schedule(0.5)
    assert model.actor_optimizer.param_groups[0]["lr"] == pytest.approx(5.5e-3)
    assert model.value_optimizer.param_groups[0]["lr"] == pytest.approx(1.05e-2)
    still = make(SHAC, learning_rate=1e-2, final_learning_rate=None)
    still.schedule(0.5)
    assert still.actor_optimizer.param_groups[0]["lr"] == 1e-2


def test_the_policy_climbs_what_the_window_earns():
    """Its gradient is that of the mean per step, from the same draws."""
    model = make(SHAC, normalize=False, max_grad_norm=1e9)
    twin = make(SHAC, normalize=False)
    torch.manual_seed(5)
    window = twin.require_stage().window(twin.draw, 4)
    gain = window_return(window, window.rewards, twin.bootstrap(window.after), twin.gamma)
    wanted = torch.autograd.grad(gain, list(twin.actor.parameters()))
    torch.manual_seed(5)
    model.iterate()
    for parameter, slope in zip(model.actor.parameters(), wanted, strict=True):
        assert torch.equal(parameter.grad, -slope)


def test_target_values_follow():
    """A fifth of what they were stays: V̄ ← 0.2 V̄ + 0.8 V."""
    model = make(SHAC)
    before = [p.clone() for p in model.target.parameters()]
    model.iterate()
    pairs = zip(before, model.value.parameters(), model.target.parameters(), strict=True)
    for old, value, target in pairs:
        torch.testing.assert_close(target, 0.2 * old + 0.8 * value)


def test_the_norm_stands_still_within_an_update():
    """It takes a window's observations once the values have been fitted."""
    model, seen = make(SHAC), []
    fit = model.fit_values
    model.fit_values = lambda *given: seen.append(int(model.norm.count)) or fit(*given)
    model.learn(24)
    assert seen == [0, 12]
    assert int(model.norm.count) == 24


# ------------------------------------------------------------------ entropy


def test_entropy_counts_from_its_target():
    """SAPO adds α (H + |H̄|) / 2|H̄|, |H̄| = A/2 = 1 here."""
    model = make(SAPO, initial_temperature=0.5, reward_scale=3.0)
    window = model.require_stage().window(model.draw, 4)
    expected = 3.0 * window.rewards + 0.5 * (window.entropies + 1.0) / 2.0
    torch.testing.assert_close(model.rewards(window), expected)


@pytest.mark.parametrize(("entropy", "rises"), [(-3.0, True), (1.0, False)])
def test_the_temperature_leads_the_entropy_to_its_target(entropy, rises):
    """Up where it lacks, down where it exceeds −A/2 = −1."""
    model = make(SAPO)
    window = model.require_stage().window(model.draw, 4)
    model.dual_step(window._replace(entropies=torch.full((4, 3), entropy)))
    assert (float(model.temperature) > 1.0) is rises


def test_the_policy_sees_the_mean_and_targets_the_lesser():
    """Of the two values."""
    model, seen = make(SAPO), torch.randn(4, 3, 4)
    both = model.value(model.encode(seen))
    assert both.shape == (4, 3, 2)
    torch.testing.assert_close(model.bootstrap(seen), (both[..., 0] + both[..., 1]) / 2)
    torch.testing.assert_close(model.target_values(seen), torch.minimum(both[..., 0], both[..., 1]))


# ------------------------------------------------------------------ faults, state


def poisoned(model, step: int, since: int):
    """Rewards of a step have a slope that is not finite, from the update `since` on."""
    system, reward = model.functional, model.functional.reward

    def bad(state, action, after):
        found = reward(state, action, after)
        if int(state.time[0]) % 4 == step and model.num_timesteps >= since * model.stride:
            found = found + torch.sqrt(0.0 * action[:, 0])
        return found

    system.reward = bad
    return model


def test_a_gradient_that_is_not_finite_is_skipped_and_said_where():
    """The policy stays, the values go on; in a row it ends the training."""
    model = poisoned(make(SHAC, normalize=False), step=2, since=1)
    model.learn(12)
    before = [p.clone() for p in model.actor.parameters()]
    with pytest.warns(RuntimeWarning, match="actor_loss .* at update 12, from step 2 back"):
        model.learn(12)
    assert all(map(torch.equal, before, model.actor.parameters()))
    assert model.guard.skipped == 1
    with pytest.raises(TrainingError, match=f"in {PATIENCE} updates in a row"):
        model.learn(12 * PATIENCE)


def test_a_gradient_whose_norm_overflows_is_skipped():
    """Its numbers are finite, but the clip would make zeros of them."""
    model = make(SHAC, normalize=False)
    reward = model.functional.reward
    model.functional.reward = lambda *step: reward(*step) + 1e22 * step[1].sum(dim=1)
    before = [p.clone() for p in model.actor.parameters()]
    with pytest.warns(RuntimeWarning, match="actor_loss or its gradient is not finite"):
        model.learn(24)
    assert all(map(torch.equal, before, model.actor.parameters()))
    assert model.guard.skipped > 0


@pytest.mark.parametrize("agent", AGENTS)
def test_goes_on_exactly(agent, tmp_path):
    """From a checkpoint in the middle of episodes to the same bits."""
    whole = make(agent, horizon=6).learn(48)
    half = make(agent, horizon=6).learn(48, lambda given, _: given["self"].num_timesteps < 24)
    assert half.num_timesteps == 24
    half.save_checkpoint(tmp_path / "half")
    other = make(agent, horizon=6)
    other.load_checkpoint(tmp_path / "half")
    other.learn(24)
    mine, theirs = tensors(whole), tensors(other)
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []
    assert torch.equal(whole.stage.state.x, other.stage.state.x)


@pytest.mark.parametrize("agent", AGENTS)
def test_save_and_load(agent, tmp_path):
    """Same actions, without an environment; learning then asks for one."""
    model = make(agent).learn(24)
    model.save(tmp_path / "model")
    loaded = agent.load(tmp_path / "model")
    seen = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    assert np.array_equal(model.predict(seen)[0], loaded.predict(seen)[0])
    with pytest.raises(ConfigurationError, match="loaded without an environment"):
        loaded.learn(12)
    again = agent.load(tmp_path / "model", env=DoubleIntegrator(3))
    assert again.learn(12).num_timesteps == 12
    with pytest.raises(CheckpointError, match="holds a"):
        next(a for a in AGENTS if a is not agent).load(tmp_path / "model")


@pytest.mark.parametrize(
    ("agent", "option"),
    [
        (SHAC, {"window": 0}),
        (SHAC, {"num_envs": 0}),
        (SHAC, {"gamma": 0.0}),
        (SHAC, {"learning_rate": 0.0}),
        (SHAC, {"final_learning_rate": -1.0}),
        (SHAC, {"reward_scale": float("nan")}),
        (SHAC, {"clip_adjoint": -1.0}),
        (SHAC, {"max_grad_norm": 0.0}),
        (SHAC, {"net_arch": ()}),
        (SHAC, {"td_lambda": 1.1}),
        (SHAC, {"critic_learning_rate": 0.0}),
        (SHAC, {"critic_epochs": 0}),
        (SHAC, {"critic_batches": 0}),
        (SHAC, {"critic_arch": (0,)}),
        (SHAC, {"betas": (1.0, 0.9)}),
        (SAPO, {"betas": (0.9,)}),
        (SHAC, {"target_share": 1.0}),
        (SHAC, {"initial_std": 0.0}),
        (SAPO, {"initial_temperature": 0.0}),
        (SAPO, {"temperature_learning_rate": -1.0}),
        (SAPO, {"target_entropy": 0.0}),
        (SAPO, {"weight_decay": -1.0}),
    ],
)
def test_options_outside_their_bounds(agent, option):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        make(agent, **option)


@pytest.mark.parametrize("name", ["clip_adjoint", "clip_action"])
def test_bounds_are_on_the_adjoints_of_an_environments_own_sum(name, monkeypatch):
    """The same share of adjoints is cut for twelve environments as for three, all alike."""
    shares = []

    def noted(watch, norms, bound):
        scale = torch.clamp(bound / norms, max=1.0)
        shares[-1].append(scale.sort().values)
        return scale

    monkeypatch.setattr(Watch, "scale", noted)
    for count in (3, 12):
        shares.append([])
        system = DoubleIntegrator(count)
        one = system.initial
        system.initial = lambda seed=0, start=None, one=one: one(0)[
            torch.zeros(one(0).num_envs, dtype=torch.long)
        ]
        model = SHAC(system, **TINY, initial_std=1e-6, normalize=False, **{name: 0.05})
        model.iterate()
    few, many = (torch.stack(rows) for rows in shares)
    assert float(few.min()) < 0.9
    torch.testing.assert_close(many[:, ::4], few, rtol=1e-3, atol=1e-4)


def test_draws_carry_gradients_to_the_state():
    """Actions depend on the observations through mean and deviation."""
    for agent in AGENTS:
        model = make(agent)
        seen = torch.randn(3, 4, requires_grad=True)
        drawn = model.draw(seen)
        assert isinstance(drawn, Drawn)
        assert torch.autograd.grad(drawn.actions.sum(), seen)[0].abs().sum() > 0
    assert isinstance(model.stage, Stage)
