"""Following a simulation, and reading periods, momenta and energies off it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from simenv import mpm
from simenv.errors import SimenvError
from simenv.validation.outcome import Array

Law = Callable[..., mpm.Material]
"""A class of materials."""


def follow(
    sim: mpm.Simulator,
    state: mpm.State,
    steps: int,
    read: Callable[[mpm.State], Any],
    control: mpm.Control | None = None,
) -> tuple[mpm.State, Array]:
    """The state after some steps, and what was read off at the start and after each of them.

    Raises:
        SimenvError: a step reported a fault.
    """
    readings = [read(state)]
    for step in range(steps):
        state = sim.step(state, control)
        fault = int(state.fault.max())
        if fault:
            raise SimenvError(f"step {step}: {mpm.describe_fault(fault)}")
        readings.append(read(state))
    return state, np.array(readings, dtype=np.float64)


def crossings(signal: Array, dt: float) -> Array:
    """Times [s] at which a signal sampled every `dt` from t = 0 changes sign, interpolated."""
    i = np.flatnonzero(signal[:-1] * signal[1:] < 0)
    return np.asarray(dt * (i + signal[i] / (signal[i] - signal[i + 1])))


def period(signal: Array, dt: float) -> float:
    """Mean period [s] between the first and the last sign change; NaN if there are too few."""
    times = crossings(signal, dt)
    if len(times) < 3:
        return float("nan")
    return 2 * float(times[-1] - times[0]) / (len(times) - 1)


def linear_momentum(sim: mpm.Simulator, state: mpm.State) -> torch.Tensor:
    """Momentum (d,) [kg m/s] of the first environment, free rigid bodies included."""
    mass = _particle_masses(sim)
    total = (mass * state.v[0].double()).sum(dim=0)
    for i, body in enumerate(sim.scene.rigids):
        total = total + body.mass * state.twist[0, i, : sim.scene.dim].double()
    return total


def angular_momentum(sim: mpm.Simulator, state: mpm.State) -> torch.Tensor:
    """Angular momentum [kg m²/s] about the origin, (1,) in 2-D and (3,) in 3-D; bodies included.

    A particle carries m x × v and, in its affine velocity, m dx²/4 times the axial vector of
    C − Cᵀ (Jiang et al., ACM TOG 34(4), 2015, sec. 5.3, for quadratic splines).
    """
    mass = _particle_masses(sim)
    x, v, C = (t[0].double() for t in (state.x, state.v, state.C))
    spin = sim.scene.dx**2 / 4 * (C - C.mT)
    own = spin[:, 1, 0, None] if x.shape[1] == 2 else _axial(spin)
    total = (mass * (_cross(x, v) + own)).sum(dim=0)
    for i, body in enumerate(sim.scene.rigids):
        total = total + _body_angular_momentum(body, state.pose[0, i], state.twist[0, i])
    return total


def _particle_masses(sim: mpm.Simulator) -> torch.Tensor:
    """Masses (P, 1) [kg]."""
    masses = [[body.volume * body.material.density] * len(body.x) for body in sim.bodies]
    return torch.tensor([m for body in masses for m in body], dtype=torch.float64)[:, None]


def _axial(S: torch.Tensor) -> torch.Tensor:
    return torch.stack([S[:, 2, 1], S[:, 0, 2], S[:, 1, 0]], dim=-1)


def _cross(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Cross product of vectors (..., d): (..., 1) in the plane, (..., 3) in space."""
    if a.shape[-1] == 2:
        return (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])[..., None]
    return torch.linalg.cross(a, b)


def _body_angular_momentum(
    body: mpm.Rigid, pose: torch.Tensor, twist: torch.Tensor
) -> torch.Tensor:
    """Of a free body about the origin: m x × v + R I Rᵀ ω, in the plane I ω."""
    d = body.shape.dim
    pose, twist = pose.double(), twist.double()
    turn = _rotation(pose[3:]) if d == 3 else torch.eye(1, dtype=torch.float64)
    inertia = turn @ torch.as_tensor(body.inertia) @ turn.T
    return body.mass * _cross(pose[:d], twist[:d]) + inertia @ twist[d:]


def _rotation(q: torch.Tensor) -> torch.Tensor:
    """Rotation matrix of a unit quaternion (x, y, z, w)."""
    x, y, z, w = q.tolist()
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return torch.tensor(rows, dtype=torch.float64)
