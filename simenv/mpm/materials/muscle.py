"""Muscles: an elastic law and an active stress along a fibre."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import warp as wp
from torch import Tensor

from simenv.errors import ConfigurationError
from simenv.mpm.materials.base import Bound, Material, Response
from simenv.mpm.types import Types, warp_types


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

    Raises:
        ConfigurationError: no direction, channel or strength; a passive law that is not elastic.
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
        Bound("Pa").require("Muscle", "max_activation", torch.tensor(self.max_activation))
        object.__setattr__(self, "fibre", tuple(c / length for c in self.fibre))

    @property
    def bounds(self) -> Mapping[str, Bound]:  # type: ignore[override]
        return self.elastic.bounds

    @property
    def density(self) -> float:  # type: ignore[override]
        return self.elastic.density

    @property
    def measure(self) -> str | None:  # type: ignore[override]
        return self.elastic.measure

    @property
    def channel(self) -> int:
        return self.index

    @property
    def key(self) -> str:
        return f"muscle_{self.elastic.key}"

    def values(self) -> dict[str, Tensor]:
        return self.elastic.values()

    def validate(self, values: Mapping[str, Tensor]) -> None:
        self.elastic.validate(values)

    def check(self, dim: int) -> None:
        self.elastic.check(dim)
        if len(self.fibre) != dim:
            raise ConfigurationError(f"Muscle: fibre = {self.fibre} needs {dim} components")
        if self.elastic.has_memory or self.elastic.response(warp_types(dim, "float32")).plastic:
            raise ConfigurationError(
                f"Muscle: the passive law must be elastic, {type(self.elastic).__name__} is not"
            )

    def activation_slot(self, dim: int) -> int:
        return self.elastic.size(dim)

    def size(self, dim: int) -> int:
        return self.elastic.size(dim) + 1 + dim

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        activation = values["activation"]
        fibre = [activation.new_tensor(c) for c in self.fibre]
        return (*self.elastic.pack(values, dim), activation, *fibre)

    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        """Speed with the activation's stiffness a added to the elastic modulus."""
        c = self.elastic.wave_speed(values)
        return torch.sqrt(c * c + self.max_activation / values["density"])

    def viscosity(self, values: Mapping[str, Tensor]) -> Tensor | None:
        return self.elastic.viscosity(values)

    def make_response(self, types: Types) -> Response:
        T, mat, vec, d = types.scalar, types.mat, types.vec, types.dim
        n, passive = self.elastic.size(d), self.elastic.response(types)
        Passive, Active = types.parameters(n), types.parameters(n + 1 + d)
        module = f"simenv_mpm_law_{self.key}_{types.tag}"
        relaxed, pull_passive = passive.respond, passive.pull

        @wp.func(module=module)
        def passive_part(p: Active):
            q = Passive()
            for i in range(n):
                q[i] = p[i]
            return q

        @wp.func(module=module)
        def fibre_part(p: Active):
            fibre = vec()
            for i in range(d):
                fibre[i] = p[wp.static(n + 1) + i]
            return fibre

        @wp.func(module=module)
        def active_stress(F: mat, p: Active):
            stretched = F * fibre_part(p)
            return wp.outer(stretched, stretched) * p[n]

        @wp.func(module=module)
        def active_power(F: mat, p: Active, tau_bar: mat):
            return wp.ddot(active_stress(F, p), tau_bar)

        # Names of their own: the passive law's functions are compiled beside these.
        @wp.func(module=module)
        def respond_active(trial: mat, C: mat, p: Active, m: T, strain: vec, axes: mat):
            F, tau, m_new = relaxed(trial, C, passive_part(p), m, strain, axes)
            return F, tau + active_stress(F, p), m_new

        @wp.func(module=module)
        def pull_active(
            trial: mat,
            C: mat,
            p: Active,
            m: T,
            strain: vec,
            axes: mat,
            F_bar: mat,
            tau_bar: mat,
            m_bar: T,
        ):
            own_bar, p_bar, _tau = wp.grad(active_power)(trial, p, tau_bar)
            trial_bar, C_bar, q_bar, m_out = pull_passive(
                trial, C, passive_part(p), m, strain, axes, F_bar + own_bar, tau_bar, m_bar
            )
            for i in range(n):
                p_bar[i] = q_bar[i]
            return trial_bar, C_bar, p_bar, m_out

        return Response(respond_active, pull_active, False)
