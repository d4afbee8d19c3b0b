"""Kernels that apply a constitutive law to its particles, and their adjoint."""

from collections.abc import Callable
from functools import partial
from typing import Any

import warp as wp

from simenv.mpm.materials import Material
from simenv.mpm.materials.base import Response
from simenv.mpm.transfer import INVERTED
from simenv.mpm.types import Types

_registry: dict[tuple[str, Types, str], Any] = {}


@wp.func(module="simenv_mpm_constitutive")
def member(i: int, particles: int, start: int, count: int):
    """Particle of thread i; the division is spared where a group is all there is."""
    p = i
    if count < particles:
        p = i + (i // count) * (particles - count) + start
    return p


def constitutive_kernel(law: Material, types: Types) -> Any:
    """Kernel F, m ← project((I + dt C) F, m), A = mass C − k V τ(F).

    Launch over environments x the group's `count` particles, flattened; in every environment of
    `particles` they lie next to each other from `start` on. `strain` and `axes` hold what
    `principal_kernel` found, for a law with a `measure`; `memory` may be empty for a law without.
    """
    return _cached(law, types, "forward", partial(_forward, advance=True))


def stress_kernel(law: Material, types: Types) -> Any:
    """The same for an F that has been advanced already; arguments as above.

    Saves an elastic law the multiplication; a plastic one has to return to the yield surface again.
    """
    if law.response(types).plastic:
        return constitutive_kernel(law, types)
    return _cached(law, types, "again", partial(_forward, advance=False))


def constitutive_adjoint_kernel(law: Material, types: Types) -> Any:
    """Adjoint of `constitutive_kernel`, material parameters and mass included."""
    return _cached(law, types, "adjoint", _adjoint)


def _cached(law: Material, types: Types, kind: str, build: Callable[..., Any]) -> Any:
    key = (law.key, types, kind)
    if key not in _registry:
        module = f"simenv_mpm_{kind}_{law.key}_{types.tag}"
        _registry[key] = build(law, law.response(types), types, module)
    return _registry[key]


def _forward(law: Material, response: Response, types: Types, module: str, advance: bool) -> Any:
    T, mat, vec = types.scalar, types.mat, types.vec
    Parameters, respond = types.parameters(law.size(types.dim)), response.respond
    spectral, remembers = law.measure is not None, law.has_memory

    @wp.kernel(module=module, enable_backward=False)
    def constitutive(
        F: wp.array(dtype=mat),
        C: wp.array(dtype=mat),
        memory: wp.array(dtype=T),
        strain: wp.array(dtype=vec),
        axes: wp.array(dtype=mat),
        parameters: wp.array(dtype=Parameters),
        mass: wp.array(dtype=T),
        volume: wp.array(dtype=T),
        particles: int,
        start: int,
        count: int,
        dt: T,
        k: T,
        F_out: wp.array(dtype=mat),
        memory_out: wp.array(dtype=T),
        A: wp.array(dtype=mat),
        fault: wp.array(dtype=wp.int32),
    ):
        i = wp.tid()
        p = member(i, particles, start, count)
        c = C[p]
        trial = F_out[p]
        if wp.static(advance):
            trial = F[p] + c * F[p] * dt
        m = T(0.0)
        e = vec()
        u = mat()
        if wp.static(remembers):
            m = memory[p]
        if wp.static(spectral):
            e = strain[p]
            u = axes[p]
        f, tau, m_new = respond(trial, c, parameters[i], m, e, u)
        if wp.static(advance):
            # Written as "not greater" so that NaN is caught too.
            if not wp.determinant(trial) > T(0.0):
                wp.atomic_or(fault, p // particles, INVERTED)
            F_out[p] = f
            if wp.static(remembers):
                memory_out[p] = m_new
        A[p] = c * mass[p] - tau * (k * volume[p])

    return constitutive


def _adjoint(law: Material, response: Response, types: Types, module: str) -> Any:
    T, mat, vec = types.scalar, types.mat, types.vec
    Parameters, pull = types.parameters(law.size(types.dim)), response.pull
    spectral, remembers = law.measure is not None, law.has_memory
    plastic = response.plastic

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def constitutive_adjoint(
        F: wp.array(dtype=mat),
        C: wp.array(dtype=mat),
        memory: wp.array(dtype=T),
        strain: wp.array(dtype=vec),
        axes: wp.array(dtype=mat),
        parameters: wp.array(dtype=Parameters),
        mass: wp.array(dtype=T),
        volume: wp.array(dtype=T),
        particles: int,
        start: int,
        count: int,
        dt: T,
        k: T,
        F_next: wp.array(dtype=mat),
        A_bar: wp.array(dtype=mat),
        F_bar: wp.array(dtype=mat),
        C_bar: wp.array(dtype=mat),
        memory_bar: wp.array(dtype=T),
        parameters_bar: wp.array(dtype=Parameters),
        mass_bar: wp.array(dtype=T),
    ):
        i = wp.tid()
        p = member(i, particles, start, count)
        f = F[p]
        c = C[p]
        a_bar = A_bar[p]
        m = T(0.0)
        m_bar = T(0.0)
        e = vec()
        u = mat()
        if wp.static(remembers):
            m = memory[p]
            m_bar = memory_bar[p]
        if wp.static(spectral):
            e = strain[p]
            u = axes[p]
        # What an elastic law makes of the trial gradient is the trial gradient.
        trial = F_next[p]
        if wp.static(plastic):
            trial = f + c * f * dt
        tau_bar = a_bar * (-k * volume[p])
        trial_bar, c_bar, theta_bar, m_pulled = pull(
            trial, c, parameters[i], m, e, u, F_bar[p], tau_bar, m_bar
        )
        C_bar[p] = c_bar + a_bar * mass[p] + trial_bar * wp.transpose(f) * dt
        F_bar[p] = trial_bar + wp.transpose(c) * trial_bar * dt
        parameters_bar[i] = parameters_bar[i] + theta_bar
        mass_bar[p] = mass_bar[p] + wp.ddot(c, a_bar)
        if wp.static(remembers):
            memory_bar[p] = m_pulled

    return constitutive_adjoint
