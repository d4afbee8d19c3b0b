"""Baselines: saved actions do the task again, random ones do not."""

from __future__ import annotations

import numpy as np
import pytest

import simenv
from agents import baselines
from agents.baselines import SEEDS, at_random, load_baseline, play_out, replaying
from simenv.envs import Functional
from simenv.errors import RunError
from simenv.listing import load_scores
from simenv.registry import FAMILIES

PLAYED = [spec for spec in FAMILIES if spec.suite != "identification"]


@pytest.fixture(scope="module", params=PLAYED, ids=[spec.family for spec in PLAYED])
def played(request):
    """A task with its baseline and the environments that it was made for."""
    spec = request.param
    return spec, load_baseline(spec.id), Functional(spec.id, num_envs=len(SEEDS))


def test_baseline_succeeds_on_every_seed(played):
    """Replayed on its five start states, the baseline does the task and scores what was saved."""
    spec, baseline, functional = played
    assert baseline.actions.shape == (len(SEEDS), spec.horizon, spec.action)
    assert np.abs(baseline.actions).max() <= 1.0
    again = play_out(functional, replaying(functional, baseline))
    assert again.success.all()
    # Another compiler or processor rounds differently, and contact lets that grow: a tenth of the
    # distance between random actions and the baseline is allowed.
    scores = load_scores()[spec.family]
    scale = abs(scores["baseline"]["return_mean"] - scores["random"]["return_mean"])
    np.testing.assert_allclose(again.returns, baseline.returns, rtol=0, atol=0.1 * scale)


def test_random_actions_fail(played):
    """Random actions do not do the task on any of the five seeds."""
    _, _, functional = played
    assert not play_out(functional, at_random(functional)).success.any()


def test_missing_and_damaged_files_are_named(tmp_path, monkeypatch):
    """A missing or damaged file is named together with the command that makes it."""
    monkeypatch.setattr(baselines, "FOLDER", tmp_path)
    task_id = next(iter(simenv.TASKS))
    with pytest.raises(RunError, match=f"does not exist; make it with 'simenv baseline {task_id}'"):
        load_baseline(task_id)
    whole = baselines.Baseline(np.zeros((1, 2, 3)), np.zeros(1), np.ones(1, dtype=bool))
    path = whole.save(task_id)
    for content in (b"not a zip", b"", path.read_bytes()[:-40]):
        path.write_bytes(content)
        with pytest.raises(RunError, match=r"is damaged.*make it again"):
            load_baseline(task_id)


def test_a_baseline_survives_the_file(tmp_path, monkeypatch):
    """What is saved is what is loaded, and nothing else is left behind."""
    monkeypatch.setattr(baselines, "FOLDER", tmp_path / "deep")
    task_id = next(iter(simenv.TASKS))
    rng = np.random.default_rng(0)
    made = baselines.Baseline(rng.random((2, 3, 4)), rng.random(2), np.array([True, False]))
    path = made.save(task_id)
    loaded = load_baseline(task_id)
    for name in ("actions", "returns", "success"):
        np.testing.assert_array_equal(getattr(loaded, name), getattr(made, name))
    assert [p.name for p in path.parent.iterdir()] == [path.name]
