"""Constructive solid geometry: shapes put together and taken away from each other.

Their signed distances are bounds: the sign is right everywhere and the size never too large, but
inside a union and outside a difference the surface may be farther away than they say.
"""

from __future__ import annotations

import math
from functools import cached_property

import numpy as np

from simenv.errors import ConfigurationError
from simenv.mpm.shapes.base import Array, MassProperties, Shape
from simenv.mpm.shapes.flat import HalfSpace
from simenv.mpm.shapes.quadrature import combined, overlap

SMALLEST_REST = 3e-3
"""Share [-] of its base that a difference must leave for its volume to be known to a tenth."""
GOLDEN = (math.sqrt(5) - 1) / 2
"""Golden section [-]."""
GOLDEN_STEPS = 75
"""Golden sections down to rounding."""
LARGEST_SHARE = 1.0 - 1e-9
"""Largest share [-] of a plane's normal in the directions tried for a cut shape's support."""
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
        self.check_finite()
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
        balls, slack = self.parts[i].contact_points(), _slack(*self.parts)
        for other in self.parts[:i] + self.parts[i + 1 :]:
            balls = balls[other.sdf(balls[:, :-1]) >= -balls[:, -1] - slack]
        return balls


class Difference(Shape):
    """What is inside of `base` and outside of `cut`: φ = max(φ_base, −φ_cut).

    The distance is a bound outside near the edges of the cut. What is cut away is summed over a
    lattice, to about 3e-4 of its volume and 1e-3 of its inertia. Bounds and `radius_about` are
    those of the base; half spaces that are taken away narrow the bounds, exactly where the base is
    convex and there is one of them.

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

    @cached_property
    def bounds(self) -> tuple[Array, Array]:
        return super().bounds

    def support(self, direction: Array) -> float:
        planes = _half_spaces(self.cut)
        beyond = [_support_beyond(self.base, plane, direction) for plane in planes]
        return min([self.base.support(direction), *beyond])

    def radius_about(self, point: Array) -> float:
        return self.base.radius_about(point)

    def mass_properties(self) -> MassProperties:
        self.check_finite()
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
        gap, radius, slack = self.cut.sdf(balls[:, :-1]), balls[:, -1], _slack(self.base, self.cut)
        whole = gap >= radius - slack
        reached = ~whole & (gap > -radius)
        of_base = _on_surface(self.base, balls[reached])
        points = np.concatenate([of_base, _on_surface(self.cut, cut)])
        shown = np.abs(self.sdf(points[:, :-1])) <= slack
        return np.concatenate([balls[whole], points[shown]])


def _half_spaces(shape: Shape) -> list[HalfSpace]:
    """The half spaces among the parts of a shape."""
    if isinstance(shape, Union):
        return [plane for part in shape.parts for plane in _half_spaces(part)]
    return [shape] if isinstance(shape, HalfSpace) else []


def _support_beyond(shape: Shape, plane: HalfSpace, direction: Array) -> float:
    """Support of the part of a shape outside of a half space; at least that, if not convex.

    By duality the least over λ ≥ 0 of h(d + λ n) − λ n·p, with h the support of the shape scaled to
    vectors of any length, p on the plane and n its normal. It is convex in λ, which is sought as
    s / (1 − s) by golden sections. Infinite where nothing is left.
    """
    level = float(plane.outward @ plane.point)
    if shape.support(plane.outward) <= level:
        return math.inf

    def bound(s: float) -> float:
        along = (1 - s) * direction + s * plane.outward
        length = float(np.linalg.norm(along))
        # Where d + λ n vanishes the support does, whatever the shape.
        reach = length * shape.support(along / length) if length > 0.0 else 0.0
        return (reach - s * level) / (1 - s)

    low, high = 0.0, LARGEST_SHARE
    for _ in range(GOLDEN_STEPS):
        left, right = high - GOLDEN * (high - low), low + GOLDEN * (high - low)
        low, high = (low, right) if bound(left) <= bound(right) else (left, high)
    return min(bound(low), bound(high))


def _check_dims(name: str, first: Shape, other: Shape) -> None:
    if first.dim != other.dim:
        raise ConfigurationError(
            f"{name} of {first}, {first.dim}-D, and {other}, {other.dim}-D; give shapes of one d"
        )


def _slack(*shapes: Shape) -> float:
    """Error [m] to expect of distances near the surfaces of these shapes, meshes among them."""
    return 1e-6 * max((s.extent for s in shapes if math.isfinite(s.extent)), default=0.0)


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
