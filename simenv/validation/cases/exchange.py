"""A soft block and a free rigid one collide in the air: what one loses the other gains."""

from __future__ import annotations

import numpy as np

from simenv import mpm
from simenv.errors import SimenvError
from simenv.validation.measure import angular_momentum, follow, linear_momentum
from simenv.validation.outcome import Array, Comparison, Curve, Outcome, Panel

DT, SUBSTEPS, STEPS = 2e-4, 20, 50
TOLERANCES = {"float64": 1e-12, "float32": 1e-5}
REASONS = {
    "float64": "rounding of ε = 2e-16 over 1,000 substeps",
    "float32": (
        "√2000 ε = 5e-6 from rounding momenta twice a substep; the rigid body's position rounds by "
        "up to 3e-8 m, in free flight always alike: 3e-5 m in 1,000 substeps at arms of half a "
        "metre, of its tenth to fifth of the momentum"
    ),
}


def run() -> Outcome:
    """Both dimensions and precisions, 1,000 substeps."""
    drifts = {(d, kind): collide(d, kind) for kind in TOLERANCES for d in (2, 3)}
    comparisons = [
        Comparison(
            f"{name} momentum, drift in 1,000 substeps, {d}-D, {kind}",
            0.0,
            float(drift[-1, i]),
            TOLERANCES[kind],
            REASONS[kind],
            "action and reaction",
        )
        for (d, kind), drift in drifts.items()
        for i, name in enumerate(("linear", "angular"))
    ]
    n = np.arange(1.0, STEPS + 1) * SUBSTEPS
    curves = [
        Curve(f"{name}, {kind}", n, drifts[3, kind][1:, i], "measured")
        for kind in TOLERANCES
        for i, name in enumerate(("linear", "angular"))
    ]
    curves += [
        Curve(f"{bound:.0e}", n, np.full(STEPS, bound), "expected") for bound in TOLERANCES.values()
    ]
    panel = Panel("substeps", "relative drift of momentum [-]", curves, logarithmic=True)
    return Outcome("Collision of soft and rigid bodies (3-D)", comparisons, [panel])


def collide(dim: int, dtype: str) -> Array:
    """Relative drift (steps + 1, 2) of linear and angular momentum of both bodies together."""
    scene = mpm.Scene(
        (1.0,) * dim, (16,) * dim, step=SUBSTEPS * DT, substeps=SUBSTEPS, gravity=(0.0,) * dim
    )
    scene.add_body(
        mpm.Box((0.35, 0.5, 0.5)[:dim], (0.2,) * dim),
        mpm.NeoHookean(E=2e4, nu=0.3, density=1e3),
        velocity=(0.8, 0.1, 0.05)[:dim],
    )
    # Off the line of flight, so that it is set spinning.
    scene.add_rigid(mpm.Box((0.6, 0.56, 0.53)[:dim], (0.2,) * dim), density=100.0, friction=0.3)
    sim = scene.build(dtype=dtype)
    start = sim.initial_state()
    end, momenta = follow(
        sim, start, STEPS, lambda s: [*linear_momentum(sim, s), *angular_momentum(sim, s)]
    )
    _check_collided_in_the_air(scene, start, end)
    parts = momenta[:, :dim], momenta[:, dim:]
    drifts = [np.linalg.norm(p - p[0], axis=1) / np.linalg.norm(p[0]) for p in parts]
    return np.stack(drifts, axis=1)


def _check_collided_in_the_air(scene: mpm.Scene, start: mpm.State, end: mpm.State) -> None:
    """Raise unless the bodies met, and no wall was met."""
    (body,) = scene.rigids
    push = float((end.twist - start.twist).abs().max())
    reach = float(end.pose[0, 0, : scene.dim].max()) + body.radius
    if push < 0.3 or max(reach, float(end.x.max()) + 2 * scene.dx) > 1.0:
        raise SimenvError("the bodies must collide and stay clear of the walls: change the speeds")
