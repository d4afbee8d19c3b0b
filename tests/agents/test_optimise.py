"""`simenv optimise`: every method leaves a run that plays; wrong mixtures are refused."""

from __future__ import annotations

from typing import get_args

import pytest

import simenv
from agents.controllers import load_controller
from agents.evaluation import play
from agents.optimise import run_optimise
from agents.optimise_options import GRADIENT, Method, Optimise, Sampling
from agents.recording import FRESH, start_of
from agents.runs import Run
from agents.schemes import Schemes
from agents.trajopt.gradient import DESCENTS
from agents.trajopt.methods import SAMPLERS, settings_of
from simenv.errors import ConfigurationError, RunError

ROPE = "simenv/RopePush-v0"


def played(run: Run, seed: int) -> float:
    """Return of a run's controller from a start."""
    functional = simenv.functional(ROPE)
    return float(play(functional, load_controller(run, functional), seed).returns[0])


def test_the_options_offer_every_method():
    """And every setting that a sampler has."""
    assert set(get_args(Method)) == {*DESCENTS, *SAMPLERS}
    assert set(GRADIENT) == set(DESCENTS)
    known = set().union(*map(settings_of, SAMPLERS.values()))
    # Population and the length of a search have flags of their own; bounds give CBO its middle.
    assert set(Sampling.__dataclass_fields__) == known - {
        "population",
        "iterations",
        "initial_mean",
    }


@pytest.mark.parametrize("method", get_args(Method))
def test_every_method_leaves_a_run_that_plays(method, tmp_path):
    """The best parameters earn what the run says; simulated steps are counted."""
    options = Optimise(
        ROPE, method, "plan", knots=3, iterations=2, population=3, seed=4, out=tmp_path / "run"
    )
    if method in ("cem", "icem"):
        options = Optimise(**{**vars(options), "sampling": Sampling(elites=1)})
    run = run_optimise(options)
    found, horizon = run.metrics(), simenv.TASKS[ROPE].horizon
    assert len(found["iteration"]) == 2
    # What a sampler's last population teaches is one rollout more.
    assert found["step"][1] == 2 * found["step"][0] + (0 if method in GRADIENT else horizon)
    assert found["step"][0] % horizon == 0
    windows = {"adam": 20, "lbfgs": 0}
    assert run.config["schemes"]["window"] == windows.get(method)
    # Actions of one set instead of several round differently; contact amplifies that.
    assert played(run, 4) == pytest.approx(found["return_best"][-1], rel=1e-2)
    assert start_of(run) == 4


def test_a_receding_horizon_leaves_its_actions(tmp_path):
    """Played again from the same start they earn the same to the last bit."""
    options = Optimise(
        ROPE,
        "cem",
        iterations=1,
        population=4,
        receding=2,
        sampling=Sampling(elites=2),
        seed=3,
        out=tmp_path / "run",
    )
    run = run_optimise(options)
    found = run.metrics()
    horizon = simenv.TASKS[ROPE].horizon
    # Plans of two steps, but for the last step of the episode.
    assert found["step"][-1] == 4 * (2 * (horizon - 1) + 1)
    assert played(run, 3) == found["return_so_far"][-1]
    assert run.config["policy"] == "plan"
    # What an episode has earned halfway is no best of anything.
    assert "return_best" not in found


def test_softness_is_for_gradients_alone(tmp_path):
    """What a soft search finds is judged where contact is hard: there it earns what is said."""
    options = Optimise(
        ROPE,
        "adam",
        "plan",
        knots=3,
        iterations=2,
        population=1,
        schemes=Schemes(softness=100.0, window=0),
        seed=4,
        out=tmp_path / "run",
    )
    run = run_optimise(options)
    assert played(run, 4) == pytest.approx(run.metrics()["return_best"][-1], rel=1e-4)
    assert run.metrics()["step"][0] == 2 * simenv.TASKS[ROPE].horizon


def test_beginning_where_another_run_ended(tmp_path):
    """The first iteration is as good as the other's best; another policy's run is refused."""
    first = run_optimise(Optimise(ROPE, "cem", "plan", 3, 1, 10, seed=4, out=tmp_path / "a"))
    best = first.metrics()["return_best"][-1]
    for method, population in (("adam", 2), ("cmaes", 4)):
        options = Optimise(
            ROPE,
            method,
            "plan",
            3,
            1,
            population,
            seed=4,
            initial=first.path,
            out=tmp_path / method,
        )
        begun = run_optimise(options).metrics()["return_best"][0]
        assert begun >= best - 1e-2 * abs(best)
    with pytest.raises(RunError, match="holds no open-loop"):
        run_optimise(Optimise(ROPE, "adam", "open-loop", 3, initial=first.path))
    with pytest.raises(RunError, match="shapes"):
        run_optimise(
            Optimise(ROPE, "adam", "plan", 4, 1, 2, initial=first.path, out=tmp_path / "c")
        )
    assert not (tmp_path / "c").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "adam", "receding": 5}, "receding = 5 wants a method that samples"),
        ({"method": "lbfgs", "sampling": Sampling(elites=3)}, "elites"),
        ({"method": "cem", "schemes": Schemes(window=5)}, "window"),
        ({"method": "cem", "schemes": Schemes(softness=5.0)}, "softness"),
        ({"method": "cem", "receding": 5, "policy": "feedback"}, "feedback"),
        ({"method": "cem", "receding": 5, "knots": 4}, "knots = 4"),
        ({"method": "icem", "sampling": Sampling(decay=1.5)}, "decay = 1.5 .* receding"),
        (
            {"method": "icem", "receding": 5, "iterations": 1, "sampling": Sampling(decay=1.5)},
            "decay = 1.5 .* are 5 and 1",
        ),
        ({"method": "cem", "schemes": Schemes(window=20)}, "window"),
        ({"method": "cem", "iterations": 0}, "iterations = 0"),
        ({"method": "cem", "learning_rate": 0.5}, "learning_rate = 0.5 .* cem uses none"),
        (
            {"method": "icem", "receding": 5, "schemes": Schemes(keep_best=False)},
            "keep_best or not; leave it out",
        ),
        ({"method": "cem", "population": 0}, "population = 0"),
    ],
)
def test_mixtures_that_mean_nothing_are_refused(options, words):
    """Before anything is written."""
    with pytest.raises(ConfigurationError, match=words):
        Optimise(ROPE, **options)


def test_knots_of_a_gait_are_refused(tmp_path):
    """By number, before anything is written."""
    with pytest.raises(ConfigurationError, match="knots = 4: a gait has none"):
        run_optimise(Optimise(ROPE, knots=4, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_frozen_gait_is_refused(tmp_path):
    """Before anything is written."""
    with pytest.raises(ConfigurationError, match=r"freeze = 5 .* Gait"):
        run_optimise(Optimise(ROPE, schemes=Schemes(loss_start=9, freeze=5), out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_where_an_episode_is_shown_from(tmp_path):
    """A gait is shown from a start that it has not seen."""
    run = run_optimise(Optimise(ROPE, iterations=1, population=1, out=tmp_path / "run"))
    assert start_of(run) == FRESH
