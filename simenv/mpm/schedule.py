"""The launches of one environment step, forward and backward, for a chunk of environments.

A chunk owns a range of environments and the captured graphs that advance them. Chunks share no
memory, so any number of threads gives bitwise the same result.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import warp as wp

from simenv.mpm.constitutive import (
    constitutive_adjoint_kernel,
    constitutive_kernel,
    stress_kernel,
)
from simenv.mpm.device import CAPTURE
from simenv.mpm.fields import Frame
from simenv.mpm.grid import grid_adjoint_kernel, grid_kernel, row_kernels
from simenv.mpm.materials import Material
from simenv.mpm.materials.principal import lanes, principal_kernel
from simenv.mpm.parameters import Group
from simenv.mpm.rigid_schedule import RigidAdjoint, RigidLaunches
from simenv.mpm.scene import Scene
from simenv.mpm.transfer import forward_kernels
from simenv.mpm.transfer_adjoint import adjoint_kernels
from simenv.mpm.types import Types

LawKernel = Callable[[Material, Types], Any]


def num_nodes(scene: Scene) -> int:
    """Length of an environment's grid: its nodes and one that is read beyond the last row."""
    return math.prod(scene.nodes) + 1


def num_rows(scene: Scene) -> int:
    """Rows of an environment's grid along the last axis."""
    return math.prod(scene.nodes[:-1])


