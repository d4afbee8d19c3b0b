"""Constructive solid geometry: shapes put together and taken away from each other.

Their signed distances are bounds: the sign is right everywhere and the size never too large, but
inside a union and outside a difference the surface may be farther away than they say.
"""

from __future__ import annotations

import math
from dataclasses import replace
from functools import cached_property

import numpy as np

from simenv.errors import ConfigurationError
from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.primitive import Primitive
from simenv.mpm.shapes.quadrature import combined, overlap

SMALLEST_REST = 3e-3
"""Share [-] of its base that a difference must leave for its volume to be known to a tenth."""
BALL_POINTS = {2: 16, 3: 32}
"""Surface points that stand for a contact ball that is cut, by dimension."""


class Union(Shape):
    """What is inside of any of the parts, which may overlap: φ = min over the parts.

    The distance is a bound inside, exact outside. Volume, centroid and inertia are exact where the
    parts' bounds are apart; overlaps are summed over a lattice, to about 3e-4 of their volume and
    1e-3 of their inertia.
    """

    def __init__(self, *parts: Shape) -> None:
        if not parts:
            raise ConfigurationError("a Union of nothing; give it at least one shape")
        self.parts = parts
        for part in parts[1:]:
            _check_dims("Union", parts[0], part)

    def __repr__(self) -> str:
        return f"Union({', '.join(map(repr, self.parts))})"

    @property
    def dim(self) -> int:
        return self.parts[0].dim

    def sdf(self, x: Array) -> Array:
        return np.min([part.sdf(x) for part in self.parts], axis=0)

    def normal(self, x: Array) -> Array:
        """The normal of the nearest part."""
        nearest = np.argmin([part.sdf(x) for part in self.parts], axis=0)
        normals = np.stack([part.normal(x) for part in self.parts])
        return np.take_along_axis(normals, nearest[None, ..., None], axis=0)[0]

    def support(self, direction: Array) -> float:
        return max(part.support(direction) for part in self.parts)

    def radius_about(self, point: Array) -> float:
        return max(part.radius_about(point) for part in self.parts)

    def mass_properties(self) -> MassProperties:
        return self._mass_properties

    @cached_property
    def _mass_properties(self) -> MassProperties:
        terms = []
        for i, part in enumerate(self.parts):
            terms.append((1.0, part.mass_properties()))
            if shared := overlap(part, self.parts[:i]):
                terms.append((-1.0, shared))
        return combined(terms)

    def contact_points(self) -> Array:
        """Those of the parts that no other part swallows whole."""
        return np.concatenate([self._exposed(i) for i in range(len(self.parts))])

    def _exposed(self, i: int) -> Array:
        balls = self.parts[i].contact_points()
        for other in self.parts[:i] + self.parts[i + 1 :]:
            balls = balls[other.sdf(balls[:, :-1]) >= -balls[:, -1] - _slack(balls)]
        return balls

    def primitives(self) -> list[Primitive]:
        """Those of the one part that takes something away, if any, then the others'."""
        lists = [part.primitives() for part in self.parts]
        lists.sort(key=_subtracts, reverse=True)
        if len(lists) > 1 and _subtracts(lists[1]):
            raise ConfigurationError(
                f"{self} puts two shapes together that each take something away, which no order "
                "of primitives expresses; build the union first and subtract from it, or make a "
                "Mesh of it"
            )
        return [primitive for part in lists for primitive in part]


