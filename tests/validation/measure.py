"""Reading periods and energies off a simulation."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from simenv import mpm

Series = NDArray[np.float64]


def crossings(signal: Series, dt: float) -> Series:
    """Times [s] at which a signal sampled every `dt` from t = 0 changes sign, interpolated."""
    i = np.flatnonzero(signal[:-1] * signal[1:] < 0)
    return dt * (i + signal[i] / (signal[i] - signal[i + 1]))


def period(signal: Series, dt: float) -> float:
    """Mean period [s] between the first and the last sign change."""
    times = crossings(signal, dt)
    assert len(times) > 2, "the signal does not oscillate"
    return 2 * float(times[-1] - times[0]) / (len(times) - 1)


def particle_mass(scene: mpm.Scene) -> float:
    """Mass [kg] of each particle of a scene with a single body."""
    (body,) = scene.bodies
    return body.volume * body.material.density


def momentum(state: mpm.State, mass: float) -> torch.Tensor:
    """Linear momentum (d,) [kg m/s] of the first environment."""
    return mass * state.v[0].double().sum(dim=0)


def angular_momentum(state: mpm.State, mass: float, dx: float) -> torch.Tensor:
    """Angular momentum [kg m²/s] about the origin, (1,) in 2-D and (3,) in 3-D.

    A particle carries m x × v and, in its affine velocity, m dx²/4 times the axial vector of
    C − Cᵀ (Jiang et al., ACM TOG 34(4), 2015, sec. 5.3, for quadratic splines).
    """
    x, v, C = (t[0].double() for t in (state.x, state.v, state.C))
    spin = dx * dx / 4 * (C - C.mT)
    if x.shape[1] == 2:
        orbit = x[:, 0] * v[:, 1] - x[:, 1] * v[:, 0]
        return mass * (orbit + spin[:, 1, 0]).sum()[None]
    own = torch.stack([spin[:, 2, 1], spin[:, 0, 2], spin[:, 1, 0]], dim=-1)
    return mass * (torch.linalg.cross(x, v) + own).sum(dim=0)
