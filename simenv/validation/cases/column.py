"""A confined elastic column under its weight carries ρ g (H − y) at height y."""

from __future__ import annotations

import math

import numpy as np
import torch

from simenv import mpm
from simenv.validation.measure import follow
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

E, NU, DENSITY, HEIGHT, G = 1e6, 0.3, 1e3, 1.0, 9.81
MU, LAMBDA = E / (2 * (1 + NU)), E * NU / ((1 + NU) * (1 - 2 * NU))
PERIOD = 4 * HEIGHT / math.sqrt((LAMBDA + 2 * MU) / DENSITY)
"""Of the column's first mode [s]; those of the higher ones divide it."""
CELLS, FRAMES, PERIODS = 20, 100, 2
INNER = slice(1, -2)

LAYER = (
    "inner cells: all but the one on the floor and the two at the surface, where a layer of "
    "particles more or less is a large part of the eighth of the weight that they carry"
)
LINE = "a straight line averages what cells are off"
FLOOR = "as in the inner cells, about what the splines make of a wall"


def run() -> Outcome:
    """Stress in every cell, its slope, and the stress on the floor."""
    y, stress = mean_stress()
    expected = -DENSITY * G * (HEIGHT - y)
    pairs = list(zip(stress[INNER], expected[INNER], strict=True))
    measured, weight = max(pairs, key=lambda pair: abs(pair[0] / pair[1] - 1))
    slope = float(np.polyfit(y[INNER], stress[INNER], 1)[0])
    floor = floor_excess() * expected[0]
    comparisons = [
        Comparison("worst inner cell [Pa]", weight, measured, 0.03, LAYER, "σ = −ρg(H − y)"),
        Comparison("gradient of the stress [Pa/m]", DENSITY * G, slope, 0.01, LINE, "ρg"),
        Comparison(
            "cell on the floor [Pa]", floor, stress[0], 0.03, FLOOR,
            "1.102 · ρg(H − y), from the splines",
        ),
    ]  # fmt: skip
    curves = [
        Curve("σ = −ρg(H − y)", y, expected / 1e3, "expected", 0.03),
        Curve("with the splines' excess on the floor", y[:1], [floor / 1e3], "control"),
        Curve("mean over two periods, cell by cell", y, stress / 1e3, "measured"),
    ]
    panel = Panel("height [m]", "vertical stress [kPa]", curves)
    return Outcome("Column under its weight", comparisons, [panel])


def floor_excess() -> float:
    """By how much [-] the cell on the floor carries more than the weight on it.

    The first free node, one cell above the floor, is held up by the stress below it, with weights
    w (x_i − x_p) of the particles at ¾, ¼ and −¼ Δx above the floor. There is no particle in the
    floor, so the other two must make up for it.
    """
    quarters = np.array([0.75, 0.25, -0.25])
    distance = 1.0 - quarters
    spline = np.where(distance < 0.5, 0.75 - distance**2, 0.5 * (1.5 - distance) ** 2)
    weight = spline * distance
    return float(weight.sum() / weight[:2].sum())


def mean_stress() -> tuple[Array, Array]:
    """Middle height [m] and mean vertical stress [Pa] of every cell, averaged over two periods.

    Released from rest the column swings about its equilibrium, so the mean in time is the static
    stress. Within a cell particles alternate about the mean (the splines see one value per node).
    """
    dx = HEIGHT / CELLS
    sim = _scene(dx).build(dtype="float64")
    state = sim.initial_state()
    cell = (state.x[0, :, 1] / dx).long()
    count = torch.bincount(cell).double()

    def by_cell(state: mpm.State) -> Array:
        total = torch.zeros(CELLS, dtype=torch.float64)
        return np.asarray(total.index_add_(0, cell, vertical(state.F[0])) / count)

    _, stresses = follow(sim, state, PERIODS * FRAMES, by_cell)
    middles = np.asarray((np.arange(CELLS) + 0.5) * dx, dtype=np.float64)
    return middles, stresses[1:].mean(axis=0)


def _scene(dx: float) -> mpm.Scene:
    slip = mpm.Wall("slip")
    scene = mpm.Scene(
        (4 * dx, HEIGHT + 4 * dx),
        (4, CELLS + 4),
        step=PERIOD / FRAMES,
        gravity=(0.0, -G),
        walls={"x-": slip, "x+": slip},
    )
    column = mpm.Box((2 * dx, HEIGHT / 2), (4 * dx, HEIGHT))
    scene.add_body(column, mpm.NeoHookean(E=E, nu=NU, density=DENSITY))
    return scene


def vertical(F: torch.Tensor) -> torch.Tensor:
    """Cauchy stress [Pa] along y of the neo-Hookean law."""
    J = torch.linalg.det(F)
    stretch = (F @ F.mT)[:, 1, 1]
    return (MU * (stretch - 1) + LAMBDA * J.log()) / J
