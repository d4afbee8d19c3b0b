"""Making datasets: what every split holds, the same data again, and after an interruption."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict

import gymnasium
import minari
import numpy as np
import pytest
import torch

from agents.algorithms import ALGORITHMS
from agents.datasets import check, experts, known_reference, making
from agents.datasets.collection import LOG_PROB
from agents.datasets.experts import expert_options, half_way, half_way_step
from agents.datasets.names import read_metadata
from agents.environments import make_vec
from agents.options import MakeDataset
from agents.runs import Run
from agents.train_options import TrainSAC
from agents.training import load_agent, train
from simenv.errors import ConfigurationError, DatasetError, RunError, UnknownTaskError
from tests.agents.datasets.conftest import TRAINING
from tests.agents.datasets.line import GOAL, HORIZON, LINE, Line
from tests.agents.datasets.made import content, equal, expert_run, make

WALKER = "simenv/SoftWalker2D-Safe-v0"
LIMITS = np.log(4.0)
"""Logarithm of the width of the toy's actions."""


# ------------------------------------------------------------------------------- splits


def test_random(split):
    """Uniform actions with their density, whole episodes, and no more of them than needed."""
    name = split("random")
    assert name == "toy/line/random-v0"
    dataset, episodes = minari.load_dataset(name), content(name)
    lengths = [len(e["rewards"]) for e in episodes]
    assert sum(lengths) == dataset.total_steps >= 150 > sum(lengths[:-1])
    actions = np.concatenate([e["actions"] for e in episodes])
    # Mean 0 and variance (4²)/12 of the uniform distribution, within four standard errors.
    error = 4.0 / np.sqrt(len(actions))
    assert abs(actions.mean()) < error * np.sqrt(16 / 12)
    assert actions.var() == pytest.approx(16 / 12, rel=error)
    assert all((e[LOG_PROB][1:] == -LIMITS).all() and e[LOG_PROB][0] == 0 for e in episodes)


def test_episodes_are_those_of_the_environment(split):
    """Replayed from its seed, every episode shows the same observations, rewards, costs and end."""
    name = split("random")
    dataset = minari.load_dataset(name)
    env = dataset.recover_environment()
    assert env.spec.id == LINE
    told = list(dataset.storage.get_episode_metadata(dataset.episode_indices))
    assert len({row["seed"] for row in told}) == len(told)
    for row, episode in zip(told, dataset, strict=True):
        seen, info = env.reset(seed=row["seed"])
        assert np.array_equal(seen, episode.observations[0])
        assert episode.infos["cost"][0] == info["cost"]
        for t, action in enumerate(episode.actions):
            seen, reward, terminated, truncated, info = env.step(action)
            assert np.array_equal(seen, episode.observations[t + 1])
            assert (reward, info["cost"]) == (episode.rewards[t], episode.infos["cost"][t + 1])
            assert info["is_success"] == episode.infos["success"][t + 1]
            assert (terminated, truncated) == (episode.terminations[t], episode.truncations[t])
        assert terminated or truncated


def test_expert(split):
    """Sampled actions of the trained agent, with their density in the environment's units."""
    episodes = content(split("expert"))
    ends = [e["terminations"][-1] for e in episodes]
    assert np.mean(ends) > 0.5
    assert all(e["observations"][-1, 0] >= GOAL for e in episodes if e["terminations"][-1])
    assert all(len(e["rewards"]) == HORIZON for e in episodes if e["truncations"][-1])
    actions = np.concatenate([e["actions"] for e in episodes])
    assert len(np.unique(actions)) > 0.9 * len(actions)
    about = read_metadata(split("expert"))
    assert about["algorithm_name"] == f"sampled actions of sac at step {TRAINING['steps']}"
    assert about["simenv"]["reference"]["by"].startswith("sac, step-0000000800")


def test_densities(root, split):
    """The density kept is that of the agent that acted, at the action taken, per unit of it."""
    episode = content(split("expert"))[0]
    agent = load_agent(expert_run(root))
    seen = torch.as_tensor(episode["observations"][:-1], dtype=torch.float32)
    with torch.no_grad():
        found = agent.log_prob(seen, torch.as_tensor(episode["actions"]) / 2)[:, 0].numpy()
    # The density of an action is found again through atanh, which loses digits near the bounds.
    inside = np.abs(episode["actions"][:, 0]) < 1.9
    assert np.allclose(found[inside] - np.log(2), episode[LOG_PROB][1:][inside], atol=1e-2)


