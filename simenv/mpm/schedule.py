"""The launches of one environment step, forward and backward, for a chunk of environments.

A chunk owns a range of environments and the captured graphs that advance them. Chunks share no
memory, so any number of threads gives bitwise the same result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import warp as wp
from torch import Tensor

from simenv.mpm.constitutive import (
    constitutive_adjoint_kernel,
    constitutive_kernel,
    stress_kernel,
)
from simenv.mpm.contact import grid_adjoint_kernel, grid_kernel
from simenv.mpm.device import CAPTURE
from simenv.mpm.materials import Material
from simenv.mpm.memory import copy_into
from simenv.mpm.parameters import Group
from simenv.mpm.scene import Scene
from simenv.mpm.transfer import forward_kernels
from simenv.mpm.transfer_adjoint import adjoint_kernels
from simenv.mpm.types import TORCH_DTYPES, Types

LawKernel = Callable[[Material, Types], Any]


@dataclass
class Frames:
    """L kept states of N environments as torch tensors: x, v (L, N, P, d), C, F (L, N, P, d, d)."""

    x: Tensor
    v: Tensor
    C: Tensor
    F: Tensor

    @classmethod
    def empty(cls, length: int, num_envs: int, scene: Scene, dtype: str, device: str) -> Frames:
        """Zeros for `length` states."""
        d, p = scene.dim, scene.num_particles
        like: dict[str, Any] = {"dtype": TORCH_DTYPES[dtype], "device": device}
        vectors = [torch.zeros((length, num_envs, p, d), **like) for _ in range(2)]
        matrices = [torch.zeros((length, num_envs, p, d, d), **like) for _ in range(2)]
        return cls(*vectors, *matrices)

    @property
    def tensors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x, v, C, F."""
        return self.x, self.v, self.C, self.F

    def load(self, k: int, values: Sequence[Tensor]) -> None:
        """Copy x, v, C, F into frame k."""
        for target, value in zip(self.tensors, values, strict=True):
            copy_into(target[k], value)

    def warp(self, k: int, envs: slice, types: Types) -> Frame:
        """Frame k of a range of environments as Warp arrays."""
        kinds = (types.vec, types.vec, types.mat, types.mat)
        return Frame(*(view(t[k, envs], kind) for t, kind in zip(self.tensors, kinds, strict=True)))


@dataclass
class Frame:
    """One state of a chunk as flat Warp arrays, environments x particles long."""

    x: Any
    v: Any
    C: Any
    F: Any


def num_nodes(scene: Scene) -> int:
    """Length of an environment's grid: its nodes and one that is read beyond the last row."""
    return math.prod(scene.nodes) + 1


def view(tensor: Tensor, dtype: Any) -> Any:
    """A flat Warp array of `dtype` elements over a contiguous torch tensor's memory."""
    shape = getattr(dtype, "_shape_", ())
    return wp.from_torch(tensor.reshape(-1, *shape), dtype=dtype, requires_grad=False)


@dataclass
class Constants:
    """Kernel arguments that a scene fixes."""

    types: Types
    particles: int
    num_nodes: int
    nodes: Any
    modes: Any
    friction: Any
    gravity_dt: Any
    lower: Any
    upper: Any
    dx: float
    inv_dx: float
    dt: float
    k: float

    @classmethod
    def of(cls, scene: Scene, types: Types) -> Constants:
        """The constants of a scene."""
        faces = 2 * scene.dim
        dx, dt = scene.dx, scene.dt
        # Half a cell beyond the domain is where the outermost layer of nodes still carries weight.
        margin = 0.5 * dx * (1 - 1e-5)
        return cls(
            types=types,
            particles=scene.num_particles,
            num_nodes=num_nodes(scene),
            nodes=types.index(*scene.nodes),
            modes=wp.types.vector(faces, wp.int32)(*(wall.code for wall in scene.walls)),
            friction=wp.types.vector(faces, types.scalar)(*(w.friction for w in scene.walls)),
            gravity_dt=types.vec(*(scene.gravity * dt)),
            lower=types.vec(*[-margin] * scene.dim),
            upper=types.vec(*(scene.size + margin)),
            dx=dx,
            inv_dx=1.0 / dx,
            dt=dt,
            k=4.0 * dt / dx**2,
        )


