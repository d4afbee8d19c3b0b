"""What all offline agents share: learning, acting, saving, going on exactly."""

from __future__ import annotations

import inspect
from dataclasses import fields

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback

from agents.algorithms import ALGORITHMS
from agents.guard import PATIENCE
from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.bc import BC
from agents.offline.data import Source, Transitions
from agents.offline.iql import IQL
from agents.offline.td3bc import TD3BC
from simenv.errors import (
    CheckpointError,
    ConfigurationError,
    DatasetError,
    DeviceError,
    ShapeError,
    TrainingError,
)
from tests.agents.offline.sets import bandit, pendulum, read_pendulum, regret

AGENTS = (BC, TD3BC, IQL)
TINY = {"net_arch": (8,), "batch_size": 16, "seed": 1}


@pytest.fixture(scope="module")
def data():
    """One-step episodes with uniform actions."""
    return bandit(200)


def tensors(model: OfflineAlgorithm) -> dict[str, torch.Tensor]:
    """Everything that is learnt, by name."""
    modules = model._parameters()["modules"]
    found = {}
    for name, state in modules.items():
        for key, value in state.items():
            if torch.is_tensor(value):
                found[f"{name}.{key}"] = value.clone()
    moments = {
        f"{name} {key}.{what}": value.clone()
        for name, state in modules.items()
        for key, entry in state.get("state", {}).items()
        for what, value in entry.items()
    }
    return found | moments


def assert_same(one: OfflineAlgorithm, other: OfflineAlgorithm) -> None:
    """Bit by bit."""
    mine, theirs = tensors(one), tensors(other)
    assert mine.keys() == theirs.keys()
    assert [name for name in mine if not torch.equal(mine[name], theirs[name])] == []


# ------------------------------------------------------------------ learning


@pytest.mark.parametrize("agent", AGENTS)
def test_the_same_seed_learns_the_same(agent, data):
    """Equal seeds give equal bits, other seeds others."""
    one, same = (agent(data, **TINY).learn(20) for _ in range(2))
    assert_same(one, same)
    other = agent(data, **TINY | {"seed": 2}).learn(20)
    grid = np.zeros((1, 1))
    assert not np.array_equal(one.predict(grid)[0], other.predict(grid)[0])


def test_batches_are_standardised_and_rewards_transformed():
    """What `update` gets has mean 0, deviation 1, and reward scale · r + shift."""
    raw = bandit(500)
    shifted = Transitions.from_arrays(
        5 + 3 * raw.observations, raw.actions, raw.rewards[:, 0], raw.observations, np.ones(500)
    )
    model = IQL(shifted, **TINY, normalize=True, reward_scale=2.0, reward_shift=-1.0)
    batch = model.prepare(shifted.at(torch.arange(500)))
    assert batch.observations.mean().abs() < 1e-5
    assert batch.observations.std(correction=0) == pytest.approx(1.0, abs=1e-3)
    torch.testing.assert_close(batch.rewards, 2 * shifted.rewards - 1)
    plain = IQL(shifted, **TINY).prepare(shifted.at(torch.arange(500)))
    torch.testing.assert_close(plain.observations, shifted.observations)


def test_losses_are_means_since_the_last_log(data):
    """Their mean over an interval, also of a loss that only every other update has."""
    model, seen = TD3BC(data, **TINY), []
    update = model.update
    model.update = lambda batch: seen.append(update(batch)) or seen[-1]
    model.learn(10, log_interval=4)
    # The last log, at the end, is over the updates after the eighth.
    for name in ("critic_loss", "actor_loss"):
        values = [float(found[name]) for found in seen[8:] if name in found]
        assert model.losses[name] == pytest.approx(np.mean(values), rel=1e-6)
    assert sum("actor_loss" in found for found in seen) == 5


def test_callbacks_count_updates_and_can_stop(data):
    """Stable-Baselines3's callbacks work, as classes, lists and functions."""

    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < 7

    assert BC(data, **TINY).learn(20, callback=Stop()).num_timesteps == 7
    assert BC(data, **TINY).learn(20, callback=[Stop()]).num_timesteps == 7
    calls = []
    BC(data, **TINY).learn(3, callback=lambda *_: calls.append(1) or True, progress_bar=True)
    assert len(calls) == 3


def test_a_step_that_is_not_finite_is_skipped(data):
    """One bad batch leaves the networks as they are; bad ones in a row end the training."""
    model = BC(data, **TINY).learn(5)
    before = tensors(model)
    batch = model.sample()
    with pytest.warns(RuntimeWarning, match="actor_loss or its gradient is not finite"):
        model.update(batch._replace(actions=batch.actions * torch.nan))
    assert all(torch.equal(value, before[name]) for name, value in tensors(model).items())
    assert model.guard.skipped == 1
    model.sample = lambda: batch._replace(actions=batch.actions * torch.nan)
    with pytest.raises(TrainingError, match=f"in {PATIENCE} updates in a row"):
        model.learn(100)