def test_medium(root, split):
    """The same training, cut off at the first evaluation half-way from random to the end."""
    random = read_metadata(split("random"))["simenv"]["reference"]["random"]
    about = read_metadata(split("medium"))["simenv"]["parts"]["medium"]["run"]
    metrics = expert_run(root).metrics()
    row = metrics["step"].index(about["steps"])
    half = (random + metrics["return_mean"][-1]) / 2
    assert all(r < half for r in metrics["return_mean"][1:row])
    assert metrics["return_mean"][row] >= half
    # To the last bit: it is the very same agent.
    assert about["return"] == metrics["return_mean"][row]
    assert 0 < about["steps"] < TRAINING["steps"]


def test_splits_are_ordered(split):
    """Medium lies between random and expert."""
    names = ("random", "medium", "expert")
    means = [read_metadata(split(n))["simenv"]["statistics"]["return"]["mean"] for n in names]
    assert means[0] < means[1] < means[2]


def test_medium_replay(root, split):
    """What the half-way agent had seen, in order, each transition once."""
    name = split("medium-replay")
    about = read_metadata(name)["simenv"]["parts"]["replay"]["run"]
    episodes = content(name)
    assert sum(len(e["rewards"]) for e in episodes) == about["steps"]
    for e in episodes:
        # Positions follow from the actions: nothing was cut or joined wrongly.
        way = np.diff(e["observations"][:, 0])
        assert np.allclose(way, 0.1 * e["actions"][:, 0], atol=1e-6)
        assert np.allclose(10 * way, e["rewards"], atol=1e-5)
        assert e["terminations"][-1] == (e["observations"][-1, 0] >= GOAL)
        assert e["truncations"][-1] != e["terminations"][-1]
    unfinished = [e for e in episodes if e["truncations"][-1] and len(e["rewards"]) < HORIZON]
    assert len(unfinished) <= TRAINING["num_envs"]


def test_newest_of_a_replay(root, split):
    """Asked for fewer, the newest whole episodes are taken."""
    whole = content(split("medium-replay"))
    newest = content(make("medium-replay", root, transitions=30, version=1))
    steps = [len(e["rewards"]) for e in newest]
    assert sum(steps) >= 30 > sum(steps[1:])
    assert np.array_equal(newest[-1]["observations"], whole[-1]["observations"])
    assert equal(newest, whole[-len(newest) :])


def test_medium_expert(split):
    """Equal halves, which are the first halves of the two splits, and every episode says which."""
    name = split("medium-expert")
    dataset, both = minari.load_dataset(name), content(name)
    told = [m["behaviour"] for m in dataset.storage.get_episode_metadata(dataset.episode_indices)]
    count = told.count("medium")
    assert told == ["medium"] * count + ["expert"] * (len(told) - count)
    for half, which in ((both[:count], "medium"), (both[count:], "expert")):
        assert equal(half, content(split(which))[: len(half)])
        lengths = [len(e["rewards"]) for e in half]
        assert sum(lengths) >= 75 > sum(lengths[:-1])


def test_a_given_policy(root, tmp_path):
    """A finished run of `simenv train` is an expert too; one of another environment is refused."""
    options = TrainSAC(LINE, **TRAINING | {"steps": 400}, out=tmp_path / "run", progress_bar=False)
    run = train("sac", options)
    name = make("expert", root, policy=run.path, version=7)
    assert read_metadata(name)["simenv"]["parts"]["expert"]["run"]["steps"] == 400
    with pytest.raises(DatasetError, match=r"learnt with id 'toy/Line-v1', not 'Pendulum-v1'"):
        make("expert", root, "Pendulum-v1", policy=run.path)
    run.write_json("config.json", {**run.config, "steps": 500})
    with pytest.raises(DatasetError, match=r"is not finished; 'simenv train --resume"):
        make("expert", root, policy=run.path, version=8)
    with pytest.raises(RunError, match="no run folder"):
        make("expert", root, policy=tmp_path / "nowhere", version=8)


