"""What every constitutive law is: parameters with bounds, waves, and Warp functions."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from simenv.errors import ConfigurationError
from simenv.mpm.types import Types

STABLE_COURANT = 0.7
"""Largest c Δt/Δx [-] that is accepted (c: fastest wave); published scenes run up to 0.7."""
STABLE_DIFFUSION = 0.25
"""Largest η Δt/(ρ Δx²) [-] that is accepted (η: largest viscosity)."""


class Bound(NamedTuple):
    """Where a parameter must lie: an open interval, one or both ends of which may be included."""

    unit: str
    lower: float = 0.0
    upper: float = math.inf
    closed: str = ""
    """Which ends belong to the interval: any of "[" (lower) and "]" (upper)."""
    remedy: str = ""

    def admits(self, value: Tensor) -> Tensor:
        """Which entries of a tensor lie within."""
        above = value >= self.lower if "[" in self.closed else value > self.lower
        below = value <= self.upper if "]" in self.closed else value < self.upper
        return torch.isfinite(value) & above & below

    def require(self, owner: str, name: str, value: Tensor) -> None:
        """Raise ConfigurationError if any entry of a tensor lies outside."""
        value = value.detach()
        bad = value[~self.admits(value)]
        if bad.numel():
            remedy = f"; {self.remedy}" if self.remedy else ""
            raise ConfigurationError(
                f"{owner}: {name} = {float(bad[0])} [{self.unit}] {self}{remedy}"
            )

    def __str__(self) -> str:
        if math.isinf(self.upper):
            return f"must be finite and {'>=' if '[' in self.closed else '>'} {self.lower:g}"
        left, right = "[" if "[" in self.closed else "(", "]" if "]" in self.closed else ")"
        return f"must lie in {left}{self.lower:g}, {self.upper:g}{right}"


class Response(NamedTuple):
    """Warp functions of one law, for one dimension and precision.

    In both, `trial` is the trial gradient (I + Δt C) F, `p` the parameter vector, `m` the memory
    (unused by laws without one), `strain` and `axes` the principal strains and directions of the
    trial (unused by laws that are not spectral).

    Attributes:
        respond: (trial, C, p, m, strain, axes) -> (F, τ, m).
        pull: (trial, C, p, m, strain, axes, F̄, τ̄, m̄) -> adjoints of (trial, C, p, m).
        plastic: whether F ever differs from the trial gradient.
    """

    respond: Any
    pull: Any
    plastic: bool


class Material(ABC):
    """Base of the constitutive laws.

    To write one, derive from `TensorLaw` or `SpectralLaw` (docs/materials.md has both).

    Attributes:
        bounds: the scalars of the law, density among them, and where they must lie. Each is an
            attribute of the same name and may be overridden per step, with gradients.
        density: rest density ρ [kg/m³] (2-D: per unit thickness).
        has_memory: whether the law keeps a scalar per particle (`State.Jp`).
        memory_start: that scalar's value at rest.
        in_torch: whether the law is evaluated by torch and has no kernel.
        measure: strains that the law wants along the principal axes of the trial gradient: "log"
            (ln σ), "biot" (σ − 1) or, if it does without, None.
    """

    bounds: ClassVar[Mapping[str, Bound]]
    has_memory: ClassVar[bool] = False
    memory_start: ClassVar[float] = 1.0
    in_torch: ClassVar[bool] = False
    measure: ClassVar[str | None] = None
    density: float

    def values(self) -> dict[str, Tensor]:
        """The law's own value of every parameter, density among them, as float64 scalars."""
        return {
            name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in self.bounds
        }

    def validate(self, values: Mapping[str, Tensor]) -> None:
        """Raise ConfigurationError for a parameter outside its bounds."""
        for name, bound in self.bounds.items():
            bound.require(type(self).__name__, name, values[name])

    @property
    def channel(self) -> int | None:
        """Index of the activation channel that drives this body, if it is a muscle."""
        return None

    @property
    def key(self) -> str:
        """Laws with equal keys share kernels, and their bodies one launch.

        A law whose Warp functions depend on more than its class must extend this.
        """
        return _name_of(type(self))

    def size(self, dim: int) -> int:
        """Length of the kernel's parameter vector p."""
        return len(self.pack(self.values(), dim))

    @abstractmethod
    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        """The components of p, each broadcastable to (N, particles of the body)."""

    def activation_slot(self, dim: int) -> int | None:
        """Which component of p is the activation, if this is a muscle."""
        return None

    def check(self, dim: int) -> None:  # noqa: B027 - most laws fit every scene
        """Raise ConfigurationError if the law does not fit a scene of this dimension."""

    @abstractmethod
    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        """Fastest wave [m/s] for these parameters; it bounds the substep."""

    def viscosity(self, values: Mapping[str, Tensor]) -> Tensor | None:
        """Largest viscosity [Pa s] for these parameters, if there is any; it bounds the substep."""
        return None

    def largest_dt(self, values: Mapping[str, Tensor], dx: float) -> float:
        """Largest stable substep [s] on cells of edge `dx` [m].

        Waves: c Δt ≤ 0.7 Δx. Viscosity: η Δt ≤ 0.25 ρ Δx².
        """
        largest = STABLE_COURANT * dx / float(self.wave_speed(values).detach().max())
        eta = self.viscosity(values)
        if eta is None:
            return largest
        kinematic = float((eta / values["density"]).detach().max())
        return min(largest, STABLE_DIFFUSION * dx**2 / max(kinematic, 1e-300))

    def response(self, types: Types) -> Response:
        """The law's Warp functions; made once, since Warp knows functions by their names."""
        if (self.key, types) not in _responses:
            _responses[self.key, types] = self.make_response(types)
        return _responses[self.key, types]

    @abstractmethod
    def make_response(self, types: Types) -> Response:
        """Make the law's Warp functions."""


