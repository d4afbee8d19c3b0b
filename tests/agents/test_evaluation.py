"""Evaluation: whole episodes count once, and leave the random state of the training alone."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.vec_env import DummyVecEnv

import simenv
from agents.environments import EpisodeMonitor, make_vec
from agents.evaluation import (
    Score,
    evaluate,
    play,
    play_episodes,
    random_actor,
    run_names,
)
from agents.options import Evaluate
from agents.randomness import forked_random
from agents.runs import Run
from simenv.errors import ConfigurationError, RunError

WALKER, SAFE = "simenv/SoftWalker2D-v0", "simenv/SoftWalker2D-Safe-v0"
SEED = 7


class Counter(gymnasium.Env[Any, Any]):
    """Ends after `length` steps; step t rewards t and costs 10 t, and `key` comes true at step 2.

    Args:
        length: steps of an episode.
        key: of the info that tells success; None tells nothing.
        cost: whether to report costs.
        spread: whether observations come as a dictionary.
    """

    action_space = spaces.Box(-1.0, 1.0, (1,))

    def __init__(
        self, length: int, key: str | None = None, cost: bool = False, spread: bool = False
    ) -> None:
        self.length, self.key, self.cost, self.spread = length, key, cost, spread
        box = spaces.Box(-np.inf, np.inf, (1,))
        self.observation_space = spaces.Dict({"start": box}) if spread else box

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.t, self.first = 0, self.np_random.uniform(size=1).astype(np.float32)
        return self._seen(), {}

    def step(self, action):
        self.t += 1
        info: dict[str, Any] = {"cost": 10.0 * self.t} if self.cost else {}
        if self.key is not None:
            info[self.key] = self.t == 2
        return self._seen(), float(self.t), self.t >= self.length, False, info

    def _seen(self):
        return {"start": self.first} if self.spread else self.first


def counters(lengths: tuple[int, ...], **options: Any) -> DummyVecEnv:
    """One counter per length."""
    return DummyVecEnv([lambda n=n: Counter(n, **options) for n in lengths])


def still(observations: Any) -> np.ndarray:
    """Do nothing, with any observations."""
    first = next(iter(observations.values())) if isinstance(observations, dict) else observations
    return np.zeros((len(first), 1), dtype=np.float32)


# ------------------------------------------------------------------------------- scores


def test_row():
    """Means, standard deviations and rates, by hand; an episode at the limit keeps it."""
    returns, success = np.array([1.0, 3.0]), np.array([True, False])
    plain = Score(returns, success, np.array([10, 20]))
    expected = {"return_mean": 2.0, "return_std": 1.0, "success_rate": 0.5, "length_mean": 15.0}
    assert plain.row() == plain.row(cost_limit=1.0) == expected
    safe = Score(returns, success, plain.lengths, np.array([4.0, 8.0]))
    expected |= {"cost_mean": 6.0, "cost_std": 2.0}
    assert safe.row() == expected
    rates = [safe.row(limit)["violation_rate"] for limit in (3.9, 4.0, 8.0)]
    assert rates == [1.0, 0.5, 0.0]


# ------------------------------------------------------------------------------- episodes


@pytest.mark.parametrize("spread", [False, True])
def test_first_episodes_count_whole_and_alone(spread):
    """Episodes of 1 to 5 steps side by side: each is summed to its end and no further."""
    lengths = (3, 1, 5)
    score = play_episodes(counters(lengths, spread=spread), still, SEED)
    assert score.lengths.tolist() == list(lengths)
    assert score.returns.tolist() == [6.0, 1.0, 15.0]
    assert score.costs is None
    assert not score.success.any()


@pytest.mark.parametrize("key", ["success", "is_success"])
def test_success_at_any_step_of_the_first_episode(key):
    """A success midway or at the last step counts; one of a later episode does not."""
    score = play_episodes(counters((4, 2, 1), key=key), still, SEED)
    # The first env has it at its step 2 of 4, the second at its last; the third ends before.
    assert score.success.tolist() == [True, True, False]


def test_success_of_a_later_episode_does_not_count():
    """While the neighbour plays on, successes of the episodes after the first are none."""

    class Late(Counter):
        """Succeeds from the second episode on."""

        episodes = 0

        def reset(self, **options):
            self.episodes += 1
            return super().reset(**options)

        def step(self, action):
            *rest, info = super().step(action)
            return *rest, info | {"success": self.episodes > 1}

    env = DummyVecEnv([lambda: Late(1), lambda: Late(6)])
    assert not play_episodes(env, still, SEED).success.any()


def test_costs():
    """Costs are summed over the episode as the rewards are, with the monitor around or not."""
    for env in (counters((3, 1), cost=True), EpisodeMonitor(counters((3, 1), cost=True))):
        costs = play_episodes(env, still, SEED).costs
        assert costs is not None
        assert costs.tolist() == [60.0, 10.0]


def test_an_endless_episode_is_an_error():
    """Episodes that do not end are given up, by name; those that end at the bound count."""
    assert play_episodes(counters((3, 6)), still, SEED, max_steps=6).lengths.tolist() == [3, 6]
    with pytest.raises(
        ConfigurationError, match=r"episodes \[1\] of .*Counter.* after 5 steps; .*TimeLimit"
    ):
        play_episodes(counters((3, 6)), still, SEED, max_steps=5)


@pytest.mark.parametrize("spread", [False, True])
def test_seeds(spread):
    """Environment i starts as a single one from seed + i, in every call."""
    env, seen = counters((2, 2, 2), spread=spread), []

    def act(observations):
        seen.append(observations["start"] if spread else observations)
        return still(observations)

    for _ in range(2):
        play_episodes(env, act, SEED)
    starts = [Counter(2).reset(seed=SEED + i)[0].item() for i in range(3)]
    assert seen[0][:, 0].tolist() == seen[2][:, 0].tolist() == starts
    assert len(set(starts)) == 3


def drawn() -> tuple[float, float]:
    """One draw from each global generator."""
    return float(torch.rand(())), float(np.random.rand())  # noqa: NPY002


def seed_all(seed: int) -> None:
    """Seed both global generators."""
    torch.manual_seed(seed)
    np.random.seed(seed)  # noqa: NPY002


def test_random_state_is_left_alone():
    """Policies that draw get the seed's draws at any time; the generators outside do not move."""
    draws: list[tuple[float, float]] = []

    def act(observations):
        draws.append(drawn())
        return still(observations)

    for outside, seed in ((1, SEED), (2, SEED), (1, SEED + 1)):
        seed_all(outside)
        expected = drawn()
        seed_all(outside)
        play_episodes(counters((3,)), act, seed)
        assert drawn() == expected
    first, second, other = draws[:3], draws[3:6], draws[6:]
    assert first == second
    assert len({*first, *other}) == 6