@pytest.fixture(scope="module")
def offline_runs():
    """Runs that have been trained already, by algorithm."""
    return {}


@pytest.fixture
def offline_run(split, offline_runs, tmp_path_factory):
    """Function that gives a run which learnt from the expert's data, for a second."""

    def find(algorithm: str) -> Run:
        if algorithm not in offline_runs:
            kind = ALGORITHMS[algorithm].options
            given = {"steps": 400, "eval_every": 400, "learning_rate": 3e-3, "net_arch": (16,)}
            out = tmp_path_factory.mktemp(algorithm)
            options = kind(dataset=split("expert"), **given, out=out, progress_bar=False)
            offline_runs[algorithm] = train(algorithm, options)
        return offline_runs[algorithm]

    return find


@pytest.mark.parametrize(("algorithm", "sampled"), [("bc", False), ("iql", True)])
def test_policies_that_learnt_offline(root, offline_run, algorithm, sampled):
    """They act as `predict` says, sampled where they can be, without a density, and again so."""
    run = offline_run(algorithm)
    version = 60 + sampled
    names = [make("expert", root, policy=run.path, version=v) for v in (version, version + 2)]
    episodes = content(names[0])
    assert check(names[0]) == []
    assert equal(episodes, content(names[1]))
    assert not any(LOG_PROB in episode for episode in episodes)
    agent = load_agent(run)
    for episode in episodes:
        means = agent.predict(episode["observations"][:-1], deterministic=True)[0]
        # Rows of a matrix product may differ in the last bits with the number of rows.
        assert np.allclose(episode["actions"], means, atol=1e-5) != sampled


@pytest.mark.parametrize("which", ["medium", "medium-replay", "medium-expert"])
def test_policies_without_a_half_way(root, offline_run, which, monkeypatch):
    """What learns on a schedule, or has no replay, gives experts alone: said before all else."""
    run, before = offline_run("iql"), sorted(root.rglob("*"))
    monkeypatch.setattr(making, "reference", None)
    with pytest.raises(DatasetError, match=f"run of iql.*no half-way for --split {which}"):
        make(which, root, policy=run.path, version=70)
    assert sorted(root.rglob("*")) == before


def test_costs_of_a_simenv_task(fresh_root):
    """Costs survive Minari's files: per step, by name, and in the statistics."""
    name = make("random", fresh_root, WALKER, transitions=160, num_envs=2)
    assert name == "simenv/SoftWalker2D-Safe/random-v0"
    assert check(name) == []
    dataset = minari.load_dataset(name)
    assert dataset.recover_environment().spec.id == WALKER
    totals = []
    for episode in dataset:
        cost, parts = episode.infos["cost"], episode.infos["costs"]
        assert cost.shape == (len(episode) + 1,)
        assert (cost >= 0).all()
        assert np.array_equal(cost, sum(parts.values()))
        assert episode.infos["success"].dtype == bool
        totals.append(cost.sum())
    about = read_metadata(name)["simenv"]
    assert about["statistics"]["cost"]["mean"] == pytest.approx(np.mean(totals))
    assert about["reference"] == asdict(known_reference(WALKER))


def test_episodes_of_a_simenv_task(fresh_root):
    """An episode from the vector environment is that of the single environment of the same seed."""
    name = make("random", fresh_root, WALKER, transitions=160, num_envs=2)
    dataset = minari.load_dataset(name)
    env = dataset.recover_environment()
    episode, told = dataset[1], next(iter(dataset.storage.get_episode_metadata([1])))
    seen, _ = env.reset(seed=told["seed"])
    assert np.array_equal(seen, episode.observations[0])
    for t in range(10):
        seen, reward, _, _, _ = env.step(episode.actions[t])
        assert np.array_equal(seen, episode.observations[t + 1])
        # One environment sums its particles in another order than several side by side.
        assert reward == pytest.approx(episode.rewards[t], abs=1e-6)


