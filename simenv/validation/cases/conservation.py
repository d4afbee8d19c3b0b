"""Without walls and gravity nothing is lost: mass, linear and angular momentum of a wild body.

The grid carries exactly the particles' momenta (the weights add up to one) and the affine
velocities exactly their spin, whatever the symmetric stresses do in between.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from simenv import mpm
from simenv.errors import SimenvError
from simenv.validation.measure import Law, angular_momentum, follow, linear_momentum
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

DT, SUBSTEPS, STEPS = 5e-4, 20, 50
EDGE, DENSITY = 0.25, 1e3
EXACT = 1e-12
LAWS = mpm.NeoHookean, mpm.FixedCorotated
ROUNDING = (
    "single precision rounds momentum twice a substep, onto the grid and back, by ε = 1.2e-7 that "
    "leans neither way: √2000 ε"
)
SOURCE = "Jiang et al. 2015"


class Drift(NamedTuple):
    """Relative change of momenta after every step, and of the mass from density times volume."""

    linear: Array
    angular: Array
    mass: float


def run() -> Outcome:
    """Both dimensions, laws and precisions over 1,000 substeps; of each kind the worst."""
    kinds = "float64", "float32"
    drifts = {kind: [tumble(d, law, kind, STEPS) for d in (2, 3) for law in LAWS] for kind in kinds}
    mass = max(d.mass for kind in kinds for d in drifts[kind])
    reason = "the volume of the shape is shared out exactly among the particles, which keep it"
    comparisons = [Comparison("mass, relative error", 0.0, mass, EXACT, reason, "ρV")]
    for kind in kinds:
        comparisons += _compare(drifts[kind], kind)
    curves = [
        Curve(f"{name}, {kind}", _substeps(), getattr(drifts[kind][-1], name)[1:], "measured")
        for kind in kinds
        for name in ("linear", "angular")
    ]
    bounds = {"1e-5": 1e-5, "1e-12": EXACT}
    curves += [Curve(k, _substeps(), [b] * STEPS, "expected") for k, b in bounds.items()]
    panel = Panel("substeps", "relative drift of momentum [-]", curves, logarithmic=True)
    return Outcome("Conservation without walls (3-D, corotated)", comparisons, [panel])


def _substeps() -> Array:
    return np.arange(1.0, STEPS + 1) * SUBSTEPS


def _compare(drifts: Sequence[Drift], kind: str) -> list[Comparison]:
    rounding = math.sqrt(2 * STEPS * SUBSTEPS) * float(np.finfo(kind).eps)
    single = kind == "float32"
    reason = ROUNDING if single else "rounding of ε = 2e-16 over 1,000 substeps"
    spin = "the same rounding at arms of a few cells" if single else reason
    linear = max(float(drift.linear[-1]) for drift in drifts)
    angular = max(float(drift.angular[-1]) for drift in drifts)
    return [
        Comparison(
            f"linear momentum, drift in 1,000 substeps, {kind}",
            0.0,
            linear,
            rounding if single else EXACT,
            reason,
            SOURCE,
        ),
        Comparison(
            f"angular momentum, drift in 1,000 substeps, {kind}",
            0.0,
            angular,
            1e-5 if single else EXACT,
            spin,
            SOURCE,
        ),
    ]


def tumble(
    dim: int, law: Law, dtype: str, steps: int,
    speed: float = 1.0,
) -> Drift:  # fmt: skip
    """Drift of a stretched cube that flies, spins and rings for some steps of 20 substeps."""
    scene = mpm.Scene(
        (1.0,) * dim, (16,) * dim, step=SUBSTEPS * DT, substeps=SUBSTEPS, gravity=(0.0,) * dim
    )
    scene.add_body(
        mpm.Box((0.45, 0.5, 0.5)[:dim], (EDGE,) * dim),
        law(E=1e4, nu=0.3, density=DENSITY),
        velocity=tuple(speed * v for v in (0.2, 0.1, -0.1)[:dim]),
        # In the sense of its flight about the origin: the angular momenta add, not cancel.
        spin=(-3.0,) if dim == 2 else (-1.0, 3.0, -2.0),
    )
    sim = scene.build(dtype=dtype)
    state = sim.initial_state()
    stretch = torch.diag(torch.tensor([1.1, 0.95, 1.0][:dim], dtype=sim.dtype))
    centre = state.x.mean(dim=1, keepdim=True)
    start = state.replace(x=centre + (state.x - centre) @ stretch, F=state.F @ stretch)
    end, momenta = follow(
        sim, start, steps, lambda s: [*linear_momentum(sim, s), *angular_momentum(sim, s)]
    )
    _check_wild_and_clear_of_walls(scene, start, end)
    (body,) = sim.bodies
    mass = body.volume * len(body.x) * DENSITY / (DENSITY * EDGE**dim)
    return Drift(_change(momenta[:, :dim]), _change(momenta[:, dim:]), abs(mass - 1.0))


def _change(momentum: Array) -> Array:
    drift = np.linalg.norm(momentum - momentum[0], axis=1) / np.linalg.norm(momentum[0])
    return np.asarray(drift)


def _check_wild_and_clear_of_walls(scene: mpm.Scene, start: mpm.State, end: mpm.State) -> None:
    """Raise unless something happened, away from walls.

    Walls act on nodes up to the faces; a particle reaches 1.5 cells.
    """
    clear = float(end.x.min()) > 2 * scene.dx and float(end.x.max()) < 1.0 - 2 * scene.dx
    wild = float((end.F - start.F).abs().max()) > 0.05
    if not (clear and wild):
        raise SimenvError("the body must deform and stay clear of the walls: change its speed")
