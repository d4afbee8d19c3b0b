"""Searches on a problem with a known answer: what they find, keep to, count and say."""

from __future__ import annotations

import math

import pytest
import torch

from agents.identification import METHODS, Result, identify, starting_values
from simenv.errors import ConfigurationError, ShapeError, SimenvError
from tests.agents.identification.decay import Decay

ITERATIONS = {"adam": 60, "lbfgs": 60, "cmaes": 30, "cbo": 30}
ACCURATE = {"adam": 0.05, "lbfgs": 1e-5, "cmaes": 0.02, "cbo": 0.02}
"""Relative errors. Adam's steps come to 0.1 · 60 / 2 = 3 in all, for logarithms 1.6 away: when they
end it is near, no more. L-BFGS converges faster than linearly. The samplers' spread of 0.8 falls by
a fifth or more in an iteration, so that twenty leave some 1 %, and there are ten to get there."""
BATCH = {"adam": 1, "lbfgs": 1, "cmaes": 8, "cbo": 64}
methods = pytest.mark.parametrize("method", METHODS)
by_gradient = pytest.mark.parametrize("method", ["adam", "lbfgs"])


def search(method: str, problem: Decay | None = None, **options) -> Result:
    """A search with the usual budget."""
    problem = problem or Decay(BATCH[method])
    return identify(problem, method, **{"iterations": ITERATIONS[method], **options})


def worst(result: Result) -> float:
    """Largest relative error."""
    return max(map(abs, result.relative.values()))


@methods
@pytest.mark.parametrize("start", ["below", "above", "random"])
def test_known_values_are_found(method, start):
    """From a fifth of the truth, from five times it, and from in between."""
    values = starting_values(Decay(), start, seed=1)
    result = search(method, start=values)
    assert worst(result) < ACCURATE[method]
    for name, truth in Decay.parameters:
        assert result.values[name] == pytest.approx(truth * (1 + result.relative[name]))


@methods
def test_bounds_are_kept(method):
    """Where the truth lies beyond a bound the search ends there, and never asks for more.

    With a height of half the truth at most the best rate is below the true one, inside its bounds.
    """
    problem = Decay(BATCH[method], highest=(0.5, 2.4))
    result = search(method, problem)
    lower, upper = problem.bounds
    assert ((problem.tried >= lower) & (problem.tried <= upper)).all()
    assert result.values["height"] == pytest.approx(0.5 * float(problem.truth[0]), rel=1e-3)
    assert lower[1] < result.values["rate"] < problem.truth[1]


@methods
def test_counts_are_those_of_the_problem(method):
    """Trajectories and gradients are what was asked for; a gradient counts its steps twice."""
    problem = Decay(BATCH[method])
    result = search(method, problem, iterations=5)
    assert result.trajectories == len(problem.tried) == 5 * problem.num_envs
    assert result.gradients == problem.differentiated == (5 if problem.num_envs == 1 else 0)
    assert result.steps == (result.trajectories + result.gradients) * problem.steps
    assert [row["iteration"] for row in result.history] == list(range(5))
    last = result.history[-1]
    assert (last["step"], last["trajectories"]) == (result.steps, result.trajectories)


@methods
def test_best_values_are_kept(method):
    """They are those of the least error of all that were tried, in every row of the history."""
    problem, reported = Decay(BATCH[method]), []
    result = search(method, problem, iterations=8, report=reported.append)
    assert reported == result.history
    errors = Decay(len(problem.tried)).error(problem.tried)
    assert result.error == pytest.approx(float(errors.min()))
    best = torch.tensor(list(result.values.values()), dtype=torch.float64)
    torch.testing.assert_close(best, problem.tried[errors.argmin()])
    shown = [row["best_error"] for row in result.history]
    assert shown == [min(row["error"] for row in result.history[: k + 1]) for k in range(8)]