_responses: dict[tuple[str, Types], Response] = {}

_WORD = {ord(c): "_" for c in ".<>"}

DENSITY = Bound("kg/m³")


class Validated(Material):
    """A law whose attributes are checked when it is made; for dataclasses."""

    def __post_init__(self) -> None:
        self.validate(self.values())


def lame(E: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
    """Lamé parameters μ, λ [Pa] of Young's modulus E [Pa] and Poisson's ratio ν [-]."""
    return E / (2 * (1 + nu)), E * nu / ((1 + nu) * (1 - 2 * nu))


@dataclass(frozen=True)
class LinearElastic(Validated):
    """Base of laws that are isotropic and linear at small strain: p = (μ, λ).

    Args:
        E: Young's modulus [Pa].
        nu: Poisson's ratio ν [-].
        density: rest density ρ [kg/m³].

    Raises:
        ConfigurationError: E ≤ 0, ν outside (−1, 0.5), ρ ≤ 0, or any of them not finite.
    """

    E: float
    nu: float
    density: float

    bounds: ClassVar[Mapping[str, Bound]] = {
        "E": Bound("Pa"),
        "nu": Bound("-", -1.0, 0.5, remedy="for nearly incompressible material use 0.45"),
        "density": DENSITY,
    }

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        return lame(values["E"], values["nu"])

    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        """P-wave speed √((λ + 2μ)/ρ)."""
        mu, lam = lame(values["E"], values["nu"])
        return torch.sqrt((lam + 2 * mu) / values["density"])


@lru_cache(maxsize=None)
def _name_of(law: type[Material]) -> str:
    """A name for a class; one that is defined again, in a notebook say, gets a name of its own."""
    name = f"{law.__module__}_{law.__qualname__}".translate(_WORD)
    _taken[name] = _taken.get(name, 0) + 1
    return name if _taken[name] == 1 else f"{name}_{_taken[name]}"


_taken: dict[str, int] = {}
