"""Gradients of whole steps against central differences, law by law and contact by contact.

The loss is a random linear function of the state after 1, 10 and 100 substeps; derivatives are
taken along random directions in the state and in every parameter of the law. What a first-order
expansion leaves unexplained must shrink with the square of the change.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.validation.outcome import Comparison, Curve, Outcome, Panel

SUBSTEPS = 1, 10, 100
DT, CELL, E = 2e-4, 1 / 12, 1e4
"""Substep [s], cell [m], Young's modulus [Pa]."""
STEPS = 1e-5, 1e-6
"""Relative steps H of the central difference: truncation H² = 1e-10, rounding 1e-16/H = 1e-10. The
better of both counts, since a yield surface or a contact may be crossed within the larger."""
TOLERANCE = 1e-5
REASON = "three orders above truncation and rounding of the difference, far below a missing term"
TAYLOR = 1e-2 * 2.0 ** -np.arange(6.0)
CURVED = "terms of third order at the largest change"
SCALES = {"x": 1e-2, "v": 1.0, "C": 10.0, "F": 1e-2, "pose": 1e-2, "twist": 1.0}
"""A natural change of the state: [m], [m/s], [1/s], [-]; parameters change by a tenth of theirs."""
WEIGHTS = {"x": 10.0, "v": 1.0, "C": 0.1, "F": 1.0, "pose": 10.0, "twist": 1.0}
"""Make the outputs count about equally."""

_SOLID = {"E": E, "nu": 0.3, "density": 1e3}
LAWS: Mapping[str, mpm.Material] = {
    "neo-Hookean": mpm.NeoHookean(**_SOLID),
    "corotated": mpm.FixedCorotated(**_SOLID),
    "Hencky": mpm.Hencky(**_SOLID),
    "von Mises": mpm.VonMises(**_SOLID, yield_stress=200.0),
    "Drucker-Prager": mpm.DruckerPrager(**_SOLID, friction_angle=30.0, cohesion=50.0),
    "snow": mpm.Snow(**_SOLID),
    "fluid": mpm.Fluid(E, 1e3, 10.0),
    "Bingham": mpm.Bingham(E, 1e3, 5.0, 20.0),
    "Herschel-Bulkley": mpm.HerschelBulkley(E, 1e3, 5.0, 0.6, 20.0),
    "muscle": mpm.Muscle(mpm.NeoHookean(**_SOLID), (1.0, 2.0), index=0, max_activation=E),
}
SMOOTH = "neo-Hookean", "corotated", "Hencky", "fluid", "Bingham", "Herschel-Bulkley"
"""Laws that have a second derivative everywhere, as Taylor's theorem asks."""

Inputs = dict[str, Tensor]


class Check(NamedTuple):
    """Relative errors by number of substeps, and Taylor remainders over the steps `TAYLOR`."""

    errors: dict[int, float]
    remainders: list[float]


def run() -> Outcome:
    """Every law on a slip floor, and contact of every kind."""
    checks = {name: check(law) for name, law in LAWS.items()}
    checks["neo-Hookean, 3-D"] = check(LAWS["neo-Hookean"], dim=3)
    checks["walls, tool and rigid body"] = check(LAWS["neo-Hookean"], contact=True)
    comparisons = [
        Comparison(
            f"{name}, {n} substep{'s' if n > 1 else ''}, float64",
            0.0,
            error,
            TOLERANCE,
            REASON,
            "central differences",
        )
        for name, result in checks.items()
        for n, error in result.errors.items()
    ]
    comparisons += [
        Comparison(
            f"{name}, order of the Taylor remainder",
            2.0,
            float(np.polyfit(np.log(TAYLOR), np.log(checks[name].remainders), 1)[0]),
            0.1,
            CURVED,
            "Taylor's theorem",
        )
        for name in SMOOTH
    ]
    return Outcome("Gradients, float64", comparisons, _panels(checks))


def _panels(checks: Mapping[str, Check]) -> list[Panel]:
    errors = [
        Curve(name, SUBSTEPS, list(result.errors.values()), "measured")
        for name, result in checks.items()
    ]
    bound = Curve("tolerance", SUBSTEPS, [TOLERANCE] * len(SUBSTEPS), "expected")
    slope = Curve("h²", TAYLOR, (TAYLOR / TAYLOR[0]) ** 2, "expected")
    remainders = [
        Curve(
            name, TAYLOR, np.array(checks[name].remainders) / checks[name].remainders[0], "measured"
        )
        for name in SMOOTH
    ]
    return [
        Panel("substeps", "relative error of the gradient [-]", [*errors, bound], logarithmic=True),
        Panel(
            "relative change h [-]",
            "Taylor remainder over the first [-]",
            [*remainders, slope],
            True,
        ),
    ]


