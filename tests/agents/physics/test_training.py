"""`simenv train shac` and `sapo`: run folders, presets, exact resume, and what has no gradients."""

from __future__ import annotations

import pytest

from agents.algorithms import ALGORITHMS
from agents.options import Resume
from agents.physics.training import build_first_order
from agents.runs import Run
from agents.training import load_agent, resume, train
from simenv.errors import ConfigurationError
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


@pytest.mark.parametrize(
    ("task_id", "words"),
    [("Pendulum-v1", "no gradients"), ("simenv/FingerReach2D-Goal-v0", "without '-Goal'")],
)
def test_what_has_no_gradients(task_id, words):
    """Is refused with where to go instead."""
    row = ALGORITHMS["shac"]
    with pytest.raises(ConfigurationError, match=words):
        build_first_order(row.load(), row.options(task_id))


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
    ],
)
def test_options_outside_their_bounds(algorithm, option):
    """Each is refused by name."""
    with pytest.raises(ConfigurationError, match=next(iter(option))):
        ALGORITHMS[algorithm].options(WALKER, **option)


@pytest.mark.parametrize("algorithm", ["shac", "sapo"])
def test_defaults_are_those_of_the_class(algorithm):
    """An option that is left out means the same in Python and on the command line."""
    assert_same_defaults(algorithm, ALGORITHMS[algorithm].options(WALKER), "task_options")