def test_random_state_survives_an_error():
    """An error inside does not leave the generators seeded."""
    seed_all(1)
    expected = drawn()
    seed_all(1)
    with pytest.raises(ZeroDivisionError), forked_random(3):
        _ = drawn()[0] / 0
    assert drawn() == expected


def test_random_actor():
    """Uniform within the bounds of the space, repeatable, in the space's type."""
    env = make_vec("Pendulum-v1", 50)
    first, again = (random_actor(env, SEED) for _ in range(2))
    actions = np.concatenate([first(None) for _ in range(20)])
    assert actions.shape == (1000, 1)
    assert actions.dtype == np.float32
    np.testing.assert_array_equal(actions[:50], again(None))
    # Uniform on [-2, 2]: the mean of 1000 has a standard error of 2 / sqrt(3000) = 0.037.
    assert np.abs(actions).max() <= 2.0
    assert abs(actions.mean()) < 4 * 0.037
    assert actions.std() == pytest.approx(2 / np.sqrt(3), rel=0.1)


# ------------------------------------------------------------------------------- tasks


def test_both_ways_to_play_a_task_agree():
    """Native vector environment and functional score the same actions from the same seeds alike."""
    functional, num = simenv.functional(SAFE, num_envs=2), 2
    horizon = functional.task.horizon
    drawn = np.random.default_rng(0).uniform(-1, 1, (horizon, num, functional.task.num_actions))
    actions = torch.as_tensor(drawn, dtype=torch.float32)
    played = play(functional, lambda observation, t: actions[t], SEED)
    queue = iter(actions.numpy())
    stepped = play_episodes(make_vec(SAFE, num), lambda observations: next(queue), SEED)
    # Same kernels on the same states; only the sums round differently.
    np.testing.assert_allclose(stepped.returns, played.returns, rtol=1e-5)
    assert played.costs is not None
    assert stepped.costs is not None
    np.testing.assert_allclose(stepped.costs, played.costs, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(stepped.lengths, played.lengths)
    np.testing.assert_array_equal(stepped.success, played.success)
    assert stepped.lengths.tolist() == [horizon, horizon]
    assert len(set(stepped.returns.tolist())) == num


# ------------------------------------------------------------------------------- the command


class FakeAgent:
    """Swings to the sign of the angular velocity, and counts what it is asked."""

    def __init__(self, device: str) -> None:
        self.device, self.asked = device, 0

    def predict(self, observations, deterministic=False):
        assert deterministic
        self.asked += 1
        return 2.0 * np.sign(observations[:, 2:]).astype(np.float32), None


@pytest.fixture
def loaded(monkeypatch) -> dict[str, FakeAgent]:
    """Agents by the folder that they were loaded from."""
    found: dict[str, FakeAgent] = {}

    def load_agent(run, device):
        return found.setdefault(run.path.name, FakeAgent(device))

    module = ModuleType("agents.training")
    module.load_agent = load_agent  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "agents.training", module)
    return found


