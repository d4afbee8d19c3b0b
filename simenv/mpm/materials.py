"""Constitutive laws. Each is one small class: parameters, stress, optional projection, wave speed.

A law writes the Kirchhoff stress τ(F, C, p) [Pa] as a Warp function of the elastic deformation
gradient F, the velocity gradient C [1/s] and a vector p of per-particle parameters; a plastic law
adds `project(F, p)`. Their adjoints, parameters included, are generated from these functions
(`constitutive.py`), so a new law derives nothing by hand.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
import warp as wp
from torch import Tensor

from simenv.errors import ConfigurationError
from simenv.mpm.linalg import polar_rotation
from simenv.mpm.types import Types

SMALLEST_J = 1.0e-4
"""Bound [-] from below on det F where a law needs its logarithm or inverse."""


def lame(E: Tensor, nu: Tensor) -> tuple[Tensor, Tensor]:
    """Lamé parameters μ, λ [Pa] of Young's modulus E [Pa] and Poisson's ratio ν [-]."""
    return E / (2 * (1 + nu)), E * nu / ((1 + nu) * (1 - 2 * nu))


class Material(ABC):
    """Base of the constitutive laws.

    Attributes:
        parameters: names of the scalars that may be overridden per step, with gradients.
        density: rest density ρ [kg/m³] (2-D: per unit thickness).
        has_memory: whether the law keeps a scalar per particle (`State.Jp`).
        memory_start: that scalar's value at rest.
        in_torch: whether the law is evaluated by torch and has no kernel.
    """

    parameters: ClassVar[tuple[str, ...]]
    has_memory: ClassVar[bool] = False
    memory_start: ClassVar[float] = 1.0
    in_torch: ClassVar[bool] = False
    density: float

    def values(self) -> dict[str, Tensor]:
        """The law's own value of every parameter, density among them, as float64 scalars."""
        names = (*self.parameters, "density")
        return {name: torch.tensor(getattr(self, name), dtype=torch.float64) for name in names}

    @property
    def channel(self) -> int | None:
        """Index of the activation channel that drives this body, if it is a muscle."""
        return None

    @property
    def key(self) -> str:
        """Laws with equal keys share kernels, and their bodies one launch.

        A law whose Warp functions depend on more than its class must extend this.
        """
        return f"{type(self).__module__}_{type(self).__qualname__}".replace(".", "_")

    @abstractmethod
    def size(self, dim: int) -> int:
        """Length of the kernel's parameter vector p."""

    @abstractmethod
    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        """The `size` components of p, each broadcastable to (N, particles of the body)."""

    def activation_slot(self, dim: int) -> int | None:
        """Which component of p is the activation, if this is a muscle."""
        return None

    def check(self, dim: int) -> None:  # noqa: B027 - most laws fit every scene
        """Raise ConfigurationError if the law does not fit a scene of this dimension."""

    @abstractmethod
    def validate(self, values: Mapping[str, Tensor]) -> None:
        """Raise ConfigurationError for a parameter outside its bounds."""

    @abstractmethod
    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        """Fastest elastic wave [m/s] for these parameters; it bounds the substep."""

    @abstractmethod
    def stress(self, types: Types) -> Any:
        """Warp function (F, C, p) -> τ [Pa]."""

    def projection(self, types: Types) -> Any | None:
        """Warp function (F, p) -> F that returns F to the yield surface; None: elastic."""
        return None


@dataclass(frozen=True)
class _Elastic(Material):
    """Isotropic elasticity given by E [Pa], ν [-] and ρ [kg/m³].

    Raises:
        ConfigurationError: E ≤ 0, ν outside (−1, 0.5), ρ ≤ 0, or any of them not finite.
    """

    E: float
    nu: float
    density: float

    parameters: ClassVar[tuple[str, ...]] = ("E", "nu")

    def __post_init__(self) -> None:
        self.validate(self.values())

    def validate(self, values: Mapping[str, Tensor]) -> None:
        law = type(self).__name__
        _require_positive(law, "E", values["E"], "Pa")
        _require_positive(law, "density", values["density"], "kg/m³")
        nu = values["nu"].detach()
        bad = nu[~((nu > -1.0) & (nu < 0.5))]
        if bad.numel():
            raise ConfigurationError(
                f"{law}: nu = {float(bad[0])} [-] must lie in (-1, 0.5); "
                "for nearly incompressible material use 0.45"
            )

    def size(self, dim: int) -> int:
        return 2

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        return lame(values["E"], values["nu"])

    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        """P-wave speed √((λ + 2μ)/ρ)."""
        mu, lam = lame(values["E"], values["nu"])
        return torch.sqrt((lam + 2 * mu) / values["density"])


def _require_positive(law: str, name: str, value: Tensor, unit: str) -> None:
    value = value.detach()
    bad = value[~(torch.isfinite(value) & (value > 0.0))]
    if bad.numel():
        raise ConfigurationError(f"{law}: {name} = {float(bad[0])} [{unit}] must be finite and > 0")


