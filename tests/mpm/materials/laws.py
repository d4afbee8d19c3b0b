"""One of every law, and its answer to given deformation gradients."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm.torch_law import respond
from tests.mpm import scenes

E, NU, DENSITY = scenes.E, scenes.NU, scenes.DENSITY
ELASTIC: dict[str, mpm.Material] = {
    "neo-Hookean": mpm.NeoHookean(E, NU, DENSITY),
    "corotated": mpm.FixedCorotated(E, NU, DENSITY),
    "Hencky": mpm.Hencky(E, NU, DENSITY),
}
# Yield strains of some per cent: small against the strains of the tests, large against their steps.
PLASTIC: dict[str, mpm.Material] = {
    "von Mises": mpm.VonMises(E, NU, DENSITY, yield_stress=0.1 * E),
    "sand": mpm.DruckerPrager(E, NU, DENSITY, friction_angle=30.0),
    "cohesive sand": mpm.DruckerPrager(E, NU, DENSITY, friction_angle=30.0, cohesion=0.02 * E),
    "snow": mpm.Snow(E, NU, DENSITY, compression=0.05, tension=0.03),
}
FLUIDS: dict[str, mpm.Material] = {
    "fluid": mpm.Fluid(E, DENSITY, dynamic_viscosity=0.1 * E),
    "Bingham": mpm.Bingham(E, DENSITY, plastic_viscosity=0.1 * E, yield_stress=0.2 * E),
    "Herschel-Bulkley": mpm.HerschelBulkley(
        E, DENSITY, consistency=0.1 * E, exponent=0.6, yield_stress=0.2 * E
    ),
}
PASSIVE = {**ELASTIC, **PLASTIC, **FLUIDS}
NAMES = (*PASSIVE, *(f"{name} muscle" for name in ELASTIC))


def law_of(name: str, dim: int) -> mpm.Material:
    """The law of a name in `NAMES`."""
    if name.endswith(" muscle"):
        return scenes.muscle(ELASTIC[name.removesuffix(" muscle")], dim)
    return PASSIVE[name]


def values_of(law: mpm.Material, activation: float = 0.0) -> dict[str, Tensor]:
    """The law's own parameters, and the activation of a muscle."""
    values = law.values()
    if law.channel is not None:
        values["activation"] = torch.tensor(activation, dtype=torch.float64)
    return values


def answer(
    law: mpm.Material,
    F: Tensor,
    C: Tensor | None = None,
    values: Mapping[str, Tensor] | None = None,
    memory: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """F on the yield surface, Kirchhoff stress [Pa] and memory for trial gradients (B, d, d)."""
    parts = law.pack(values_of(law) if values is None else values, F.shape[-1])
    p = torch.stack([part.to(F).expand(len(F)) for part in parts], dim=-1)
    memory = F.new_full((len(F),), law.memory_start) if memory is None else memory
    return respond(law, F, torch.zeros_like(F) if C is None else C, p, memory)


def deformations(dim: int, n: int = 20, size: float = 0.3) -> Tensor:
    """Random deformation gradients (n, d, d), the strains of order `size`."""
    F = np.eye(dim) + size * np.random.default_rng(0).uniform(-1, 1, (n, dim, dim))
    assert np.all(np.linalg.det(F) > 0.1)
    return torch.from_numpy(F)


def stretches(F: Tensor) -> Tensor:
    """Singular values (..., d)."""
    return torch.linalg.svdvals(F)


def deviator(A: Tensor) -> Tensor:
    """A without its spherical part."""
    d = A.shape[-1]
    mean = A.diagonal(dim1=-2, dim2=-1).mean(-1)
    return A - mean[..., None, None] * torch.eye(d, dtype=A.dtype)


def trace(A: Tensor) -> Tensor:
    """Σ A_ii."""
    return A.diagonal(dim1=-2, dim2=-1).sum(-1)
