"""Kernels that apply a constitutive law to its particles, and their adjoint."""

from collections.abc import Callable
from functools import partial
from typing import Any

import warp as wp

from simenv.mpm.materials import Material
from simenv.mpm.transfer import INVERTED
from simenv.mpm.types import Types

_registry: dict[tuple[str, Types, str], Any] = {}


def constitutive_kernel(law: Material, types: Types) -> Any:
    """Kernel F ← project((I + dt C) F), A = m C − k V τ(F).

    Launch over environments x particles of the group, flattened; `members` gives each thread its
    particle.
    """
    return _cached(law, types, "advance")


def stress_kernel(law: Material, types: Types) -> Any:
    """Kernel A = m C − k V τ(F) for an F that has been advanced already; arguments as above."""
    return _cached(law, types, "again")


def constitutive_adjoint_kernel(law: Material, types: Types) -> Any:
    """Adjoint of `constitutive_kernel`, material parameters and mass included."""
    return _cached(law, types, "adjoint")


def _cached(law: Material, types: Types, kind: str) -> Any:
    key = (law.key, types, kind)
    if key not in _registry:
        _registry[key] = _BUILDERS[kind](law, types)
    return _registry[key]


def _module(law: Material, types: Types, suffix: str = "") -> str:
    return f"simenv_mpm_constitutive{suffix}_{law.key}_{types.tag}"


def _forward(law: Material, types: Types, advance: bool) -> Any:
    T, mat, d = types.scalar, types.mat, types.dim
    Parameters = types.parameters(law.size(d))
    stress, project = law.stress(types), law.projection(types)

    @wp.kernel(module=_module(law, types, "" if advance else "_again"), enable_backward=False)
    def constitutive(
        F: wp.array(dtype=mat),
        C: wp.array(dtype=mat),
        parameters: wp.array(dtype=Parameters),
        mass: wp.array(dtype=T),
        volume: wp.array(dtype=T),
        members: wp.array(dtype=wp.int32),
        dt: T,
        k: T,
        F_out: wp.array(dtype=mat),
        A: wp.array(dtype=mat),
        particles: int,
        fault: wp.array(dtype=wp.int32),
    ):
        i = wp.tid()
        p = members[i]
        theta = parameters[i]
        c = C[p]
        f = F_out[p]
        if wp.static(advance):
            f = F[p] + c * F[p] * dt
            if wp.static(project is not None):
                f = project(f, theta)
            # Written as "not greater" so that NaN is caught too.
            if not wp.determinant(f) > T(0.0):
                wp.atomic_or(fault, p // particles, INVERTED)
            F_out[p] = f
        A[p] = c * mass[p] - stress(f, c, theta) * (k * volume[p])

    return constitutive


def _adjoint(law: Material, types: Types) -> Any:
    T, mat, d = types.scalar, types.mat, types.dim
    Parameters = types.parameters(law.size(d))
    stress, project = law.stress(types), law.projection(types)
    module = _module(law, types, "_adjoint")

    @wp.func(module=module)
    def stress_power(F: mat, C: mat, p: Parameters, G: mat):
        return wp.ddot(stress(F, C, p), G)

    if project is not None:

        @wp.func(module=module)
        def projected_power(F: mat, p: Parameters, G: mat):
            return wp.ddot(project(F, p), G)

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def constitutive_adjoint(
        F: wp.array(dtype=mat),
        F_next: wp.array(dtype=mat),
        C: wp.array(dtype=mat),
        parameters: wp.array(dtype=Parameters),
        mass: wp.array(dtype=T),
        volume: wp.array(dtype=T),
        members: wp.array(dtype=wp.int32),
        dt: T,
        k: T,
        A_bar: wp.array(dtype=mat),
        F_bar: wp.array(dtype=mat),
        C_bar: wp.array(dtype=mat),
        parameters_bar: wp.array(dtype=Parameters),
        mass_bar: wp.array(dtype=T),
    ):
        i = wp.tid()
        p = members[i]
        theta = parameters[i]
        c = C[p]
        a_bar = A_bar[p]
        tau_bar = a_bar * (-k * volume[p])
        f_bar, c_bar, theta_bar, _unused = wp.grad(stress_power)(F_next[p], c, theta, tau_bar)
        f_bar = f_bar + F_bar[p]
        if wp.static(project is not None):
            trial = F[p] + c * F[p] * dt
            trial_bar, yield_bar, _rest = wp.grad(projected_power)(trial, theta, f_bar)
            f_bar = trial_bar
            theta_bar = theta_bar + yield_bar
        C_bar[p] = c_bar + a_bar * mass[p] + f_bar * wp.transpose(F[p]) * dt
        F_bar[p] = f_bar + wp.transpose(c) * f_bar * dt
        parameters_bar[i] = parameters_bar[i] + theta_bar
        mass_bar[p] = mass_bar[p] + wp.ddot(c, a_bar)

    return constitutive_adjoint


_BUILDERS: dict[str, Callable[[Material, Types], Any]] = {
    "advance": partial(_forward, advance=True),
    "again": partial(_forward, advance=False),
    "adjoint": _adjoint,
}
