"""Memory of a simulator: what its captured graphs read and write."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import warp as wp
from torch import Tensor

from simenv.mpm.collision import ROUNDS
from simenv.mpm.fields import Frames, view
from simenv.mpm.memory import copy_into
from simenv.mpm.parameters import Group
from simenv.mpm.rigid_constants import (
    Fields,
    pair_points,
    pairs,
    points_of,
    touches,
    wall_modes,
    window_of,
)
from simenv.mpm.rigid_schedule import RigidAdjoint, RigidLaunches
from simenv.mpm.scene import Scene
from simenv.mpm.schedule import Adjoint, Chunk, Constants, num_nodes, num_rows
from simenv.mpm.types import TORCH_DTYPES, Types


class Buffers:
    """Working memory of the forward step for N environments.

    Args:
        scene: the simulator's scene.
        groups: its bodies by law.
        num_envs: N.
        types: dimension and precision.
        device: a resolved device name.
    """

    def __init__(
        self, scene: Scene, groups: Sequence[Group], num_envs: int, types: Types, device: str
    ) -> None:
        self.scene, self.groups, self.num_envs = scene, groups, num_envs
        self.types, self.device = types, device
        n, p, d = num_envs, scene.num_particles, scene.dim
        self.work = Frames(1, n, scene, types, device)
        self.mass, self.A = self.zeros(n, p), self.zeros(n, p, d, d)
        spectral = p if any(g.law.measure for g in groups) else 0
        self.strain, self.axes = self.zeros(n, spectral, d), self.zeros(n, spectral, d, d)
        self.rest_volume = self._volumes().repeat(n, 1)
        self.volume = self.rest_volume.clone()
        self.grid = self.zeros(n, num_nodes(scene), 4)
        self.rows = self.zeros(n, num_rows(scene), dtype=torch.int32)
        self.first_rows = torch.zeros_like(self.rows)
        self.impulse = self.zeros(n, scene.num_rigids, 3 * d - 3)
        self.traits = self.zeros(n, scene.num_rigids, types.traits._length_)
        self.fault = self.zeros(n, dtype=torch.int32)
        self.rigids = RigidBuffers(self) if scene.rigids else None
        self.parameters = [self.zeros(n, g.count, g.law.size(d)) for g in groups]

    def zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        """A tensor of the simulator's precision, or of `dtype`, on its device."""
        dtype = dtype or TORCH_DTYPES[self.types.dtype]
        return torch.zeros(shape, dtype=dtype, device=self.device)

    @property
    def loads(self) -> list[Tensor]:
        """What a step takes beside the state: volumes, masses, rigid traits, laws' parameters."""
        return [self.volume, self.mass, self.traits, *self.parameters]

    def load(self, loads: Sequence[Tensor]) -> None:
        """Copy values into `loads`."""
        for target, value in zip(self.loads, loads, strict=True):
            copy_into(target, value)

    def chunk(self, envs: slice) -> Chunk:
        """The launches of a range of environments."""
        t, n, p = self.types, envs.stop - envs.start, self.scene.num_particles
        env = torch.arange(n, dtype=torch.int32, device=self.device)[:, None]
        particle = torch.arange(p, dtype=torch.int32, device=self.device)
        groups = [g for g in self.groups if not g.law.in_torch]
        return Chunk(
            device=self.device,
            num_envs=n,
            constants=Constants.of(self.scene, t),
            groups=groups,
            substeps=self.scene.substeps,
            mass=view(self.mass[envs], t.scalar),
            volume=view(self.volume[envs], t.scalar),
            origin=view(env * num_nodes(self.scene) + 0 * particle, wp.int32),
            row_origin=view(env * num_rows(self.scene) + 0 * particle, wp.int32),
            first_rows=view(self.first_rows[envs], wp.int32),
            rows=view(self.rows[envs], wp.int32),
            parameters=self.views(self.parameters, envs),
            strain=view(self.strain[envs], t.vec),
            axes=view(self.axes[envs], t.mat),
            A=view(self.A[envs], t.mat),
            grid=view(self.grid[envs], t.node),
            fault=view(self.fault[envs], wp.int32),
            rigids=self.rigids.launches(envs) if self.rigids else None,
        )

    def views(self, parameters: Sequence[Tensor], envs: slice) -> list[Any]:
        """Parameter vectors of a range of environments as Warp arrays, for laws with kernels."""
        return [
            view(p[envs], self.types.parameters(p.shape[-1]))
            for p, group in zip(parameters, self.groups, strict=True)
            if not group.law.in_torch
        ]

    def _volumes(self) -> Tensor:
        bodies = [body for group in self.groups for body in group.bodies]
        volumes = [v for body in bodies for v in [body.volume] * len(body.x)]
        return torch.tensor(volumes, dtype=TORCH_DTYPES[self.types.dtype], device=self.device)