def check(law: mpm.Material, dim: int = 2, contact: bool = False) -> Check:
    """Errors at every number of substeps; the remainders after the most."""
    problems = {n: Problem(law, n, dim, contact) for n in SUBSTEPS}
    return Check({n: p.error() for n, p in problems.items()}, problems[SUBSTEPS[-1]].remainders())


class Problem:
    """Loss of a moving block after some substeps, as a function of its state and parameters."""

    def __init__(self, law: mpm.Material, substeps: int, dim: int, contact: bool) -> None:
        self.sim = _scene(law, substeps, dim, contact).build(dtype="float64")
        generator = torch.Generator().manual_seed(0)
        self._noise = lambda t: torch.randn(t.shape, generator=generator, dtype=torch.float64)
        self.start = self._stirred(self.sim.initial_state())
        names = [*"xvCF", *(("pose", "twist") if contact else ())]
        self.inputs: Inputs = {name: getattr(self.start, name) for name in names}
        self.weights = {name: WEIGHTS[name] * self._noise(t) for name, t in self.inputs.items()}
        self.inputs |= law.values()
        if law.channel is not None:
            self.inputs["activation"] = torch.full((1, 1), 0.2 * E, dtype=torch.float64)
        self.direction = {n: self._scale(n, t) * self._noise(t) for n, t in self.inputs.items()}

    def error(self) -> float:
        """Largest error over all inputs, relative to the derivative along its direction."""
        slopes = self._slopes()
        return max(
            min(self._misfit(name, slope, h) for h in STEPS) for name, slope in slopes.items()
        )

    def remainders(self) -> list[float]:
        """What the gradient leaves unexplained when F and the parameters change together.

        They act through the law alone: the second order is the law's own.
        """
        names = [name for name in self.inputs if name == "F" or name not in self.weights]
        slopes, base = self._slopes(), self._along(0.0, names)
        slope = sum(slopes[name] for name in names)
        return [abs(self._along(h, names) - base - h * slope) for h in TAYLOR.tolist()]

    def _slopes(self) -> dict[str, float]:
        """Derivative of the loss along the direction of every input."""
        leaves = {name: t.clone().requires_grad_() for name, t in self.inputs.items()}
        bars = torch.autograd.grad(self.loss(leaves), list(leaves.values()))
        return {
            name: float((bar * self.direction[name]).sum())
            for name, bar in zip(leaves, bars, strict=True)
        }

    def loss(self, inputs: Inputs) -> Tensor:
        """The scalar to differentiate."""
        state = self.start.replace(**{name: inputs[name] for name in self.weights})
        others = {name: inputs[name] for name in inputs if name not in self.weights}
        control = mpm.Control(others.pop("activation", None))
        end = self.sim.step(state, control, {"block": others})
        terms = [(weight * getattr(end, name)).sum() for name, weight in self.weights.items()]
        return torch.stack(terms).sum()

    def _misfit(self, name: str, slope: float, h: float) -> float:
        up, down = self._along(h, [name]), self._along(-h, [name])
        difference = (up - down) / (2 * h)
        # A loss is a sum of some thousand rounded terms: allow it four units in the last place.
        hidden = 4 * float(np.finfo(float).eps) * abs(up) / h / TOLERANCE
        return abs(slope - difference) / max(abs(difference), hidden)

    def _along(self, h: float, names: Sequence[str]) -> float:
        """The loss after a change of h along the direction of some inputs."""
        moved = {name: self.inputs[name] + h * self.direction[name] for name in names}
        with torch.no_grad():
            return float(self.loss({**self.inputs, **moved}))

    def _scale(self, name: str, value: Tensor) -> Tensor | float:
        return SCALES[name] if name in SCALES else 0.1 * value

    def _stirred(self, state: mpm.State) -> mpm.State:
        """Off rest, where the yield surfaces are: moving down and left, deformed and stirred."""
        push = torch.tensor([-0.5, -1.0, 0.1][: state.x.shape[-1]], dtype=torch.float64)
        return state.replace(
            v=state.v + push + 0.3 * self._noise(state.v),
            C=state.C + self._noise(state.C),
            F=state.F + 0.02 * self._noise(state.F),
        )


def _scene(law: mpm.Material, substeps: int, dim: int, contact: bool) -> mpm.Scene:
    """A block on a slip floor; with contact on a rubbing one, beside a tool, under a rigid box."""
    floor = mpm.Wall("separating", 0.3) if contact else mpm.Wall("slip")
    scene = mpm.Scene(
        (1.0,) * dim, (12,) * dim, step=substeps * DT, substeps=substeps, walls={"default": floor}
    )
    side = 3 * CELL
    scene.add_body(mpm.Box((0.4, side / 2, 0.5)[:dim], (side,) * dim), law, name="block")
    if contact:
        scene.add_tool(mpm.Sphere((0.2, 0.15), 0.1), friction=0.3)
        scene.add_rigid(mpm.Box((0.42, side + 0.08), (0.2, 0.18)), density=500.0, friction=0.2)
    return scene
