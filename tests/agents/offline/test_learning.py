"""Learning runs: implicit Q-learning gets the expert out of worse data, cloning does not."""

from __future__ import annotations

import pytest

from agents.runs import Run
from benchmarks import offline_pendulum

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", ["medium", "medium-expert", "mixed"])
def test_iql_finds_the_expert_in_worse_data(name, tmp_path, monkeypatch):
    """On every set IQL scores 90 at least, and more than cloning."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    dataset = offline_pendulum.make_set(name)
    iql, bc = (offline_pendulum.score(agent, dataset, 0, tmp_path) for agent in ("iql", "bc"))
    assert iql >= 90
    assert bc < iql
    assert Run(tmp_path / f"pendulum-{name}-v0-iql-0").config["reference"] == [-1217.0, -143.0]
