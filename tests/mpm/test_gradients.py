"""Gradients of whole environment steps: every input, wall, law and number of substeps.

The menagerie holds each law once, passive and as a muscle, so one loss covers them all.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from tests.mpm.problem import SCALES, STATE, WALLS, Problem, simulator

STEPS = 1e-5, 1e-6
"""Relative steps H of the central difference. Truncation is of order H² = 1e-10; rounding of order
ε |L| / (H |L'|) = 1e-16 · 100 / 1e-6 = 1e-8. Two of them, since a contact may open or close within
the larger one; a wrong gradient misses both."""
TOLERANCE = 1e-5
"""Three orders above both errors of the difference, far below a wrong or missing term."""


def _misfit(problem: Problem, name: str, gradient: torch.Tensor) -> float:
    """Error along a random direction, relative to the derivative or to what rounding hides."""
    direction = problem.direction(name)
    slope = float((gradient * direction).sum())
    # A loss is a sum of some thousand rounded terms: allow it four units in the last place.
    hidden = 4 * np.finfo(float).eps * abs(problem.moved(name, 0.0 * direction))
    misfits = []
    for h in STEPS:
        difference = problem.difference(name, direction, h)
        scale = max(abs(difference), hidden / h / TOLERANCE)
        misfits.append(abs(slope - difference) / scale)
    return min(misfits)


@pytest.mark.parametrize("moving", [False, True], ids=["rest", "moving"])
@pytest.mark.parametrize("substeps", [1, 10, 100])
@pytest.mark.parametrize("walls", WALLS)
@pytest.mark.parametrize("dim", [2, 3])
def test_gradient_equals_central_difference(compare, dim, walls, substeps, moving):
    """The derivative along a random direction in each input is that of the loss."""
    problem = Problem(simulator(dim, walls, substeps), moving)
    gradient = problem.gradient()
    errors = {name: _misfit(problem, name, gradient[name]) for name in SCALES}
    worst = max(errors, key=errors.get)
    compare(f"gradient, float64, {substeps} substeps", errors[worst], 0.0, TOLERANCE)


@pytest.mark.parametrize("dim", [2, 3])
def test_every_input_matters(dim):
    """No input of the moving problem has a zero gradient, so that the comparison says something."""
    gradient = Problem(simulator(dim, "friction", 10), moving=True).gradient()
    assert all(float(g.abs().max()) > 0.0 for g in gradient.values())


@pytest.mark.parametrize("dim", [2, 3])
def test_single_precision_gradient(compare, dim):
    """After 100 substeps the gradient in single precision is the one in double to 1 %.

    Rounding of 6e-8 in every operation grows with the sensitivities of 100 substeps; a lost
    digit per 20 substeps still leaves two.
    """
    exact = Problem(simulator(dim, "slip", 100), moving=True).gradient()
    rough = Problem(simulator(dim, "slip", 100, "float32"), moving=True).gradient()
    for name, g in exact.items():
        error = float((rough[name].double() - g).norm() / g.norm())
        compare("gradient, float32, 100 substeps", error, 0.0, 1e-2)


@pytest.mark.parametrize("moving", [False, True], ids=["rest", "moving"])
@pytest.mark.parametrize("dim", [2, 3])
def test_taylor_remainder(compare, dim, moving):
    """What the gradient leaves unexplained shrinks with the square of the change.

    Slip walls, since the second derivative must exist; ±0.2 on the slope allows for the terms of
    third order at the largest change.
    """
    problem = Problem(simulator(dim, "slip", 10), moving)
    gradient, loss = problem.gradient(), float(problem.loss(problem.inputs))
    direction = {name: problem.direction(name) for name in SCALES}
    slope = float(sum((gradient[name] * direction[name]).sum() for name in SCALES))
    steps = [1e-2 * 2.0**-k for k in range(6)]
    remainders = []
    for h in steps:
        inputs = {name: problem.inputs[name] + h * direction[name] for name in SCALES}
        remainders.append(abs(float(problem.loss(inputs)) - loss - h * slope))
    order = float(np.polyfit(np.log(steps), np.log(remainders), 1)[0])
    compare("order of the Taylor remainder", order, 2.0, 0.1)


@pytest.mark.parametrize("dim", [2, 3])
def test_recomputed_equals_stored(dim):
    """Recomputing K substeps inside a step gives the gradient of K stored steps of one substep."""
    recomputed = Problem(simulator(dim, "friction", 10), moving=True)
    stored = Problem(simulator(dim, "friction", 1), moving=True, steps=10)
    assert math.isclose(recomputed.sim.scene.dt, stored.sim.scene.dt, rel_tol=1e-15)
    a, b = recomputed.gradient(), stored.gradient()
    for name in a:
        # Both add the same terms; only the order of the sums over substeps differs.
        tolerance = 0.0 if name in STATE else 1e-13
        assert float((a[name] - b[name]).norm()) <= tolerance * float(b[name].norm()), name


def test_gradient_leaves_the_state_alone():
    """Backward recomputes in buffers of its own: a later step is not disturbed by it."""
    problem = Problem(simulator(2, "friction", 10), moving=True)
    before = problem.end(problem.inputs)
    problem.gradient()
    after = problem.end(problem.inputs)
    assert all(torch.equal(getattr(before, n), getattr(after, n)) for n in STATE)


def test_two_graphs_share_a_simulator():
    """Gradients of two interleaved rollouts are those of each on its own."""
    sim = simulator(2, "slip", 10)
    one, two = Problem(sim, moving=True), Problem(sim, moving=False)
    alone = one.gradient(), two.gradient()
    leaves = [{n: t.clone().requires_grad_() for n, t in p.inputs.items()} for p in (one, two)]
    sum(p.loss(leaf) for p, leaf in zip((one, two), leaves, strict=True)).backward()
    for gradient, leaf in zip(alone, leaves, strict=True):
        assert all(torch.equal(gradient[n], leaf[n].grad) for n in gradient)
