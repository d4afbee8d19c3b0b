"""Trajectory optimisation by Adam: it solves what is trivial, keeps the best, skips the bad."""

from __future__ import annotations

import math
from dataclasses import fields
from itertools import pairwise

import pytest
import torch

from agents.schemes import Schemes
from agents.trajopt import gradient, make_policy, optimise, rollout, sample
from agents.trajopt.samplers import CEM
from simenv.errors import ConfigurationError
from tests.agents.toy import Toy

SWITCHES = {field.name for field in fields(Schemes)}


def solve(toy: Toy, kind: str = "open-loop", window: int = 0, **options):
    """Optimise a policy on a `Toy`; returns the policy, the result and the reported rows."""
    policy, rows = make_policy(kind, toy.task, toy.num_envs), []
    switches = {k: options.pop(k) for k in SWITCHES & options.keys()}
    schemes = Schemes(window=window, **switches)
    result = optimise(toy, policy, report=rows.append, schemes=schemes, **options)
    return policy, result, rows


def score(toy: Toy, kind: str, parameters: dict[str, torch.Tensor]) -> float:
    """Return of one parameter set."""
    policy = make_policy(kind, toy.task, sets=1)
    policy.load_state_dict(parameters)
    return float(rollout(toy, policy, toy.initial()).rewards.detach().sum(dim=0)[0])


@pytest.mark.parametrize("kind", ["open-loop", "feedback"])
def test_solves_a_trivial_task(kind):
    """A push to a point nearby is found within 100 iterations."""
    toy = Toy(horizon=8)
    _, result, rows = solve(toy, kind, iterations=100)
    # Resting costs |goal|^2 = 0.34 at each of the eight steps; getting there takes a few.
    assert rows[0]["return_max"] < -1.0
    assert result.best_return > -0.8
    assert result.best_success
    assert result.skipped == 0


def test_result_is_the_best_seen():
    """With steps so long that the last iterate is poor, the best one is still what is returned."""
    toy = Toy(num_envs=3)
    _, result, rows = solve(toy, iterations=25, learning_rate=3.0)
    best = max(row["return_max"] for row in rows)
    assert result.best_return == best > rows[-1]["return_max"]
    # Summed over another batch size: some roundings of eps = 1.2e-7.
    assert score(toy, "open-loop", result.best) == pytest.approx(best, rel=1e-5)
    assert [row["return_best"] for row in rows] == sorted(row["return_best"] for row in rows)


def test_reported_rows():
    """One row per iteration, with the figures of that iteration."""
    toy = Toy()
    _, result, rows = solve(toy, iterations=4)
    assert [row["iteration"] for row in rows] == [0, 1, 2, 3]
    for row in rows:
        assert row["return_mean"] <= row["return_max"] <= row["return_best"]
        assert row["gradient_norm"] > 0
    assert rows[-1]["return_best"] == result.best_return


def test_same_seed_same_result():
    """Two optimisations from the same parameters agree to the last bit."""
    first, second = (solve(Toy(), iterations=5)[1] for _ in range(2))
    assert all(torch.equal(first.best[k], second.best[k]) for k in first.best)
    assert first.best_return == second.best_return


def test_sets_do_not_mix():
    """Each environment follows its own set: the first fares the same without the second."""
    pair, lone = Toy(num_envs=2), Toy(num_envs=1)
    both, single = make_policy("gait", pair.task, 2), make_policy("gait", lone.task, 1)
    single.load_state_dict(both.pick(0))
    for toy, policy in ((pair, both), (lone, single)):
        optimise(toy, policy, iterations=5, schemes=Schemes(window=0))
    # Five updates, each within a few eps.
    torch.testing.assert_close(both.pick(0), single.pick(0), rtol=1e-5, atol=1e-6)


def test_gradient_that_is_not_finite_is_skipped(capsys):
    """Such a set is not updated, counted and reported with its step; the other goes on."""
    toy = Toy(bad_step=3)
    before = make_policy("open-loop", toy.task, toy.num_envs).actions.detach().clone()
    policy, result, rows = solve(toy, iterations=3)
    assert result.skipped == 3
    assert [row["skipped"] for row in rows] == [1, 2, 3]
    assert torch.equal(policy.actions[0], before[0])
    assert not torch.equal(policy.actions[1], before[1])
    assert policy.actions.isfinite().all()
    assert "gradient of set [0] not finite from step 3 back" in capsys.readouterr().out


def test_bad_step_at_the_start_of_a_window_is_named(capsys):
    """Where no adjoint state passes, the adjoint of the action tells the step."""
    solve(Toy(bad_step=2), iterations=1, window=2)
    assert "from step 2 back" in capsys.readouterr().out


def test_window_keeps_the_rewards():
    """Truncation changes gradients, not the rollout: the first row's return is the same."""
    rows = [solve(Toy(), iterations=1, window=window)[2][0] for window in (0, 2)]
    assert rows[0]["return_mean"] == rows[1]["return_mean"]
    assert rows[0]["gradient_norm"] != rows[1]["gradient_norm"]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("iterations", 0),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("clip", -1.0),
        ("clip", math.inf),
        ("window", -1),
        ("softness", -1.0),
        ("loss_growth", 0),
        ("min_gain", -0.1),
        ("freeze", -2),
    ],
)
def test_wrong_option_is_named(option, value):
    """An option outside its bounds is refused by name and value."""
    with pytest.raises(ConfigurationError, match=f"{option} = {value}"):
        solve(Toy(), **{option: value})


