"""Isotropic laws written along the principal axes; the framework does the tensors.

With the trial gradient's left stretch b = F Fᵀ = U diag(σ²) Uᵀ, an isotropic law needs no other
rotation: τ = U diag(s) Uᵀ, and a return mapping σ -> σ' gives F' = U diag(σ'/σ) Uᵀ F. Both are
isotropic functions of b, whose adjoint is, along the principal axes of b, a gradient on the
diagonal and the divided differences (f_i − f_j)/(σ_i² − σ_j²) beside it (Ogden, Non-Linear Elastic
Deformations, 1984, ch. 6). Where two σ meet these have the limit (∂_i − ∂_j)(f_i − f_j)/2
with respect to σ²: exact for every f that does not distinguish the axes, those of a return mapping
that couples them included.
"""

from abc import abstractmethod
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, ClassVar

import numpy as np
import warp as wp

from simenv.mpm.materials.base import Response, Validated
from simenv.mpm.materials.principal import SMALLEST_STRETCH
from simenv.mpm.types import Types


class SpectralLaw(Validated):
    """Base of isotropic laws written as Warp functions of the principal strains.

    A law with `has_memory` has the memory m as a last argument of both functions, and its return
    mapping gives back a pair (strains, m).

    Attributes:
        measure: the principal strains: "log" for ε = ln σ, "biot" for ε = σ − 1. Below σ = 1e-4
            strains are bounded; with "biot", the smallest σ of an inverted gradient is negative.
    """

    measure: ClassVar[str | None] = "log"

    @abstractmethod
    def principal_stress(self, types: Types) -> Any:
        """Warp function (ε, p) -> principal Kirchhoff stresses [Pa], in the same order."""

    def return_mapping(self, types: Types) -> Any | None:
        """Warp function (ε, p) -> ε on the yield surface; None: elastic."""
        return None

    def make_response(self, types: Types) -> Response:
        """Stress of the trial gradient after the return mapping."""
        T, mat, vec, d = types.scalar, types.mat, types.vec, types.dim
        p_vec, module = types.parameters(self.size(d)), f"simenv_mpm_law_{self.key}_{types.tag}"
        mapping = self.return_mapping(types)
        plastic = mapping is not None
        stress, mapped = self._with_memory(types, module, mapping)
        along = principal_tools(types, str(self.measure))
        compose, seen, stretched = along.compose, along.seen, along.stretched
        per_square, meet, seed = along.per_square, along.meet, along.seed

        @wp.func(module=module)
        def power(e: vec, p: p_vec, m: T, stress_bar: vec, stretch_bar: vec, m_bar: T):
            # All outputs, weighted by their adjoints, as a function of the trial strains.
            e_new, m_new = mapped(e, p, m)
            total = wp.dot(stress(e_new, p, m_new), stress_bar) + m_new * m_bar
            if wp.static(plastic):
                total = total + wp.dot(stretched(e, e_new), stretch_bar)
            return total

        @wp.func(module=module)
        def respond(trial: mat, C: mat, p: p_vec, m: T, strain: vec, axes: mat):
            e_new, m_new = mapped(strain, p, m)
            F = trial
            if wp.static(plastic):
                F = trial + compose(axes, stretched(strain, e_new)) * trial
            return F, compose(axes, stress(e_new, p, m_new)), m_new

        @wp.func(module=module)
        def pull(
            trial: mat,
            C: mat,
            p: p_vec,
            m: T,
            strain: vec,
            axes: mat,
            F_bar: mat,
            tau_bar: mat,
            m_bar: T,
        ):
            S = seen(axes, tau_bar)
            G = mat()
            trial_bar = F_bar
            if wp.static(plastic):
                e_new, _m = mapped(strain, p, m)
                trial_bar = F_bar + compose(axes, stretched(strain, e_new)) * F_bar
                G = seen(axes, F_bar * wp.transpose(trial))
            e_bar, p_bar, m_out, _s, _g, _b = wp.grad(power)(
                strain, p, m, wp.get_diag(S), wp.get_diag(G), m_bar
            )
            b_bar = mat()
            for i in range(d):
                b_bar[i, i] = e_bar[i] * per_square(strain, i, i)
                for j in range(i):
                    s_bar, g_bar = seed(i, j, S[i, j]), seed(i, j, G[i, j])
                    gap = strain[i] - strain[j]
                    slope = T(0.0)
                    if meet(strain, gap):
                        e, _p, _m1, _s1, _g1, _b1 = wp.grad(power)(
                            strain, p, m, s_bar, g_bar, T(0.0)
                        )
                        slope = T(0.5) * (e[i] - e[j])
                    else:
                        slope = power(strain, p, m, s_bar, g_bar, T(0.0)) / gap
                    beside = slope * per_square(strain, i, j)
                    b_bar[i, j] = beside
                    b_bar[j, i] = beside
            full = axes * b_bar * wp.transpose(axes)
            return trial_bar + full * trial * T(2.0), mat(), p_bar, m_out

        return Response(respond, pull, plastic)

    def _with_memory(self, types: Types, module: str, mapping: Any) -> tuple[Any, Any]:
        """The law's two functions as (ε, p, m) -> stresses and (ε, p, m) -> (ε, m)."""
        T, vec, p_vec = types.scalar, types.vec, types.parameters(self.size(types.dim))
        stress = self.principal_stress(types)

        @wp.func(module=module)
        def stress_alone(e: vec, p: p_vec, m: T):
            return stress(e, p)

        @wp.func(module=module)
        def unchanged(e: vec, p: p_vec, m: T):
            return e, m

        @wp.func(module=module)
        def mapped_alone(e: vec, p: p_vec, m: T):
            return mapping(e, p), m

        mapped = mapping if self.has_memory else mapped_alone
        return stress if self.has_memory else stress_alone, mapped if mapping else unchanged