@methods
def test_errors_that_are_not_finite_are_skipped_and_said(method, capsys):
    """Beyond 1.02 times the true height there are no errors; the truth is found all the same.

    Adam's steps are long enough here to get there.
    """
    problem = Decay(BATCH[method], not_finite_above=1.02)
    result = search(method, problem, learning_rate=0.3)
    beyond = int((problem.tried[:, 0] > 1.02 * problem.truth[0]).sum())
    assert result.skipped == beyond > 0
    assert worst(result) < ACCURATE[method]
    assert "not finite: left out" in capsys.readouterr().out
    assert all(math.isfinite(row["best_error"]) for row in result.history)


@by_gradient
def test_gradients_that_are_not_finite_are_skipped_and_said(method, capsys):
    """Beyond 1.02 times the true height there are no gradients; the truth is found all the same."""
    problem = Decay(steep_above=1.02)
    result = search(method, problem, learning_rate=0.3)
    beyond = int((problem.tried[:, 0] > 1.02 * problem.truth[0]).sum())
    assert result.skipped == beyond > 0
    assert worst(result) < ACCURATE[method]
    assert "error or gradient at height = " in capsys.readouterr().out


@methods
def test_nothing_finite_is_an_error(method):
    """A search without any finite error says so."""
    with pytest.raises(SimenvError, match=r"not finite; choose another start|had a finite error"):
        search(method, Decay(BATCH[method], not_finite_above=0.0))


@by_gradient
def test_slope_at_the_upper_bound(method):
    """The bound itself is a start like any other: rounding does not cut off its slope."""
    problem = Decay()
    search(method, problem, start=problem.bounds[1], iterations=3)
    assert (problem.asked[-1] < 0.99 * problem.bounds[1]).any()


@pytest.mark.parametrize("method", ["cmaes", "cbo"])
def test_seeds(method):
    """The same seed asks for the same values, another one for others."""
    asked = []
    for seed in (3, 3, 4):
        problem = Decay(BATCH[method])
        search(method, problem, iterations=3, seed=seed)
        asked.append(problem.tried)
    assert torch.equal(asked[0], asked[1])
    assert not torch.equal(asked[0], asked[2])


def test_random_starts():
    """They lie between the others, differ by seed, and come again."""
    problem = Decay()
    starts = torch.stack([starting_values(problem, "random", seed) for seed in range(100)])
    above = starting_values(problem, "above")
    torch.testing.assert_close(above, torch.minimum(5 * problem.truth, problem.bounds[1]))
    assert torch.equal(starting_values(problem, "below"), problem.start)
    assert ((starts > problem.start) & (starts < above)).all()
    # Even in the logarithm: a hundred draws of deviation 1/√12 have a mean within 0.1 (3.5 σ).
    shares = (starts / problem.start).log() / (above / problem.start).log()
    assert ((shares.mean(dim=0) - 0.5).abs() < 0.1).all()
    assert torch.equal(starts[7], starting_values(problem, "random", 7))
    with pytest.raises(ConfigurationError, match="start = 'beside' must be one of"):
        starting_values(problem, "beside")


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"method": "newton"}, ConfigurationError, "method = 'newton' must be one of"),
        ({"iterations": 0}, ConfigurationError, "iterations = 0 must be"),
        ({"learning_rate": 0.0}, ConfigurationError, "learning_rate = 0.0 must be"),
        ({"initial_std": math.inf}, ConfigurationError, "initial_std = inf must be"),
        ({"start": torch.ones(3)}, ShapeError, r"start has shape \(3,\), expected \(2,\)"),
        (
            {"start": torch.tensor([0.1, 0.7])},
            ConfigurationError,
            "start of height = 0.1 must lie within 0.3 and 12",
        ),
        (
            {"start": torch.tensor([math.nan, 0.7])},
            ConfigurationError,
            "start of height = nan must lie within",
        ),
    ],
)
def test_bad_options_are_refused(options, error, words):
    """Named with their bounds, before anything is tried."""
    problem = Decay()
    with pytest.raises(error, match=words):
        identify(problem, **options)
    assert problem.asked == []


@by_gradient
def test_gradients_want_one_environment(method):
    """A batch is the samplers'."""
    with pytest.raises(ConfigurationError, match=f"{method} wants a problem with num_envs = 1"):
        identify(Decay(8), method)