def test_a_set_that_breaks_the_simulator_goes_back(capsys):
    """It is said, counted, taken half of the way back, and worth nothing while it is broken."""
    toy = Toy(num_envs=2, horizon=4)
    whole = toy.transition

    def breaking(state, action):
        after = whole(state, action)
        return after.replace(fault=torch.where(action[:, 0] > 0.3, 1, after.fault))

    toy.transition = breaking
    _, result, rows = solve(toy, "plan", iterations=40, learning_rate=0.2)
    assert result.skipped > 0
    assert "broke" in capsys.readouterr().out
    # Without a step to the right of more than 0.3 the point still comes near.
    assert result.best_return > -0.9
    assert result.best["actions"][..., 0].max() <= 0.3
    assert rows[-1]["return_best"] == result.best_return


@pytest.mark.parametrize("method", ["adam", "lbfgs"])
def test_frozen_actions_do_not_change(method, monkeypatch):
    """Not by momentum from before they were frozen either; those behind them do."""
    toy, seen = Toy(horizon=8), []
    policy = make_policy("plan", toy.task, toy.num_envs)

    def watched(*args, frozen: int, **options):
        seen.append((frozen, policy.table))
        return rollout(*args, frozen=frozen, **options)

    monkeypatch.setattr(gradient, "rollout", watched)
    schemes = Schemes(window=0, loss_start=3, loss_growth=1, patience=1, freeze=2)
    optimise(toy, policy, method=method, iterations=40, schemes=schemes)
    # The window grows at least three times, after Adam has gathered momentum.
    assert sorted({frozen for frozen, _ in seen})[:4] == [0, 2, 3, 4]
    for (frozen, before), (_, after) in pairwise(seen):
        assert torch.equal(after[:, :frozen], before[:, :frozen])
    assert not torch.equal(seen[-1][1][:, 4:], seen[0][1][:, 4:])


def test_every_action_has_its_time():
    """Also where the window grows by more than what is not frozen."""
    toy = Toy(horizon=12)
    policy = make_policy("plan", toy.task, toy.num_envs)
    before = policy.table
    schemes = Schemes(window=0, loss_start=4, loss_growth=4, patience=1, freeze=2)
    optimise(toy, policy, iterations=120, schemes=schemes)
    assert (policy.table != before).flatten(2).any(dim=2).all()


@pytest.mark.parametrize("search", ["optimise", "sample"])
def test_a_set_for_every_environment(search):
    """Another number is refused with both, and what to do."""
    toy = Toy(num_envs=4)
    policy = make_policy("plan", toy.task, 1)
    with pytest.raises(ConfigurationError, match=r"1 sets for 4 environments.*sets=4"):
        optimise(toy, policy) if search == "optimise" else sample(toy, policy, CEM(6, 2))


@pytest.mark.parametrize(("kind", "knots"), [("gait", 0), ("feedback", 0), ("plan", 3)])
def test_only_actions_of_single_steps_can_be_frozen(kind, knots):
    """Refused with the value, and what to use instead."""
    toy = Toy()
    policy = make_policy(kind, toy.task, toy.num_envs, knots=knots)
    with pytest.raises(ConfigurationError, match=r"freeze = 2 keeps .* plan policy without knots"):
        optimise(toy, policy, iterations=1, schemes=Schemes(loss_start=2, freeze=2))


@pytest.mark.parametrize(("method", "window"), [("adam", 20), ("lbfgs", 0)])
def test_windows_that_methods_have(method, window, monkeypatch):
    """Adam's gradients are truncated by themselves, those of L-BFGS are not; others are kept."""
    seen = []

    def watched(*args, schemes: Schemes, **options):
        seen.append(schemes.window)
        return rollout(*args, schemes=schemes, **options)

    monkeypatch.setattr(gradient, "rollout", watched)
    toy = Toy()
    for schemes in (None, Schemes(clip=9.0), Schemes(window=3)):
        policy = make_policy("plan", toy.task, toy.num_envs)
        optimise(toy, policy, method=method, iterations=1, schemes=schemes)
    assert seen == [window, window, 3]


def test_lbfgs_solves_a_trivial_task():
    """Four pushes to a point: their cost is a quadratic, of which L-BFGS leaves little."""
    _, result, rows = solve(Toy(horizon=4), "plan", method="lbfgs", iterations=40)
    assert rows[0]["return_max"] < -0.1
    assert result.best_return > -1e-6


def test_lbfgs_takes_up_a_longer_loss_window():
    """Where the window grows the objective changes, and the search goes on from where it was."""
    options = {"loss_start": 2, "loss_growth": 2, "patience": 3}
    _, result, _ = solve(Toy(horizon=4), "plan", method="lbfgs", iterations=60, **options)
    assert result.best_return > -1e-6
