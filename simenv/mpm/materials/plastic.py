"""Plastic solids: plasticine, sand and snow, each an elastic law with a return mapping."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

import torch
import warp as wp
from torch import Tensor

from simenv.mpm.materials.base import Bound, LinearElastic, lame
from simenv.mpm.materials.elastic import corotated_stress, hencky_stress
from simenv.mpm.materials.spectral import SpectralLaw
from simenv.mpm.types import Types


@dataclass(frozen=True)
class VonMises(LinearElastic, SpectralLaw):
    """Plasticine: Hencky elasticity, perfectly plastic beyond ‖dev τ‖ = σ_y.

    With ε = ln σ of the trial: δγ = ‖dev ε‖ − σ_y/2μ; where it is positive,
    ε ← ε − δγ dev ε/‖dev ε‖. σ_y bounds the Frobenius norm of the stress deviator: the yield stress
    of a tension test is √(3/2) σ_y, that of shear σ_y/√2. In 2-D the deviator is that of the plane.
    Source: Simo & Hughes, Computational Inelasticity, 1998, ch. 3 (radial return); in MPM: Ma et
    al., NCLaw, ICML 2023.

    Args:
        E: Young's modulus [Pa].
        nu: Poisson's ratio ν [-].
        density: rest density ρ [kg/m³].
        yield_stress: σ_y [Pa].

    Raises:
        ConfigurationError: as the elastic laws, or σ_y ≤ 0.
    """

    yield_stress: float

    bounds: ClassVar[Mapping[str, Bound]] = {
        **LinearElastic.bounds,
        "yield_stress": Bound("Pa"),
    }

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        mu, lam = lame(values["E"], values["nu"])
        return mu, lam, values["yield_stress"] / (2 * mu)

    def principal_stress(self, types: Types) -> Any:
        return hencky_stress(types, 3)

    def return_mapping(self, types: Types) -> Any:
        return _von_mises(types)


@dataclass(frozen=True)
class DruckerPrager(LinearElastic, SpectralLaw):
    """Sand: Hencky elasticity below a cone of Coulomb friction, with volume correction.

    With ε = ln σ of the trial and the memory v, e = ε + (v/d) 1, the yield surface is
    ‖dev τ‖ = α (d c cot φ − tr τ), α = √(2/3)·2 sin φ/(3 − sin φ). Beyond the tip of the cone
    (tr e > e₀ = d c cot φ/(dλ + 2μ)) the strain returns to it; else to the cone at equal volume,
    δγ = ‖dev e‖ + (dλ + 2μ)/(2μ) (tr e − e₀) α > 0. Volume that opens at the tip is kept in v
    (`State.Jp`, zero at rest) and must be closed before pressure builds up again. The cone touches
    that of Mohr and Coulomb in triaxial compression, and c is their cohesion.

    At F = I sand without cohesion stands on the tip: gradients there are one-sided (those of the
    cone for tr e < 0, zero beyond).

    Source: Klár et al., ACM TOG 35(4), 2016 (return mapping); Tampubolon et al., ACM TOG 36(4),
    2017 (volume correction, cohesion).

    Args:
        E: Young's modulus [Pa].
        nu: Poisson's ratio ν [-].
        density: rest density ρ [kg/m³].
        friction_angle: φ [degrees].
        cohesion: c [Pa].

    Raises:
        ConfigurationError: as the elastic laws; φ outside (0, 90), c < 0.
    """

    friction_angle: float
    cohesion: float = 0.0

    bounds: ClassVar[Mapping[str, Bound]] = {
        **LinearElastic.bounds,
        "friction_angle": Bound("degrees", 0.0, 90.0),
        "cohesion": Bound("Pa", closed="["),
    }
    has_memory: ClassVar[bool] = True
    memory_start: ClassVar[float] = 0.0

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        mu, lam = lame(values["E"], values["nu"])
        phi = values["friction_angle"] * (math.pi / 180)
        alpha = math.sqrt(2 / 3) * 2 * torch.sin(phi) / (3 - torch.sin(phi))
        bulk = dim * lam + 2 * mu
        tip = dim * values["cohesion"] / (torch.tan(phi) * bulk)
        return mu, lam, alpha * bulk / (2 * mu), tip

    def principal_stress(self, types: Types) -> Any:
        T, vec, p_vec, hencky = (
            types.scalar,
            types.vec,
            types.parameters(4),
            hencky_stress(types, 4),
        )

        @wp.func(module=f"simenv_mpm_materials_{types.tag}")
        def sand_stress(e: vec, p: p_vec, v: T):
            return hencky(e, p)

        return sand_stress

    def return_mapping(self, types: Types) -> Any:
        return _drucker_prager(types)


@dataclass(frozen=True)
class Snow(LinearElastic, SpectralLaw):
    """Snow: fixed corotated elasticity, stretches clamped, hardening when compacted.

    σ is clamped to [1 − θ_c, 1 + θ_s]; what is cut off goes into the plastic volume ratio
    Jp ← Jp Π σ_trial/σ (`State.Jp`, 1 at rest), and μ and λ grow by exp(ξ (1 − Jp)). Jp is held
    in [densest, 2 − densest], which bounds the hardening: without it compacted snow has no stable
    substep. Source: Stomakhin et al., ACM TOG 32(4), 2013, sec. 5.

    Args:
        E: Young's modulus of fresh snow [Pa].
        nu: Poisson's ratio ν [-].
        density: rest density ρ [kg/m³].
        compression: θ_c [-], largest elastic compression.
        tension: θ_s [-], largest elastic extension.
        hardening: ξ [-].
        densest: smallest Jp [-]; enters the stable substep through the largest stiffness.

    Raises:
        ConfigurationError: as the elastic laws; θ_c or `densest` outside (0, 1), θ_s ≤ 0, ξ < 0.
    """

    compression: float = 2.5e-2
    tension: float = 7.5e-3
    hardening: float = 10.0
    densest: float = 0.8

    bounds: ClassVar[Mapping[str, Bound]] = {
        **LinearElastic.bounds,
        "compression": Bound("-", 0.0, 1.0),
        "tension": Bound("-"),
        "hardening": Bound("-", closed="["),
        "densest": Bound("-", 0.0, 1.0),
    }
    has_memory: ClassVar[bool] = True
    measure: ClassVar[str | None] = "biot"

    def pack(self, values: Mapping[str, Tensor], dim: int) -> Sequence[Tensor]:
        names = ("compression", "tension", "hardening", "densest")
        return (*lame(values["E"], values["nu"]), *(values[name] for name in names))

    def wave_speed(self, values: Mapping[str, Tensor]) -> Tensor:
        """P-wave speed of snow compacted to Jp = `densest`."""
        stiffer = torch.exp(values["hardening"] * (1 - values["densest"]))
        return super().wave_speed(values) * torch.sqrt(stiffer)

    def principal_stress(self, types: Types) -> Any:
        T, vec, p_vec = types.scalar, types.vec, types.parameters(6)
        corotated = corotated_stress(types, 6)

        @wp.func(module=f"simenv_mpm_materials_{types.tag}")
        def snow_stress(e: vec, p: p_vec, Jp: T):
            return corotated(e, p) * wp.exp(p[4] * (T(1.0) - Jp))

        return snow_stress

    def return_mapping(self, types: Types) -> Any:
        return _snow(types)


@lru_cache(maxsize=None)
def deviator(types: Types) -> Any:
    """Warp function ε -> (tr ε, dev ε, ‖dev ε‖), the norm with a slope of zero at zero."""
    T, vec, d = types.scalar, types.vec, types.dim
    tiny = wp.constant(T(1e-24))

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def deviator(e: vec):
        trace = wp.dot(e, vec(T(1.0)))
        dev = e - vec(trace / T(d))
        return trace, dev, wp.sqrt(wp.dot(dev, dev) + tiny)

    return deviator


@lru_cache(maxsize=None)
def _von_mises(types: Types) -> Any:
    T, vec, p_vec, split = types.scalar, types.vec, types.parameters(3), deviator(types)

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def von_mises(e: vec, p: p_vec):
        _trace, dev, size = split(e)
        return e - dev * (wp.max(size - p[2], T(0.0)) / size)

    return von_mises


@lru_cache(maxsize=None)
def _drucker_prager(types: Types) -> Any:
    T, vec, d, p_vec = types.scalar, types.vec, types.dim, types.parameters(4)
    split = deviator(types)

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def drucker_prager(e: vec, p: p_vec, v: T):
        trace, dev, size = split(e + vec(v / T(d)))
        beyond = trace - p[3]
        excess = size + p[2] * beyond
        kept = T(1.0) - wp.max(excess, T(0.0)) / size
        cone = vec(trace / T(d)) + dev * kept
        tip = vec(p[3] / T(d))
        return wp.where(beyond >= T(0.0), tip, cone), wp.max(beyond, T(0.0))

    return drucker_prager


@lru_cache(maxsize=None)
def _snow(types: Types) -> Any:
    T, vec, d, p_vec = types.scalar, types.vec, types.dim, types.parameters(6)

    @wp.func(module=f"simenv_mpm_materials_{types.tag}")
    def snow(e: vec, p: p_vec, Jp: T):
        kept = wp.max(wp.min(e, vec(p[3])), vec(-p[2]))
        ratio = T(1.0)
        for i in range(d):
            ratio = ratio * ((T(1.0) + e[i]) / (T(1.0) + kept[i]))
        return kept, wp.clamp(Jp * ratio, p[5], T(2.0) - p[5])

    return snow
