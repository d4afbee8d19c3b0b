"""Shapes of common tools: solid, to be moved about, at rest in the pose that they are used in.

y is up. The origin is where a hand would hold the tool, or its middle; `Placed` moves it. Lengths
are in metres, outer ones unless said otherwise. Tools with `dim=2` are cross-sections in the plane
of x and y.
"""

from __future__ import annotations

from simenv.errors import ConfigurationError, require_count
from simenv.mpm.shapes import Box, Capsule, Cylinder, Difference, Union
from simenv.mpm.shapes.checks import check_length

BEYOND = 0.5
"""Reach [-] of a hollow beyond the rim that it opens, over the tool's height."""


def rod(radius: float, length: float, *, dim: int = 3) -> Capsule:
    """A rod with round ends along x, `length` from tip to tip; the origin is its middle.

    Raises:
        ConfigurationError: a length is not positive, or the rod is shorter than it is thick.
    """
    _check_rod("rod", radius, length, dim)
    half = length / 2 - radius
    return Capsule(_axis(0, -half, dim), _axis(0, half, dim), radius)


def pin(radius: float, length: float, *, dim: int = 3) -> Capsule:
    """An upright rod with round ends, to poke with; the origin is its upper tip.

    Raises:
        ConfigurationError: a length is not positive, or the pin is shorter than it is thick.
    """
    _check_rod("pin", radius, length, dim)
    return Capsule(_axis(1, radius - length, dim), _axis(1, -radius, dim), radius)


def plate(width: float, thickness: float, depth: float | None = None) -> Box:
    """A flat plate, to press with: `width` along x, `thickness` along y; the origin is its middle.

    Args:
        width: along x.
        thickness: along y.
        depth: along z in 3-D; None for a plate in 2-D.

    Raises:
        ConfigurationError: a length is not positive.
    """
    size = (width, thickness) if depth is None else (width, thickness, depth)
    return Box((0.0,) * len(size), size)


def rolling_pin(radius: float, length: float, handle_radius: float, handle_length: float) -> Union:
    """A roller along x between two round handles; 3-D, the origin is its middle.

    In 2-D a rolling pin is its cross-section, a `Sphere`.

    Args:
        radius: of the roller.
        length: of the roller.
        handle_radius: of both handles, less than `radius`.
        handle_length: by which each handle sticks out, at least its radius.

    Raises:
        ConfigurationError: a length is not positive, or the handles do not fit.
    """
    _check("rolling_pin", radius=radius, length=length, handle_length=handle_length)
    _check_less("rolling_pin", handle_radius=handle_radius, radius=radius)
    _check_less("rolling_pin", handle_radius=handle_radius, handle_length=handle_length)
    roller = Cylinder((-length / 2, 0.0, 0.0), (length / 2, 0.0, 0.0), radius)
    return Union(roller, rod(handle_radius, length + 2 * handle_length))


def scoop(width: float, depth: float, height: float, thickness: float, *, dim: int = 3) -> Union:
    """A box without lid and front: a bottom, a back wall and two sides, to scoop towards +x.

    The origin is the middle of the back wall's outer face, where a handle would be.

    Args:
        width: along z; a 2-D scoop, the bottom and the back wall alone, does not show it.
        depth: along x.
        height: along y.
        thickness: of the walls.
        dim: 2 or 3.

    Raises:
        ConfigurationError: a length is not positive, or the walls leave no room between them.
    """
    _check_dim("scoop", dim)
    _check("scoop", width=width, depth=depth, height=height)
    _check_less("scoop", thickness=thickness, depth=depth)
    _check_less("scoop", thickness=thickness, height=height)
    _check_less("scoop", **{"two walls": 2 * thickness, "width": width})
    lower, upper = (0.0, -height / 2, -width / 2), (depth, height / 2, width / 2)
    walls = [
        _block(lower, (depth, thickness - height / 2, width / 2), dim),
        _block(lower, (thickness, height / 2, width / 2), dim),
    ]
    if dim == 3:
        walls.append(_block(lower, (depth, height / 2, thickness - width / 2), dim))
        walls.append(_block((0.0, -height / 2, width / 2 - thickness), upper, dim))
    return Union(*walls)


