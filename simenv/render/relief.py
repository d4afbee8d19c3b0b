"""Which way the surface of a body faces at each particle, so that light models whole bodies.

Particles are counted on a coarse grid that repeats itself in all directions, so that any scene
fits; where the count falls off is outwards.
"""

import warp as wp

from simenv.render.kernels import View, to_view

GRID = wp.constant(64)  # cells along each side of the repeating grid
WIDTH = wp.constant(3)  # cells along each side of a particle's neighbourhood
ONE = wp.constant(256.0)  # what one particle adds; whole numbers make the sums independent of order


@wp.func
def spline(x: float) -> float:
    """Quadratic B-spline."""
    away = wp.abs(x)
    if away < 0.5:
        return 0.75 - away * away
    rest = wp.max(1.5 - away, 0.0)
    return 0.5 * rest * rest


@wp.func
def spline_slope(x: float) -> float:
    """Derivative of the quadratic B-spline."""
    if wp.abs(x) < 0.5:
        return -2.0 * x
    return -wp.sign(x) * wp.max(1.5 - wp.abs(x), 0.0)


@wp.func
def wrapped(cell: int) -> int:
    """Index of a cell in the repeating grid."""
    return cell & (GRID - 1)


@wp.func
def is_bounded(p: wp.vec3) -> bool:
    """Whether a place counted in cells fits an integer; false for NaN."""
    limit = 1.0e9
    return wp.abs(p[0]) < limit and wp.abs(p[1]) < limit and wp.abs(p[2]) < limit


@wp.kernel(module="simenv_render_relief", enable_backward=False)
def count(positions: wp.array(dtype=wp.vec3), cells: float, grid: wp.array3d(dtype=int)):
    """Spread each particle over the cells around it; `cells` is the number of cells in a metre."""
    p = positions[wp.tid()] * cells
    if not is_bounded(p):
        return
    x0 = int(wp.floor(p[0] - 0.5))
    y0 = int(wp.floor(p[1] - 0.5))
    z0 = int(wp.floor(p[2] - 0.5))
    for x in range(x0, x0 + WIDTH):
        wx = ONE * spline(p[0] - float(x))
        for y in range(y0, y0 + WIDTH):
            wxy = wx * spline(p[1] - float(y))
            for z in range(z0, z0 + WIDTH):
                share = int(wxy * spline(p[2] - float(z)))
                wp.atomic_add(grid, wrapped(x), wrapped(y), wrapped(z), share)


@wp.kernel(module="simenv_render_relief", enable_backward=False)
def face(
    view: View,
    positions: wp.array(dtype=wp.vec3),
    cells: float,
    grid: wp.array3d(dtype=int),
    outward: wp.array(dtype=wp.vec4),
):
    """Outward direction in view coordinates, and in the last place how hidden a particle is.

    The direction has length 1 at a surface and 0 deep inside a body or far from all others.
    """
    i = wp.tid()
    outward[i] = wp.vec4(0.0)
    p = positions[i] * cells
    if not is_bounded(p):
        return
    x0 = int(wp.floor(p[0] - 0.5))
    y0 = int(wp.floor(p[1] - 0.5))
    z0 = int(wp.floor(p[2] - 0.5))
    total = float(0.0)
    gx = float(0.0)
    gy = float(0.0)
    gz = float(0.0)
    for x in range(x0, x0 + WIDTH):
        wx = spline(p[0] - float(x))
        dx = spline_slope(p[0] - float(x))
        for y in range(y0, y0 + WIDTH):
            wy = spline(p[1] - float(y))
            dy = spline_slope(p[1] - float(y))
            for z in range(z0, z0 + WIDTH):
                wz = spline(p[2] - float(z))
                own = float(int(ONE * wx * wy * wz))
                others = float(grid[wrapped(x), wrapped(y), wrapped(z)]) - own
                total += others * wx * wy * wz
                gx += others * dx * wy * wz
                gy += others * wx * dy * wz
                gz += others * wx * wy * spline_slope(p[2] - float(z))
    slope = wp.vec3(gx, gy, gz) / wp.max(total, ONE)
    steepness = wp.length(slope)
    direction = to_view(view, -slope / wp.max(steepness, 0.7))
    crowd = wp.min(0.2 * total / ONE, 1.0)
    hidden = crowd * wp.max(1.0 - steepness / 0.7, 0.0)
    outward[i] = wp.vec4(direction[0], direction[1], direction[2], hidden)
