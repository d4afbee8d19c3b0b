"""Soft shadows: a small map of what the particles cover, blurred.

In a flat view the map lies in the picture plane; otherwise it lies on the ground.
"""

import warp as wp

from simenv.render.kernels import FAR, Stage, View

SHADOW_CELLS = wp.constant(96)  # cells along each side of the map
BLUR = wp.constant(4)  # half width of the blur [cells]


@wp.func
def first_cell(place: float) -> int:
    """Cell of a place in the map, clamped to [0, SHADOW_CELLS]."""
    return int(wp.clamp(wp.floor(place), 0.0, float(SHADOW_CELLS)))


@wp.func
def shadow_spot(view: View, stage: Stage, p: wp.vec3) -> wp.vec2:
    """Where the shadow of a point falls, in cells of the map."""
    middle = wp.vec2(0.5 * float(SHADOW_CELLS))
    if view.flat == 1:
        return wp.vec2(p[0] - stage.focus[0], p[1] - stage.focus[1]) * stage.cells + middle
    rise = p[1] - stage.level
    x = p[0] - rise * view.slant[0] - stage.focus[0]
    z = p[2] - rise * view.slant[1] - stage.focus[2]
    return wp.vec2(x, z) * stage.cells + middle


@wp.kernel(module="simenv_render_shadow", enable_backward=False)
def cast_shadows(
    view: View,
    stage: Stage,
    positions: wp.array(dtype=wp.vec3),
    radii: wp.array(dtype=float),
    shadow: wp.array2d(dtype=float),
):
    """Mark the cells of the shadow map that particles cover; the higher, the fainter."""
    i = wp.tid()
    p = positions[i]
    spot = shadow_spot(view, stage, p)
    r = radii[i] * stage.cells
    if not (wp.abs(spot[0]) < FAR and wp.abs(spot[1]) < FAR and r < FAR):
        return
    weight = float(1.0)
    if view.flat == 0:
        weight = wp.exp(-2.0 * wp.max(p[1] - stage.level, 0.0) / stage.reach)
    for row in range(first_cell(spot[1] - r), first_cell(spot[1] + r + 1.0)):
        for column in range(first_cell(spot[0] - r), first_cell(spot[0] + r + 1.0)):
            away = wp.length(wp.vec2(float(column) + 0.5, float(row) + 0.5) - spot)
            cover = wp.clamp(r + 0.5 - away, 0.0, 1.0)
            wp.atomic_max(shadow, row, column, weight * cover)


@wp.kernel(module="simenv_render_shadow", enable_backward=False)
def soften(
    source: wp.array2d(dtype=float),
    blurred: wp.array2d(dtype=float),
    step_row: int,
    step_column: int,
):
    """Blur the shadow map along one axis with triangular weights; its border becomes zero."""
    row, column = wp.tid()
    total = float(0.0)
    for k in range(-BLUR + 1, BLUR):
        i = wp.clamp(row + k * step_row, 0, SHADOW_CELLS - 1)
        j = wp.clamp(column + k * step_column, 0, SHADOW_CELLS - 1)
        total += source[i, j] * float(BLUR - wp.abs(k))
    inside = row > 0 and row < SHADOW_CELLS - 1 and column > 0 and column < SHADOW_CELLS - 1
    blurred[row, column] = wp.where(inside, total / float(BLUR * BLUR), 0.0)


@wp.func
def darkness(shadow: wp.array2d(dtype=float), spot: wp.vec2) -> float:
    """Shadow map between its cells, bilinear; zero outside, and zero at its border."""
    x = spot[0] - 0.5
    y = spot[1] - 0.5
    last = float(SHADOW_CELLS) - 1.5
    if x < 0.0 or y < 0.0 or x > last or y > last:
        return 0.0
    column = int(x)
    row = int(y)
    a = x - float(column)
    low = wp.lerp(shadow[row, column], shadow[row, column + 1], a)
    high = wp.lerp(shadow[row + 1, column], shadow[row + 1, column + 1], a)
    return wp.lerp(low, high, y - float(row))
