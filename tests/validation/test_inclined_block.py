"""A block on an inclined plane with friction."""

from __future__ import annotations

import math

import pytest

from simenv import mpm

G, ANGLE, TIME, SUBSTEPS = 9.81, math.radians(30.0), 0.99, 1000


def _slide(friction: float, dtype: str, dim: int = 2) -> float:
    """How far [m] an elastic block slides from rest; gravity is turned, not the floor.

    A flat block, which does not rock, and stiff: it yields by 1e-3 of its height.
    """
    size, (width, height) = (4.0, 0.8, 0.8)[:dim], (0.6, 0.2)
    scene = mpm.Scene(
        size,
        tuple(round(edge / 0.1) for edge in size),
        step=TIME,
        substeps=SUBSTEPS,
        gravity=(G * math.sin(ANGLE), -G * math.cos(ANGLE), 0.0)[:dim],
        walls={"y-": mpm.Wall("separating", friction)},
    )
    block = mpm.Box((0.5, height / 2, 0.4)[:dim], (width, height, 0.4)[:dim])
    scene.add_body(block, mpm.NeoHookean(E=1e6, nu=0.3, density=1e3))
    sim = scene.build(dtype=dtype)
    start = sim.initial_state()
    end = sim.step(start)
    assert end.fault.tolist() == [0]
    return float((end.x - start.x)[..., 0].double().mean())


def _expected(friction: float) -> float:
    return 0.5 * G * (math.sin(ANGLE) - friction * math.cos(ANGLE)) * TIME**2


@pytest.mark.parametrize(("dim", "dtype"), [(2, "float64"), (2, "float32"), (3, "float32")])
def test_sliding_block(compare, dim, dtype):
    """s = ½ g (sin θ − μ cos θ) t² with θ = 30°, μ = 0.1: 1.987 m, to 2 %.

    Friction takes μ times the whole normal impulse as long as the block slides; what differs is the
    bounce left over when the time is up, a fraction of a period of 0.02 s in 0.99 s.
    """
    compare("inclined block, μ = 0.1 [m]", _slide(0.1, dtype, dim), _expected(0.1), 0.02)


def test_block_without_friction(compare):
    """Without friction symplectic Euler has the closed form s = ½ g sin θ Δt² n (n + 1).

    The floor does not act along itself: exact but for the rounding of the substeps.
    """
    dt = TIME / SUBSTEPS
    expected = 0.5 * G * math.sin(ANGLE) * dt**2 * SUBSTEPS * (SUBSTEPS + 1)
    compare("inclined block, μ = 0 [m]", _slide(0.0, "float64"), expected, 1e-12)