def cup(radius: float, height: float, thickness: float, *, dim: int = 3) -> Difference | Union:
    """A round cup, open above; the origin is the middle of its axis.

    In 2-D it is the cross-section through the axis, a bottom and two walls.

    Args:
        radius: of the outer wall.
        height: along y.
        thickness: of wall and bottom.
        dim: 2 or 3.

    Raises:
        ConfigurationError: a length is not positive, or the walls leave no room between them.
    """
    _check_dim("cup", dim)
    _check("cup", radius=radius, height=height)
    _check_less("cup", thickness=thickness, radius=radius)
    _check_less("cup", thickness=thickness, height=height)
    low, high, floor = -height / 2, height / 2, thickness - height / 2
    if dim == 3:
        hollow = (0.0, high + BEYOND * height, 0.0)
        return Difference(
            Cylinder((0.0, low, 0.0), (0.0, high, 0.0), radius),
            Cylinder((0.0, floor, 0.0), hollow, radius - thickness),
        )
    return Union(
        _block((-radius, low), (radius, floor), 2),
        _block((-radius, low), (thickness - radius, high), 2),
        _block((radius - thickness, low), (radius, high), 2),
    )


def comb(teeth: int, length: float, spacing: float, radius: float, *, dim: int = 3) -> Union:
    """A row of upright teeth under a bar along x, to rake with; the origin is the bar's middle.

    The bar is a capsule of the same radius through the teeth's upper ends.

    Args:
        teeth: how many, at least 2.
        length: of a tooth from the bar's axis down to its tip.
        spacing: between the axes of neighbouring teeth.
        radius: of teeth and bar; neighbours must not touch.
        dim: 2 or 3.

    Raises:
        ConfigurationError: fewer than two teeth, a length is not positive, or the teeth touch.
    """
    require_count("comb teeth", teeth)
    if teeth < 2:
        raise ConfigurationError(f"comb teeth = {teeth} must be at least 2; for one use pin")
    _check_dim("comb", dim)
    _check_less("comb", radius=radius, length=length)
    _check_less("comb", **{"two radii": 2 * radius, "spacing": spacing})
    reach = spacing * (teeth - 1) / 2
    places = [spacing * i - reach for i in range(teeth)]
    bar = Capsule(_axis(0, -reach, dim), _axis(0, reach, dim), radius)
    tips = [(x, radius - length, 0.0)[:dim] for x in places]
    rows = zip(places, tips, strict=True)
    return Union(bar, *(Capsule(_axis(0, x, dim), tip, radius) for x, tip in rows))


def _check(tool: str, **lengths: float) -> None:
    for name, value in lengths.items():
        check_length(f"{tool} {name}", value)


def _check_less(tool: str, **lengths: float) -> None:
    """Raise ConfigurationError unless the first of two positive lengths is the smaller one."""
    _check(tool, **lengths)
    (small, a), (large, b) = lengths.items()
    if a >= b:
        raise ConfigurationError(f"{tool} {small} = {a} [m] must be less than {large} = {b}")


def _check_rod(tool: str, radius: float, length: float, dim: int) -> None:
    _check_dim(tool, dim)
    _check(tool, radius=radius)
    _check_less(tool, **{"two radii": 2 * radius, "length": length})


def _check_dim(tool: str, dim: int) -> None:
    if dim not in (2, 3):
        raise ConfigurationError(f"{tool} dim = {dim} must be 2 or 3")


def _axis(axis: int, value: float, dim: int) -> tuple[float, ...]:
    """A point on a coordinate axis."""
    return tuple(value if i == axis else 0.0 for i in range(dim))


def _block(lower: tuple[float, ...], upper: tuple[float, ...], dim: int) -> Box:
    """The box between two corners, the first `dim` coordinates of them."""
    corners = list(zip(lower, upper, strict=True))[:dim]
    return Box(tuple((a + b) / 2 for a, b in corners), tuple(b - a for a, b in corners))
