"""Elastic solids."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import warp as wp

from simenv.mpm.materials.base import LinearElastic
from simenv.mpm.materials.spectral import SpectralLaw
from simenv.mpm.materials.tensor import TensorLaw
from simenv.mpm.types import Types

SMALLEST_J = 1.0e-4
"""Bound [-] from below on det F where a law needs its logarithm."""


@dataclass(frozen=True)
class NeoHookean(LinearElastic, TensorLaw):
    """Compressible neo-Hookean solid, τ = μ (F Fᵀ − I) + λ ln J I.

    Source: Bonet & Wood, Nonlinear Continuum Mechanics for FEA, 2nd ed., eq. 6.28.
    """

    def stress(self, types: Types) -> Any:
        return _neo_hookean(types)


@dataclass(frozen=True)
class FixedCorotated(LinearElastic, SpectralLaw):
    """Fixed corotated solid, τ = 2μ (F − R) Fᵀ + λ J (J − 1) I.

    Along the principal axes, with e = σ − 1: τ_i = 2μ e_i (1 + e_i) + λ J (J − 1). The smallest
    σ has the sign of det F, so that an inverted particle is driven back through zero volume.
    Source: Stomakhin et al., SCA 2012, eq. 6; P Fᵀ of its energy.
    """

    measure = "biot"

    def principal_stress(self, types: Types) -> Any:
        return corotated_stress(types, 2)


@dataclass(frozen=True)
class Hencky(LinearElastic, SpectralLaw):
    """Hencky solid, τ_i = 2μ ε_i + λ tr ε along the principal axes, ε = ln σ.

    The elastic part of the plastic laws. Source: Bonet & Wood, 2nd ed., sec. 6.6 (a law linear in
    the logarithmic stretches); in MPM: Klár et al., ACM TOG 35(4), 2016.
    """

    def principal_stress(self, types: Types) -> Any:
        return hencky_stress(types, 2)


@lru_cache(maxsize=None)
def _neo_hookean(types: Types) -> Any:
    T, mat, d, p2 = types.scalar, types.mat, types.dim, types.parameters(2)
    smallest = wp.constant(T(SMALLEST_J))

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def neo_hookean(F: mat, C: mat, p: p2):
        identity = wp.identity(d, dtype=T)
        J = wp.max(wp.determinant(F), smallest)
        return (F * wp.transpose(F) - identity) * p[0] + identity * (p[1] * wp.log(J))

    return neo_hookean


@lru_cache(maxsize=None)
def corotated_stress(types: Types, size: int) -> Any:
    """Principal fixed corotated stress of the strains σ − 1; p starts with μ, λ."""
    T, vec, d, p_vec = types.scalar, types.vec, types.dim, types.parameters(size)

    @wp.func(module=f"simenv_mpm_materials_{types.tag}_{size}")
    def corotated(e: vec, p: p_vec):
        J = T(1.0)
        for i in range(d):
            J = J * (T(1.0) + e[i])
        pressure = p[1] * J * (J - T(1.0))
        return wp.cw_mul(e, e + vec(T(1.0))) * (T(2.0) * p[0]) + vec(pressure)

    return corotated


@lru_cache(maxsize=None)
def hencky_stress(types: Types, size: int) -> Any:
    """Principal Hencky stress of the strains ln σ; p starts with μ, λ."""
    T, vec, p_vec = types.scalar, types.vec, types.parameters(size)

    @wp.func(module=f"simenv_mpm_materials_{types.tag}_{size}")
    def hencky(e: vec, p: p_vec):
        trace = wp.dot(e, vec(T(1.0)))
        return e * (T(2.0) * p[0]) + vec(p[1] * trace)

    return hencky
