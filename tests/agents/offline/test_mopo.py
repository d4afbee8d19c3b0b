"""MOPO: penalty, rollouts, batches of two kinds, and exact resume."""

from __future__ import annotations

import pytest
import torch

from agents.offline import model_based
from agents.offline.data import Batch
from agents.offline.mopo import MOPO, uncertainty
from agents.offline.rollouts import RolloutBuffer
from simenv.errors import ConfigurationError
from tests.agents.offline.models import BANDIT, ROLLOUTS, TINY, assert_resumes, outcome
from tests.agents.offline.sets import bandit, regret
from tests.agents.offline.systems import linear


def mopo(data=None, **options) -> MOPO:
    """A tiny one, of the linear system unless told otherwise."""
    data = linear(100) if data is None else data
    return MOPO(data, **TINY | ROLLOUTS | {"rollout_length": 3} | options)


# ------------------------------------------------------------------ the penalty


def test_the_penalty_by_hand():
    """Members with (σ_s, σ_r) = (3, 4) and (1, 1): u = 5, and r̂ = 10 becomes 10 − ½·5."""
    found = outcome([[3.0, 4.0], [1.0, 1.0]])
    assert uncertainty(found).tolist() == [[5.0]]
    assert mopo(penalty=0.5).model_rewards(found).tolist() == [[7.5]]


def test_the_deviation_of_a_cost_is_no_doubt():
    """A model that predicts costs as well has the same u."""
    assert uncertainty(outcome([[3.0, 4.0, 12.0]])).tolist() == [[5.0]]


def test_kept_rewards_are_penalised(monkeypatch):
    """Each stored reward lies below the drawn one by λ u."""
    model, seen = mopo(penalty=2.0), []
    model.fit_model()
    drawn = model.dynamics.sample
    monkeypatch.setattr(model.dynamics, "sample", lambda *x: seen.append(drawn(*x)) or seen[-1])
    model.roll_out()
    expected = torch.cat([found.rewards - 2.0 * uncertainty(found) for found in seen])
    rewards = model.rollouts.rows.split(model.rollouts.widths, dim=1)[2]
    torch.testing.assert_close(rewards, expected)


def test_the_log_is_of_all_rollouts(monkeypatch):
    """Chunks of four of ten rollouts, three steps each: the mean over all of them."""
    monkeypatch.setattr(model_based, "CHUNK", 4)
    model, seen = mopo(rollout_length=3, termination="never"), []
    model.fit_model()
    drawn = model.dynamics.sample
    monkeypatch.setattr(model.dynamics, "sample", lambda *x: seen.append(drawn(*x)) or seen[-1])
    losses = model.update(model.sample())
    assert [len(found.rewards) for found in seen] == [4] * 6 + [2] * 3
    rows = torch.cat([torch.cat([uncertainty(found), found.rewards], dim=1) for found in seen])
    logged = torch.stack([losses["uncertainty"], losses["model_reward"]])
    torch.testing.assert_close(logged, rows.mean(dim=0))


# ------------------------------------------------------------------ rollouts


def rows(*numbers: float) -> Batch:
    """Steps of one feature and one action, every entry the number of the step."""
    column = torch.tensor(numbers, dtype=torch.float32)[:, None]
    return Batch(column, column, column, column, column)


def kept(buffer: RolloutBuffer) -> list[float]:
    """Numbers of the steps that are there."""
    return sorted(buffer.rows[:, 0].tolist())


def test_the_ring_keeps_the_newest():
    """It grows to its capacity, then the oldest go; also where more come than it holds."""
    buffer, every = RolloutBuffer(5, 1, 1), torch.ones(3, dtype=torch.bool)
    buffer.add(rows(1, 2, 3), every)
    assert kept(buffer) == [1, 2, 3]
    buffer.add(rows(4, 5, 6), every)
    assert kept(buffer) == [2, 3, 4, 5, 6]
    buffer.add(rows(7, 8, 9), torch.tensor([True, False, True]))
    assert kept(buffer) == [4, 5, 6, 7, 9]
    buffer.add(rows(*range(10, 18)), torch.ones(8, dtype=torch.bool))
    assert kept(buffer) == [13, 14, 15, 16, 17]


def test_the_ring_is_sampled_evenly():
    """All five steps, each near a fifth of 5000 draws: five standard deviations are 141."""
    buffer = RolloutBuffer(9, 1, 1)
    buffer.add(rows(0, 1, 2, 3, 4), torch.ones(5, dtype=torch.bool))
    found = buffer.sample(5_000, torch.Generator().manual_seed(0))
    counts = torch.bincount(found.rewards[:, 0].long(), minlength=5)
    assert (counts - 1_000).abs().max() < 141
    with pytest.raises(ConfigurationError, match="no step in the model is finite"):
        RolloutBuffer(3, 1, 1).sample(1, torch.Generator())