@pytest.fixture
def make(tmp_path):
    """Writes the folder of a run on Pendulum."""

    def write(name: str, *, train_cost: float | None = None, **config: Any) -> Path:
        run = Run(tmp_path / name)
        run.path.mkdir(parents=True)
        run.write_json("config.json", {"command": "sac", "id": "Pendulum-v1", **config})
        if train_cost is not None:
            run.write_metrics([{"step": s, "train_cost": train_cost * s} for s in (0, 1)])
        return run.path

    return write


def test_evaluate_plays_the_agent_and_random_actions(make, loaded):
    """Both play the same seeds in environments of their own; the run gets evaluation.json."""
    path = make("run", device="cpu")
    found = evaluate(Evaluate((path,), episodes=3, seed=SEED))
    agent = FakeAgent("cpu")
    expected = play_episodes(make_vec("Pendulum-v1", 3), lambda o: agent.predict(o, True)[0], SEED)
    env = make_vec("Pendulum-v1", 3)
    chance = play_episodes(env, random_actor(env, SEED), SEED)
    assert found.rows == {"sac": expected.row(), "random": chance.row()}
    report = json.loads((path / "evaluation.json").read_text())
    assert report == {"episodes": 3, "seed": SEED, "goals": "run", **found.rows}
    assert loaded["run"].device == "cpu"
    # Pendulum's episodes have 200 steps.
    assert loaded["run"].asked == 200


def test_evaluate_safe_runs(make, loaded):
    """A safe run has costs, the violation rate of its own limit, and the cost of its training."""
    options = {"command": "cal", "cost": "effort"}
    loose = make("loose", cost_limit=201.0, train_cost=12.0, **options)
    tight = make("tight", cost_limit=199.0, **options)
    rows = evaluate(Evaluate((loose, tight), episodes=2)).rows
    # The agent always pushes with full force: a cost of 1 in each of 200 steps.
    assert [rows[name]["cost_mean"] for name in ("loose", "tight")] == [200.0, 200.0]
    assert [rows[name]["violation_rate"] for name in ("loose", "tight")] == [0.0, 1.0]
    assert rows["loose"]["train_cost"] == 12.0
    assert "train_cost" not in rows["tight"]
    assert [name for name in rows if "random" in name] == [
        "random, Pendulum-v1, effort, limit 201",
        "random, Pendulum-v1, effort, limit 199",
    ]


def test_evaluate_averages_runs_of_an_algorithm(make, loaded):
    """Several runs of one algorithm are named by their folders and averaged below."""
    paths = tuple(make(f"seed{i}") for i in range(3))
    found = evaluate(Evaluate((*paths, paths[0]), episodes=1))
    assert list(found.rows) == ["seed0", "seed1", "seed2", "random"]
    assert "sac, Pendulum-v1" in str(found)
    assert all((path / "evaluation.json").is_file() for path in paths)
    # The device is the one asked for, also where the run says another.
    evaluate(Evaluate((make("other", device="cuda:7"),), episodes=1, device="cpu"))
    assert loaded["other"].device == "cpu"


def test_run_names(make):
    """The shortest names that tell runs apart, none of them that of random actions."""

    def names(*paths: Path) -> list[str]:
        return run_names([Run(path) for path in paths])

    sac, flac = make("one/run"), make("two/run", command="flac")
    assert names(sac, flac) == ["sac", "flac"]
    again = make("again")
    assert names(sac, again) == ["run", "again"]
    assert names(sac, make("three/run")) == [str(sac), str(sac.parents[1] / "three/run")]
    random = make("random")
    assert names(again, random) == [str(again), str(random)]


def test_missing_runs_are_found_before_anything_is_played(make, loaded):
    """A wrong folder among several ends the evaluation at once."""
    with pytest.raises(RunError, match="nowhere is no run folder"):
        evaluate(Evaluate((make("run"), Path("nowhere"))))
    assert not loaded
    with pytest.raises(ConfigurationError, match="at least one run folder"):
        Evaluate(())
