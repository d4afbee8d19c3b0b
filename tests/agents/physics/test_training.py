"""`simenv train shac`, `sapo`, `ild`: run folders, presets, exact resume, what has no gradients."""

from __future__ import annotations

import json
import shutil
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import simenv
from agents import demonstrations
from agents.algorithms import ALGORITHMS
from agents.baselines import load_baseline, replaying
from agents.demonstrations import demonstrate, read_demonstration
from agents.evaluation import evaluate
from agents.options import Evaluate, Record, Resume
from agents.physics import algorithm
from agents.physics.shac import SHAC
from agents.physics.training import build_first_order
from agents.recording import record
from agents.runs import Run
from agents.training import EVALUATION_SEED, build, load_agent, make_trainer, resume, train
from simenv.envs.functional import Functional
from simenv.errors import ConfigurationError, DatasetError
from tests.agents.physics.test_shac import tensors
from tests.agents.signatures import assert_same_defaults

WALKER = "simenv/SoftWalker2D-v0"
TINY = {
    "num_envs": 2,
    "window": 3,
    "net_arch": (8,),
    "critic_arch": (8,),
    "critic_epochs": 1,
    "steps": 12,
    "eval_every": 6,
    "eval_episodes": 1,
    "save_every": 6,
    "progress_bar": False,
}


def options(algorithm: str, out, **changes):
    """Of a run of a few windows of the walker."""
    return ALGORITHMS[algorithm].options(WALKER, **TINY | changes, out=out)


@pytest.mark.parametrize("algorithm", ["shac", "sapo"])
def test_a_run(algorithm, tmp_path):
    """Rows at the start, in the middle and at the end; the agent plays; resumed, it is the same."""
    whole = train(algorithm, options(algorithm, tmp_path / "whole"))
    found = whole.metrics()
    assert found["step"] == [0, 6, 12]
    assert found["episodes"] == [0.0, 0.0, 0.0]
    assert len(found["value_loss"]) == len(found["return_mean"]) == 3
    train(algorithm, options(algorithm, tmp_path / "half", steps=6, final_learning_rate=None))
    other = resume(Resume(tmp_path / "half", steps=12, progress_bar=False))
    straight = train(algorithm, options(algorithm, tmp_path / "straight", final_learning_rate=None))
    assert other.metrics()["return_mean"] == straight.metrics()["return_mean"]
    mine, theirs = (tensors(load_agent(run)) for run in (other, straight))
    assert all((mine[name] == theirs[name]).all() for name in mine)
    assert Run(tmp_path / "whole").config["command"] == algorithm


FINGER = "simenv/FingerReach2D-v0"


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """The finger's baseline, cut to three steps."""
    functional = simenv.functional(FINGER)
    functional.task.horizon = 3
    found = demonstrate(functional, replaying(functional, load_baseline(FINGER)), 0, FINGER)
    return found.save(tmp_path_factory.mktemp("demo") / "finger.npz")


def test_an_imitation(demo, tmp_path):
    """Its first row is that of the clone; resumed, it is the same; it goes for the shown goal."""
    kind = ALGORITHMS["ild"].options
    given = {
        "demo": demo,
        "num_envs": 2,
        "net_arch": (8,),
        "warmup": 2,
        "truncation": 2,
        "final_learning_rate": None,
        "eval_every": 6,
        "eval_episodes": 1,
        "save_every": 6,
        "progress_bar": False,
    }
    whole = train("ild", kind(FINGER, **given, steps=12, out=tmp_path / "whole"))
    found = whole.metrics()
    assert found["step"] == [0, 6, 12]
    assert found["episodes"] == [0.0, 2.0, 4.0]
    assert len(set(found["return_mean"])) > 1
    train("ild", kind(FINGER, **given, steps=6, out=tmp_path / "half"))
    other = resume(Resume(tmp_path / "half", steps=12, progress_bar=False))
    assert other.metrics()["return_mean"][-1] == found["return_mean"][-1]
    mine, theirs = (tensors(load_agent(run)) for run in (whole, other))
    assert all((mine[name] == theirs[name]).all() for name in mine)
    agent, _ = build("ild", kind(FINGER, **given))
    trainer = make_trainer(whole, agent, kind(FINGER, **given), None)
    seen = trainer._environment.reset()
    shown = read_demonstration(demo)
    # Where it starts is drawn, where it is to go is not.
    np.testing.assert_allclose(seen[:, 12:], shown.features[:1, 12:], atol=1e-6)


