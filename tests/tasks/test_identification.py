"""Identification problems: errors and their gradients, bounds, ids."""

from __future__ import annotations

import pytest
import torch

import simenv
from simenv.errors import ConfigurationError, ShapeError, UnknownTaskError
from simenv.listing import problem_rows
from simenv.mpm.transfer import NOT_A_NUMBER
from simenv.registry import PROBLEMS, find_problem
from tasks.identification import LAWS, IdentificationProblem

STEPS = 24
"""The cube meets the floor in the seventeenth step."""
materials = pytest.mark.parametrize("material", LAWS)


def problem_of(material: str, **options) -> IdentificationProblem:
    """A short problem in float64."""
    return simenv.identification(f"MaterialID-{material}", **{"steps": STEPS, **options})


def off(problem: IdentificationProblem) -> torch.Tensor:
    """Values (K,) off by different factors."""
    return problem.truth * torch.tensor([0.6, 0.7], dtype=torch.float64)[: len(problem.truth)]


@materials
def test_row_of_the_table(material):
    """The table and the class agree on names; start values are five times too small."""
    problem = problem_of(material, steps=1)
    assert problem.spec is PROBLEMS[f"simenv/MaterialID-{material}-v0"]
    assert tuple(p.name for p in problem.parameters) == problem.spec.parameters
    torch.testing.assert_close(5 * problem.start, problem.truth)
    lower, upper = problem.bounds
    assert ((lower < problem.start) & (problem.truth < upper)).all()


@materials
def test_truth_has_no_error(material):
    """The true values give the reference again, to the bit, with and without resets."""
    for segment in (0, 5):
        problem = problem_of(material, segment=segment)
        assert problem.reference.shape == (STEPS + 1, 216, 3)
        assert float(problem.error(problem.truth)) == 0.0


@materials
@pytest.mark.parametrize("segment", [0, 5])
def test_gradient(material, segment):
    """By the logarithms it equals central differences in float64.

    Truncation is h² of the third derivative's share, rounding 1e-16/h of the error's: with h =
    1e-5 both are far below 1e-3, which leaves room for particles that cross a yield surface or
    leave a wall between the two ends.
    """
    problem = problem_of(material, segment=segment)
    logs = problem.to_logs(off(problem)).requires_grad_()
    (gradient,) = torch.autograd.grad(problem.error(problem.from_logs(logs)), logs)
    for k in range(len(logs)):
        ends = []
        for sign in (1, -1):
            moved = logs.detach().clone()
            moved[k] += sign * 1e-5
            with torch.no_grad():
                ends.append(float(problem.error(problem.from_logs(moved))))
        slope = (ends[0] - ends[1]) / 2e-5
        assert float(gradient[k]) == pytest.approx(slope, rel=1e-3)


@materials
def test_error_grows_away_from_the_truth(material):
    """Each parameter by itself: the farther from the truth, on either side, the larger the error.

    All of a batch at once; its middle row is the truth.
    """
    factors = torch.tensor([0.4, 0.6, 0.8, 1.0, 1.25, 1.6, 2.2], dtype=torch.float64)
    problem = problem_of(material, num_envs=len(factors))
    for k in range(len(problem.parameters)):
        values = problem.truth.repeat(len(factors), 1)
        values[:, k] *= factors
        errors = problem.error(values)
        assert errors.shape == (len(factors),)
        assert float(errors[3]) == 0.0
        assert (errors[:3].diff() < 0).all()
        assert (errors[3:].diff() > 0).all()


@materials
def test_a_few_gradient_steps_reduce_the_error(material):
    """Five steps of Adam from the start values halve the error and move all values the right way.

    Each step of 0.2 changes a logarithm by about 0.2, of the ln 5 = 1.6 that are to go.
    """
    problem = problem_of(material, segment=8)
    logs = problem.to_logs(problem.start).requires_grad_()
    optimiser = torch.optim.Adam([logs], lr=0.2)
    errors = []
    for _ in range(5):
        optimiser.zero_grad()
        error = problem.error(problem.from_logs(logs))
        error.backward()
        optimiser.step()
        errors.append(error.item())
    with torch.no_grad():
        values = problem.from_logs(logs)
        errors.append(float(problem.error(values)))
    assert errors[-1] < 0.5 * errors[0]
    assert ((values > 1.5 * problem.start) & (values < problem.truth)).all()


