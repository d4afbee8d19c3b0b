"""Warp functions for what lies behind the particles: background, ground, domain and shadows."""

import warp as wp

from simenv.render.kernels import Stage, View
from simenv.render.shadows import darkness, shadow_spot


@wp.func
def line_cover(away: float, sharpness: float, width: float) -> float:
    """Share of a pixel that a line covers, `away` [m] from it.

    The sharpness is the inverse of a pixel's size [1/m]; the width is in pixels.
    """
    return wp.clamp(0.5 * width + 0.5 - wp.abs(away) * sharpness, 0.0, 1.0)


@wp.func
def to_tick(x: float) -> float:
    """Offset from the nearest whole number."""
    return x - wp.floor(x + 0.5)


@wp.func
def outline_cover(x: float, y: float, low: wp.vec2, high: wp.vec2, sharpness: float) -> float:
    """Share of a pixel that the outline of a rectangle covers."""
    dx = wp.max(low[0] - x, x - high[0])
    dy = wp.max(low[1] - y, y - high[1])
    return line_cover(wp.max(dx, dy), sharpness, 1.5)


@wp.func
def sky(view: View, stage: Stage, row: float) -> wp.vec3:
    """Background gradient at a row of the picture [pixels]."""
    return wp.lerp(stage.top, stage.bottom, row / float(view.height))


@wp.func
def flat_sky(
    view: View, stage: Stage, shadow: wp.array2d(dtype=float), p: wp.vec3, row: float
) -> wp.vec3:
    """Background of a flat scene: gradient, grid lines and the shadow that particles drop."""
    sharpness = view.scale * stage.tile
    nearest = wp.min(wp.abs(to_tick(p[0] * stage.tiles)), wp.abs(to_tick(p[1] * stage.tiles)))
    grid = line_cover(nearest, sharpness, 1.0)
    drop = wp.vec3(p[0] - 0.012 * stage.reach, p[1] + 0.03 * stage.reach, 0.0)
    gloom = darkness(shadow, shadow_spot(view, stage, drop))
    return sky(view, stage, row) * (1.0 - 0.05 * grid) * (1.0 - 0.2 * gloom)


@wp.func
def flat_ground(view: View, stage: Stage, shadow: wp.array2d(dtype=float), p: wp.vec3) -> wp.vec3:
    """Ground seen from the side: ticks, and the faint mirror image of what stands on it."""
    depth = wp.max(stage.level - p[1], 0.0)
    tiles = depth * stage.tiles
    tick = line_cover(to_tick(p[0] * stage.tiles), view.scale * stage.tile, 1.5)
    tick *= wp.clamp((0.22 * stage.tile - depth) * view.scale + 0.5, 0.0, 1.0)
    fade = wp.max(1.0 - 0.5 * tiles, 0.0)
    mirrored = wp.vec3(p[0], stage.level + depth, 0.0)
    gloom = darkness(shadow, shadow_spot(view, stage, mirrored)) * fade * fade
    edge = line_cover(depth, view.scale, 2.0)
    tone = 1.0 - 0.16 * wp.min(0.25 * tiles, 1.0)
    return stage.color * tone * (1.0 - 0.3 * tick) * (1.0 - 0.45 * gloom) * (1.0 - 0.25 * edge)


@wp.func
def flat_backdrop(
    view: View, stage: Stage, shadow: wp.array2d(dtype=float), uv: wp.vec2, row: float
) -> wp.vec3:
    """What lies behind the particles of a scene in two dimensions."""
    p = view.eye + view.right * uv[0] + view.up * uv[1]
    color = wp.vec3(0.0)
    cover = float(0.0)
    if stage.has_ground == 1:
        cover = wp.clamp((stage.level - p[1]) * view.scale + 0.5, 0.0, 1.0)
    if cover < 1.0:
        color += flat_sky(view, stage, shadow, p, row) * (1.0 - cover)
    if cover > 0.0:
        color += flat_ground(view, stage, shadow, p) * cover
    if stage.has_bounds == 1:
        low = wp.vec2(stage.lower[0], stage.lower[1])
        high = wp.vec2(stage.upper[0], stage.upper[1])
        color = color * (1.0 - 0.35 * outline_cover(p[0], p[1], low, high, view.scale))
    return color


@wp.func
def checker(x: float, z: float, sharpness: float) -> float:
    """Checker of unit squares between 0 and 1, its edges smoothed over one pixel."""
    a = wp.abs(to_tick(0.5 * x)) - 0.25
    b = wp.abs(to_tick(0.5 * z)) - 0.25
    gain = 2.0 * sharpness
    return 0.5 - 0.5 * wp.clamp(gain * a, -1.0, 1.0) * wp.clamp(gain * b, -1.0, 1.0)


@wp.func
def deep_ground(
    view: View, stage: Stage, shadow: wp.array2d(dtype=float), p: wp.vec3, sharpness: float
) -> wp.vec3:
    """Ground in perspective: checker, outline of the domain, shadows."""
    detail = sharpness * stage.tile
    tone = checker(p[0] * stage.tiles, p[2] * stage.tiles, detail)
    color = stage.color * (1.0 - 0.035 - 0.07 * (tone - 0.5) * wp.min(0.5 * detail, 1.0))
    if stage.has_bounds == 1:
        low = wp.vec2(stage.lower[0], stage.lower[2])
        high = wp.vec2(stage.upper[0], stage.upper[2])
        color = color * (1.0 - 0.35 * outline_cover(p[0], p[2], low, high, sharpness))
    return color * (1.0 - 0.55 * darkness(shadow, shadow_spot(view, stage, p)))


@wp.func
def deep_backdrop(
    view: View, stage: Stage, shadow: wp.array2d(dtype=float), uv: wp.vec2, row: float
) -> wp.vec3:
    """What lies behind the particles of a scene in three dimensions; the ground fades far away."""
    color = sky(view, stage, row)
    direction = view.right * uv[0] + view.up * uv[1] + view.forward
    fall = stage.level - view.eye[1]
    if stage.has_ground == 0 or fall * direction[1] <= 0.0:
        return color
    depth = fall / direction[1]
    p = view.eye + direction * depth
    across = wp.vec2(p[0] - stage.focus[0], p[2] - stage.focus[2])
    fade = wp.dot(across, across) / (stage.reach * stage.reach)
    if fade > 12.0:
        return color
    # A pixel on the ground is about `depth` wide and `depth^2 / fall` long, in units of the plane.
    sharpness = 2.0 * view.scale / (depth * (1.0 + depth / wp.abs(fall)))
    return wp.lerp(
        deep_ground(view, stage, shadow, p, sharpness), color, wp.smoothstep(1.0, 12.0, fade)
    )


@wp.func
def backdrop(
    view: View, stage: Stage, shadow: wp.array2d(dtype=float), uv: wp.vec2, row: float
) -> wp.vec3:
    """Colour of what lies behind the particles on the ray through (u, v)."""
    if view.flat == 1:
        return flat_backdrop(view, stage, shadow, uv, row)
    return deep_backdrop(view, stage, shadow, uv, row)