class Difference(Shape):
    """What is inside of `base` and outside of `cut`: φ = max(φ_base, −φ_cut).

    The distance is a bound outside near the edges of the cut. What is cut away is summed over a
    lattice, to about 3e-4 of its volume and 1e-3 of its inertia. Bounds and `radius_about` are
    those of the base.

    Args:
        base: what something is taken from.
        cut: what is taken away; where the two surfaces coincide nothing is left between them, so
            let it reach beyond the base.
    """

    def __init__(self, base: Shape, cut: Shape) -> None:
        _check_dims("Difference", base, cut)
        self.base = base
        self.cut = cut

    def __repr__(self) -> str:
        return f"Difference({self.base!r}, {self.cut!r})"

    @property
    def dim(self) -> int:
        return self.base.dim

    def sdf(self, x: Array) -> Array:
        return np.maximum(self.base.sdf(x), -self.cut.sdf(x))

    def normal(self, x: Array) -> Array:
        """The normal of the nearer surface, turned round where it is the cut's."""
        of_base = self.base.sdf(x) >= -self.cut.sdf(x)
        return np.where(of_base[..., None], self.base.normal(x), -self.cut.normal(x))

    def support(self, direction: Array) -> float:
        return self.base.support(direction)

    def radius_about(self, point: Array) -> float:
        return self.base.radius_about(point)

    def mass_properties(self) -> MassProperties:
        return self._mass_properties

    @cached_property
    def _mass_properties(self) -> MassProperties:
        whole = self.base.mass_properties()
        cut = overlap(self.base, [self.cut])
        if cut is None:
            return whole
        if cut.volume > (1 - SMALLEST_REST) * whole.volume:
            raise ConfigurationError(
                f"{self} leaves less than {SMALLEST_REST} of the base, too little for its volume "
                "to be known; make it thicker, or a Union of its walls, or a Mesh of it"
            )
        return combined([(1.0, whole), (-1.0, cut)])

    def contact_points(self) -> Array:
        """The base's outside the cut, and the cut's inside the base.

        A ball of the base that the cut reaches, and every ball of the cut, is replaced by points
        of the surface next to it; of these and the cut's other points those that the difference
        has on its surface are kept.
        """
        balls, cut = self.base.contact_points(), self.cut.contact_points()
        gap, radius = self.cut.sdf(balls[:, :-1]), balls[:, -1]
        whole = gap >= radius - _slack(balls)
        reached = ~whole & (gap > -radius)
        of_base = _on_surface(self.base, balls[reached])
        points = np.concatenate([of_base, _on_surface(self.cut, cut)])
        shown = np.abs(self.sdf(points[:, :-1])) <= _slack(points)
        return np.concatenate([balls[whole], points[shown]])

    def primitives(self) -> list[Primitive]:
        """Those of the base, then the cut's, each taken away."""
        cut = self.cut.primitives()
        if _subtracts(cut):
            raise ConfigurationError(
                f"{self} takes a shape away that itself takes something away, which no order of "
                "primitives expresses; build it as a Union with what stays, or make a Mesh of it"
            )
        return self.base.primitives() + [replace(p, subtract=True) for p in cut]


def _check_dims(name: str, first: Shape, other: Shape) -> None:
    if first.dim != other.dim:
        raise ConfigurationError(
            f"{name} of {first}, {first.dim}-D, and {other}, {other.dim}-D; give shapes of one d"
        )


def _subtracts(primitives: list[Primitive]) -> bool:
    return any(p.subtract for p in primitives)


def _slack(balls: Array) -> float:
    """Rounding [m] to expect in distances at these places, those from meshes included."""
    return 1e-6 * float(np.abs(balls).max(initial=0.0))


def _on_surface(shape: Shape, balls: Array) -> Array:
    """Balls (K, d + 1) of radius 0: those there are, and others on the surface around the rest."""
    points, round_ = balls[balls[:, -1] == 0.0], balls[balls[:, -1] > 0.0]
    spread = round_[:, None, :-1] + round_[:, None, -1:] * _spokes(shape.dim)
    spread = spread.reshape(-1, shape.dim)
    spread = spread - shape.sdf(spread)[:, None] * shape.normal(spread)
    return np.concatenate([points, np.pad(spread, ((0, 0), (0, 1)))])


def _spokes(dim: int) -> Array:
    """Evenly spread unit vectors (K, d): around the circle, or a golden spiral on the sphere."""
    count = BALL_POINTS[dim]
    turn = np.arange(count) + 0.5
    if dim == 2:
        angle = turn * (2 * math.pi / count)
        return np.stack([np.cos(angle), np.sin(angle)], axis=1)
    angle, height = turn * (math.pi * (3 - math.sqrt(5))), 1 - 2 * turn / count
    across = np.sqrt(1 - height**2)
    return np.stack([across * np.cos(angle), height, across * np.sin(angle)], axis=1)
