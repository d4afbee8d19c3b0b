"""A rigid sphere sinks slowly in the axis of a tube full of viscous fluid.

Its weight in the fluid is in balance with Stokes' drag 6π η a U, multiplied by K for the walls of
the tube. The sphere is dense enough to sink through two cells while its speed is averaged, since a
sphere at rest on the grid would be as large as the nodes it happens to hold.
"""

from __future__ import annotations

import math

import numpy as np

from simenv import mpm
from simenv.validation.cases.archimedes import G, at_rest
from simenv.validation.measure import follow
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

RADIUS, TUBE, HEIGHT, DX = 0.05, 0.2, 0.6, 0.05 / 3
"""Sphere a and tube R [m], height of the tube, cells: three over a."""
FLUID, SPHERE, VISCOSITY, BULK = 1e3, 8e3, 250.0, 3e5
"""ρ_f, ρ_s [kg/m³], η [Pa s], λ [Pa]: Re = 2aUρ_f/η = 0.03."""
TIME, STEPS, NUMBER = 0.4, 40, 0.24
"""[s], steps, and η Δt/(ρ Δx²) of the substep, close to the largest allowed."""
REASON = (
    "nodes hold the sphere up to half a cell, a/6, outside its surface and the tube as far inside, "
    "which sticky contact rubs on: see poiseuille-substep"
)
SOURCE = "2(ρ_s − ρ_f)ga²/9ηK; Haberman & Sayre 1958"


def run() -> Outcome:
    """Speed averaged over the second half of the time."""
    expected, speed = settling_speed(), sink()
    time = np.linspace(0.0, TIME, STEPS + 1)
    settled = float(speed[STEPS // 2 :].mean())
    comparison = Comparison("settling speed [m/s]", expected, settled, 0.15, REASON, SOURCE)
    curves = [
        Curve("Stokes, tube corrected", time, np.full(STEPS + 1, expected), "expected", 0.15),
        Curve("sphere let go at rest", time, speed, "measured"),
    ]
    panel = Panel("time [s]", "speed [m/s]", curves)
    return Outcome("Sphere sinking in a tube, a/R = 1/4", [comparison], [panel])


def settling_speed() -> float:
    """U [m/s] in the tube."""
    q = RADIUS / TUBE
    correction = (1 - 0.75857 * q**5) / (
        1 - 2.1050 * q + 2.0865 * q**3 - 1.7068 * q**5 + 0.72603 * q**6
    )
    return 2 / 9 * (SPHERE - FLUID) * G * RADIUS**2 / (VISCOSITY * correction)


def sink(number: float = NUMBER) -> Array:
    """Downward speed [m/s] of the sphere at every step, with substeps of η Δt/(ρ Δx²)."""
    sim = _scene(number).build()
    sphere = sim.rigid("sphere")
    _, speeds = follow(
        sim, at_rest(sim, BULK, FLUID, HEIGHT), STEPS, lambda s: -s.twist[0, sphere, 1].item()
    )
    return speeds


def _scene(number: float) -> mpm.Scene:
    across, up = 2 * math.ceil(TUBE / DX + 2), round(HEIGHT / DX)
    width, step = across * DX, TIME / STEPS
    scene = mpm.Scene(
        (width, HEIGHT, width),
        (across, up, across),
        step=step,
        substeps=math.ceil(step * VISCOSITY / (number * FLUID * DX**2)),
        walls={"default": mpm.Wall("sticky")},
    )
    half = width / 2
    ball = mpm.Sphere((half, 0.55 * HEIGHT, half), RADIUS)
    bore = mpm.Cylinder((half, -HEIGHT, half), (half, 2 * HEIGHT, half), TUBE)
    block = mpm.Box((half, HEIGHT / 2, half), (width + 4 * DX, HEIGHT + 4 * DX, width + 4 * DX))
    filling = mpm.Cylinder((half, 0.0, half), (half, HEIGHT, half), TUBE)
    scene.add_body(mpm.Difference(filling, ball), mpm.Fluid(BULK, FLUID, VISCOSITY))
    scene.add_tool(mpm.Difference(block, bore), mode="sticky")
    scene.add_rigid(ball, name="sphere", density=SPHERE, mode="sticky")
    return scene
