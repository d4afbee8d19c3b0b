"""Longitudinal vibration of a bar with one end held: its first mode, and how it converges."""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch

from simenv import mpm
from simenv.validation.measure import Law, follow, period
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

E, DENSITY, LENGTH, SPEED = 100.0, 1.0, 25.0, 0.1
"""[Pa], [kg/m³], [m], [m/s]: strains stay below 1 %, and so do effects of large strain, squared."""
PERIOD = 4 * LENGTH / math.sqrt(E / DENSITY)
STEP, STEPS = PERIOD / 100, 220

ENDS = "the held and the free end are each uncertain by a fraction of a cell, 1 % of L"
THIN = "the same; sides that move in and out add ½(νπr/2L)² = 1e-5"
ORDER = "three sizes: terms of second order in Δx weigh in by half an order"
SOURCE = "ω = (π/2L)√(E/ρ)"


def run() -> Outcome:
    """Laws and precisions in the plane, a thinning bar in space, and halved cells."""
    variants = [
        ("neo-Hookean, float64", mpm.NeoHookean, "float64"),
        ("neo-Hookean, float32", mpm.NeoHookean, "float32"),
        ("corotated, float64", mpm.FixedCorotated, "float64"),
    ]
    comparisons = [
        Comparison(
            f"first period, {name} [s]", PERIOD, _period(0.5, law, dtype), 0.02, ENDS, SOURCE
        )
        for name, law, dtype in variants
    ]
    thinning = _period(0.5, mpm.NeoHookean, "float32", dim=3)
    comparisons += [
        Comparison("first period, 3-D, ν = 0.3 [s]", PERIOD, thinning, 0.02, THIN, SOURCE),
        Comparison("order of convergence in Δx", 1.0, _order(), 0.5, ORDER, "ends off by cells"),
    ]
    return Outcome("Bar held at one end, first mode", comparisons, [_panel()])


def _order() -> float:
    errors = [abs(_period(dx) / PERIOD - 1) for dx in (1.0, 0.5, 0.25)]
    return math.log2(errors[0] / errors[2]) / 2


def _panel() -> Panel:
    measured = amplitude(0.5)
    time = np.arange(STEPS + 1) * STEP
    # Mean of the mode's square over the bar is one half.
    expected = 0.5 * SPEED * PERIOD / (2 * math.pi) * np.sin(2 * math.pi * time / PERIOD)
    curves = [
        Curve("period 10 s", time, expected, "expected"),
        Curve("50 cells, 2-D, float64", time, measured, "measured"),
    ]
    return Panel("time [s]", "mean of mode × displacement [m]", curves)


def _period(
    dx: float,
    law: Law = mpm.NeoHookean,
    dtype: str = "float64",
    dim: int = 2,
) -> float:
    """Measured period [s] of the first mode with cells of `dx` [m]."""
    return period(amplitude(dx, law, dtype, dim)[1:], STEP)


@cache
def amplitude(
    dx: float,
    law: Law = mpm.NeoHookean,
    dtype: str = "float64",
    dim: int = 2,
) -> Array:
    """Displacement along the first mode [m] at every step from a push along it on."""
    sim = scene(dim, dx, law).build(dtype=dtype)
    state = sim.initial_state()
    rest = state.x[0, :, 0]
    mode = torch.sin(math.pi * rest / (2 * LENGTH))
    v = torch.zeros_like(state.v)
    v[0, :, 0] = SPEED * mode
    _, amplitudes = follow(
        sim, state.replace(v=v), STEPS, lambda s: (mode * (s.x[0, :, 0] - rest)).mean().item()
    )
    return amplitudes


def scene(dim: int, dx: float, law: Law) -> mpm.Scene:
    """The bar along x, held by a sticky wall at x = 0.

    In the plane it fills the domain between slip walls, and ν = 0 makes the motion one-dimensional.
    In space its sides are free and ν = 0.3: it thins as it stretches.
    """
    long, side = round(LENGTH / dx), 4 if dim == 2 else 8
    slip = mpm.Wall("slip")
    scene = mpm.Scene(
        ((long + 4) * dx, *[side * dx] * (dim - 1)),
        (long + 4, *[side] * (dim - 1)),
        step=STEP,
        gravity=(0.0,) * dim,
        walls={"x-": mpm.Wall("sticky"), "y-": slip, "y+": slip},
    )
    centre = (LENGTH / 2, *[side * dx / 2] * (dim - 1))
    bar = mpm.Box(centre, (LENGTH, *[4 * dx] * (dim - 1)))
    scene.add_body(bar, law(E=E, nu=0.0 if dim == 2 else 0.3, density=DENSITY))
    return scene