def test_rollouts_go_on_from_where_they_were(monkeypatch):
    """Steps start where the last ended; those that ended, or are not finite, do not go on."""
    model = mopo(rollout_batch=4, rollout_length=2, termination="never")
    model.fit_model()
    real, asked = model.dynamics.sample, []

    def sample(observations, actions):
        asked.append(observations)
        found = real(observations, actions)
        if len(asked) == 1:
            found.terminated[0] = 1.0
            found.observations[1] = torch.nan
        return found

    monkeypatch.setattr(model.dynamics, "sample", sample)
    model.roll_out()
    assert [len(observations) for observations in asked] == [4, 2]
    seen, _, _, after, ends = model.rollouts.rows.split(model.rollouts.widths, dim=1)
    # Of the first step three rows are whole, of the second two.
    assert torch.equal(after[1:3], seen[3:])
    assert torch.equal(asked[1], seen[3:])
    assert ends[:, 0].tolist() == [1.0, 0.0, 0.0, 0.0, 0.0]
    starts = {tuple(row) for row in model.dataset.observations.tolist()}
    assert {tuple(row) for row in seen[:3].tolist()} <= starts
    # One of the six steps was lost, and the log says so.
    losses = model.update(model.prepare(model.draw(16)))
    assert losses["lost_share"].item() == pytest.approx(1 / 6)


def test_when_rollouts_are_due(monkeypatch):
    """Before the first update and every seventh after it; the ring holds two rollouts' steps."""
    model, at = mopo(termination="never"), []
    real = model.roll_out
    monkeypatch.setattr(model, "roll_out", lambda: at.append(model.num_timesteps) or real())
    model.learn(16)
    assert at == [0, 7, 14]
    assert len(model.rollouts) == 10 * 3 * 2


def test_batches_are_of_both_kinds():
    """A quarter of the rows, the first ones, are the dataset's; all are standardised alike."""
    model = mopo(real_ratio=0.25, normalize=True, reward_scale=2.0)
    batch = model.sample()
    assert (model.num_real, len(batch.rewards)) == (4, 16)
    seen = {tuple(row) for row in model.normalizer(model.dataset.observations).tolist()}
    assert [tuple(row) in seen for row in batch.observations[:4].tolist()] == [True] * 4
    rewards = model.rollouts.rows.split(model.rollouts.widths, dim=1)[2]
    mine = {round(2 * value, 5) for value in rewards[:, 0].tolist()}
    assert {round(value, 5) for value in batch.rewards[4:, 0].tolist()} <= mine


def test_with_real_transitions_alone_there_is_no_model():
    """It is soft actor-critic then."""
    model = mopo(real_ratio=1.0).learn(3)
    assert not model.dynamics.fitted
    assert len(model.rollouts) == 0


def test_the_policy_that_rolls_out_sees_standardised_observations(monkeypatch):
    """And the model the dataset's own."""
    model = mopo(normalize=True, rollout_length=1)
    model.fit_model()
    acted, real = [], model.act
    monkeypatch.setattr(model, "act", lambda s, deterministic: acted.append(s) or real(s, False))
    model.roll_out()
    seen = model.rollouts.rows[:, :2]
    torch.testing.assert_close(acted[0], model.normalizer(seen))
    torch.testing.assert_close(model.raw(acted[0]), seen)


# ------------------------------------------------------------------ the agent


def test_the_model_is_fitted_once(monkeypatch):
    """At the first update, not when the agent is made or loaded."""
    model, fits = mopo(), []
    real = model.dynamics.fit
    monkeypatch.setattr(model.dynamics, "fit", lambda *x, **o: fits.append(1) or real(*x, **o))
    model.learn(5)
    model.learn(5)
    assert fits == [1]


@pytest.mark.parametrize("at", [0, 7, 12])
def test_resume_equals_the_uninterrupted_training(at, tmp_path):
    """Before the fit, at a rollout, and between two."""
    assert_resumes(mopo, tmp_path, at, lambda m: (m.rollouts.rows, m.log_temperature))


def test_what_is_saved_acts_the_same(tmp_path):
    """Without dataset; where episodes end is as it was settled with one."""
    model = mopo().learn(5)
    assert model.termination == "learnt"
    model.save(tmp_path / "model")
    loaded = MOPO.load(tmp_path / "model")
    grid = torch.linspace(-1, 1, 10).reshape(5, 2).numpy()
    assert (loaded.predict(grid)[0] == model.predict(grid)[0]).all()
    assert loaded.termination == "learnt"
    MOPO.load(tmp_path / "model", dataset=linear(100)).learn(2)


def test_it_solves_a_bandit():
    """By a model of the reward alone; zero has a regret of 0.21, 0.01 is an error of 0.1 in 2."""
    options = BANDIT | {"rollout_length": 1}
    assert regret(mopo(bandit(1_000), **options).learn(400)) < 0.01


@pytest.mark.parametrize(
    "option",
    [
        {"penalty": -1.0},
        {"rollout_every": 0},
        {"rollout_batch": 0},
        {"rollout_length": 0},
        {"rollout_retain": 0},
        {"real_ratio": 1.5},
        {"model_members": 0},
        {"model_batch_size": 0},
        {"model_patience": 0},
        {"model_max_epochs": 0},
        {"model_learning_rate": 0.0},
        {"termination": "sometimes"},
    ],
)
def test_options_outside_their_bounds(option):
    """Each is refused by name, before anything is learnt."""
    with pytest.raises(ConfigurationError, match=next(iter(option)).removeprefix("model_")):
        mopo(**option)
