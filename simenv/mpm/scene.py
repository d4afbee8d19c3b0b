"""Scene: what is simulated. Validated on the way in, SI units, chooses the substep."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from simenv.errors import ConfigurationError, UnstableTimeStepError, require_count
from simenv.mpm.contact import Wall
from simenv.mpm.materials import Material
from simenv.mpm.shapes import Array, Shape

if TYPE_CHECKING:
    from simenv.mpm.simulator import Simulator

STABLE_COURANT = 0.7
"""Largest c Δt/Δx [-] that is accepted (c: fastest wave); published scenes run up to 0.7."""
CHOSEN_COURANT = 0.5
"""c Δt/Δx [-] aimed at where the scene chooses its own substep."""

AXES = "xyz"


def _whole_numbers(name: str, values: Sequence[float]) -> tuple[int, ...]:
    if not all(math.isfinite(n) and n == int(n) for n in values):
        raise ConfigurationError(f"{name} = {tuple(values)} must be whole numbers")
    return tuple(int(n) for n in values)


@dataclass(frozen=True)
class Body:
    """One body of a scene.

    Attributes:
        name: unique within the scene.
        material: its constitutive law.
        x: rest positions (P_b, d) [m].
        volume: rest volume of each particle [m³].
        velocity: initial velocity (d,) [m/s].
        spin: initial angular velocity [rad/s]: (1,) in 2-D, (3,) in 3-D.
    """

    name: str
    material: Material
    x: Array
    volume: float
    velocity: Array
    spin: Array

    @property
    def initial_velocity(self) -> Array:
        """Particle velocities (P_b, d) [m/s]: translation and spin about the centroid."""
        r = self.x - self.x.mean(axis=0)
        if r.shape[1] == 2:
            turn = self.spin[0] * np.stack([-r[:, 1], r[:, 0]], axis=1)
        else:
            turn = np.cross(self.spin, r)
        return self.velocity + turn


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
    def num_channels(self) -> int:
        """Length of `Control.activation`: one more than the highest muscle index."""
        channels = [body.material.channel for body in self.bodies]
        return 1 + max((c for c in channels if c is not None), default=-1)

    @property
    def largest_dt(self) -> float:
        """Largest substep [s] accepted: c Δt ≤ 0.7 Δx for waves, |v| Δt ≤ Δx for motion."""
        return min(STABLE_COURANT * self.dx / self._wave_speed(), self.dx / self._top_speed())

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

    def check_speed(self, speed: float) -> None:
        """Raise UnstableTimeStepError if waves of this speed [m/s] are too fast for the substep."""
        largest = STABLE_COURANT * self.dx / speed
        if self.dt > largest * (1 + 1e-9) and not self._allow_unstable:
            raise UnstableTimeStepError(
                f"waves of {speed:.4g} m/s (from the parameters handed to this step) need a "
                f"substep of at most {largest:.4g} s, the scene has {self.dt:.4g} s; use "
                f"substeps >= {math.ceil(self.step / largest)}, or allow_unstable=True",
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
        velocity: Sequence[float] | None = None,
        spin: Sequence[float] | None = None,
    ) -> Body:
        """Fill a shape with material and add it.

        Args:
            shape: geometry; must lie inside the domain.
            material: constitutive law.
            name: unique name; default "body0", "body1", …
            particles_per_cell: density of sampling; default two per axis (4 in 2-D, 8 in 3-D).
            velocity: initial velocity [m/s]; default rest.
            spin: initial angular velocity [rad/s], (1,) in 2-D and (3,) in 3-D.

        Raises:
            ConfigurationError: shape outside the domain, name taken, wrong dimension.
        """
        name = f"body{len(self.bodies)}" if name is None else name
        self._check_body(name, shape)
        material.check(self.dim)
        per_cell = 2.0**self.dim if particles_per_cell is None else particles_per_cell
        if not (math.isfinite(per_cell) and per_cell > 0):
            raise ConfigurationError(f"particles_per_cell = {per_cell} must be finite and > 0")
        x = shape.particles(self.dx / per_cell ** (1 / self.dim))
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

    def snapshot(self) -> Scene:
        """A copy that bodies added to this scene later do not reach."""
        taken = copy.copy(self)
        taken.bodies = list(self.bodies)
        return taken

    def build(
        self,
        num_envs: int = 1,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
    ) -> Simulator:
        """Allocate a `Simulator` for `num_envs` copies of this scene (see its arguments)."""
        from simenv.mpm.simulator import Simulator

        return Simulator(self, num_envs, device=device, dtype=dtype, threads=threads)

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

    def _check_body(self, name: str, shape: Shape) -> None:
        if any(body.name == name for body in self.bodies):
            raise ConfigurationError(f"a body named {name!r} exists already; choose another name")
        if shape.dim != self.dim:
            raise ConfigurationError(f"{shape} is {shape.dim}-D, the scene {self.dim}-D")
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

    def _wave_speed(self) -> float:
        if not self.bodies:
            raise ConfigurationError("the scene has no body; add one with add_body")
        laws = [body.material for body in self.bodies]
        return max(float(law.wave_speed(law.values())) for law in laws)

    def _top_speed(self) -> float:
        """Fastest motion to expect [m/s]: the initial one and a fall across the domain."""
        start = max(float(np.abs(b.initial_velocity).max()) for b in self.bodies)
        return start + math.sqrt(2 * float(np.abs(self.gravity) @ self.size)) + 1e-12