@dataclass
class Constants:
    """Kernel arguments that a scene fixes."""

    types: Types
    particles: int
    num_nodes: int
    num_rows: int
    row_length: int
    nodes: Any
    modes: Any
    friction: Any
    gravity_dt: Any
    size: Any
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
            num_rows=num_rows(scene),
            row_length=scene.nodes[-1],
            nodes=types.index(*scene.nodes),
            modes=wp.types.vector(faces, wp.int32)(*(wall.code for wall in scene.walls)),
            friction=wp.types.vector(faces, types.scalar)(*(w.friction for w in scene.walls)),
            gravity_dt=types.vec(*(scene.gravity * dt)),
            size=types.vec(*scene.size),
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
        row_origin: first row of each particle's environment.
        first_rows: for each row of the grids, whether a particle's stencil begins there.
        rows: for each row of the grids, whether the substep's particles touch it.
        strain, axes: principal strains and axes of the spectral laws' trial gradients.
    """

    device: str
    num_envs: int
    constants: Constants
    groups: Sequence[Group]
    substeps: int
    mass: Any
    volume: Any
    origin: Any
    row_origin: Any
    first_rows: Any
    rows: Any
    parameters: Sequence[Any]
    strain: Any
    axes: Any
    A: Any
    grid: Any
    fault: Any
    rigids: RigidLaunches | None

    def kernels(self) -> list[Any]:
        """Every kernel of the forward step, to load before capture."""
        types = self.constants.types
        transfer = forward_kernels(types)
        laws = [constitutive_kernel(group.law, types) for group in self.groups]
        laws += [
            principal_kernel(types, group.law.measure, lanes(types, self.device))
            for group in self.groups
            if group.law.measure is not None
        ]
        rows = vars(row_kernels(types)).values()
        rigids = self.rigids.kernels(types) if self.rigids else []
        return [*rows, transfer.p2g, transfer.g2p, grid_kernel(types), *laws, *rigids]

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
        if self.rigids:
            self.rigids.move(self, source, target)

    def stress(self, kernel: LawKernel, source: Frame, target: Frame) -> None:
        """A of every particle, by `constitutive_kernel` or, where F is known, `stress_kernel`."""
        c = self.constants
        for group, parameters in zip(self.groups, self.parameters, strict=True):
            self._find_axes(group, source)
            self.launch(
                kernel(group.law, c.types),
                group.count,
                [source.F, source.C, source.Jp, self.strain, self.axes, parameters, self.mass]
                + [self.volume, c.particles, group.start, group.count, c.dt, c.k]
                + [target.F, target.Jp, self.A, self.fault],
            )

    def _find_axes(self, group: Group, source: Frame) -> None:
        """Principal strains and axes of a group's trial gradients, if its law wants them."""
        c, measure = self.constants, group.law.measure
        if measure is None:
            return
        per_thread = lanes(c.types, self.device)
        blocks = -(-group.count // per_thread)
        self.launch(
            principal_kernel(c.types, measure, per_thread),
            blocks,
            [source.F, source.C, c.dt, blocks, c.particles, group.start, group.count]
            + [self.strain, self.axes],
        )

    def to_grid(self, source: Frame, velocity: Any) -> None:
        """P2G, the grid update and contact; leaves node velocities in `velocity`."""
        c = self.constants
        self.mark_rows(source)
        self.clear(self.grid)
        self.launch(
            forward_kernels(c.types).p2g,
            c.particles,
            [source.x, source.v, self.A, self.mass, self.origin, c.nodes, c.dx]
            + [c.inv_dx, self.grid],
        )
        self.over_rows(
            grid_kernel(c.types), [self.grid, c.modes, c.friction, c.gravity_dt, velocity]
        )
        if self.rigids:
            self.rigids.act(self, source, velocity)

    def mark_rows(self, source: Frame) -> None:
        """Find the rows that `source`'s particles touch."""
        c = self.constants
        kernels = row_kernels(c.types)
        self.first_rows.zero_()
        self.launch(
            kernels.mark,
            c.particles,
            [source.x, self.row_origin, c.nodes, c.inv_dx, self.first_rows],
        )
        self.rows.zero_()
        self.launch(kernels.widen, c.num_rows, [self.first_rows, c.nodes, self.rows])

    def clear(self, grid: Any) -> None:
        """Zero a grid's marked rows."""
        self.over_rows(row_kernels(self.constants.types).clear, [grid])

    def over_rows(self, kernel: Any, inputs: list[Any]) -> None:
        """Launch a kernel on the nodes of all marked rows."""
        c = self.constants
        span = self.span(c.row_length)
        where = [self.rows, c.num_rows, c.num_nodes, c.nodes, span]
        self.launch(kernel, c.num_rows * (c.row_length // span), where + inputs)

    def span(self, length: int) -> int:
        """Nodes that a thread takes of a row so long: all on the CPU, one on a GPU."""
        return length if self.device == "cpu" else 1

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
    rigids: RigidAdjoint | None

    def kernels(self) -> list[Any]:
        """Every kernel of the backward step, to load before capture."""
        types = self.chunk.constants.types
        transfer = adjoint_kernels(types)
        laws = [
            kernel(group.law, types)
            for group in self.chunk.groups
            for kernel in (stress_kernel, constitutive_adjoint_kernel)
        ]
        rigids = self.rigids.kernels(types) if self.rigids else []
        return [transfer.p2g, transfer.g2p, grid_adjoint_kernel(types), *laws, *rigids]

    def run(self) -> None:
        """Recompute the kept states, then walk back.

        The first and the last frame are the step's input and output, loaded by the caller, so one
        substep less is recomputed.
        """
        self.clear()
        for k in range(self.chunk.substeps - 1):
            self.chunk.substep(self.ring[k], self.ring[k + 1])
        for k in reversed(range(self.chunk.substeps)):
            self.reverse(self.ring[k], self.ring[k + 1])

    def clear(self) -> None:
        """Zero what is summed over substeps."""
        for array in (self.mass_bar, *self.parameters_bar):
            array.zero_()
        if self.rigids:
            self.rigids.traits_bar.zero_()

    def reverse(self, source: Frame, target: Frame) -> None:
        """Adjoint of one substep: `bar` goes from the adjoint of `target` to that of `source`."""
        self.chunk.stress(stress_kernel, source, target)
        self.chunk.to_grid(source, self.velocity)
        self.chunk.clear(self.grid_bar)
        self._reverse_gather(source, target)
        if self.rigids:
            self.rigids.move(self.chunk, source, self.bar)
            self.rigids.act(self.chunk, source, self.bar, self.grid_bar)
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
        self.chunk.over_rows(
            grid_adjoint_kernel(c.types),
            [self.chunk.grid, c.modes, c.friction, c.gravity_dt, self.grid_bar],
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
        for group, theta, theta_bar in zip(
            chunk.groups, chunk.parameters, self.parameters_bar, strict=True
        ):
            chunk.launch(
                constitutive_adjoint_kernel(group.law, c.types),
                group.count,
                [source.F, source.C, source.Jp, chunk.strain, chunk.axes, theta, chunk.mass]
                + [chunk.volume, c.particles, group.start, group.count, c.dt, c.k, target.F]
                + [chunk.A, self.bar.F, self.bar.C, self.bar.Jp, theta_bar, self.mass_bar],
            )
