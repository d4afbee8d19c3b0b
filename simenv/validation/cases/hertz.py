"""An elastic sphere pressed between two rigid planes: Hertz's contact force.

By symmetry an eighth of the sphere is simulated: the floor is one rigid plane, slip walls are two
planes of symmetry, and a slip tool holds the third, the equator, and presses it down. At every load
the tool rests while velocities are damped, so that what is read off is the static force.

The grid makes bodies touch while their surfaces are still some ¾ of a cell apart, since a node at
the floor feels the particles within 1.5 cells. As in indentation tests, where first contact is not
seen either, the approach δ counts from where the measured force, as F^{2/3}, extrapolates to zero.
"""

from __future__ import annotations

import math

import numpy as np
import torch

from simenv import mpm
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

E, NU, DENSITY, RADIUS, CELLS = 1e5, 0.3, 1e3, 1.0, 16
"""[Pa], [-], [kg/m³], [m], cells over the radius."""
DX = RADIUS / CELLS
SPEED = math.sqrt(E * (1 - NU) / ((1 + NU) * (1 - 2 * NU)) / DENSITY)
STEP = RADIUS / SPEED / 8
"""Duration [s] of a step: a wave crosses the radius in eight."""
FACTOR = 4 / 3 * E / (1 - NU**2) * math.sqrt(RADIUS)
"""F = FACTOR · δ^{3/2}."""
GAP = 1.0
"""Initial distance of sphere and floor [cells]."""
APPROACHES = np.array([0.04, 0.06, 0.08, 0.10]) * RADIUS + 0.2 * DX
"""How far [m] the equator is moved down, one load after the other."""
PRESS, REST = 0.03 * SPEED, 72
"""Speed of the tool [m/s], and steps at rest under each load."""
DAMPING = 0.85
"""Share of the velocity kept after a step: near the critical damping of the slowest mode."""
REASON = (
    "contact radii of 3 to 5 cells, uncertain by some sixth of a cell, in F ∝ a³; strains of "
    "0.2 a/R = 6 % beyond linear theory"
)
SOURCE = "F = (4/3)E*√R δ^{3/2}, Hertz 1882"


def run() -> Outcome:
    """Force at four loads, and its prefactor from the slope of F^{2/3}."""
    force = forces()
    slope, offset = (float(c) for c in np.polyfit(APPROACHES, force ** (2 / 3), 1))
    touch = -offset / slope
    delta = APPROACHES - touch
    expected = FACTOR * delta**1.5
    comparisons = [
        Comparison(f"force at δ/R = {d / RADIUS:.3f} [N]", f, measured, 0.15, REASON, SOURCE)
        for d, f, measured in zip(delta.tolist(), expected.tolist(), force.tolist(), strict=True)
    ]
    gap = (GAP * DX - touch) / DX
    comparisons.append(
        Comparison(
            "distance at first contact [cells]",
            0.75,
            gap,
            1 / 3,
            "from first feeling to being held, to half of the way from the middle",
            "surfaces feel a wall from 1.25 cells on and are held at 0.25: the middle",
        )
    )
    fine = np.linspace(0.0, 1.1 * delta[-1], 50)
    curves = [
        Curve("Hertz", fine / RADIUS, FACTOR * fine**1.5, "expected", 0.15),
        Curve(f"{CELLS} cells over the radius", delta / RADIUS, force, "measured"),
    ]
    panel = Panel("approach δ/R [-]", "force [N]", curves)
    return Outcome("Elastic sphere against a rigid plane, ν = 0.3", comparisons, [panel])


def forces() -> Array:
    """Static force [N] of the whole sphere on a plane under every load."""
    scene = _scene()
    sim = scene.build()
    state, travel, found = sim.initial_state(), 0.0, []
    for target in APPROACHES.tolist():
        steps = math.ceil((target - travel) / PRESS / STEP)
        state, _ = _press(sim, state, (target - travel) / (steps * STEP), steps)
        state, force = _press(sim, state, 0.0, REST)
        travel = target
        found.append(force)
    return np.array(found)


def _press(
    sim: mpm.Simulator, state: mpm.State, speed: float, steps: int
) -> tuple[mpm.State, float]:
    """Move the tool down for some steps, damped; the mean force [N] of the last eight."""
    twist = torch.tensor([[[0.0, -speed, 0.0, 0.0, 0.0, 0.0]]])
    pushes = []
    for _ in range(steps):
        state = sim.step(state, mpm.Control(tools=twist))
        # An eighth of the sphere stands on a quarter of the contact.
        pushes.append(4 * state.impulse[0, 0, 1].item() / STEP)
        state = state.replace(v=DAMPING * state.v, C=DAMPING * state.C)
    return state, float(np.mean(pushes[-8:]))


def _scene() -> mpm.Scene:
    cells = CELLS + 4
    slip, height = mpm.Wall("slip"), GAP * DX
    scene = mpm.Scene(
        (cells * DX,) * 3,
        (cells,) * 3,
        step=STEP,
        gravity=(0.0,) * 3,
        walls={"x-": slip, "z-": slip, "y-": mpm.Wall("separating")},
    )
    sphere = mpm.Sphere((0.0, height + RADIUS, 0.0), RADIUS)
    half = RADIUS / 2
    block = mpm.Box((half, height + half, half), (RADIUS,) * 3)
    beyond = mpm.Difference(mpm.Box((0.0, height + RADIUS, 0.0), (4 * RADIUS,) * 3), sphere)
    scene.add_body(mpm.Difference(block, beyond), mpm.FixedCorotated(E, NU, DENSITY))
    scene.add_tool(mpm.HalfSpace((0.0, height + RADIUS, 0.0), (0.0, -1.0, 0.0)), mode="slip")
    return scene
