"""Fluids: weakly compressible, Newtonian or with a yield stress.

All keep only the volume ratio of F (F ← J^{1/d} I) and have the Kirchhoff stress
τ = λ J (J − 1) I + 2 η J dev(sym C), λ the bulk modulus and η the viscosity at the shear rate
γ̇ = √(2 D:D), D = dev(sym C).
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np
import torch
import warp as wp
from torch import Tensor

from simenv.mpm.materials.base import DENSITY, Bound
from simenv.mpm.materials.elastic import SMALLEST_J
from simenv.mpm.materials.tensor import TensorLaw
from simenv.mpm.types import Types


class Viscous(TensorLaw):
    """Base of the fluids; p starts with the bulk modulus λ [Pa]."""

    bulk_modulus: float

    bounds: ClassVar[Mapping[str, Bound]] = {"bulk_modulus": Bound("Pa"), "density": DENSITY}

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        return [values[name] for name in self.bounds if name != "density"]

    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        """Speed of sound √(λ/ρ)."""
        return torch.sqrt(values["bulk_modulus"] / values["density"])

    @abstractmethod
    def effective_viscosity(self, types: Types) -> Any:
        """Warp function (γ̇², p) -> η [Pa s]."""

    def stress(self, types: Types) -> Any:
        return _fluid_stress(types, self)

    def projection(self, types: Types) -> Any:
        return _volume_only(types, self.size(types.dim))


@dataclass(frozen=True)
class Fluid(Viscous):
    """Weakly compressible Newtonian fluid, τ = λ J (J − 1) I + 2 η J dev(sym C).

    F keeps the volume ratio alone. λ is chosen for the speed of sound √(λ/ρ) wanted, some ten times
    the fastest flow. Source: Ma et al., NCLaw, ICML 2023 (pressure); Landau &
    Lifshitz, Fluid Mechanics, 2nd ed., eq. 15.3 (viscosity).

    Args:
        bulk_modulus: λ [Pa].
        density: rest density ρ [kg/m³].
        dynamic_viscosity: η [Pa s].

    Raises:
        ConfigurationError: λ or ρ ≤ 0, η < 0, or any of them not finite.
    """

    bulk_modulus: float
    density: float
    dynamic_viscosity: float = 0.0

    bounds: ClassVar[Mapping[str, Bound]] = {
        **Viscous.bounds,
        "dynamic_viscosity": Bound("Pa s", closed="["),
    }

    def viscosity(self, values: Mapping[str, Tensor]) -> Tensor:
        return values["dynamic_viscosity"]

    def effective_viscosity(self, types: Types) -> Any:
        T, p_vec = types.scalar, types.parameters(2)

        @wp.func(module=f"simenv_mpm_law_{self.key}_{types.tag}")
        def newtonian(rate_squared: T, p: p_vec):
            return p[1]

        return newtonian


@dataclass(frozen=True)
class Bingham(Viscous):
    """Fluid with a yield stress, η_eff = η + τ_y (1 − e^{−m γ̇})/γ̇.

    Below the yield stress τ_y it creeps with the large viscosity η + m τ_y. Source: Papanastasiou,
    J. Rheology 31, 1987.

    Args:
        bulk_modulus: λ [Pa].
        density: rest density ρ [kg/m³].
        plastic_viscosity: η [Pa s], of the flow beyond the yield stress.
        yield_stress: τ_y [Pa], in shear.
        regularisation: m [s]; the larger, the closer to rigid below τ_y, and the shorter the
            stable substep.

    Raises:
        ConfigurationError: λ, ρ or m ≤ 0, η or τ_y < 0, or any of them not finite.
    """

    bulk_modulus: float
    density: float
    plastic_viscosity: float
    yield_stress: float
    regularisation: float = 0.1

    bounds: ClassVar[Mapping[str, Bound]] = {
        **Viscous.bounds,
        "plastic_viscosity": Bound("Pa s", closed="["),
        "yield_stress": Bound("Pa", closed="["),
        "regularisation": Bound("s"),
    }

    def viscosity(self, values: Mapping[str, Tensor]) -> Tensor:
        """That of creep, η + m τ_y."""
        return values["plastic_viscosity"] + values["regularisation"] * values["yield_stress"]

    def effective_viscosity(self, types: Types) -> Any:
        T, p_vec, plug = types.scalar, types.parameters(4), _papanastasiou(types)

        @wp.func(module=f"simenv_mpm_law_{self.key}_{types.tag}")
        def bingham(rate_squared: T, p: p_vec):
            return p[1] + p[2] * plug(rate_squared, p[3])

        return bingham


@dataclass(frozen=True)
class HerschelBulkley(Viscous):
    """Yield stress and power law, η_eff = K (γ̇² + m⁻²)^{(n−1)/2} + τ_y (1 − e^{−m γ̇})/γ̇.

    n < 1 thins with shear, n > 1 thickens; the rate 1/m rounds off the power law at rest. Source:
    Herschel & Bulkley, Kolloid-Zeitschrift 39, 1926; regularised as by Papanastasiou, 1987.

    Args:
        bulk_modulus: λ [Pa].
        density: rest density ρ [kg/m³].
        consistency: K [Pa sⁿ].
        exponent: n [-].
        yield_stress: τ_y [Pa], in shear.
        regularisation: m [s].
        max_rate: largest shear rate γ̇ [1/s] to expect; bounds the substep where n > 1.

    Raises:
        ConfigurationError: λ, ρ, m, n or the rate ≤ 0, K or τ_y < 0, or any of them not finite.
    """

    bulk_modulus: float
    density: float
    consistency: float
    exponent: float
    yield_stress: float
    regularisation: float = 0.1
    max_rate: float = 100.0

    bounds: ClassVar[Mapping[str, Bound]] = {
        **Viscous.bounds,
        "consistency": Bound("Pa s^n", closed="["),
        "exponent": Bound("-"),
        "yield_stress": Bound("Pa", closed="["),
        "regularisation": Bound("s"),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        Bound("1/s").require("HerschelBulkley", "max_rate", torch.tensor(self.max_rate))

    def viscosity(self, values: Mapping[str, Tensor]) -> Tensor:
        """The larger of those at rest and at `max_rate`, less the yield stress's share there."""
        m, power = values["regularisation"], (values["exponent"] - 1) / 2
        rates = torch.stack([m**-2 + 0 * power, self.max_rate**2 + m**-2 + 0 * power])
        thick = values["consistency"] * (rates**power).amax(dim=0)
        return thick + m * values["yield_stress"]

    def effective_viscosity(self, types: Types) -> Any:
        T, p_vec, plug = types.scalar, types.parameters(5), _papanastasiou(types)

        @wp.func(module=f"simenv_mpm_law_{self.key}_{types.tag}")
        def herschel_bulkley(rate_squared: T, p: p_vec):
            slow = T(1.0) / (p[4] * p[4])
            thinned = wp.pow(rate_squared + slow, T(0.5) * (p[2] - T(1.0)))
            return p[1] * thinned + p[3] * plug(rate_squared, p[4])

        return herschel_bulkley


