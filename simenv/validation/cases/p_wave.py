"""Speed of a pressure wave in a laterally confined bar."""

from __future__ import annotations

import math

import numpy as np
import torch

from simenv import mpm
from simenv.validation.measure import Law, follow
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

E, NU, DENSITY, LENGTH, DX = 1e5, 0.3, 1e3, 2.0, 0.01
SPEED = math.sqrt(E * (1 - NU) / ((1 + NU) * (1 - 2 * NU)) / DENSITY)
START, WIDTH = 0.5, 0.08
"""Middle and width [m] of the first pulse, eight cells wide, where dispersion is slight."""
TIME, STEPS = 0.6 * LENGTH / SPEED, 24
DISPERSION = (
    "splines smooth strain and force by 1 − (kΔx)²/8 each while the mass is lumped: the wave is "
    "slower by (kΔx)²/8 = 0.4 % at the pulse's k = √2/width"
)


def run() -> Outcome:
    """Laws and precisions."""
    variants = {
        "neo-Hookean, float64": (mpm.NeoHookean, "float64"),
        "neo-Hookean, float32": (mpm.NeoHookean, "float32"),
        "corotated, float64": (mpm.FixedCorotated, "float64"),
    }
    tracks = {name: track(*variant) for name, variant in variants.items()}
    comparisons = [
        Comparison(
            f"speed, {name} [m/s]",
            SPEED,
            float(path[-1] - START) / TIME,
            0.03,
            DISPERSION,
            "√((λ+2μ)/ρ)",
        )
        for name, path in tracks.items()
    ]
    time = np.linspace(0, TIME, STEPS + 1)
    # Until the two halves have parted and the left one has turned back, the middle means nothing.
    parted = slice(STEPS // 2, None)
    curves = [Curve("√((λ+2μ)/ρ)", time, SPEED * time, "expected", 0.03)]
    curves += [
        Curve(name, time[parted], path[parted] - START, "measured") for name, path in tracks.items()
    ]
    panel = Panel("time [s]", "way of the right-going pulse [m]", curves)
    return Outcome("Pressure wave, ν = 0.3", comparisons, [panel])


def track(law: Law, dtype: str) -> Array:
    """Middle [m] of the kinetic energy in the right part of the bar at every step.

    A pulse of velocity parts into two halves; the one to the left is reflected, and still in the
    left part of the bar at the end.
    """
    slip = mpm.Wall("slip")
    scene = mpm.Scene(
        (LENGTH, 4 * DX),
        (round(LENGTH / DX), 4),
        step=TIME / STEPS,
        substeps=math.ceil(TIME / STEPS * SPEED / (0.3 * DX)),
        gravity=(0.0, 0.0),
        walls={"default": slip},
    )
    bar = mpm.Box((LENGTH / 2, 2 * DX), (LENGTH, 4 * DX))
    scene.add_body(bar, law(E=E, nu=NU, density=DENSITY))
    sim = scene.build(dtype=dtype)
    state = sim.initial_state()
    x = state.x[0, :, 0].double()
    v = torch.zeros_like(state.v)
    # A thousandth of the wave's speed: large strains play no part.
    v[0, :, 0] = 1e-3 * SPEED * torch.exp(-(((x - START) / WIDTH) ** 2))

    def middle(state: mpm.State) -> float:
        energy = state.v[0, :, 0].double().square() * (x > LENGTH / 2)
        return float((energy * x).sum() / energy.sum().clamp(min=1e-300))

    _, path = follow(sim, state.replace(v=v), STEPS, middle)
    return path