@lru_cache(maxsize=None)
def principal_tools(types: Types, measure: str) -> SimpleNamespace:
    """Warp functions between tensors and principal values, for one measure of strain."""
    T, mat, vec = types.scalar, types.mat, types.vec
    module = f"simenv_mpm_{measure}_{types.tag}"
    precision = wp.constant(T(np.finfo(types.dtype).eps))
    tiny = wp.constant(T(1e-6))

    @wp.func(module=module)
    def compose(axes: mat, values: vec):
        return axes * wp.diag(values) * wp.transpose(axes)

    @wp.func(module=module)
    def seen(axes: mat, A: mat):
        # The symmetric part of A in the principal axes.
        turned = wp.transpose(axes) * A * axes
        return (turned + wp.transpose(turned)) * T(0.5)

    @wp.func(module=module)
    def seed(i: int, j: int, weight: T):
        # What weighs f_i - f_j.
        v = vec()
        v[i] = weight
        v[j] = -weight
        return v

    @wp.func(module=module)
    def meet(e: vec, gap: T):
        # Rounding makes an error of about precision |e| / gap in a divided difference; the limit
        # one of (gap / |dev e|)^2, since no law changes over less than that (a yield surface, the
        # tip of a cone). The two are equal here.
        mean = wp.dot(e, vec(T(1.0))) / T(wp.static(types.dim))
        dev = e - vec(mean)
        size = wp.dot(e, e)
        cube = wp.abs(gap) * gap * gap
        return cube <= precision * wp.sqrt(size) * (wp.dot(dev, dev) + tiny * size)

    stretched, per_square = (_log if measure == "log" else _biot)(types)
    return SimpleNamespace(
        compose=compose,
        seen=seen,
        seed=seed,
        meet=meet,
        stretched=stretched,
        per_square=per_square,
    )


def _log(types: Types) -> tuple[Any, Any]:
    T, vec, d, module = types.scalar, types.vec, types.dim, f"simenv_mpm_log_{types.tag}"
    sixth, seven = wp.constant(T(1 / 6)), wp.constant(T(7 / 360))
    small = wp.constant(T(1e-4))

    @wp.func(module=module)
    def stretched(e: vec, e_new: vec):
        # sigma' / sigma - 1
        g = vec()
        for i in range(d):
            g[i] = wp.exp(e_new[i] - e[i]) - T(1.0)
        return g

    @wp.func(module=module)
    def per_square(e: vec, i: int, j: int):
        # (e_i - e_j) / (s_i^2 - s_j^2) = y / (2 sinh(y) s_i s_j), y = e_i - e_j.
        y = e[i] - e[j]
        q = y * y
        shape = T(1.0) - q * sixth + q * q * seven
        if q > small:
            shape = y / wp.sinh(y)
        return T(0.5) * shape * wp.exp(-e[i] - e[j])

    return stretched, per_square


def _biot(types: Types) -> tuple[Any, Any]:
    T, vec, d, module = types.scalar, types.vec, types.dim, f"simenv_mpm_biot_{types.tag}"
    smallest = wp.constant(T(2.0 * SMALLEST_STRETCH))

    @wp.func(module=module)
    def stretched(e: vec, e_new: vec):
        g = vec()
        for i in range(d):
            g[i] = (e_new[i] - e[i]) / (T(1.0) + e[i])
        return g

    @wp.func(module=module)
    def per_square(e: vec, i: int, j: int):
        # (s_i - s_j) / (s_i^2 - s_j^2)
        total = T(2.0) + e[i] + e[j]
        bounded = wp.where(total >= T(0.0), wp.max(total, smallest), wp.min(total, -smallest))
        return T(1.0) / bounded

    return stretched, per_square
