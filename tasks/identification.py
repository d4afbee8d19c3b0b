"""Identification: material parameters from a trajectory, by gradients through the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import torch
from torch import Tensor

from simenv import mpm
from simenv.errors import ConfigurationError, ShapeError, expect_shape
from simenv.mpm import Material, State
from simenv.registry import find_problem


@dataclass(frozen=True)
class Parameter:
    """A parameter that is to be found.

    Attributes:
        name: as the law calls it.
        unit: of all the values.
        truth: what the reference was made with.
        start: where to start from, five times too small.
        lower: least value that is accepted.
        upper: greatest.
    """

    name: str
    unit: str
    truth: float
    start: float
    lower: float
    upper: float


LAWS: Mapping[str, Material] = {
    "Jelly": mpm.FixedCorotated(E=1.0e5, nu=0.2, density=1.0e3),
    "Sand": mpm.DruckerPrager(E=1.0e6, nu=0.2, density=1.0e3, friction_angle=25.0),
    "Plasticine": mpm.VonMises(E=3.0e5, nu=0.25, density=1.0e3, yield_stress=5.0e3),
    "Water": mpm.Fluid(bulk_modulus=1.0e5 * 0.3 / (1.3 * 0.4), density=1.0e3),
}
"""The true laws: those of NCLaw (Ma et al., ICML 2023), whose data the problems follow. Water has
the bulk modulus λ of E = 100 kPa and ν = 0.3."""

SOUGHT: Mapping[str, tuple[float, float]] = {
    "E": (0.1, 4.0),
    "bulk_modulus": (0.1, 4.0),
    "yield_stress": (0.1, 10.0),
    "friction_angle": (0.1, 2.4),
}
"""Parameters that are sought in the laws that have them, and the range accepted, over the truth."""

START = 0.2
"""Start values, over the truth."""


class IdentificationProblem:
    """Which parameters made this trajectory? Parameters in, error of the trajectory out.

    A cube is thrown with velocity (1, −1.5, −2) m/s and spin (4, 4, 4) rad/s into a box of 1 m with
    slippery walls, for 50 steps of 10 ms, each of 20 substeps of 0.5 ms. These are the data of
    NCLaw (Ma et al., ICML 2023); the small cube is smaller than theirs, and so has like theirs one
    particle in a cell.

    Args:
        problem_id: one of `simenv.PROBLEMS`, such as "MaterialID-Jelly".
        size: "small" (216 particles in a cube of 0.375 m, 16³ cells) or "full" (1,000 in 0.5 m,
            20³).
        num_envs: how many sets of parameters N are tried at a time.
        steps: length of the trajectory T.
        segment: start again from the reference every so many steps, which keeps errors from
            growing and the error smooth in the parameters (NCLaw's teacher); 0: never.
        device: "cpu", "cuda:0" or "auto".
        dtype: "float64", or "float32", whose gradients are rougher.
        threads: CPU threads; default all cores.

    Attributes:
        parameters: what is sought, K of them.
        reference: true particle positions [m], (T + 1, P, 3).

    Raises:
        UnknownTaskError: no such id; the message suggests the nearest ones.
        ConfigurationError: an option outside its bounds.

    Example:
        >>> problem = simenv.identification("MaterialID-Jelly", segment=10)
        >>> logs = problem.to_logs(problem.start).requires_grad_()
        >>> problem.error(problem.from_logs(logs)).backward()
    """

    sizes: ClassVar[Mapping[str, tuple[float, int, int]]] = {
        "small": (0.375, 216, 16),
        "full": (0.5, 1000, 20),
    }
    body: ClassVar[str] = "cube"

    def __init__(
        self,
        problem_id: str,
        *,
        size: str = "small",
        num_envs: int = 1,
        steps: int = 50,
        segment: int = 0,
        device: str = "cpu",
        dtype: str = "float64",
        threads: int | None = None,
    ) -> None:
        self.spec = find_problem(problem_id)
        self.steps, self.segment = _whole("steps", steps, 1), _whole("segment", segment, 0)
        law = LAWS[self.spec.material]
        self.parameters = _sought(law)
        self.scene = self._scene(size, law)
        self.simulator = self.scene.build(num_envs, device=device, dtype=dtype, threads=threads)
        self._states = self._true_states()
        self.reference = torch.stack([state.x[0] for state in self._states])

    @property
    def num_envs(self) -> int:
        """Sets of parameters N that are tried at a time."""
        return self.simulator.num_envs

    @property
    def truth(self) -> Tensor:
        """True values (K,)."""
        return self._vector([p.truth for p in self.parameters])

    @property
    def start(self) -> Tensor:
        """Values (K,) to start from."""
        return self._vector([p.start for p in self.parameters])

    @property
    def bounds(self) -> Tensor:
        """Least and greatest values, (2, K)."""
        rows = [[p.lower for p in self.parameters], [p.upper for p in self.parameters]]
        return torch.stack([self._vector(row) for row in rows])

    def to_logs(self, values: Tensor) -> Tensor:
        """Logarithms (..., K) of values, in which to search.

        A step in the logarithm is a share of the value, so that moduli and angles go alongside.
        """
        return torch.log(values)

    def from_logs(self, logs: Tensor) -> Tensor:
        """Values (..., K) of logarithms, kept within `bounds`; no gradient flows beyond them."""
        lower, upper = self.bounds
        return torch.minimum(torch.maximum(torch.exp(logs), lower), upper)

    def error(self, values: Tensor) -> Tensor:
        """Mean squared distance [m²] of the particles from the reference, over all steps.

        Args:
            values: of `parameters` in their order, (K,) for one set, (N, K) for `num_envs`.

        Returns:
            Scalar, or (N,); differentiable. Infinite, without a slope, where a step broke: the
            trial stays where it was then, at a distance that says nothing.

        Raises:
            ShapeError: another shape.
            ConfigurationError: a value outside its bounds.
        """
        rows = self._rows(values)
        overrides = {self.body: {p.name: rows[:, k] for k, p in enumerate(self.parameters)}}
        state, errors = self._states[0], []
        broken = torch.zeros_like(state.failed)
        for step in range(self.steps):
            if self.segment and step % self.segment == 0:
                state = self._states[step]
            state = self.simulator.step(state, None, overrides)
            broken = broken | state.failed
            distance = (state.x - self.reference[step + 1]).square().sum(dim=2)
            errors.append(distance.mean(dim=1))
        mean = torch.stack(errors).mean(dim=0).masked_fill(broken, torch.inf)
        return mean[0] if values.ndim == 1 else mean

    # ------------------------------------------------------------------ build and check

    def _scene(self, size: str, law: Material) -> mpm.Scene:
        if size not in self.sizes:
            raise ConfigurationError(f"size {size!r} is not one of {tuple(self.sizes)}")
        edge, count, cells = self.sizes[size]
        scene = mpm.Scene(
            size=(1.0, 1.0, 1.0),
            cells=(cells,) * 3,
            gravity=(0.0, -9.8, 0.0),
            step=0.01,
            substeps=20,
            walls={"default": mpm.Wall("slip")},
        )
        scene.add_body(
            mpm.Box((0.5, 0.5, 0.5), (edge,) * 3),
            law,
            name=self.body,
            particles_per_cell=count / (edge * cells) ** 3,
            velocity=(1.0, -1.5, -2.0),
            spin=(4.0, 4.0, 4.0),
        )
        return scene

    @torch.no_grad()
    def _true_states(self) -> list[State]:
        """The states of the reference, of all environments alike."""
        states = [self.simulator.initial_state()]
        for _ in range(self.steps):
            states.append(self.simulator.step(states[-1]))
        return states

    def _rows(self, values: Tensor) -> Tensor:
        """Values (N, K), of the simulator's kind, checked."""
        count = len(self.parameters)
        if values.ndim == 1 and self.num_envs > 1:
            raise ShapeError(
                f"values has shape {tuple(values.shape)}, expected ({self.num_envs}, {count}): one "
                "row for each of num_envs"
            )
        rows = values[None] if values.ndim == 1 else values
        expect_shape("values", rows.shape, (self.num_envs, count))
        for parameter, column in zip(self.parameters, rows.detach().T, strict=True):
            _require(parameter, column)
        return rows.to(dtype=self.simulator.dtype, device=self.simulator.device)

    def _vector(self, numbers: Sequence[float]) -> Tensor:
        like: dict[str, Any] = {"dtype": self.simulator.dtype, "device": self.simulator.device}
        return torch.tensor(numbers, **like)


def _sought(law: Material) -> tuple[Parameter, ...]:
    found = []
    for name, (lower, upper) in SOUGHT.items():
        if name in law.bounds:
            truth = float(getattr(law, name))
            numbers = truth, START * truth, lower * truth, upper * truth
            found.append(Parameter(name, law.bounds[name].unit, *numbers))
    return tuple(found)


def _require(parameter: Parameter, values: Tensor) -> None:
    """Raise ConfigurationError for a value outside its bounds, rounding allowed for."""
    slack = 1e-6
    inside = values >= parameter.lower * (1 - slack)
    inside &= values <= parameter.upper * (1 + slack)
    if not bool(inside.all()):
        raise ConfigurationError(
            f"{parameter.name} = {float(values[~inside][0]):g} [{parameter.unit}] must lie within "
            f"{parameter.lower:g} and {parameter.upper:g}; from_logs keeps it there"
        )


def _whole(name: str, value: object, least: int) -> int:
    if not isinstance(value, Integral) or value < least:
        raise ConfigurationError(f"{name} = {value!r} must be a whole number of at least {least}")
    return int(value)
