"""A block on an inclined plane with friction."""

from __future__ import annotations

import math

import numpy as np

from simenv import mpm
from simenv.validation.measure import follow
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

G, ANGLE, TIME, SUBSTEPS, STEPS = 9.81, math.radians(30.0), 0.99, 20, 50
FRICTION = 0.1
RUBBING = (
    "friction takes μ times the whole normal impulse while the block slides; what differs is the "
    "bounce left when the time is up, part of a period of 0.02 s"
)
SMOOTH = "the floor does not act along itself: rounding alone"
SOURCE = "½g(sin θ − μ cos θ)t²"


def run() -> Outcome:
    """With friction in the plane and in space, and without, where the result is exact."""
    variants = {"2-D, float64": (2, "float64"), "2-D, float32": (2, "float32"),
                "3-D, float32": (3, "float32")}  # fmt: skip
    slides = {name: slide(FRICTION, dtype, dim) for name, (dim, dtype) in variants.items()}
    time = np.linspace(0.0, TIME, STEPS + 1)
    expected = exact(FRICTION, time)
    comparisons = [
        Comparison(
            f"μ = 0.1, {name} [m]", float(expected[-1]), float(path[-1]), 0.02, RUBBING, SOURCE
        )
        for name, path in slides.items()
    ]
    dt = TIME / (STEPS * SUBSTEPS)
    n = STEPS * SUBSTEPS
    smooth = slide(0.0, "float64")
    discrete = 0.5 * G * math.sin(ANGLE) * dt**2 * n * (n + 1)
    comparisons.append(
        Comparison(
            "μ = 0 [m]", discrete, float(smooth[-1]), 1e-12, SMOOTH,
            "symplectic Euler: ½g sin θ Δt² n(n+1)",
        )
    )  # fmt: skip
    curves = [
        Curve("μ = 0.1: ½g(sin θ − μ cos θ)t²", time, expected, "expected", 0.02),
        Curve("μ = 0: ½g sin θ t²", time, exact(0.0, time), "expected"),
        *(Curve(f"μ = 0.1, {name}", time, path, "measured") for name, path in slides.items()),
        Curve("μ = 0", time, smooth, "measured"),
    ]
    panel = Panel("time [s]", "distance slid [m]", curves)
    return Outcome("Block on an incline of 30°", comparisons, [panel])


def exact(friction: float, time: Array) -> Array:
    """Distance [m] in continuous time."""
    return 0.5 * G * (math.sin(ANGLE) - friction * math.cos(ANGLE)) * time**2


def slide(friction: float, dtype: str, dim: int = 2) -> Array:
    """How far [m] an elastic block has slid from rest; gravity is turned, not the floor.

    A flat block, which does not rock, and stiff: it yields by 1e-3 of its height.
    """
    size, (width, height) = (4.0, 0.8, 0.8)[:dim], (0.6, 0.2)
    scene = mpm.Scene(
        size,
        tuple(round(edge / 0.1) for edge in size),
        step=TIME / STEPS,
        substeps=SUBSTEPS,
        gravity=(G * math.sin(ANGLE), -G * math.cos(ANGLE), 0.0)[:dim],
        walls={"y-": mpm.Wall("separating", friction)},
    )
    block = mpm.Box((0.5, height / 2, 0.4)[:dim], (width, height, 0.4)[:dim])
    scene.add_body(block, mpm.NeoHookean(E=1e6, nu=0.3, density=1e3))
    sim = scene.build(dtype=dtype)
    start = sim.initial_state()
    rest = start.x
    _, path = follow(sim, start, STEPS, lambda s: (s.x - rest)[..., 0].double().mean().item())
    return path