def test_resets_to_the_reference():
    """With a segment of one step the error is that of single steps from the reference's states."""
    problem = problem_of("Jelly", steps=20, segment=1)
    values = off(problem)
    simulator = problem.scene.build(dtype="float64")
    state, distances = simulator.initial_state(), []
    for step in range(20):
        wrong = simulator.step(state, None, {"cube": {"E": values[0]}})
        state = simulator.step(state)
        assert torch.equal(state.x[0], problem.reference[step + 1])
        distances.append((wrong.x - state.x).square().sum(dim=-1).mean())
    torch.testing.assert_close(problem.error(values), torch.stack(distances).mean())


@pytest.mark.parametrize("segment", [0, 2])
def test_a_trial_that_breaks_is_no_good(segment):
    """A step that breaks leaves its set of parameters no error, whatever follows; no other one."""
    problem = problem_of("Jelly", steps=5, segment=segment, num_envs=2)
    values = torch.stack([off(problem), 0.8 * problem.truth])
    logs = problem.to_logs(values).requires_grad_()
    sound = problem.error(problem.from_logs(logs))
    step, taken = problem.simulator.step, []

    def breaking(state, *given):
        taken.append(state)
        after = step(state, *given)
        fault = torch.tensor([0, NOT_A_NUMBER], dtype=torch.int32)
        return after.replace(fault=fault) if len(taken) == 3 else after

    problem.simulator.step = breaking
    errors = problem.error(problem.from_logs(logs))
    assert len(taken) == 5
    assert errors.tolist() == [sound.tolist()[0], float("inf")]
    (gradient,) = torch.autograd.grad(errors.sum(), logs)
    assert gradient[0].abs() > 0
    assert gradient[1] == 0


def test_logs_stay_within_the_bounds():
    """Logarithms beyond the bounds give the bounds, those within come back as they were."""
    problem = problem_of("Sand", steps=1)
    lower, upper = problem.bounds
    assert torch.equal(problem.from_logs(torch.full((2,), -50.0, dtype=torch.float64)), lower)
    assert torch.equal(problem.from_logs(torch.full((2,), 50.0, dtype=torch.float64)), upper)
    torch.testing.assert_close(problem.from_logs(problem.to_logs(problem.start)), problem.start)
    problem.error(upper)
    problem.error(problem.from_logs(problem.to_logs(lower)))


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ([1.0], ConfigurationError, r"E = 1 \[Pa\] must lie within 10000 and 400000"),
        ([float("nan")], ConfigurationError, "E = nan"),
        ([1.0e6], ConfigurationError, "from_logs keeps it there"),
        ([1.0e5, 0.2], ShapeError, r"values has shape \(1, 2\), expected \(1, 1\)"),
        ([[1.0e5], [1.0e5]], ShapeError, r"values has shape \(2, 1\), expected \(1, 1\)"),
    ],
)
def test_bad_values_are_refused(values, error, words):
    """Values outside their bounds, and of another shape, are named."""
    problem = problem_of("Jelly", steps=1)
    with pytest.raises(error, match=words):
        problem.error(torch.tensor(values, dtype=torch.float64))


def test_one_set_for_many_environments_is_refused():
    """A batch needs a row for each environment."""
    problem = problem_of("Jelly", steps=1, num_envs=3)
    with pytest.raises(ShapeError, match=r"expected \(3, 1\): one row for each of num_envs"):
        problem.error(problem.truth)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": "huge"}, "size 'huge' is not one of"),
        ({"steps": 0}, "steps = 0 must be"),
        ({"segment": -1}, "segment = -1 must be"),
        ({"segment": 0.5}, "segment = 0.5 must be"),
    ],
)
def test_bad_options_are_refused(options, words):
    """Sizes and counts outside their bounds are named."""
    with pytest.raises(ConfigurationError, match=words):
        problem_of("Jelly", **options)


@pytest.mark.parametrize("name", ["MaterialID-Jelly", "simenv/MaterialID-Jelly-v0"])
def test_ids(name):
    """Namespace and version may be left out; a misspelt id gets the nearest ones."""
    assert find_problem(name).material == "Jelly"
    with pytest.raises(UnknownTaskError, match=r"did you mean .*MaterialID-Jelly-v0"):
        simenv.identification(name.replace("Jelly", "Jely"))


def test_list_shows_every_problem():
    """One row each, in the order of the table, with the parameters to be found."""
    shown = [tuple(row.values()) for row in problem_rows()]
    assert shown == [(s.id, " ".join(s.parameters), s.summary) for s in PROBLEMS.values()]


@materials
def test_full_size_is_built(material):
    """The full cube has NCLaw's 1,000 particles on 20³ cells, and bears the whole range."""
    problem = IdentificationProblem(f"MaterialID-{material}", size="full", steps=1)
    assert problem.scene.num_particles == 1000
    assert problem.scene.cells == (20, 20, 20)
    with torch.no_grad():
        assert torch.isfinite(problem.error(problem.bounds[1]))