def test_an_imitator_is_played_as_it_was_trained(demo, tmp_path, monkeypatch):
    """With the shown goal, also when the file is gone; unless the task is to draw goals."""
    file, read = Path(shutil.copy(demo, tmp_path)), []
    shown = read_demonstration(file)
    monkeypatch.setattr(
        demonstrations,
        "read_demonstration",
        lambda path: read.append(path) or read_demonstration(path),
    )
    given = {"num_envs": 2, "net_arch": (8,), "warmup": 2, "steps": 6, "eval_episodes": 2}
    options = ALGORITHMS["ild"].options(
        FINGER, demo=file, **given, progress_bar=False, out=tmp_path / "run"
    )
    run = train("ild", options)
    # By the options, which hand on what they found.
    assert read == [file]
    file.unlink()
    last = {"episodes": 2, "seed": EVALUATION_SEED}
    rows = evaluate(Evaluate((run.path,), **last)).rows
    assert rows["ild"]["return_mean"] == run.metrics()["return_mean"][-1]
    others = evaluate(Evaluate((run.path,), **last, goals="task")).rows
    assert others["ild"]["return_mean"] != rows["ild"]["return_mean"]
    # Random actions are played alike.
    assert others["random"]["return_mean"] != rows["random"]["return_mean"]
    report = json.loads((run.path / "evaluation.json").read_text())
    assert report["goals"] == "task"
    for goals, kept in (("run", True), ("task", False)):
        *_, path = record(Record(run.path, demo=True, width=32, goals=goals))
        assert np.array_equal(read_demonstration(path).goal, shown.goal) is kept


def test_an_imitator_needs_a_demonstration_of_its_task(demo, tmp_path):
    """Otherwise nothing is written."""
    kind, out = ALGORITHMS["ild"].options, tmp_path / "none"
    with pytest.raises(ConfigurationError, match="--demo FILE"):
        train("ild", kind(FINGER, out=out))
    with pytest.raises(DatasetError, match="recorded in simenv/FingerReach2D-v0, not in simenv/S"):
        train("ild", kind(WALKER, demo=demo, out=out))
    with pytest.raises(DatasetError, match="does not exist"):
        train("ild", kind(FINGER, demo=tmp_path / "nowhere.npz", out=out))
    assert not out.exists()


@pytest.mark.parametrize(
    ("task_id", "words"),
    [("Pendulum-v1", "no gradients"), ("simenv/FingerReach2D-Goal-v0", "without '-Goal'")],
)
def test_what_has_no_gradients(task_id, words):
    """Is refused with where to go instead."""
    row = ALGORITHMS["shac"]
    with pytest.raises(ConfigurationError, match=words):
        build_first_order(row.load(), row.options(task_id))


def test_sparse_goals_have_no_gradients():
    """They are refused in Python, too; a dense reward has a slope."""
    make = partial(Functional, FINGER, variant="goal", num_envs=2)
    with pytest.raises(ConfigurationError, match="without '-Goal'"):
        SHAC(make())
    with pytest.raises(ConfigurationError, match="without '-Goal'"):
        SHAC("simenv/FingerReach2D-Goal-v0", num_envs=2)
    assert SHAC(make(reward_type="dense"), window=2, seed=0).iterate()["reward"].requires_grad


def test_evaluations_have_the_tasks_options(monkeypatch):
    """Those of the environment that is learnt in."""
    seen = []
    monkeypatch.setattr(algorithm, "as_vec_env", lambda env, **given: seen.append((env, given)))
    SHAC(FINGER, FINGER, num_envs=2, task_options={"size": "small"})
    assert seen == [(FINGER, {"device": "cpu", "size": "small"})]


@pytest.mark.parametrize(
    ("algorithm", "option"),
    [
        ("shac", {"num_envs": 0}),
        ("shac", {"window": 0}),
        ("shac", {"gamma": 0.0}),
        ("shac", {"learning_rate": 0.0}),
        ("shac", {"final_learning_rate": 0.0}),
        ("shac", {"max_grad_norm": 0.0}),
        ("shac", {"reward_scale": float("inf")}),
        ("shac", {"clip_adjoint": -1.0}),
        ("shac", {"net_arch": ()}),
        ("shac", {"critic_arch": (0,)}),
        ("shac", {"critic_epochs": 0}),
        ("shac", {"critic_batches": 0}),
        ("shac", {"td_lambda": 2.0}),
        ("shac", {"critic_learning_rate": 0.0}),
        ("shac", {"target_share": 1.0}),
        ("shac", {"initial_std": 0.0}),
        ("shac", {"cost": "effort"}),
        ("sapo", {"initial_temperature": 0.0}),
        ("sapo", {"temperature_learning_rate": -1.0}),
        ("sapo", {"target_entropy": 0.5}),
        ("sapo", {"weight_decay": -0.1}),
        ("ild", {"truncation": -1}),
        ("ild", {"warmup": -1}),
        ("ild", {"kappa": -1.0}),
        ("ild", {"reverse_discount": 0.0}),
        ("ild", {"state_weight": -1.0}),
        ("ild", {"action_weight": -1.0}),
        ("ild", {"entropy_weight": float("inf")}),
        ("ild", {"clip_action": -1.0}),
        ("ild", {"initial_std": 0.0}),
    ],
)
def test_options_outside_their_bounds(algorithm, option):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        ALGORITHMS[algorithm].options(WALKER, **option)


@pytest.mark.parametrize("algorithm", ["shac", "sapo", "ild"])
def test_defaults_are_those_of_the_class(algorithm):
    """An option that is left out means the same in Python and on the command line."""
    other = ("task_options", "demonstration")
    assert_same_defaults(algorithm, ALGORITHMS[algorithm].options(WALKER), *other)