@dataclass
class Chunk:
    """Launches for environments `envs`, drawing on buffers that belong to this chunk alone.

    Arrays are flat Warp views: environments x particles or environments x nodes long.

    Attributes:
        origin: first node of each particle's environment.
        members: for each group, the particles that its parameters belong to.
    """

    device: str
    num_envs: int
    constants: Constants
    groups: Sequence[Group]
    substeps: int
    mass: Any
    volume: Any
    origin: Any
    members: Sequence[Any]
    parameters: Sequence[Any]
    A: Any
    grid: Any
    fault: Any

    def kernels(self) -> list[Any]:
        """Every kernel of the forward step, to load before capture."""
        types = self.constants.types
        transfer = forward_kernels(types)
        laws = [constitutive_kernel(group.law, types) for group in self.groups]
        return [transfer.p2g, transfer.g2p, grid_kernel(types), *laws]

    def step(self, frame: Frame) -> None:
        """All substeps, in place."""
        for _ in range(self.substeps):
            self.substep(frame, frame)

    def substep(self, source: Frame, target: Frame) -> None:
        """One substep from `source` to `target`, which may be the same."""
        self.stress(constitutive_kernel, source, target)
        self.to_grid(source, self.grid)
        c = self.constants
        self.launch(
            forward_kernels(c.types).g2p,
            c.particles,
            [source.x, self.grid, self.origin, c.nodes, c.lower, c.upper, c.inv_dx, c.dt]
            + [c.particles, target.x, target.v, target.C, self.fault],
        )

    def stress(self, kernel: LawKernel, source: Frame, target: Frame) -> None:
        """A of every particle, by `constitutive_kernel` or, where F is known, `stress_kernel`."""
        c = self.constants
        for group, members, parameters in zip(
            self.groups, self.members, self.parameters, strict=True
        ):
            self.launch(
                kernel(group.law, c.types),
                group.count,
                [source.F, source.C, parameters, self.mass, self.volume, members]
                + [c.dt, c.k, target.F, self.A, c.particles, self.fault],
            )

    def to_grid(self, source: Frame, velocity: Any) -> None:
        """P2G and the grid update; leaves node velocities in `velocity`."""
        c = self.constants
        self.grid.zero_()
        self.launch(
            forward_kernels(c.types).p2g,
            c.particles,
            [source.x, source.v, self.A, self.mass, self.origin, c.nodes, c.dx]
            + [c.inv_dx, self.grid],
        )
        self.launch(
            grid_kernel(c.types),
            c.num_nodes,
            [self.grid, c.num_nodes, c.nodes, c.modes, c.friction, c.gravity_dt, velocity],
        )

    def launch(self, kernel: Any, per_env: int, inputs: list[Any]) -> None:
        """Launch `per_env` threads for each environment of the chunk."""
        wp.launch(kernel, dim=self.num_envs * per_env, inputs=inputs, device=self.device)

    def capture(self, work: Callable[[], None]) -> Any:
        """Record the launches of `work` into a graph."""
        recording = wp.ScopedCapture(device=self.device, force_module_load=False)
        with CAPTURE, recording as capture:
            work()
        return capture.graph


@dataclass
class Adjoint:
    """The backward half of a chunk: kept states, adjoint buffers and their launches."""

    chunk: Chunk
    ring: Sequence[Frame]
    bar: Frame
    velocity: Any
    grid_bar: Any
    mass_bar: Any
    parameters_bar: Sequence[Any]

    def kernels(self) -> list[Any]:
        """Every kernel of the backward step, to load before capture."""
        types = self.chunk.constants.types
        transfer = adjoint_kernels(types)
        laws = [
            kernel(group.law, types)
            for group in self.chunk.groups
            for kernel in (stress_kernel, constitutive_adjoint_kernel)
        ]
        return [transfer.p2g, transfer.g2p, grid_adjoint_kernel(types), *laws]

    def run(self) -> None:
        """Recompute the kept states, then walk back.

        The first and the last frame are the step's input and output, loaded by the caller, so one
        substep less is recomputed.
        """
        for array in (self.mass_bar, *self.parameters_bar):
            array.zero_()
        for k in range(self.chunk.substeps - 1):
            self.chunk.substep(self.ring[k], self.ring[k + 1])
        for k in reversed(range(self.chunk.substeps)):
            self.reverse(self.ring[k], self.ring[k + 1])

    def reverse(self, source: Frame, target: Frame) -> None:
        """Adjoint of one substep: `bar` goes from the adjoint of `target` to that of `source`."""
        self.chunk.stress(stress_kernel, source, target)
        self.chunk.to_grid(source, self.velocity)
        self.grid_bar.zero_()
        self._reverse_gather(source, target)
        self._reverse_grid()
        self._reverse_scatter(source)
        self._reverse_constitutive(source, target)

    def _reverse_gather(self, source: Frame, target: Frame) -> None:
        c, bar = self.chunk.constants, self.bar
        self.chunk.launch(
            adjoint_kernels(c.types).g2p,
            c.particles,
            [source.x, target.x, target.v, self.velocity, self.chunk.origin]
            + [c.nodes, c.lower, c.upper, c.inv_dx, c.dt, bar.x, bar.v, bar.C, self.grid_bar],
        )

    def _reverse_grid(self) -> None:
        c = self.chunk.constants
        self.chunk.launch(
            grid_adjoint_kernel(c.types),
            c.num_nodes,
            [self.chunk.grid, c.num_nodes, c.nodes, c.modes, c.friction]
            + [c.gravity_dt, self.grid_bar],
        )

    def _reverse_scatter(self, source: Frame) -> None:
        c, bar = self.chunk.constants, self.bar
        self.chunk.launch(
            adjoint_kernels(c.types).p2g,
            c.particles,
            [source.x, source.v, self.chunk.A, self.chunk.mass, self.grid_bar]
            + [self.chunk.origin, c.nodes, c.dx, c.inv_dx, bar.x, bar.v, self.mass_bar],
        )

    def _reverse_constitutive(self, source: Frame, target: Frame) -> None:
        c, chunk = self.chunk.constants, self.chunk
        for group, members, theta, theta_bar in zip(
            chunk.groups, chunk.members, chunk.parameters, self.parameters_bar, strict=True
        ):
            chunk.launch(
                constitutive_adjoint_kernel(group.law, c.types),
                group.count,
                [source.F, target.F, source.C, theta, chunk.mass, chunk.volume, members]
                + [c.dt, c.k, chunk.A, self.bar.F, self.bar.C]
                + [theta_bar, self.mass_bar],
            )
