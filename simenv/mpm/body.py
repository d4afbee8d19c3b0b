"""Bodies of material: their particles at rest."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from simenv.errors import ConfigurationError
from simenv.mpm.materials import Material
from simenv.mpm.shapes import Array, Shape


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


def fill(
    shape: Shape, dx: float, per_cell: float | None, count: int | None, seed: int | None
) -> Array:
    """Rest positions (P_b, d) [m]: a lattice, or evenly spread where count or seed is given.

    Raises:
        ConfigurationError: contradictory arguments, or none of the particles fits.
    """
    if count is not None:
        if per_cell is not None:
            raise ConfigurationError(
                f"count = {count} and particles_per_cell = {per_cell} contradict; give one"
            )
        return shape.sample(count, 0 if seed is None else seed)
    per_cell = 2.0**shape.dim if per_cell is None else per_cell
    if not (math.isfinite(per_cell) and per_cell > 0):
        raise ConfigurationError(f"particles_per_cell = {per_cell} must be finite and > 0")
    if seed is None:
        return shape.particles(dx / per_cell ** (1 / shape.dim))
    return shape.sample(_even_count(shape, dx, per_cell), seed)


def _even_count(shape: Shape, dx: float, per_cell: float) -> int:
    cells = shape.volume / dx**shape.dim
    if round(cells * per_cell) < 1:
        raise ConfigurationError(
            f"{shape} holds no particle at {per_cell} particles_per_cell; use at least "
            f"{1 / cells:.6g}"
        )
    return round(cells * per_cell)