@dataclass(frozen=True)
class NeoHookean(_Elastic):
    """Compressible neo-Hookean solid, τ = μ (F Fᵀ − I) + λ ln J I.

    Source: Bonet & Wood, Nonlinear Continuum Mechanics for FEA, 2nd ed., eq. 6.28.
    """

    def stress(self, types: Types) -> Any:
        return _neo_hookean(types)


@dataclass(frozen=True)
class FixedCorotated(_Elastic):
    """Fixed corotated solid, τ = 2μ (F − R) Fᵀ + λ J (J − 1) I.

    Source: Stomakhin et al., SCA 2012, eq. 6; P Fᵀ of its energy.
    """

    def stress(self, types: Types) -> Any:
        return _fixed_corotated(types)


@dataclass(frozen=True)
class Muscle(Material):
    """An elastic law with an active stress along a fibre, τ += a (F m)(F m)ᵀ.

    The activation a [Pa] comes with every step's control, one value per environment and channel;
    positive a contracts the fibre. Source: Hu et al., ChainQueen (ICRA 2019), sec. IV.

    Args:
        elastic: the passive law.
        fibre: rest direction m, d components, normalised here.
        index: which channel of `Control.activation` drives this body.
        max_activation: largest |a| [Pa] that will be asked for; enters the stable substep.
    """

    elastic: Material
    fibre: tuple[float, ...]
    index: int
    max_activation: float

    def __post_init__(self) -> None:
        length = math.sqrt(sum(c * c for c in self.fibre))
        if not (math.isfinite(length) and length > 0.0):
            raise ConfigurationError(f"Muscle: fibre = {self.fibre} must be finite and not zero")
        if self.index < 0:
            raise ConfigurationError(f"Muscle: index = {self.index} must be >= 0")
        _require_positive("Muscle", "max_activation", torch.tensor(self.max_activation), "Pa")
        object.__setattr__(self, "fibre", tuple(c / length for c in self.fibre))

    @property
    def parameters(self) -> tuple[str, ...]:  # type: ignore[override]
        return self.elastic.parameters

    @property
    def density(self) -> float:  # type: ignore[override]
        return self.elastic.density

    def values(self) -> dict[str, Tensor]:
        return self.elastic.values()

    def validate(self, values: Mapping[str, Tensor]) -> None:
        self.elastic.validate(values)

    def activation_slot(self, dim: int) -> int:
        return self.elastic.size(dim)

    @property
    def channel(self) -> int:
        return self.index

    @property
    def key(self) -> str:
        return f"muscle_{self.elastic.key}"

    def size(self, dim: int) -> int:
        return self.elastic.size(dim) + 1 + dim

    def check(self, dim: int) -> None:
        if len(self.fibre) != dim:
            raise ConfigurationError(f"Muscle: fibre = {self.fibre} needs {dim} components")

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        activation = values["activation"]
        fibre = [activation.new_tensor(c) for c in self.fibre]
        return (*self.elastic.pack(values, dim), activation, *fibre)

    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        """Speed with the activation's stiffness a added to the elastic modulus."""
        c = self.elastic.wave_speed(values)
        return torch.sqrt(c * c + self.max_activation / values["density"])

    def stress(self, types: Types) -> Any:
        return _muscle(types, self.elastic)

    def projection(self, types: Types) -> Any | None:
        if self.elastic.projection(types) is not None:
            raise ConfigurationError("Muscle: the passive law must be elastic, without projection")
        return None


@lru_cache(maxsize=None)
def _neo_hookean(types: Types) -> Any:
    T, mat, d, p2 = types.scalar, types.mat, types.dim, types.parameters(2)

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def neo_hookean(F: mat, C: mat, p: p2):
        identity = wp.identity(d, dtype=T)
        J = wp.max(wp.determinant(F), T(SMALLEST_J))
        return (F * wp.transpose(F) - identity) * p[0] + identity * (p[1] * wp.log(J))

    return neo_hookean


@lru_cache(maxsize=None)
def _fixed_corotated(types: Types) -> Any:
    T, mat, d, p2 = types.scalar, types.mat, types.dim, types.parameters(2)
    polar = polar_rotation(types)

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def fixed_corotated(F: mat, C: mat, p: p2):
        J = wp.determinant(F)
        shear = (F - polar(F)) * wp.transpose(F) * (T(2.0) * p[0])
        return shear + wp.identity(d, dtype=T) * (p[1] * J * (J - T(1.0)))

    return fixed_corotated


@lru_cache(maxsize=None)
def _muscle(types: Types, elastic: Material) -> Any:
    mat, vec, d = types.mat, types.vec, types.dim
    passive, n = elastic.stress(types), elastic.size(types.dim)
    Passive, Active = types.parameters(n), types.parameters(n + 1 + d)

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def passive_part(p: Active):
        q = Passive()
        for i in range(n):
            q[i] = p[i]
        return q

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def fibre_part(p: Active):
        m = vec()
        for i in range(d):
            m[i] = p[wp.static(n + 1) + i]
        return m

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def muscle(F: mat, C: mat, p: Active):
        stretched = F * fibre_part(p)
        active = wp.outer(stretched, stretched) * p[n]
        return passive(F, C, passive_part(p)) + active

    return muscle
