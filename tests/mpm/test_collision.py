"""Free rigid bodies against walls, tools and each other."""

from __future__ import annotations

import math

import pytest

from simenv import mpm
from simenv.mpm.collision import STIFFNESS
from simenv.mpm.rigid import FINENESS
from tests.mpm import scenes, solids

DT = 1e-4


def _inward(dx: float, radius: float, dim: int) -> float:
    """How far inward [m] a field with spacing dx/2 has the surface of a ball (`distance.py`)."""
    return (dx / FINENESS) ** 2 / ((4 if dim == 3 else 8) * radius)


# ---------------------------------------------------------------------- pairs


@pytest.mark.parametrize("radius", [0.1, 0.2])
@pytest.mark.parametrize("dim", [2, 3])
def test_balls_meet_at_their_surfaces(dim, radius):
    """However large, two balls that collide head-on overlap little and part no faster than before.

    A spring that alone takes up the relative speed v ends v Δt/√κ deep; the field of either ball
    is read at the other's centre, where it is as far off as at its own surface at most.
    """
    speed = 0.5
    scene = solids.bare(dim, dt=DT, substeps=10)
    for name, side in (("left", -1), ("right", 1)):
        centre = scenes.vector(dim, 0.5 + side * (radius + 0.01), 0.5, 0.5)
        velocity = scenes.vector(dim, -side * speed, 0.0)
        scene.add_rigid(mpm.Sphere(centre, radius), density=1e3, name=name, velocity=velocity)
    sim = scene.build(dtype="float64")
    state, closest = sim.initial_state(), math.inf
    for _ in range(60):
        state = sim.step(state)
        closest = min(closest, float(state.pose[0, 1, 0] - state.pose[0, 0, 0]))
    bound = 2 * speed * DT / math.sqrt(STIFFNESS) + _inward(scene.dx, radius, dim)
    assert 0.0 <= 2 * radius - closest <= bound
    left, right = state.twist[0, :, 0].tolist()
    assert -speed <= left <= 0.0 <= right <= speed
