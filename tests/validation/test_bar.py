"""Longitudinal vibration of a bar with one end held: its first mode, and how it converges."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import pytest
import torch

from simenv import mpm
from tests.validation import measure

E, DENSITY, LENGTH, SPEED = 100.0, 1.0, 25.0, 0.1
"""[Pa], [kg/m³], [m], [m/s]: strains stay below 1 %, and so do effects of large strain, squared."""
PERIOD = 4 * LENGTH / math.sqrt(E / DENSITY)


def _scene(dim: int, dx: float, law: type[mpm.Material], step: float) -> mpm.Scene:
    """The bar along x, held by a sticky wall at x = 0.

    In the plane it fills the domain between slip walls, and ν = 0 makes the motion one-dimensional.
    In space its sides are free and ν = 0.3: it thins as it stretches.
    """
    long, side = round(LENGTH / dx), 4 if dim == 2 else 8
    slip = mpm.Wall("slip")
    scene = mpm.Scene(
        ((long + 4) * dx, *[side * dx] * (dim - 1)),
        (long + 4, *[side] * (dim - 1)),
        step=step,
        gravity=(0.0,) * dim,
        walls={"x-": mpm.Wall("sticky"), "y-": slip, "y+": slip},
    )
    centre = (LENGTH / 2, *[side * dx / 2] * (dim - 1))
    bar = mpm.Box(centre, (LENGTH, *[4 * dx] * (dim - 1)))
    scene.add_body(bar, law(E=E, nu=0.0 if dim == 2 else 0.3, density=DENSITY))
    return scene


@cache
def _period(
    dx: float,
    law: type[mpm.Material] = mpm.NeoHookean,
    dtype: str = "float64",
    dim: int = 2,
) -> float:
    """Measured period [s] of the first mode with cells of `dx` [m]."""
    step = PERIOD / 100
    sim = _scene(dim, dx, law, step).build(dtype=dtype)
    state = sim.initial_state()
    rest = state.x[0, :, 0]
    mode = torch.sin(math.pi * rest / (2 * LENGTH))
    v = torch.zeros_like(state.v)
    v[0, :, 0] = SPEED * mode
    state, amplitude = state.replace(v=v), []
    for _ in range(220):
        state = sim.step(state)
        amplitude.append(float((mode * (state.x[0, :, 0] - rest)).mean()))
    assert state.fault.tolist() == [0]
    return measure.period(np.array(amplitude), step)


@pytest.mark.parametrize(
    ("law", "dtype"),
    [
        (mpm.NeoHookean, "float64"),
        (mpm.NeoHookean, "float32"),
        (mpm.FixedCorotated, "float64"),
    ],
)
def test_first_mode(compare, law, dtype):
    """ω = (π/2L) √(E/ρ): a period of 10 s, with 50 cells along the bar.

    The held end and the free end are each uncertain by a fraction of a cell, that is 1 % of L.
    """
    compare("bar, period of the first mode [s]", _period(0.5, law, dtype), PERIOD, 0.02)


def test_first_mode_of_a_thinning_bar(compare):
    """With free sides the bar is as stiff as E whatever ν: the same 10 s, 16 % from the P-wave's.

    Its sides move in and out with it, which adds ½ (ν π r / 2L)² = 1e-5 for a radius r of 1 m.
    """
    measured = _period(0.5, dtype="float32", dim=3)
    compare("bar in 3-D, ν = 0.3, period of the first mode [s]", measured, PERIOD, 0.02)


def test_first_mode_converges(compare):
    """The ends' error is a fixed part of a cell: halving the cells twice divides it by four."""
    errors = [abs(_period(dx) / PERIOD - 1) for dx in (1.0, 0.5, 0.25)]
    order = math.log2(errors[0] / errors[2]) / 2
    compare("bar, order of convergence", order, 1.0, 0.5)
