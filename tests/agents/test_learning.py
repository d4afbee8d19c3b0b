"""Learning runs: the gradient finds a gait, and soft actor-critic beats chance."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from agents.evaluation import evaluate
from agents.optimise import run_optimise
from agents.optimise_options import Optimise
from agents.options import Evaluate
from agents.train_options import TrainSAC
from agents.training import train

pytestmark = pytest.mark.slow

WALKER = "simenv/SoftWalker2D-v0"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_gait_walks(tmp_path: Path, seed: int):
    """With default options the gradient finds a gait that walks 0.3 m within 60 iterations."""
    run = run_optimise(Optimise(WALKER, seed=seed, out=tmp_path / "run"))
    metrics = run.metrics()
    assert len(metrics["iteration"]) == 60
    assert metrics["success_best"][-1] == 1.0
    assert metrics["skipped"][-1] == 0.0
    # It is found by the gradient: the random gaits of the first iteration do not walk.
    assert metrics["success_best"][0] == 0.0


def test_gait_walks_from_other_starts(tmp_path: Path):
    """The gait works from starts that it was not optimised on."""
    run = run_optimise(Optimise(WALKER, iterations=30, out=tmp_path / "run"))
    rows = evaluate(Evaluate((run.path,))).rows
    assert rows["optimise"]["success_rate"] >= 0.75
    assert rows["random"]["success_rate"] == 0.0


def test_soft_actor_critic_beats_chance(tmp_path: Path):
    """After 12,000 steps SAC's mean return lies above random actions' by three standard errors."""
    options = TrainSAC(
        WALKER, steps=12_000, eval_every=4_000, progress_bar=False, out=tmp_path / "run"
    )
    run = train("sac", options)
    rows = evaluate(Evaluate((run.path,), episodes=16)).rows
    gain = rows["sac"]["return_mean"] - rows["random"]["return_mean"]
    error = math.hypot(rows["sac"]["return_std"], rows["random"]["return_std"]) / math.sqrt(16)
    assert gain > 3 * error
    # And it walks: a return of 10 is an advance of some 0.1 m, a third of the goal.
    assert rows["sac"]["return_mean"] > 10.0
