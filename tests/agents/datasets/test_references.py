"""Normalised scores, and the returns behind them."""

from __future__ import annotations

import json

import gymnasium
import minari
import numpy as np
import pytest

from agents.datasets import known_reference, making, normalized_score
from agents.datasets.names import dataset_name, environment_name, local_names, work
from agents.datasets.references import COMMITTED, MEASURED
from agents.options import MakeDataset
from simenv.errors import DatasetError
from simenv.listing import load_scores
from simenv.registry import TASKS
from tests.agents.datasets.line import LINE

WALKER = "simenv/SoftWalker2D-v0"


def test_zero_and_a_hundred(fresh_root):
    """Random actions score 0, the expert 100, half-way 50, whatever the shape."""
    known = known_reference(WALKER)
    middle = (known.random + known.expert) / 2
    scores = normalized_score(WALKER, np.array([[known.random, middle], [known.expert, 0.0]]))
    assert scores.shape == (2, 2)
    assert scores[0].tolist() == pytest.approx([0.0, 50.0])
    assert scores[1, 0] == pytest.approx(100.0)
    assert isinstance(normalized_score(WALKER, 0.0), float)
    assert not fresh_root.exists()


def test_scores_of_the_tasks(fresh_root):
    """simenv's small tasks have references from the table; other sizes and goals do not."""
    for task_id, spec in TASKS.items():
        known = known_reference(task_id)
        if spec.variant == "goal":
            assert known is None
            continue
        rows = load_scores()[spec.family]
        assert known.random == rows["random"]["return_mean"]
        assert known.expert == rows["baseline"]["return_mean"]
        assert known.expert > known.random
    assert known_reference(WALKER, "full") is None


def test_committed_references():
    """The committed ones are of registered ids, with experts above chance, from 100 episodes."""
    for key, row in json.loads(COMMITTED.read_text()).items():
        assert key.split()[0] in gymnasium.registry
        assert row["expert"] > row["random"]
        assert row["episodes"] >= 100


def test_unknown_references(fresh_root):
    """Without an expert there is no scale: said with the way to get one."""
    making.make(MakeDataset(LINE, "random", 30, num_envs=2, progress_bar=False))
    for asked in (LINE, "toy/line/random-v0", minari.load_dataset("toy/line/random-v0")):
        with pytest.raises(DatasetError, match="--split expert"):
            normalized_score(asked, 0.0)


def test_measured_references(fresh_root):
    """An expert measured later serves datasets made before; Minari's own function agrees."""
    making.make(MakeDataset(LINE, "random", 30, num_envs=2, progress_bar=False))
    making.make(MakeDataset(LINE, "expert", 30, num_envs=2, progress_bar=False))
    row = json.loads(work(MEASURED).read_text())[LINE]
    known = known_reference(LINE)
    assert (row["random"], row["expert"]) == (known.random, known.expert)
    # The toy's reward is ten times the way: chance goes nowhere, an expert at least from 0.1 to 1.
    assert abs(known.random) < 4.0
    assert known.expert > 8.0
    returns = np.array([0.0, 5.0, 12.0])
    expected = 100 * (returns - known.random) / (known.expert - known.random)
    dataset = minari.load_dataset("toy/line/expert-v0")
    assert 100 * minari.get_normalized_score(dataset, returns) == pytest.approx(expected)
    for asked in (LINE, "toy/line/random-v0", dataset):
        assert normalized_score(asked, returns) == pytest.approx(expected)


def test_unknown_names(fresh_root):
    """Neither an id nor a dataset."""
    with pytest.raises(DatasetError, match="no dataset 'Pendulum'"):
        normalized_score("Pendulum", 0.0)


@pytest.mark.parametrize(
    ("task_id", "size", "name"),
    [
        (WALKER, "small", "simenv/SoftWalker2D/medium-v0"),
        (WALKER, "full", "simenv/SoftWalker2D-full/medium-v0"),
        ("simenv/SoftWalker2D-Safe-v0", "small", "simenv/SoftWalker2D-Safe/medium-v0"),
        ("Pendulum-v1", "small", "pendulum/medium-v0"),
        ("Hopper-v5", "small", "hopper/medium-v0"),
        ("ALE/Pong.x-v5", "small", "ale/pong-x/medium-v0"),
    ],
)
def test_names(task_id, size, name):
    """Ids without their version, as Minari takes them."""
    assert dataset_name(task_id, "medium", size) == name
    namespace, dataset, version = minari.dataset.minari_dataset.parse_dataset_id(name)
    assert (namespace, dataset, version) == (environment_name(task_id, size), "medium", 0)


def test_local_names_are_those_of_minari(fresh_root):
    """Work in the hidden folder is no dataset."""
    making.make(MakeDataset(LINE, "random", 30, num_envs=2, progress_bar=False))
    assert work().is_dir()
    assert local_names() == list(minari.list_local_datasets()) == ["toy/line/random-v0"]
