"""Small scenes with tools and free rigid bodies, shared by the tests of contact.

Kernels are compiled per dimension and precision, not per scene, so scenes may differ freely. A
scene needs material: where a test wants none, one particle lies out of the way in a corner.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm.shapes.frames import rotation_matrix
from tests.mpm import scenes

DENSITY = 1e3
"""Density [kg/m³] of bodies that do not say otherwise."""


def stage(
    dim: int, *, cells: int = 8, dt: float = 1e-3, substeps: int = 1, **options: Any
) -> mpm.Scene:
    """An empty cubic metre without gravity."""
    options = {"gravity": (0.0,) * dim, "step": dt * substeps, "substeps": substeps, **options}
    return mpm.Scene((1.0,) * dim, (cells,) * dim, **options)


def bare(dim: int, **options: Any) -> mpm.Scene:
    """A stage of which the only material is a particle of a gram at most in a corner."""
    scene = stage(dim, **options)
    scene.add_body(mpm.Box((0.06,) * dim, (1e-3,) * dim), scenes.soft(E=1e3), name="mote", count=1)
    return scene


def down(dim: int, g: float = 9.81) -> tuple[float, ...]:
    """Gravity [m/s²] along −y."""
    return scenes.vector(dim, 0.0, -g)


def twist(dim: int, velocity: Sequence[float], spin: float | Sequence[float] = 0.0) -> Tensor:
    """A command (2·dim − 1 or 6 numbers) of components x, y, z and a turn, about z if a number."""
    turn = np.atleast_1d(spin)
    if dim == 3 and len(turn) == 1:
        turn = np.array([0.0, 0.0, turn[0]])
    return torch.tensor([*scenes.vector(dim, *velocity), *turn], dtype=torch.float64)


def commanded(*twists: Tensor, num_envs: int = 1) -> mpm.Control:
    """The same commands, one for every tool, in every environment."""
    return mpm.Control(tools=torch.stack(twists).expand(num_envs, -1, -1))


def run(sim: mpm.Simulator, steps: int, control: mpm.Control | None = None) -> mpm.State:
    """The state after some steps from the start under one control."""
    state = sim.initial_state()
    for _ in range(steps):
        state = sim.step(state, control)
    return state


def turned(dim: int, pose: np.ndarray) -> np.ndarray:
    """Rotation matrix (d, d) of a pose."""
    return rotation_matrix(float(pose[2]) if dim == 2 else tuple(pose[3:]), dim)


def cross(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Cross product of vectors (..., d): (..., 1) in the plane, (..., 3) in space."""
    if a.shape[-1] == 2:
        return (a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0])[..., None]
    return np.cross(a, b)


def angular_momentum(body: mpm.Rigid, pose: np.ndarray, w: np.ndarray) -> np.ndarray:
    """Of a free body about its centre of mass: R I Rᵀ ω, in the plane I ω [kg m²/s]."""
    d = body.shape.dim
    R = np.eye(1) if d == 2 else turned(d, pose)
    return R @ body.inertia @ R.T @ w


def momentum(sim: mpm.Simulator, state: mpm.State) -> tuple[np.ndarray, np.ndarray]:
    """Linear and angular momentum about the origin of environment 0, free bodies included.

    A particle's affine velocity carries m Δx²/4 of the antisymmetric part of C (Jiang et al.,
    "The affine particle-in-cell method", 2015, sec. 5.3).
    """
    d = sim.scene.dim
    x, v, C = (t[0].double().numpy() for t in (state.x, state.v, state.C))
    m = np.concatenate([[b.volume * b.material.density] * len(b.x) for b in sim.bodies])[:, None]
    S = sim.scene.dx**2 / 4 * (C - C.transpose(0, 2, 1))
    own = S[:, 1, 0, None] if d == 2 else np.stack([S[:, 2, 1], S[:, 0, 2], S[:, 1, 0]], axis=-1)
    linear, angular = (m * v).sum(axis=0), (m * (cross(x, v) + own)).sum(axis=0)
    for i, body in enumerate(sim.scene.rigids):
        pose, moving = state.pose[0, i].double().numpy(), state.twist[0, i].double().numpy()
        linear = linear + body.mass * moving[:d]
        angular = angular + body.mass * cross(pose[:d], moving[:d])
        angular = angular + angular_momentum(body, pose, moving[d:])
    return linear, angular