def test_dictionaries_of_a_goal_task(fresh_root):
    """Dictionary observations come back as dictionaries, T + 1 of each part; who learns is said."""
    task_id = "simenv/FingerReach2D-Goal-v0"
    with pytest.warns(RuntimeWarning, match=f"{task_id} are dictionaries, from which no agent"):
        name = make("random", fresh_root, task_id, transitions=30, num_envs=2)
    assert check(name) == []
    episode = minari.load_dataset(name)[0]
    assert set(episode.observations) == {"observation", "achieved_goal", "desired_goal"}
    assert all(len(part) == len(episode) + 1 for part in episode.observations.values())


# ------------------------------------------------------------------------------- mistakes


def test_a_dataset_is_not_overwritten(root, split):
    """A name that is taken is refused, with the way out."""
    name = split("random")
    before = (root / name / "data" / "main_data.hdf5").read_bytes()
    with pytest.raises(DatasetError, match=r"already.*--version"):
        make("random", root)
    assert (root / name / "data" / "main_data.hdf5").read_bytes() == before


def test_unknown_ids_write_nothing(fresh_root):
    """An unknown id is answered before anything is written."""
    with pytest.raises(UnknownTaskError):
        make("random", fresh_root, "simenv/SoftWalker-v0")
    assert not fresh_root.exists()


def test_environments_without_a_name_are_refused(fresh_root):
    """An environment that no file can name could not be made again from the dataset."""
    gymnasium.register("toy/Class-v0", entry_point=Line, max_episode_steps=3)
    with pytest.raises(ConfigurationError, match=r"toy/Class-v0 cannot be named.*'module:Class'"):
        make("random", fresh_root, "toy/Class-v0")
    del gymnasium.registry["toy/Class-v0"]
    assert not fresh_root.exists()


def test_discrete_actions_are_refused(fresh_root):
    """Datasets are of continuous actions; nothing is written."""
    with pytest.raises(ConfigurationError, match=r"CartPole-v1 is Discrete.*Box"):
        make("random", fresh_root, "CartPole-v1")
    assert not fresh_root.exists()


def test_a_missing_package_is_named(fresh_root, monkeypatch):
    """MuJoCo, with the pin of the project's extra, before anything is written."""
    monkeypatch.setitem(sys.modules, "mujoco", None)
    for name in [name for name in sys.modules if name.startswith("gymnasium.envs.mujoco")]:
        monkeypatch.delitem(sys.modules, name)
    for begin in (lambda: make("random", fresh_root, "Hopper-v5"), lambda: make_vec("Hopper-v5")):
        with pytest.raises(ConfigurationError, match=r"Hopper-v5 .*-c constraints.txt '.\[mujoco"):
            begin()
    assert not fresh_root.exists()


def test_an_expert_that_has_learnt_nothing(tmp_path):
    """There is no half-way to an expert that is no better than chance."""
    run = Run(tmp_path)
    run.write_metrics([{"step": 0.0, "return_mean": 5.0}, {"step": 8.0, "return_mean": -9.0}])
    with pytest.raises(DatasetError, match=r"returns -9, no more than random actions \(-9\)"):
        half_way_step(run, -9.0)


def test_half_way(tmp_path):
    """The first evaluation that reaches it, the untrained agent's apart."""
    run, rows = Run(tmp_path), {0: 9.0, 10: 1.0, 20: 5.0, 30: 4.0, 40: 9.0}
    run.write_metrics([{"step": float(s), "return_mean": r} for s, r in rows.items()])
    assert half_way_step(run, 1.0) == 20
    assert half_way_step(run, 2.0) == 40


def test_half_way_needs_a_constant_step_size(tmp_path):
    """An expert whose step size fell with its length has no half-way on its own way."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    (run.path / "config.json").write_text(json.dumps({"final_learning_rate": 1e-4}))
    with pytest.raises(DatasetError, match="fell with the length"):
        half_way(run, 0.0, progress_bar=False)


def test_experts_have_a_constant_step_size(monkeypatch):
    """Presets with a final step size are for the best result; a half-way needs a constant one."""
    falling = {"final_learning_rate": 1e-5}
    monkeypatch.setattr(experts, "preset", lambda algorithm, task_id: falling)
    assert expert_options(MakeDataset(LINE, "expert")).final_learning_rate is None
