"""Replays as episodes: order, cuts, units and costs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from agents.algorithms import ALGORITHMS
from agents.datasets.replays import replay_episodes
from agents.runs import Run
from agents.training import train
from simenv.errors import DatasetError
from tests.agents.datasets.conftest import TRAINING
from tests.agents.datasets.line import GOAL, HORIZON, LINE, Line

SPACE = Line.action_space
ENVS = TRAINING["num_envs"]


def trained(out: Path, algorithm: str = "sac", **changes) -> Run:
    """A short run in the toy."""
    given = TRAINING | {"steps": 200, "progress_bar": False} | changes
    return train(algorithm, ALGORITHMS[algorithm].options(LINE, **given, out=out))


def test_a_ring_that_has_wrapped(tmp_path):
    """The newest transitions, each once; only the oldest episodes begin in their middle."""
    run = trained(tmp_path / "run", buffer_size=15 * ENVS)
    episodes = replay_episodes(run, SPACE, newest=None, costs=False)
    assert sum(map(len, episodes)) == 15 * ENVS
    fresh = [abs(e.observations[0, 0]) <= 0.1 and e.observations[0, 1] == 0 for e in episodes]
    assert 0 < fresh.count(False) <= ENVS
    # They are in the order in which they begin, and what was cut began first.
    assert fresh == sorted(fresh)
    for e in episodes:
        way = np.diff(e.observations[:, 0])
        # Positions are float32 there.
        assert np.allclose(way, 0.1 * e.actions[:, 0], atol=1e-6)
        counts = np.diff(e.observations[:, 1]) * HORIZON
        assert np.allclose(counts, 1.0, atol=1e-5)
        assert e.terminated == (e.observations[-1, 0] >= GOAL)


def test_costs(tmp_path):
    """A safe agent's replay has the costs, entry t + 1 for step t; SAC's has none."""
    run = trained(tmp_path / "safe", "saclag", steps=40, cost_limit=5.0)
    for episode in replay_episodes(run, SPACE, newest=None, costs=True):
        assert episode.infos["cost"][0] == 0
        expected = np.abs(episode.actions[:, 0])
        assert np.allclose(episode.infos["cost"][1:], expected, atol=1e-6)
    run = trained(tmp_path / "plain", steps=40)
    with pytest.raises(DatasetError, match=r"keeps no costs.*--algorithm saclag"):
        replay_episodes(run, SPACE, newest=None, costs=True)


def test_an_empty_replay(tmp_path):
    """Nothing to cut: said so."""
    run = trained(tmp_path / "run", steps=ENVS)
    run.forget_after(0)
    with pytest.raises(DatasetError, match="holds no transition"):
        replay_episodes(run, SPACE, newest=None, costs=False)
