"""What breaks in one environment stays there, is flagged, and never poisons a gradient."""

from __future__ import annotations

import math

import pytest
import torch

from simenv import mpm
from simenv.mpm.transfer import INVERTED, LEFT_GRID, NOT_A_NUMBER
from tests.mpm import scenes
from tests.mpm.problem import STATE

BAD, GOOD = 1, [0, 2]
"""Environments of three."""


def _build(dim: int, law: mpm.Material | None = None, **options) -> mpm.Simulator:
    # One thread: the environments share a chunk, and could leak into each other if at all.
    return scenes.block(dim, law, **options).build(3, threads=1)


def _start(sim: mpm.Simulator) -> mpm.State:
    torch.manual_seed(0)
    return scenes.stirred(sim.initial_state())


def _spoilt(state: mpm.State, name: str, value: float) -> mpm.State:
    tensor = getattr(state, name).clone()
    tensor[BAD, 3] = value
    return state.replace(**{name: tensor})


def _step_and_gradient(sim: mpm.Simulator, start: mpm.State, control: mpm.Control | None = None):
    """End state, and the gradient of the sum of its squares with respect to the start."""
    leaf = start.detach().clone().requires_grad_()
    end = sim.step(leaf, control)
    sum(getattr(end, name).square().sum() for name in STATE).backward()
    return end.detach(), {name: getattr(leaf, name).grad for name in STATE}


def _assert_others_unchanged(one, other) -> None:
    (end, gradient), (expected, expected_gradient) = one, other
    for name in STATE:
        assert torch.equal(getattr(end, name)[GOOD], getattr(expected, name)[GOOD])
        assert torch.equal(gradient[name][GOOD], expected_gradient[name][GOOD])
    assert end.fault[GOOD].tolist() == [0, 0]


@pytest.mark.parametrize("value", [math.nan, math.inf, 1e30])
@pytest.mark.parametrize("name", STATE)
@pytest.mark.parametrize("dim", [2, 3])
def test_bad_state_is_contained(dim, name, value):
    """A non-finite or absurd number in one environment leaves the others bitwise as they were."""
    sim = _build(dim)
    start = _start(sim)
    clean = _step_and_gradient(sim, start)
    broken = _step_and_gradient(sim, _spoilt(start, name, value))
    assert broken[0].fault[BAD] != 0
    _assert_others_unchanged(broken, clean)


@pytest.mark.parametrize("name", STATE)
def test_bad_state_is_kept_as_it_was(name):
    """The environment that was given NaN is flagged as failed and handed back untouched."""
    sim = _build(2)
    start = _spoilt(_start(sim), name, math.nan)
    end = sim.step(start)
    assert end.failed.tolist() == [False, True, False]
    for field in STATE:
        before, after = getattr(start, field)[BAD], getattr(end, field)[BAD]
        torch.testing.assert_close(after, before, rtol=0.0, atol=0.0, equal_nan=True)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("dim", [2, 3])
def test_bad_control_keeps_the_last_good_state(dim, value):
    """A step that turns non-finite on the way is undone: state kept, flag set, others unchanged."""
    sim = _build(dim, scenes.muscle(scenes.soft(), dim))
    start, activation = _start(sim), torch.full((3, 1), 0.1 * scenes.E)
    clean = _step_and_gradient(sim, start, mpm.Control(activation.clone()))
    activation[BAD] = value
    end, gradient = _step_and_gradient(sim, start, mpm.Control(activation))
    assert end.failed.tolist() == [False, True, False]
    assert scenes.same(end[BAD : BAD + 1], start[BAD : BAD + 1])
    _assert_others_unchanged((end, gradient), clean)
    # The undone step is the identity, and so is its gradient: d Σ s² / d s = 2 s.
    for name in STATE:
        assert torch.equal(gradient[name][BAD], 2 * getattr(start, name)[BAD])


def test_failed_step_ignores_the_control():
    """Where the step was undone the gradient of the control is zero, elsewhere what it was."""
    sim = _build(2, scenes.muscle(scenes.soft(), 2))
    start = _start(sim)
    gradients = []
    for bad in (0.0, math.nan):
        activation = torch.full((3, 1), 0.1 * scenes.E)
        activation[BAD] += bad
        activation.requires_grad_()
        sim.step(start, mpm.Control(activation)).x.sum().backward()
        gradients.append(activation.grad)
    clean, broken = gradients
    assert broken[BAD].tolist() == [0.0]
    assert torch.equal(broken[GOOD], clean[GOOD])
    assert bool((clean != 0).all())


