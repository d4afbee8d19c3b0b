"""A rigid raft on a fluid sinks until it displaces its own weight."""

from __future__ import annotations

import numpy as np
import torch

from simenv import mpm
from simenv.validation.measure import follow
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

TANK, CEILING, DEPTH, DX = 1.2, 0.8, 0.5, 0.02
"""Length [m] and height [m] of the tank, depth of the fluid before the raft is in, cells."""
RAFT, DENSITY = (0.4, 0.24), 500.0
"""Edges [m]: flat enough to float upright, which a square of half the fluid's density does not."""
FLUID, BULK, VISCOSITY, G = 1e3, 2e5, 1.0, 9.81
START = 0.09
"""Draught [m] at which the raft is let go."""
STEP, STEPS, SETTLED = 0.02, 200, 100
"""[s], steps, and the steps from which on means are taken: bobbing takes 1.1 s."""
DRAUGHT = RAFT[1] * DENSITY / FLUID
LEVEL = (
    "where the surface lies is uncertain by a quarter of a cell, 4 % of the draught, and the raft "
    "keeps half a particle spacing from the fluid"
)
BALANCE = "the mean over two bobs leaves a part of the swing"


def run() -> Outcome:
    """Mean draught and mean contact force after settling."""
    draught, force = float_raft()
    weight = DENSITY * RAFT[0] * RAFT[1] * G
    comparisons = [
        Comparison(
            "draught [m]", DRAUGHT, float(draught[SETTLED:].mean()), 0.05, LEVEL, "h ρ_s/ρ_f"
        ),
        Comparison(
            "mean force of the fluid [N/m]", weight, float(force[SETTLED:].mean()), 0.05,
            BALANCE, "its weight",
        ),
    ]  # fmt: skip
    time = np.arange(STEPS + 1) * STEP
    curves = [
        Curve("h ρ_s/ρ_f", time, np.full(STEPS + 1, DRAUGHT), "expected", 0.05),
        Curve("raft let go at 0.09 m", time, draught, "measured"),
    ]
    panel = Panel("time [s]", "draught [m]", curves)
    return Outcome("Floating raft of half the fluid's density", comparisons, [panel])


def float_raft() -> tuple[Array, Array]:
    """Draught [m] and upward force [N/m] of every step, the start included."""
    sim = _scene().build()
    (fluid,) = sim.bodies

    def read(state: mpm.State) -> tuple[float, float]:
        bottom = state.pose[0, 0, 1].item() - RAFT[1] / 2
        level = _level(state, fluid.volume)
        return level - bottom, state.impulse[0, 0, 1].item() / STEP

    _, readings = follow(sim, at_rest(sim, BULK, FLUID, DEPTH), STEPS, read)
    return readings[:, 0], readings[:, 1]


def at_rest(sim: mpm.Simulator, bulk: float, density: float, surface: float) -> mpm.State:
    """The initial state, its fluid under the pressure ρ g (surface − y) of rest.

    The fluid's Kirchhoff stress is bulk · J (J − 1): solved for J at the pressure.
    """
    state = sim.initial_state()
    pressure = density * G * (surface - state.x[..., 1]).clamp(min=0.0)
    J = (1 + torch.sqrt(1 - 4 * pressure / bulk)) / 2
    return state.replace(F=state.F * (J ** (1 / sim.scene.dim))[..., None, None])


def _level(state: mpm.State, volume: float) -> float:
    """Height [m] of the surface away from the raft: volume per length near both ends."""
    x = state.x[0, :, 0].double()
    away = (x - TANK / 2).abs() > TANK / 2 - 0.25
    ratio = torch.linalg.det(state.F[0, away].double())
    return float(ratio.sum()) * volume / 0.5


def _scene() -> mpm.Scene:
    scene = mpm.Scene(
        (TANK, CEILING),
        (round(TANK / DX), round(CEILING / DX)),
        step=STEP,
        walls={"default": mpm.Wall("slip"), "y-": mpm.Wall("separating")},
    )
    raft = mpm.Box((TANK / 2, DEPTH - START + RAFT[1] / 2), RAFT)
    water = mpm.Difference(mpm.Box((TANK / 2, DEPTH / 2), (TANK, DEPTH)), raft)
    scene.add_body(water, mpm.Fluid(BULK, FLUID, VISCOSITY))
    scene.add_rigid(raft, density=DENSITY)
    return scene