def test_devices(data):
    """A device must exist, and be that of the transitions."""
    with pytest.raises(DeviceError, match="'cuda:99' does not exist here"):
        BC(data, **TINY, device="cuda:99")
    elsewhere = bandit(10)
    elsewhere.device = torch.device("meta")
    with pytest.raises(ConfigurationError, match="the transitions lie on meta, the agent on cpu"):
        BC(elsewhere, **TINY)


def test_batches_and_noise_have_streams_of_their_own(data):
    """Both by the seed: the same one again gives the same, but the one is not the other."""
    draws = lambda seed: torch.rand(5, generator=BC(data, **TINY | {"seed": seed})._generator)  # noqa: E731
    batches = draws(1)
    assert torch.equal(batches, draws(1))
    assert not torch.equal(batches, draws(2))
    assert not torch.equal(draws(None), draws(None))
    torch.manual_seed(1)
    assert not torch.equal(batches, torch.rand(5))


@pytest.mark.parametrize(
    ("agent", "option"),
    [
        (BC, {"batch_size": 0}),
        (BC, {"learning_rate": 0.0}),
        (IQL, {"gamma": 1.5}),
        (IQL, {"tau": 0.0}),
        (IQL, {"reward_scale": float("nan")}),
        (BC, {"net_arch": ()}),
        (TD3BC, {"alpha": -1.0}),
        (TD3BC, {"policy_noise": -0.1}),
        (TD3BC, {"noise_clip": float("inf")}),
        (TD3BC, {"policy_delay": 0}),
        (IQL, {"expectile": 1.0}),
        (IQL, {"beta": -1.0}),
    ],
)
def test_options_outside_their_bounds(agent, option, data):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        agent(data, **TINY | option)


@pytest.mark.parametrize("name", ["bc", "cdsa", "ogsrl"])
def test_options_without_effect_are_refused(name, data, tmp_path):
    """In Python by name, their defaults excepted; the command does not know them."""
    row = ALGORITHMS[name]
    unused, known = row.load().unused, {f.name for f in fields(row.options)}
    assert "tau" in unused
    for option in unused:
        with pytest.raises(ConfigurationError, match=f"{option} = 0.7 has no effect"):
            row.load()(data, **TINY, **{option: 0.7})
        assert option not in known
    # What was saved with the default is loaded.
    usual = inspect.signature(OfflineAlgorithm.__init__).parameters
    defaults = {option: usual[option].default for option in unused}
    row.load()(data, **TINY, **defaults).save(tmp_path / "model")
    assert row.load().load(tmp_path / "model").num_timesteps == 0


# ------------------------------------------------------------------ acting


def test_actions_are_in_the_environments_units(data):
    """One observation or many; the scale is that of the action space."""
    space = spaces.Box(np.float32([-3.0]), np.float32([5.0]))
    scaled = Transitions.from_arrays(
        data.observations,
        1 + 4 * data.actions,
        data.rewards[:, 0],
        data.observations,
        np.ones(200),
        action_space=space,
    )
    model, unit = BC(scaled, **TINY).learn(20), BC(data, **TINY).learn(20)
    many, state = model.predict(np.float32([[0.5], [-0.5]]))
    one, _ = model.predict(np.float32([0.5]))
    assert (many.shape, one.shape, many.dtype, state) == ((2, 1), (1,), np.float32, None)
    np.testing.assert_allclose(one, many[0], rtol=1e-6)
    np.testing.assert_allclose(many, 1 + 4 * unit.predict([[0.5], [-0.5]])[0], rtol=1e-4)
    with pytest.raises(ShapeError, match="observation has shape"):
        model.predict(np.zeros((2, 3)))


def test_draws_differ_and_means_do_not(data):
    """A stochastic policy draws only when asked to; rows of a batch may be rounded apart."""
    model = IQL(data, **TINY)
    grid = np.zeros((5, 1))
    drawn, found = (model.predict(grid, deterministic=d)[0] for d in (False, True))
    assert np.ptp(drawn) > 1e-3
    assert np.ptp(found) < 8 * np.finfo(np.float32).eps
    assert np.array_equal(found, model.predict(grid)[0])


def test_evaluation_counts_episodes_and_scores(tmp_path, monkeypatch):
    """Means over the episodes asked for, the score between the dataset's references."""
    data = read_pendulum(tmp_path, monkeypatch, reference=(-2000.0, 0.0))
    model = BC(data, "Pendulum-v1", **TINY)
    row = model.evaluate(3)
    assert row["length_mean"] == 200
    assert row["score"] == pytest.approx(100 * (row["return_mean"] + 2000) / 2000)
    assert row == model.evaluate(3)
    with pytest.raises(ConfigurationError, match="no environment to evaluate in"):
        BC(data, **TINY).evaluate()


def test_an_environment_of_other_spaces_is_refused(data):
    """Before anything is learnt."""
    with pytest.raises(DatasetError, match="does not fit the environment"):
        BC(data, "Pendulum-v1", **TINY)


# ------------------------------------------------------------------ persistence


