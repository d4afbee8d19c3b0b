"""L-BFGS on sets side by side: it ends where known functions are least, and sets do not mix."""

from __future__ import annotations

import math

import pytest
import torch

from agents.trajopt.lbfgs import LBFGS
from agents.trajopt.policies import Policy


class Points(Policy):
    """S points (S, 1, D), which are their own parameters."""

    def __init__(self, places: torch.Tensor) -> None:
        super().__init__()
        self.places = torch.nn.Parameter(places.double()[:, None].clone())

    def forward(self, observation: torch.Tensor, t: int) -> torch.Tensor:
        """The points."""
        return self.places[:, 0]


def rosenbrock(x: torch.Tensor) -> torch.Tensor:
    """Rosenbrock's valley (S,) of points (S, D), least at (1, …, 1)."""
    bends = 100 * (x[:, 1:] - x[:, :-1] ** 2).square()
    return (bends + (1 - x[:, :-1]).square()).sum(dim=1)


def descend(
    places: torch.Tensor, function, evaluations: int, limit: float = math.inf
) -> tuple[torch.Tensor, torch.Tensor]:
    """Points after so many evaluations, and the least value (S,) that each has seen."""
    points = Points(places)
    points.limit = limit
    rule = LBFGS(points, 0.1, evaluations)
    least = torch.full((len(places),), torch.inf, dtype=torch.float64)
    for _ in range(evaluations):
        points.zero_grad()
        values = function(points(torch.empty(0), 0))
        values.sum().backward()
        least = torch.minimum(least, values.detach())
        finite = torch.isfinite(points.places.grad).all(dim=2)[:, 0]
        rule.step(values.detach(), finite & torch.isfinite(values.detach()))
    return points.places.detach()[:, 0], least


def test_a_narrow_valley():
    """Rosenbrock's in four dimensions, from three places, to 1e-8 within 80 evaluations."""
    starts = torch.tensor([[-1.2, 1.0, -1.2, 1.0], [0.0, 0.0, 0.0, 0.0], [2.0, 2.0, 2.0, 2.0]])
    places, least = descend(starts, rosenbrock, 80)
    assert least.max() < 1e-8
    # Its Hessian's least eigenvalue there is 0.27: 1e-8 is a distance of at most 3e-4.
    torch.testing.assert_close(places, torch.ones_like(places), rtol=0, atol=3e-4)


def test_a_badly_scaled_bowl():
    """Curvatures from 1 to 1e4: a descent along gradients alone would need thousands."""
    scales = torch.logspace(0, 4, 8, dtype=torch.float64)
    _, least = descend(torch.ones(2, 8), lambda x: (scales * x.square()).sum(dim=1), 100)
    assert least.max() < 1e-10


def test_a_bowl_whose_bottom_is_outside_of_the_limits():
    """It ends where nothing within them is less, which is not where a clipped bottom would lie.

    Of ½ (x − c)ᵀ H (x − c) with correlated numbers, two of whose six lie at limits of 1; that the
    slope vanishes but where it points outward is enough, as H is positive.
    """
    hessian = 0.1 * torch.eye(6, dtype=torch.float64) + 0.9
    middle = torch.tensor([2.0, -1.5, 0.3, -0.2, 0.5, 0.1], dtype=torch.float64)

    def bowl(x: torch.Tensor) -> torch.Tensor:
        return 0.5 * torch.einsum("si,ij,sj->s", x - middle, hessian, x - middle)

    starts = torch.stack([torch.zeros(6), torch.full((6,), -0.9), torch.linspace(1.0, -1.0, 6)])
    found, least = descend(starts, bowl, 40, limit=1.0)
    assert bool((found.abs() <= 1.0).all())
    slope = (found - middle) @ hessian
    torch.testing.assert_close((found - slope).clamp(-1, 1), found, rtol=0, atol=1e-6)
    # Less than half of what there is at the bottom brought within the limits.
    assert float(least.max()) < 0.5 * float(bowl(middle.clamp(-1, 1)[None]))


def test_sets_do_not_mix():
    """A set goes its way whatever the others do."""
    starts = torch.tensor([[-1.2, 1.0], [0.3, -2.0]])
    together, _ = descend(starts, rosenbrock, 12)
    for i in range(2):
        alone, _ = descend(starts[i : i + 1], rosenbrock, 12)
        torch.testing.assert_close(alone[0], together[i], rtol=1e-12, atol=0)


def test_it_goes_back_from_where_nothing_is_finite():
    """−log x + x is least at 1 and no number below 0; long first steps still end there."""
    points, least = descend(torch.tensor([[0.05]]), lambda x: (x - torch.log(x)).sum(dim=1), 40)
    assert float(least) == pytest.approx(1.0, abs=1e-8)
    assert float(points) == pytest.approx(1.0, abs=1e-3)


def test_another_objective_is_not_compared_with_the_last():
    """After `restart` a larger value is accepted, and descended from."""
    points = Points(torch.tensor([[1.0, 1.0]]))
    rule = LBFGS(points, 0.1, 40)
    for i in range(40):
        goal, offset = (0.0, 0.0) if i < 20 else (1.0, 50.0)
        if i == 20:
            rule.restart()
        points.zero_grad()
        values = (points.places[:, 0] - goal).square().sum(dim=1) + offset
        values.sum().backward()
        rule.step(values.detach(), torch.ones(1, dtype=torch.bool))
    torch.testing.assert_close(points.table[:, 0], torch.ones(1, 2, dtype=torch.float64))


def test_what_is_restarted_goes_on_from_the_last_judged_place():
    """Not from a trial whose value nobody knows."""
    points = Points(torch.tensor([[1.0]]))
    rule = LBFGS(points, 5.0, 10)
    points.zero_grad()
    points.places[:, 0].square().sum().backward()
    rule.step(torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.bool))
    assert float(points.table) == -4.0
    rule.restart()
    assert float(points.table) == 1.0


def test_no_trial_is_made_twice():
    """A gradient that points the wrong way: every trial fails, and is nearer to the start."""
    points, seen = Points(torch.tensor([[1.0]])), []
    rule = LBFGS(points, 0.1, 40)
    for _ in range(40):
        seen.append(float(points.table))
        points.zero_grad()
        (-points.places[:, 0]).square().sum().mul(-1.0).backward()
        rule.step(points.table[:, 0, 0].square(), torch.ones(1, dtype=torch.bool))
    assert len(set(seen)) == len(seen)
