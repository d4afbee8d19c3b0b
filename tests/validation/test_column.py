"""A confined elastic column under its weight carries ρ g (H − y) at height y."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

from simenv import mpm

E, NU, DENSITY, HEIGHT, G = 1e6, 0.3, 1e3, 1.0, 9.81
MU, LAMBDA = E / (2 * (1 + NU)), E * NU / ((1 + NU) * (1 - 2 * NU))
PERIOD = 4 * HEIGHT / math.sqrt((LAMBDA + 2 * MU) / DENSITY)
"""Of the column's first mode [s]; those of the higher ones divide it."""
CELLS, FRAMES, PERIODS = 20, 100, 2


@cache
def _stress() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle height [m] and mean vertical stress [Pa] of every cell, averaged over two periods.

    Released from rest the column swings about its equilibrium, so the mean in time is the static
    stress. Within a cell particles alternate about the mean (the splines see one value per node).
    """
    dx, step = HEIGHT / CELLS, PERIOD / FRAMES
    slip = mpm.Wall("slip")
    scene = mpm.Scene(
        (4 * dx, HEIGHT + 4 * dx),
        (4, CELLS + 4),
        step=step,
        gravity=(0.0, -G),
        walls={"x-": slip, "x+": slip},
    )
    column = mpm.Box((2 * dx, HEIGHT / 2), (4 * dx, HEIGHT))
    scene.add_body(column, mpm.NeoHookean(E=E, nu=NU, density=DENSITY))
    sim = scene.build(dtype="float64")
    state = sim.initial_state()
    cell = (state.x[0, :, 1] / dx).long()
    total = torch.zeros(CELLS, dtype=torch.float64)
    for _ in range(PERIODS * FRAMES):
        state = sim.step(state)
        total.index_add_(0, cell, _vertical(state.F[0]))
    assert state.fault.tolist() == [0]
    mean = total / torch.bincount(cell) / (PERIODS * FRAMES)
    return (np.arange(CELLS) + 0.5) * dx, mean.numpy()


def _vertical(F: torch.Tensor) -> torch.Tensor:
    """Cauchy stress [Pa] along y of the neo-Hookean law."""
    J = torch.linalg.det(F)
    stretch = (F @ F.mT)[:, 1, 1]
    return (MU * (stretch - 1) + LAMBDA * J.log()) / J


def test_stress_grows_with_depth(compare):
    """σ = −ρ g (H − y) to 3 % in every cell but the one on the floor and the two at the surface.

    Two cells from the surface a cell carries an eighth of the weight; above, a layer of particles
    more or less is a large part of it.
    """
    y, stress = _stress()
    expected = -DENSITY * G * (HEIGHT - y)
    inner = slice(1, -2)
    for measured, weight in zip(stress[inner], expected[inner], strict=True):
        compare("column, worst inner cell [Pa]", measured, weight, 0.03)


def test_slope_of_the_stress_is_the_weight(compare):
    """A straight line through the inner cells has the slope ρ g [Pa/m], to 1 %."""
    y, stress = _stress()
    slope = float(np.polyfit(y[1:-2], stress[1:-2], 1)[0])
    compare("column, gradient of the stress [Pa/m]", slope, DENSITY * G, 0.01)


def test_stress_on_the_floor(compare):
    """The cell on the floor carries a tenth too much, as quadratic splines make it, to 3 %.

    The first free node, one cell above the floor, is held up by the stress below it, with weights
    w (x_i − x_p) of the particles at ¾, ¼ and −¼ Δx above the floor. There is no particle in the
    floor, so the other two must make up for it.
    """
    y, stress = _stress()
    quarters = np.array([0.75, 0.25, -0.25])
    distance = 1.0 - quarters
    spline = np.where(distance < 0.5, 0.75 - distance**2, 0.5 * (1.5 - distance) ** 2)
    weight = spline * distance
    excess = weight.sum() / weight[:2].sum()
    expected = -excess * DENSITY * G * (HEIGHT - y[0])
    compare("column, cell on the floor [Pa]", stress[0], expected, 0.03)