TWISTS = ("push", "change", "predicted", "impulse")
"""Arrays of `RigidLaunches` that hold a twist or an impulse for every body."""
ADJOINT_TWISTS = ("impulse_bar", "predicted_bar", "start_bar", "multiplier")
"""The same of `RigidAdjoint`."""


class RigidBuffers:
    """Working memory of tools and rigid bodies."""

    def __init__(self, forward: Buffers) -> None:
        self.forward, scene = forward, forward.scene
        n, r, d = forward.num_envs, scene.num_rigids, scene.dim
        fields = Fields(scene)
        self.touches = touches(scene, fields, forward.types)
        self.windows = [window_of(rigid, scene) for rigid in scene.rigids]
        like = forward.mass
        self.values = torch.as_tensor(fields.values, dtype=like.dtype, device=like.device)
        self.points, self.pair_points = (
            [torch.as_tensor(t, dtype=like.dtype, device=like.device) for t in points]
            for points in (
                [points_of(rigid, d) for rigid in scene.rigids],
                [pair_points(rigid, scene) for rigid in scene.rigids],
            )
        )
        k = 3 * d - 3
        self.matrix = forward.zeros(n, r, k, k)
        self.crowd = forward.zeros(n, r)
        self.twists = {name: forward.zeros(n, r, k) for name in TWISTS}
        rounds = ROUNDS if any(rigid.free for rigid in scene.rigids) else 1
        self.round_twists = [forward.zeros(n, r, k) for _ in range(rounds + 1)]
        self.struck = [forward.zeros(n, r, k) for _ in range(rounds)]
        self.before = [forward.zeros(n, math.prod(window), 4) for window in self.windows]

    def launches(self, envs: slice) -> RigidLaunches:
        """The launches of a range of environments."""
        forward, t = self.forward, self.forward.types
        return RigidLaunches(
            touches=self.touches,
            windows=self.windows,
            free=[rigid.free for rigid in forward.scene.rigids],
            pairs=pairs(forward.scene),
            wall_modes=[wall_modes(rigid, forward.scene.walls) for rigid in forward.scene.rigids],
            values=view(self.values, t.scalar),
            points=[view(points, t.node) for points in self.points],
            pair_points=[view(points, t.node) for points in self.pair_points],
            traits=view(forward.traits[envs], t.traits),
            crowd=view(self.crowd[envs], t.scalar),
            twists=[view(twist[envs], t.twist) for twist in self.round_twists],
            struck=[view(struck[envs], t.twist) for struck in self.struck],
            matrix=view(self.matrix[envs], t.coupling),
            **{name: view(twist[envs], t.twist) for name, twist in self.twists.items()},
            total=view(forward.impulse[envs], t.twist),
            before=[view(window[envs], t.node) for window in self.before],
        )


class AdjointBuffers:
    """Memory of the backward step, made when a gradient is first asked for."""

    def __init__(self, forward: Buffers) -> None:
        self.forward = forward
        like = forward.num_envs, forward.scene, forward.types, forward.device
        self.ring = Frames(forward.scene.substeps + 1, *like)
        self.bar = Frames(1, *like)
        self.velocity = torch.zeros_like(forward.grid)
        self.grid_bar = torch.zeros_like(forward.grid)
        # Nothing asks for the adjoint of the volumes: it stays zero.
        self.volume_bar = torch.zeros_like(forward.volume)
        self.mass_bar = torch.zeros_like(forward.mass)
        self.traits_bar = torch.zeros_like(forward.traits)
        self.impulse_bar = torch.zeros_like(forward.impulse)
        self.twists = {name: torch.zeros_like(forward.impulse) for name in ADJOINT_TWISTS}
        self.parameters_bar = [torch.zeros_like(t) for t in forward.parameters]

    @property
    def loads_bar(self) -> list[Tensor]:
        """Adjoints of `Buffers.loads`."""
        return [self.volume_bar, self.mass_bar, self.traits_bar, *self.parameters_bar]

    def adjoint(self, envs: slice) -> Adjoint:
        """The launches of a range of environments."""
        t, frames = self.forward.types, self.forward.scene.substeps + 1
        chunk = self.forward.chunk(envs)
        return Adjoint(
            chunk=chunk,
            ring=[self.ring.warp(k, envs) for k in range(frames)],
            bar=self.bar.warp(0, envs),
            velocity=view(self.velocity[envs], t.node),
            grid_bar=view(self.grid_bar[envs], t.node),
            mass_bar=view(self.mass_bar[envs], t.scalar),
            parameters_bar=self.forward.views(self.parameters_bar, envs),
            rigids=self._rigids(chunk.rigids, envs) if chunk.rigids else None,
        )

    def _rigids(self, forward: RigidLaunches, envs: slice) -> RigidAdjoint:
        t = self.forward.types
        return RigidAdjoint(
            forward=forward,
            total_bar=view(self.impulse_bar[envs], t.twist),
            traits_bar=view(self.traits_bar[envs], t.traits),
            **{name: view(twist[envs], t.twist) for name, twist in self.twists.items()},
        )
