"""Matching: distances by hand, their slopes by differences, and what a state is matched by."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import simenv
from agents.demonstrations import demonstrate
from agents.physics.matching import (
    FLOOR,
    Matching,
    alpha_chamfer,
    deviations,
    pointwise,
    statistics,
)
from simenv.errors import ConfigurationError, DatasetError
from tests.agents.physics.systems import TwoMasses, demonstrated, points

WALKER = "simenv/SoftWalker2D-v0"


def line(*places: float) -> torch.Tensor:
    """States of one number, (T, 1)."""
    return torch.tensor(places, dtype=torch.float64)[:, None]


def rollouts(*columns: torch.Tensor) -> torch.Tensor:
    """(T, N, M) of N rollouts (T, M)."""
    return torch.stack(columns, dim=1)


ALL = torch.ones(3, 1, dtype=torch.bool)

# ------------------------------------------------------------------ how far


def test_chamfer_by_hand():
    """Rollout 0, 1, 1 against 0, 2, 5: 0 + 1 + 1 there, 0 + 1 + 4 back, a third of each."""
    found, target = rollouts(line(0.0, 1.0, 1.0)), line(0.0, 2.0, 5.0)
    assert float(alpha_chamfer(found, target, ALL)) == pytest.approx(2 / 3 + 5 / 3)
    assert float(alpha_chamfer(found, target, ALL, kappa=3.0)) == pytest.approx(2 + 5 / 3)
    # The last state counts 1, those before it 1/2 and 1/4.
    faded = (0 / 4 + 1 / 2 + 1) / 3 + (0 / 4 + 1 / 2 + 4) / 3
    assert float(alpha_chamfer(found, target, ALL, fade=0.5)) == pytest.approx(faded)


def test_pointwise_by_hand():
    """0, 1 and 4 apart; the order of states matters, which it does not to Chamfer."""
    found, target = rollouts(line(0.0, 1.0, 1.0), line(5.0, 0.0, 2.0)), line(0.0, 2.0, 5.0)
    counted = ALL.expand(3, 2)
    assert pointwise(found, target, counted).tolist() == pytest.approx([5 / 3, 10 / 3])
    assert pointwise(found, target, counted, kappa=2.0)[0] == pytest.approx(10 / 3)
    faded = (0 / 4 + 1 / 2 + 4) / 3
    assert pointwise(found, target, counted, fade=0.5)[0] == pytest.approx(faded)
    assert float(alpha_chamfer(found, target, counted)[1]) == 0.0


def test_distances_are_root_mean_squares():
    """3 and 4 in two numbers make 5 / √2."""
    found = rollouts(torch.tensor([[3.0, 4.0]]))
    target, counted = torch.zeros(1, 2), ALL[:1]
    assert float(pointwise(found, target, counted)) == pytest.approx(5 / math.sqrt(2))
    assert float(alpha_chamfer(found, target, counted)) == pytest.approx(2 * 5 / math.sqrt(2))


def test_one_that_stays_is_far_from_one_that_walks():
    """It is at no distance from the demonstration, but the demonstration is from it."""
    still, walk = rollouts(line(0.0, 0.0, 0.0)), line(0.0, 1.0, 2.0)
    assert float(alpha_chamfer(still, walk, ALL, kappa=1e6)) == pytest.approx(1.0)


@pytest.mark.parametrize("apart", [alpha_chamfer, pointwise])
def test_slopes_are_those_of_differences(apart):
    """In float64, between switches of the nearest, steps of 1e-6 are good to 1e-9."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(6, 2, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randn(6, 3, generator=generator, dtype=torch.float64)
    counted = torch.ones(6, 2, dtype=torch.bool)
    counted[4:, 1] = False

    def loss(x):
        return apart(x, target, counted, 0.7, 0.9).sum()

    (slope,) = torch.autograd.grad(loss(found), found)
    for index in [(0, 0, 0), (3, 1, 2), (5, 0, 1), (5, 1, 0)]:
        step = torch.zeros_like(found)
        step[index] = 1e-6
        with torch.no_grad():
            by_difference = float(loss(found + step) - loss(found - step)) / 2e-6
        assert float(slope[index]) == pytest.approx(by_difference, abs=1e-8)
    # What does not count has no slope, everything that does has one.
    assert bool((slope[4:, 1] == 0).all())
    assert bool((slope[:4].abs().sum(dim=2) > 0).all())


def test_states_that_do_not_count():
    """They are nobody's nearest and leave the mean; a rollout without any is at no distance."""
    found = rollouts(line(0.0, 5.0, 9.0), line(0.0, 5.0, 9.0))
    target = line(0.0, 2.0, 5.0)
    counted = torch.tensor([[True, False], [False, False], [False, False]])
    # 0 there, of one state; 0, 2 and 5 back to it.
    assert alpha_chamfer(found, target, counted).tolist() == pytest.approx([7 / 3, 0.0])
    assert pointwise(found, target, counted).tolist() == [0.0, 0.0]


def test_no_slope_where_everything_is_in_its_place():
    """Zero, not NaN."""
    found = rollouts(line(0.0, 2.0, 5.0)).requires_grad_()
    loss = alpha_chamfer(found, line(0.0, 2.0, 5.0), ALL) + pointwise(
        found, found.detach()[:, 0], ALL
    )
    (slope,) = torch.autograd.grad(loss.sum(), found)
    assert torch.equal(slope, torch.zeros_like(slope))


