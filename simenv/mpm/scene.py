"""Scene: what is simulated. Validated on the way in, SI units, chooses the substep."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from simenv.errors import ConfigurationError, UnstableTimeStepError, require_count
from simenv.mpm.body import Body, fill
from simenv.mpm.materials import STABLE_COURANT, Material
from simenv.mpm.rigid import Rigid, make_rigid
from simenv.mpm.shapes import Array, Shape
from simenv.mpm.walls import Wall

if TYPE_CHECKING:
    from simenv.mpm.simulator import Simulator

CHOSEN_COURANT = 0.5
"""c Δt/Δx [-] aimed at where the scene chooses its own substep."""

AXES = "xyz"


def _whole_numbers(name: str, values: Sequence[float]) -> tuple[int, ...]:
    if not all(math.isfinite(n) and n == int(n) for n in values):
        raise ConfigurationError(f"{name} = {tuple(values)} must be whole numbers")
    return tuple(int(n) for n in values)


class Scene:
    """A domain with walls, gravity and bodies.

    Args:
        size: edge lengths of the domain [m]; material may be in [0, size] on every axis.
        cells: grid cells per axis; size / cells must be the same on every axis.
        gravity: acceleration [m/s²]; default 9.81 downwards along y.
        step: duration of one environment step [s].
        substeps: substeps per environment step; None chooses them from the stable substep.
        walls: condition per face, keys "x-", "x+", "y-", …; "default" stands for all others.
        allow_unstable: accept a substep above the stable one.

    Raises:
        ConfigurationError: a value outside its bounds; the message names the remedy.
    """

    def __init__(
        self,
        size: Sequence[float],
        cells: Sequence[int],
        *,
        gravity: Sequence[float] | None = None,
        step: float = 0.02,
        substeps: int | None = None,
        walls: Mapping[str, Wall] | None = None,
        allow_unstable: bool = False,
    ) -> None:
        self.size = np.asarray(size, dtype=np.float64)
        self.cells = _whole_numbers("cells", cells)
        self.dx = self._cell_size()
        down = [0.0, -9.81, 0.0][: self.dim]
        self.gravity = np.asarray(down if gravity is None else gravity, dtype=np.float64)
        self.step = float(step)
        self.walls = self._face_walls(walls or {})
        self.bodies: list[Body] = []
        self.rigids: list[Rigid] = []
        self._substeps = substeps
        self._allow_unstable = allow_unstable
        self._check_numbers()

    @property
    def dim(self) -> int:
        """Dimension d, 2 or 3."""
        return len(self.size)

    @property
    def nodes(self) -> tuple[int, ...]:
        """Grid nodes per axis: one layer more than the domain's on either side."""
        return tuple(n + 3 for n in self.cells)

    @property
    def num_particles(self) -> int:
        """Particles of all bodies."""
        return sum(len(body.x) for body in self.bodies)

    @property
    def num_rigids(self) -> int:
        """Tools and free rigid bodies R."""
        return len(self.rigids)

    @property
    def tools(self) -> list[Rigid]:
        """The rigid bodies that follow commands, in the order of `Control.tools`."""
        return [rigid for rigid in self.rigids if not rigid.free]

    @property
    def has_memory(self) -> bool:
        """Whether any law keeps a scalar per particle."""
        return any(body.material.has_memory for body in self.bodies)

    @property
    def num_channels(self) -> int:
        """Length of `Control.activation`: one more than the highest muscle index."""
        channels = [body.material.channel for body in self.bodies]
        return 1 + max((c for c in channels if c is not None), default=-1)

    @property
    def largest_dt(self) -> float:
        """Largest substep [s] accepted: what every law bears, and |v| Δt ≤ Δx for motion."""
        if not self.bodies:
            raise ConfigurationError("the scene has no body; add one with add_body")
        laws = [body.material for body in self.bodies]
        stable = min(law.largest_dt(law.values(), self.dx) for law in laws)
        return min(stable, self.dx / self._top_speed())

    @property
    def substeps(self) -> int:
        """Substeps per environment step.

        Raises:
            UnstableTimeStepError: the substeps asked for are too few.
        """
        if self._substeps is None:
            wanted = self.largest_dt * CHOSEN_COURANT / STABLE_COURANT
            return max(1, math.ceil(self.step / wanted - 1e-9))
        dt, largest = self.step / self._substeps, self.largest_dt
        if dt > largest * (1 + 1e-9) and not self._allow_unstable:
            raise UnstableTimeStepError(
                f"substep {dt:.4g} s ({self._substeps} in {self.step:.4g} s) exceeds the largest "
                f"stable one, {largest:.4g} s; use substeps >= {math.ceil(self.step / largest)}, "
                "substeps=None, or allow_unstable=True",
                largest,
            )
        return self._substeps

    def check_substep(self, largest: float) -> None:
        """Raise UnstableTimeStepError if the substep exceeds the `largest` [s] that a law bears."""
        if self.dt > largest * (1 + 1e-9) and not self._allow_unstable:
            raise UnstableTimeStepError(
                f"the parameters handed to this step need a substep of at most {largest:.4g} s, "
                f"the scene has {self.dt:.4g} s; use substeps >= "
                f"{math.ceil(self.step / largest)}, or allow_unstable=True",
                largest,
            )

    @property
    def dt(self) -> float:
        """Substep [s]."""
        return self.step / self.substeps

    def add_body(
        self,
        shape: Shape,
        material: Material,
        *,
        name: str | None = None,
        particles_per_cell: float | None = None,
        count: int | None = None,
        seed: int | None = None,
        velocity: Sequence[float] | None = None,
        spin: Sequence[float] | None = None,
    ) -> Body:
        """Fill a shape with material and add it.

        Args:
            shape: geometry; must lie inside the domain.
            material: constitutive law.
            name: unique name; default "body0", "body1", …
            particles_per_cell: density of sampling; default two per axis (4 in 2-D, 8 in 3-D).
            count: how many particles, exactly, in place of `particles_per_cell`.
            seed: of evenly spread particles (`Shape.sample`); default a lattice, or, with a count,
                seed 0.
            velocity: initial velocity [m/s]; default rest.
            spin: initial angular velocity [rad/s], (1,) in 2-D and (3,) in 3-D.

        Raises:
            ConfigurationError: shape outside the domain, name taken, wrong dimension.
        """
        name = f"body{len(self.bodies)}" if name is None else name
        self._check_name(name)
        self._check_shape(name, shape)
        material.check(self.dim)
        x = fill(shape, self.dx, particles_per_cell, count, seed)
        body = Body(
            name=name,
            material=material,
            x=x,
            volume=shape.volume / len(x),
            velocity=self._vector("velocity", velocity, self.dim),
            spin=self._vector("spin", spin, 1 if self.dim == 2 else 3),
        )
        self.bodies.append(body)
        return body

    def add_tool(
        self,
        shape: Shape,
        *,
        name: str | None = None,
        position: Sequence[float] | None = None,
        orientation: float | Sequence[float] | None = None,
        mode: str = "separating",
        friction: float = 0.0,
        softness: float = 0.0,
    ) -> Rigid:
        """Add a rigid tool that moves as `Control.tools` commands and that nothing deflects.

        Args:
            shape: geometry; a plane (`HalfSpace`), a compound or a mesh as well.
            name: unique name; default "tool0", "tool1", …
            position: where the origin of the shape's own frame is put [m], and what the tool turns
                about; default: the shape is where it was written and turns about its centroid.
            orientation: initial angle [rad] in 2-D, quaternion (x, y, z, w) in 3-D.
            mode: "sticky", "slip" or "separating" (see `Wall`).
            friction: Coulomb coefficient μ [-] of a separating tool.
            softness: k [1/m]: material within reach feels the tool with a share e^{−kφ} at the
                distance φ, which smooths gradients; 0 is hard contact.

        Raises:
            ConfigurationError: a value outside its bounds, name taken, tool outside the domain, or
                too thin for the grid to notice.
        """
        name = f"tool{len(self.tools)}" if name is None else name
        self._check_dimension(shape)
        tool = make_rigid(
            name,
            shape,
            density=None,
            position=position,
            orientation=orientation,
            velocity=None,
            spin=None,
            mode=mode,
            friction=friction,
            softness=softness,
        )
        return self._add(tool)

    def add_rigid(
        self,
        shape: Shape,
        *,
        density: float,
        name: str | None = None,
        position: Sequence[float] | None = None,
        orientation: float | Sequence[float] | None = None,
        velocity: Sequence[float] | None = None,
        spin: float | Sequence[float] | None = None,
        mode: str = "separating",
        friction: float = 0.0,
        softness: float = 0.0,
    ) -> Rigid:
        """Add a free rigid body that material, tools, walls and other bodies push.

        Args:
            shape: geometry; its mass is the density times its volume.
            density: [kg/m³].
            name: unique name; default "rigid0", "rigid1", …
            position: where the origin of the shape's own frame is put [m]; default: the shape is
                where it was written. `State.pose` holds the centre of mass.
            orientation: initial angle [rad] in 2-D, quaternion (x, y, z, w) in 3-D.
            velocity: initial velocity of the centre of mass [m/s]; default rest.
            spin: initial angular velocity [rad/s], one number in 2-D and three in 3-D.
            mode: how material holds on to it: "sticky", "slip" or "separating".
            friction: Coulomb coefficient μ [-] of a separating body.
            softness: k [1/m] of its contact with material (see `add_tool`).

        Raises:
            ConfigurationError: as `add_tool`.
        """
        name = f"rigid{self.num_rigids - len(self.tools)}" if name is None else name
        self._check_dimension(shape)
        body = make_rigid(
            name,
            shape,
            density=density,
            position=position,
            orientation=orientation,
            velocity=velocity,
            spin=spin,
            mode=mode,
            friction=friction,
            softness=softness,
        )
        return self._add(body)

    def _add(self, rigid: Rigid) -> Rigid:
        self._check_name(rigid.name)
        rigid.check_within(self.size)
        rigid.check_thickness(self.dx)
        self.rigids.append(rigid)
        return rigid

    def snapshot(self) -> Scene:
        """A copy that bodies added to this scene later do not reach."""
        taken = copy.copy(self)
        taken.bodies, taken.rigids = list(self.bodies), list(self.rigids)
        return taken

    def build(
        self,
        num_envs: int = 1,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
        sort: bool | None = None,
    ) -> Simulator:
        """Allocate a `Simulator` for `num_envs` copies of this scene (see its arguments)."""
        from simenv.mpm.simulator import Simulator

        return Simulator(self, num_envs, device=device, dtype=dtype, threads=threads, sort=sort)

    def _cell_size(self) -> float:
        if len(self.size) not in (2, 3) or len(self.cells) != len(self.size):
            raise ConfigurationError(
                f"size {tuple(self.size)} and cells {self.cells} must both have 2 or 3 entries"
            )
        if not (np.all(np.isfinite(self.size)) and np.all(self.size > 0)) or min(self.cells) < 4:
            raise ConfigurationError(
                f"size {tuple(self.size)} [m] must be > 0 and cells {self.cells} at least 4"
            )
        dx = self.size / np.asarray(self.cells)
        if np.ptp(dx) > 1e-9 * dx.max():
            raise ConfigurationError(
                f"cells must be cubes, but size / cells = {tuple(dx.tolist())} [m]; with cells = "
                f"{self.cells}, use size = {tuple(n * float(dx[0]) for n in self.cells)}"
            )
        return float(dx[0])

    def _check_numbers(self) -> None:
        if self.gravity.shape != (self.dim,) or not np.all(np.isfinite(self.gravity)):
            raise ConfigurationError(
                f"gravity {tuple(self.gravity)} [m/s²] must hold {self.dim} finite numbers"
            )
        if not (math.isfinite(self.step) and self.step > 0):
            raise ConfigurationError(f"step = {self.step} [s] must be finite and > 0")
        if self._substeps is not None:
            require_count("substeps", self._substeps)

    def _face_walls(self, walls: Mapping[str, Wall]) -> tuple[Wall, ...]:
        faces = [f"{axis}{side}" for axis in AXES[: self.dim] for side in "-+"]
        unknown = set(walls) - {*faces, "default"}
        if unknown:
            raise ConfigurationError(
                f"walls names no face {sorted(unknown)}; faces are {faces} and 'default'"
            )
        default = walls.get("default", Wall())
        return tuple(walls.get(face, default) for face in faces)

    def _check_name(self, name: str) -> None:
        if name in [*(body.name for body in self.bodies), *(r.name for r in self.rigids)]:
            raise ConfigurationError(f"a body named {name!r} exists already; choose another name")

    def _check_dimension(self, shape: Shape) -> None:
        if shape.dim != self.dim:
            raise ConfigurationError(f"{shape} is {shape.dim}-D, the scene {self.dim}-D")

    def _check_shape(self, name: str, shape: Shape) -> None:
        self._check_dimension(shape)
        lower, upper = shape.bounds
        slack = 1e-9 * self.size.max()
        if np.any(lower < -slack) or np.any(upper > self.size + slack):
            raise ConfigurationError(
                f"body {name!r} spans {tuple(lower)} to {tuple(upper)} [m], outside the domain "
                f"0 to {tuple(self.size)}; move it or enlarge the domain"
            )

    def _vector(self, name: str, value: Sequence[float] | None, length: int) -> Array:
        v = np.zeros(length) if value is None else np.asarray(value, dtype=np.float64)
        if v.shape != (length,) or not np.all(np.isfinite(v)):
            raise ConfigurationError(f"{name} = {value} must hold {length} finite numbers")
        return v

    def _top_speed(self) -> float:
        """Fastest motion to expect [m/s]: the initial one and a fall across the domain."""
        start = max(float(np.abs(b.initial_velocity).max()) for b in self.bodies)
        start = max(start, *(rigid.speed for rigid in self.rigids), 0.0)
        return start + math.sqrt(2 * float(np.abs(self.gravity) @ self.size)) + 1e-12