def test_failed_environment_goes_on():
    """After a step that was undone the next good control moves on as if nothing had happened."""
    sim = _build(2, scenes.muscle(scenes.soft(), 2))
    start, good = _start(sim), mpm.Control(torch.full((3, 1), 0.1 * scenes.E))
    bad = mpm.Control(torch.tensor([[0.0], [math.nan], [0.0]]))
    end = sim.step(sim.step(start, bad), good)
    assert end.fault.tolist() == [0, 0, 0]
    assert scenes.same(end[BAD : BAD + 1], sim.step(start, good)[BAD : BAD + 1])


# ---------------------------------------------------------------------- the grid's edge


@pytest.mark.parametrize("sign", [-1.0, 1.0])
@pytest.mark.parametrize(("dim", "axis"), [(2, 0), (2, 1), (3, 0), (3, 1), (3, 2)])
def test_particle_that_leaves_is_clamped(dim, axis, sign):
    """A body shot across the domain in one step stops at the grid's edge and is flagged."""
    sim = _build(dim, gravity=(0.0,) * dim, step=1e-3, substeps=1)
    start = sim.initial_state()
    v = start.v.clone()
    v[BAD, ..., axis] = sign * 1e3
    end, gradient = _step_and_gradient(sim, start.replace(v=v))
    assert end.fault[BAD] == LEFT_GRID
    assert end.fault[GOOD].tolist() == [0, 0]
    # Half a cell beyond the domain, to the rounding of single precision.
    edge = 0.5 + sign * (0.5 + 0.0625)
    x = end.x[BAD, :, axis]
    torch.testing.assert_close(x, torch.full_like(x, edge), rtol=0.0, atol=1e-5)
    # A clamped coordinate no longer depends on where it came from.
    assert all(bool(torch.isfinite(g).all()) for g in gradient.values())
    position_only = start.replace(v=v).detach().clone().requires_grad_()
    sim.step(position_only).x[BAD, :, axis].sum().backward()
    assert not position_only.x.grad.any()
    assert not position_only.v.grad.any()


def test_particle_outside_stays_harmless():
    """A position beyond the grid is brought back and flagged, and its neighbours are unharmed."""
    sim = _build(2)
    start = _start(sim)
    clean = _step_and_gradient(sim, start)
    for far in (-3.0, 5.0, -1e6):
        outside = _step_and_gradient(sim, _spoilt(start, "x", far))
        assert outside[0].fault[BAD] & (LEFT_GRID | NOT_A_NUMBER)
        _assert_others_unchanged(outside, clean)


# ---------------------------------------------------------------------- inverted elements

FLAT = {
    "reflected": lambda dim: torch.diag(torch.tensor([-1.0, 1.0, 1.0][:dim])),
    "nearly flat": lambda dim: torch.diag(torch.tensor([-1e-3, 1.0, 1.0][:dim])),
    "flat": lambda dim: torch.diag(torch.tensor([0.0, 1.0, 1.0][:dim])),
    "a line": lambda dim: torch.diag(torch.tensor([1.0, 0.0, 0.0][:dim])),
    "a point": lambda dim: torch.zeros(dim, dim),
}


@pytest.mark.parametrize("kind", FLAT)
@pytest.mark.parametrize("law", [scenes.soft, scenes.corotated])
@pytest.mark.parametrize("dim", [2, 3])
def test_inverted_element_is_survived(dim, law, kind):
    """det F ≤ 0 is flagged, not fatal: the step is made, gradients are finite, others unharmed."""
    sim = _build(dim, law())
    start = _start(sim)
    clean = _step_and_gradient(sim, start)
    F = start.F.clone()
    F[BAD, 3] = FLAT[kind](dim)
    broken = _step_and_gradient(sim, start.replace(F=F))
    end, gradient = broken
    assert end.fault[BAD] == INVERTED
    assert not torch.equal(end.x[BAD], start.x[BAD])
    for name in STATE:
        assert bool(torch.isfinite(getattr(end, name)).all())
        assert bool(torch.isfinite(gradient[name]).all())
    _assert_others_unchanged(broken, clean)