# ------------------------------------------------------------------ what


def test_statistics_of_a_body():
    """Mean place, mean velocity and covariance of a square of side 2 around (3, 5)."""
    corners = torch.tensor([[2.0, 4.0], [4.0, 4.0], [2.0, 6.0], [4.0, 6.0]])
    state = points(torch.zeros(1, 2), torch.zeros(1, 2))
    state = state.replace(x=corners[None], v=torch.tensor([1.0, -2.0]).expand(1, 4, 2))
    bodies = [SimpleNamespace(name="square")]
    task = SimpleNamespace(
        scene=SimpleNamespace(bodies=bodies),
        simulator=SimpleNamespace(particles=lambda name: slice(0, 4)),
    )
    place, velocity, spread = statistics(task, state)
    assert place.tolist() == [[3.0, 5.0]]
    assert velocity.tolist() == [[1.0, -2.0]]
    assert spread.tolist() == [[1.0, 0.0, 1.0]]


@pytest.mark.parametrize(("kind", "invariant"), [("statistics", True), ("particles", False)])
def test_whose_places_are_matched(kind, invariant):
    """To statistics all particles of a body are alike; a body that is elsewhere is not."""
    functional = simenv.functional(WALKER)
    task, still = functional.task, lambda state, t: torch.zeros(1, 4)
    task.horizon = 3
    matching = Matching(kind, task, demonstrate(functional, still), functional.initial().x)
    state = functional.initial(7)
    torso = task.simulator.particles("torso")
    mixed = state.x.clone()
    mixed[:, torso] = mixed[:, torso].flip(1)
    before, after = matching(state), matching(state.replace(x=mixed))
    # In deviations of a walker that stands: of 1e-5 m or so, where float32 resolves 3e-8 m.
    assert torch.allclose(before, after, atol=0.1) is invariant
    assert not torch.allclose(before, matching(state.replace(x=state.x + 0.01)), atol=0.1)


@pytest.mark.parametrize("kind", ["statistics", "particles"])
def test_slopes_through_the_simulator(kind):
    """By the actions of three steps, against central differences in float64.

    Numbers are of order one and exact to 1e-13 or so: over steps of 1e-5 differences are good to
    1e-8, and the curvature adds 1e-10 of the third derivative.
    """
    functional = simenv.functional(WALKER, dtype="float64")
    functional.task.horizon = 3
    demonstration = demonstrate(functional, lambda state, t: 0.5 * torch.ones(1, 4).double(), 1)
    start = functional.initial(0)
    matching = Matching(kind, functional.task, demonstration, start.x)
    generator = torch.Generator().manual_seed(0)
    drawn = torch.randn(2, 3, 1, 4, generator=generator, dtype=torch.float64)
    actions, way = 0.3 * drawn[0], drawn[1]

    def loss(played: torch.Tensor) -> torch.Tensor:
        state, total = start, torch.zeros((), dtype=torch.float64)
        for action, target in zip(played, matching.target, strict=True):
            state = functional.transition(state, action)
            total = total + (matching(state)[0] - target).square().mean()
        return total

    leaf = actions.clone().requires_grad_()
    (slope,) = torch.autograd.grad(loss(leaf), leaf)
    with torch.no_grad():
        ends = [float(loss(actions + sign * 1e-5 * way)) for sign in (1.0, -1.0)]
    along = float((slope * way).sum())
    assert abs(along) > 1e-3
    assert along == pytest.approx((ends[0] - ends[1]) / 2e-5, rel=1e-5)


def test_units_are_those_of_the_demonstration():
    """Over its own states numbers have mean 0 and deviation 1; the target leaves out the start."""
    demonstration, system = demonstrated(), TwoMasses(1)
    matching = Matching("features", system.task, demonstration, torch.zeros(()))
    found = matching(demonstration.trajectory())
    assert found.shape == (65, 8)
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(8), atol=1e-5, rtol=0)
    torch.testing.assert_close(found.std(dim=0, unbiased=False), torch.ones(8))
    assert torch.equal(matching.target, found[1:])


def test_what_hardly_moves_is_measured_by_its_kind():
    """A tenth of the root mean square deviation at least; one where nothing moves."""
    numbers = torch.tensor([[1.0, 0.0], [-1.0, 1e-6]])
    floor = FLOOR * math.sqrt((1.0 + 2.5e-13) / 2)
    torch.testing.assert_close(deviations(numbers), torch.tensor([1.0, floor]))
    assert deviations(torch.full((4, 2), 3.0)).tolist() == [1.0, 1.0]


def test_what_cannot_be_matched():
    """An unknown kind, and states that were not kept."""
    demonstration, like = demonstrated(), torch.zeros(())
    with pytest.raises(ConfigurationError, match="match = 'pixels' is not one of"):
        Matching("pixels", None, demonstration, like)
    bare = type(demonstration)("", "", 0, *(np.zeros((3, 1)), np.zeros((2, 1)), np.zeros(2)))
    with pytest.raises(DatasetError, match="no states"):
        Matching("particles", None, bare, like)