@pytest.mark.parametrize("agent", AGENTS)
def test_what_is_saved_acts_the_same(agent, tmp_path):
    """Loaded with neither dataset nor environment, on raw observations; and it can go on."""
    raw = bandit(200)
    data = Transitions.from_arrays(
        9 + raw.observations,
        raw.actions,
        raw.rewards[:, 0],
        raw.observations,
        np.ones(200),
        source=Source("far-v0", reference=(1.0, 2.0)),
    )
    model = agent(data, **TINY, normalize=True).learn(20)
    model.save(tmp_path / "model")
    loaded = agent.load(tmp_path / "model", device="auto")
    grid = np.linspace(8, 10, 11)[:, None]
    assert np.array_equal(loaded.predict(grid)[0], model.predict(grid)[0])
    assert loaded.reference == (1.0, 2.0)
    with pytest.raises(ConfigurationError, match="loaded without a dataset"):
        loaded.learn(1)
    agent.load(tmp_path / "model", dataset=data).learn(2)


def test_loading_takes_step_sizes_that_it_is_given(data, tmp_path):
    """Those of the saved agent give way, also where a schedule had brought them down to nothing."""
    IQL(data, seed=0, net_arch=(4,)).learn(3).save(tmp_path / "model")
    model = IQL.load(tmp_path / "model", dataset=data, cosine=False, learning_rate=1e-2)
    for optimizer in (model.actor_optimizer, model.critic_optimizer, model.value_optimizer):
        assert optimizer.param_groups[0]["lr"] == 1e-2


def test_loading_refuses_what_does_not_fit(data, tmp_path):
    """Another class, or a dataset of other spaces."""
    BC(data, **TINY).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="holds a BC"):
        IQL.load(tmp_path / "model")
    wide = Transitions.from_arrays(
        np.zeros((4, 2)), np.zeros((4, 1)), np.zeros(4), np.zeros((4, 2)), np.ones(4)
    )
    with pytest.raises(CheckpointError, match="belongs to another environment"):
        BC.load(tmp_path / "model", dataset=wide)


@pytest.mark.parametrize("agent", AGENTS)
@pytest.mark.parametrize("at", [1, 10, 13])
def test_resume_equals_the_uninterrupted_training(agent, at, data, tmp_path):
    """Broken off before, at and after a log: networks, moments, losses and generators agree."""
    whole = agent(data, **TINY).learn(25, log_interval=10)
    noise = torch.rand(3)
    broken = agent(data, **TINY)

    class Save(BaseCallback):
        def _on_rollout_start(self) -> None:
            if self.num_timesteps == at:
                self.model.save_checkpoint(tmp_path / "c")

        def _on_step(self) -> bool:
            return True

    broken.learn(25, callback=Save(), log_interval=10)
    torch.manual_seed(99)
    again = agent(data, **TINY)
    again.load_checkpoint(tmp_path / "c")
    assert again.num_timesteps == at
    again.learn(25 - at, log_interval=10)
    assert_same(whole, again)
    assert again.losses == whole.losses
    assert torch.equal(again._generator.get_state(), whole._generator.get_state())
    assert torch.equal(torch.rand(3), noise)


def test_a_checkpoint_knows_its_dataset(data, tmp_path):
    """Other contents under the same spaces, and other options, are refused."""
    BC(data, **TINY).learn(3).save_checkpoint(tmp_path / "c")
    with pytest.raises(CheckpointError, match="belongs to another dataset: arrays of 200"):
        BC(bandit(150), **TINY).load_checkpoint(tmp_path / "c")
    with pytest.raises(CheckpointError, match="made with learning_rate"):
        BC(data, **TINY, learning_rate=1.0).load_checkpoint(tmp_path / "c")


def test_a_dataset_by_name(tmp_path, monkeypatch):
    """A name and its transitions learn the same; damage may be skipped."""
    data = read_pendulum(tmp_path, monkeypatch)
    assert_same(BC("pendulum/toy-v0", **TINY).learn(5), BC(data, **TINY).learn(5))
    bad = np.full(201, np.nan)[:, None] * np.ones((1, 3))
    pendulum("pendulum/bad-v0", 2, damage={"observations": bad})
    with pytest.raises(DatasetError, match="episode 1: observations"):
        BC("pendulum/bad-v0", **TINY)
    with pytest.warns(RuntimeWarning, match="1 of 2 episodes"):
        BC("pendulum/bad-v0", **TINY, skip_bad_episodes=True)


# ------------------------------------------------------------------ tasks whose answer is known


@pytest.mark.parametrize(
    ("agent", "noise", "options"),
    [(BC, 0.1, {}), (TD3BC, None, {}), (IQL, None, {"beta": 10.0})],
)
def test_all_agents_solve_a_bandit(agent, noise, options):
    """BC from actions near the best, the others from uniform ones.

    Zero has a regret of 0.64 / 3 = 0.21 and uniform actions one of 0.55; 0.005 is an error of 0.07
    where actions span 2.
    """
    model = agent(
        bandit(noise=noise),
        net_arch=(32, 32),
        batch_size=64,
        learning_rate=3e-3,
        seed=0,
        **options,
    )
    assert regret(model.learn(600)) < 0.005