@lru_cache(maxsize=None)
def _papanastasiou(types: Types) -> Any:
    """Warp function (γ̇², m) -> (1 − e^{−m γ̇})/γ̇ [s], smooth at rest."""
    T = types.scalar
    # Where the series takes over both err by as little: by x⁵/720 and by rounding / x.
    small = wp.constant(T(np.finfo(types.dtype).eps ** (1 / 6)))
    tiny, one_24, one_120 = wp.constant(T(1e-12)), wp.constant(T(1 / 24)), wp.constant(T(1 / 120))
    sixth = wp.constant(T(1 / 6))

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def plug(rate_squared: T, m: T):
        x = wp.sqrt(rate_squared * m * m + tiny)
        series = T(1.0) - x * (T(0.5) - x * (sixth - x * (one_24 - x * one_120)))
        return m * wp.where(x < small, series, (T(1.0) - wp.exp(-x)) / x)

    return plug


@lru_cache(maxsize=None)
def _volume_only(types: Types, size: int) -> Any:
    T, mat, d, p_vec = types.scalar, types.mat, types.dim, types.parameters(size)
    smallest, root = wp.constant(T(SMALLEST_J)), wp.constant(T(1 / d))

    @wp.func(module=f"simenv_mpm_materials_{types.tag}_{size}")
    def volume_only(F: mat, p: p_vec):
        J = wp.max(wp.determinant(F), smallest)
        return wp.identity(d, dtype=T) * wp.pow(J, root)

    return volume_only


def _fluid_stress(types: Types, law: Viscous) -> Any:
    T, mat, d, p_vec = types.scalar, types.mat, types.dim, types.parameters(law.size(types.dim))
    viscosity = law.effective_viscosity(types)

    @wp.func(module=f"simenv_mpm_law_{law.key}_{types.tag}")
    def fluid_stress(F: mat, C: mat, p: p_vec):
        identity = wp.identity(d, dtype=T)
        J = wp.determinant(F)
        D = (C + wp.transpose(C)) * T(0.5) - identity * (wp.trace(C) / T(d))
        eta = viscosity(T(2.0) * wp.ddot(D, D), p)
        return identity * (p[0] * J * (J - T(1.0))) + D * (T(2.0) * eta * J)

    return fluid_stress
