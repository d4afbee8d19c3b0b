"""Free fall: symplectic Euler has a closed form, which a body in the air must follow exactly."""

from __future__ import annotations

import numpy as np

from simenv import mpm
from simenv.validation.measure import follow
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

G, V0, STEPS, SUBSTEPS, DT = 9.81, 0.3, 100, 10, 5e-4
REASONS = {
    "float64": "each of 1,000 additions rounds by ε of the height: 1e-14 if they scatter",
    "float32": "each of 1,000 additions rounds by up to 6e-8 m: 2e-6 m of 1.08 m if they scatter",
}
TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
SOURCE = "symplectic Euler: nΔt v₀ − ½gΔt² n(n+1)"


def run() -> Outcome:
    """Both dimensions and both precisions."""
    falls = {(d, kind): fall(d, kind) for d in (2, 3) for kind in TOLERANCES}
    comparisons = [
        Comparison(
            f"height after 1,000 substeps, {dim}-D, {kind} [m]",
            float(expected()[-1]),
            float(measured[-1]),
            TOLERANCES[kind],
            REASONS[kind],
            SOURCE,
        )
        for (dim, kind), measured in falls.items()
    ]
    time = np.arange(STEPS + 1) * SUBSTEPS * DT
    curves = [
        Curve("closed form", time, expected(), "expected"),
        Curve("cube of 0.4 m, 3-D, float32", time, falls[3, "float32"], "measured"),
    ]
    panel = Panel("time [s]", "height above the start [m]", curves)
    return Outcome("Free fall", comparisons, [panel])


def expected() -> Array:
    """y_n − y_0 = n Δt v_0 − ½ g Δt² n (n + 1) at every step [m]."""
    n = np.arange(STEPS + 1) * SUBSTEPS
    return np.asarray(n * DT * V0 - 0.5 * G * DT**2 * n * (n + 1))


def fall(dim: int, dtype: str) -> Array:
    """How far [m] the centre of a soft cube has moved after every step."""
    scene = mpm.Scene((2.0,) * dim, (16,) * dim, step=SUBSTEPS * DT, substeps=SUBSTEPS)
    centre, speed = (1.0, 1.6, 1.0)[:dim], (0.5, V0, 0.0)[:dim]
    cube = mpm.Box(centre, (0.4,) * dim)
    scene.add_body(cube, mpm.NeoHookean(E=1e4, nu=0.3, density=1e3), velocity=speed)
    sim = scene.build(dtype=dtype)
    start = sim.initial_state()
    rest = start.x.double()
    _, heights = follow(
        sim, start, STEPS, lambda state: (state.x.double() - rest)[..., 1].mean().item()
    )
    return heights
