"""A column of dry sand, twice as high as wide, collapses in the plane along a rough floor."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from simenv import mpm
from simenv.validation.measure import follow
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

WIDTH, ASPECT, CELLS, TIME, STEPS = 0.1, 2.0, 16, 0.8, 40
"""L₀ [m], H₀/L₀, cells over the width, [s], steps."""
REPOSE = 31.0
"""Angle of internal friction in the plane [degrees]: that of repose of dry sand."""
CONTROL = 60.0
"""The law's friction angle [degrees] of the control."""
LAYER = 0.05 * WIDTH
"""Depth [m] of the layer that counts as the front, a few grains in the experiments."""
SUMMIT = WIDTH / 4
"""Length [m] beside the wall over which the deposit's height is averaged."""
RUNOUT, DEPOSIT = (2.40, 3.60), (0.8, 1.7)
"""Bands of the experiments: (L − L₀)/L₀, and the deposit's height over L₀."""
REASON = "spread of the experiments over grains and floors"
SOURCES = "Lube et al. 2005, Lajeunesse et al. 2005"
TOO_ROUGH = "friction of 60° is more than any sand's: a simulation that does not care is wrong"


class Deposit(NamedTuple):
    """Front of every step and outline at the end: positions and depths [m]."""

    front: Array
    x: Array
    depth: Array


def run() -> Outcome:
    """Run-out and height of the deposit of sand, and the run-out of the control."""
    sand, rough = collapse(law_angle(REPOSE)), collapse(CONTROL)
    far, height, short = runout(sand), _height(sand), runout(rough)
    comparisons = [
        _within("run-out (L − L₀)/L₀ [-]", RUNOUT, far, REASON, SOURCES),
        _within("height of the deposit, H/L₀ [-]", DEPOSIT, height, REASON, SOURCES),
        _within("run-out with φ = 60° [-]", RUNOUT, short, TOO_ROUGH, SOURCES, control=True),
    ]
    time = np.linspace(0.0, TIME, STEPS + 1)
    fronts = [
        _band(time[STEPS // 2 :], RUNOUT),
        Curve("sand", time, sand.front / WIDTH - 1, "measured"),
        Curve("control, φ = 60°", time, rough.front / WIDTH - 1, "control"),
    ]  # fmt: skip
    outlines = [
        _band(np.array([0.0, SUMMIT / WIDTH]), DEPOSIT),
        Curve("sand", sand.x / WIDTH, sand.depth / WIDTH, "measured"),
        Curve("control, φ = 60°", rough.x / WIDTH, rough.depth / WIDTH, "control"),
    ]
    panels = [
        Panel("time [s]", "run-out (L − L₀)/L₀ [-]", fronts),
        Panel("x/L₀ [-]", "depth of the deposit/L₀ [-]", outlines),
    ]
    return Outcome("Collapse of a sand column, H₀/L₀ = 2", comparisons, panels)


def _band(x: Array, band: tuple[float, float]) -> Curve:
    low, high = band
    middle = np.full(len(x), (low + high) / 2)
    return Curve("experiments", x, middle, "expected", (high - low) / 2, absolute=True)


def _height(deposit: Deposit) -> float:
    """Mean height over L₀ of the deposit beside the wall."""
    return float(deposit.depth[deposit.x < SUMMIT].mean() / WIDTH)


def runout(deposit: Deposit) -> float:
    """(L − L₀)/L₀ [-] at the end."""
    return float(deposit.front[-1] / WIDTH - 1)


def _within(
    what: str,
    band: tuple[float, float],
    value: float,
    reason: str,
    source: str,
    control: bool = False,
) -> Comparison:
    """Compare with the middle of a band, half its width the tolerance."""
    low, high = band
    middle = (low + high) / 2
    return Comparison(what, middle, float(value), high / middle - 1, reason, source, control)


def law_angle(plane: float) -> float:
    """The law's φ [degrees] of which the friction in the plane is that of an angle [degrees].

    The law is matched to Mohr and Coulomb in triaxial compression; in the plane, where
    ‖dev τ‖ = (τ₁ − τ₂)/√2, its cone is theirs with sin φ₂ = √2 α, α = √(2/3)·2 sin φ/(3 − sin φ).
    """
    s = math.sin(math.radians(plane))
    return math.degrees(math.asin(3 * s / (4 / math.sqrt(3) + s)))


def collapse(angle: float, across: int = CELLS) -> Deposit:
    """Let a column of a friction angle [degrees] go, `across` cells wide.

    It stands beside a smooth wall, on a rough floor.
    """
    dx = WIDTH / across
    cells = 6 * across, 3 * across
    rough = math.tan(math.radians(REPOSE))
    scene = mpm.Scene(
        (cells[0] * dx, cells[1] * dx),
        cells,
        step=TIME / STEPS,
        walls={"y-": mpm.Wall("separating", rough), "default": mpm.Wall("separating")},
    )
    column = mpm.Box((WIDTH / 2, ASPECT * WIDTH / 2), (WIDTH, ASPECT * WIDTH))
    scene.add_body(column, mpm.DruckerPrager(E=1e6, nu=0.2, density=1.5e3, friction_angle=angle))
    (body,) = scene.bodies
    places = np.arange(0.5, cells[0]) * dx

    def depth(state: mpm.State) -> Array:
        x = np.sort(state.x[0, :, 0].double().numpy())
        count = np.searchsorted(x, places + dx / 2) - np.searchsorted(x, places - dx / 2)
        return np.asarray(count * body.volume / dx)

    sim = scene.build()
    _, depths = follow(sim, sim.initial_state(), STEPS, depth)
    front = [_front(places, d) for d in depths]
    covered = depths[-1] > 0
    return Deposit(np.array(front), places[covered], depths[-1][covered])


def _front(places: Array, depth: Array) -> float:
    """Where [m] the depth falls below `LAYER`, interpolated between the middles of cells."""
    last = int(np.flatnonzero(depth >= LAYER).max())
    share = (depth[last] - LAYER) / (depth[last] - depth[last + 1])
    return float(places[last] + share * (places[1] - places[0]))
