"""Steps in a trust region under constraints, against brute force and by hand."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from agents.offline.trust_region import (
    conjugate_gradient,
    constrained_step,
    flat_gradient,
    hessian_product,
)


def metric(size: int, seed: int) -> torch.Tensor:
    """A positive definite matrix."""
    root = torch.randn(size, size, generator=torch.Generator().manual_seed(seed)).double()
    return root @ root.T + torch.eye(size).double()


def best_by_trial(gradients, matrix, excess, radius) -> float:
    """The largest gᵀx that meets the constraints, in two numbers; NaN: there is none.

    A line over an ellipse cut by half planes is greatest on the ellipse's boundary, of which
    400,000 points are tried, or where the two lines cross.
    """
    angles = torch.linspace(0, 2 * torch.pi, 400_000).double()
    circle = torch.stack([angles.cos(), angles.sin()])
    root, c = torch.linalg.cholesky(matrix), torch.tensor(excess).double()[:, None]
    points = (2 * radius) ** 0.5 * torch.linalg.solve_triangular(root.T, circle, upper=True)
    kept = points[:, (gradients[1:] @ points + c <= 0).all(dim=0)]
    crossing = torch.linalg.solve(gradients[1:], -c)
    if (crossing.T @ matrix @ crossing).item() <= 2 * radius:
        kept = torch.cat([kept, crossing], dim=1)
    return (gradients[0] @ kept).max().item() if kept.numel() else float("nan")


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("excess", [(-0.2, -0.1), (0.05, -0.3), (0.1, 0.05), (-9.0, -9.0)])
def test_the_step_is_the_best_one(seed, excess):
    """Against trial and error, for two constraints; an angle of the trials errs by 1.6e-5."""
    matrix, radius = metric(2, seed), 0.1
    gradients = torch.randn(3, 2, generator=torch.Generator().manual_seed(seed + 50)).double()
    solved = torch.linalg.solve(matrix, gradients.T).T
    step, feasible = constrained_step(gradients, solved, excess, radius)
    size = 0.5 * step @ matrix @ step
    assert size <= radius * (1 + 1e-6)
    expected = best_by_trial(gradients, matrix, excess, radius)
    if expected != expected:
        assert not feasible
        assert size == pytest.approx(radius)
        return
    assert feasible
    assert (gradients[1:] @ step + torch.tensor(excess) <= 1e-6).all()
    assert (gradients[0] @ step).item() == pytest.approx(expected, abs=1e-4)


def test_one_constraint_by_hand():
    """In the unit metric, g = (1, 0), b = (1, 0), c = −0.1: along b by 0.1, the rest sideways."""
    gradients = torch.tensor([[1.0, 0.5], [1.0, 0.0]])
    step, feasible = constrained_step(gradients, gradients, [-0.1], 0.5)
    assert feasible
    assert step.tolist() == pytest.approx([0.1, (1 - 0.01) ** 0.5])
    free, _ = constrained_step(gradients, gradients, [-5.0], 0.5)
    assert free.tolist() == pytest.approx([2 / 5**0.5, 1 / 5**0.5])


def test_recovery_by_hand():
    """Too far to be met at once: −√(2δ / bᵀH⁻¹b) H⁻¹b, the other constraint left alone."""
    gradients = torch.tensor([[1.0, 1.0], [2.0, 0.0], [0.0, 1.0]])
    solved = gradients / torch.tensor([4.0, 1.0])
    step, feasible = constrained_step(gradients, solved, [9.0, -3.0], 0.5)
    assert not feasible
    assert step.tolist() == pytest.approx([-0.5, 0.0])


def test_a_constraint_without_a_gradient_is_left_out():
    """No step changes it, whether it is violated or not; and so are steps that are not finite."""
    gradients = torch.tensor([[3.0, 4.0], [0.0, 0.0]])
    step, _ = constrained_step(gradients, gradients, [1.0], 0.5)
    assert step.tolist() == pytest.approx([0.6, 0.8])
    step, feasible = constrained_step(gradients * torch.nan, gradients, [1.0], 0.5)
    assert (step.tolist(), feasible) == ([0.0, 0.0], False)


def test_conjugate_gradient():
    """Exact after as many iterations as there are unknowns."""
    matrix = metric(6, 0)
    target = torch.arange(6).double() + 1
    found = conjugate_gradient(lambda v: matrix @ v, target, 6)
    torch.testing.assert_close(found, torch.linalg.solve(matrix, target), rtol=1e-6, atol=1e-8)
    assert conjugate_gradient(lambda v: matrix @ v, 0 * target).tolist() == [0.0] * 6


def test_curvature_of_a_module():
    """f = w³ + 2 w u: gradient (3w² + 2u, 2w) and Hessian ((6w, 2), (2, 0)), plus damping."""
    module = nn.ParameterList([torch.tensor(2.0), torch.tensor(5.0)])
    value = module[0] ** 3 + 2 * module[0] * module[1]
    assert flat_gradient(value, module).tolist() == [22.0, 4.0]
    product = hessian_product(value, module, 0.5)
    assert product(torch.tensor([1.0, 10.0])).tolist() == [12.5 + 20.0, 2.0 + 5.0]


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_the_units_of_costs_do_not_matter(unit):
    """A constraint and its gradient in other units are the same constraint."""
    matrix = metric(2, 3)
    gradients = torch.randn(3, 2, generator=torch.Generator().manual_seed(7)).double()
    scale = torch.tensor([1.0, unit, unit]).double()[:, None]
    solved = torch.linalg.solve(matrix, (scale * gradients).T).T
    step, feasible = constrained_step(scale * gradients, solved, (0.05 * unit, -0.3 * unit), 0.1)
    plain = torch.linalg.solve(matrix, gradients.T).T
    expected, met = constrained_step(gradients, plain, (0.05, -0.3), 0.1)
    assert met == feasible
    torch.testing.assert_close(step, expected)


@pytest.mark.parametrize(("excess", "met"), [(0.1, False), (0.0, True), (-0.1, True)])
def test_a_budget_that_no_step_changes(excess, met):
    """It is no constraint of the step, but exceeded it is not met either."""
    gradients = torch.tensor([[1.0, 0.0], [0.0, 0.0]]).double()
    step, feasible = constrained_step(gradients, gradients, (excess,), 0.5)
    assert feasible is met
    assert step.tolist() == [1.0, 0.0]
