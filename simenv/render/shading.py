"""The last of the splatter's kernels: the colour of every pixel."""

import warp as wp

from simenv.render.backdrop import backdrop
from simenv.render.kernels import (
    EMPTY,
    FINE,
    Stage,
    View,
    key_depth,
    key_particle,
    plane_point,
    sample_place,
)
from simenv.render.shadows import darkness, shadow_spot


@wp.func
def lit(view: View, normal: wp.vec3, base: wp.vec3) -> wp.vec3:
    """Colour of a surface: light from the sky, wrapped Lambert, a highlight and a darker rim."""
    ambient = 0.5 + 0.5 * wp.dot(normal, view.seen_sky)
    direct = wp.max((wp.dot(normal, view.seen_light) + 0.3) / 1.3, 0.0)
    edge = 1.0 - wp.max(-normal[2], 0.0)
    shade = 0.34 + 0.2 * ambient + 0.56 * direct - 0.12 * edge * edge * edge
    return base * shade + wp.vec3(0.22 * power32(wp.max(wp.dot(normal, view.gleam), 0.0)))


@wp.func
def power32(x: float) -> float:
    """The 32nd power."""
    square = x * x
    fourth = square * square
    sixteenth = fourth * fourth * fourth * fourth
    return sixteenth * sixteenth


@wp.func
def body_normal(view: View, stage: Stage, shadow: wp.array2d(dtype=float), p: wp.vec3) -> wp.vec3:
    """Normal of a flat body as if it were a cushion, from the slope of the shadow map."""
    spot = shadow_spot(view, stage, p)
    dx = darkness(shadow, spot + wp.vec2(1.0, 0.0)) - darkness(shadow, spot - wp.vec2(1.0, 0.0))
    dy = darkness(shadow, spot + wp.vec2(0.0, 1.0)) - darkness(shadow, spot - wp.vec2(0.0, 1.0))
    return wp.normalize(wp.vec3(-4.0 * dx, -4.0 * dy, -1.0))


@wp.func
def sphere_color(
    view: View,
    stage: Stage,
    shadow: wp.array2d(dtype=float),
    uv: wp.vec2,
    depth: float,
    sphere: wp.vec4,
    outward: wp.vec4,
    base: wp.vec3,
) -> wp.vec3:
    """Colour of the sphere that a ray meets at a depth."""
    spread = 1.0 - view.lens + view.lens * depth
    p = wp.vec3(uv[0] * spread, uv[1] * spread, depth)
    normal = (p - wp.vec3(sphere[0], sphere[1], sphere[2])) / sphere[3]
    if view.flat == 1:
        spot = view.eye + view.right * uv[0] + view.up * uv[1]
        body = body_normal(view, stage, shadow, spot)
        return lit(view, wp.normalize(0.45 * normal + 0.55 * body), base)
    body = wp.vec3(outward[0], outward[1], outward[2])
    normal = (1.0 - 0.6 * wp.length(body)) * normal + 0.6 * body
    return lit(view, wp.normalize(normal), base * (1.0 - 0.4 * outward[3]))


@wp.func
def is_hidden(view: View, stage: Stage, uv: wp.vec2, depth: float) -> bool:
    """Whether the ground lies between the camera and what a ray meets at a depth."""
    if stage.has_ground == 0 or view.flat == 1:
        return False
    slope = view.right[1] * uv[0] + view.up[1] * uv[1] + view.forward[1]
    above = view.eye[1] - stage.level
    return above * (above + slope * depth) < 0.0


@wp.kernel(module="simenv_render_shade", enable_backward=False)
def shade(
    view: View,
    stage: Stage,
    spheres: wp.array(dtype=wp.vec4),
    outward: wp.array(dtype=wp.vec4),
    colors: wp.array(dtype=wp.vec3),
    keys: wp.array2d(dtype=wp.uint64),
    shadow: wp.array2d(dtype=float),
    picture: wp.array3d(dtype=wp.uint8),
):
    """Colour each pixel: the mean of its samples, each sphere in it shaded once."""
    row, column = wp.tid()
    total = wp.vec3(0.0)
    color = wp.vec3(0.0)
    shaded = wp.int32(-1)
    covered = wp.int32(0)
    for s in range(wp.static(int(FINE) * int(FINE))):
        i = row * FINE + s / FINE
        j = column * FINE + s % FINE
        key = keys[i, j]
        if key != EMPTY:
            uv = plane_point(view, sample_place(j), sample_place(i))
            depth = key_depth(key)
            if not is_hidden(view, stage, uv, depth):
                particle = key_particle(key)
                if particle != shaded:
                    color = sphere_color(
                        view,
                        stage,
                        shadow,
                        uv,
                        depth,
                        spheres[particle],
                        outward[particle],
                        colors[particle],
                    )
                    shaded = particle
                total += color
                covered += 1
    bare = float(FINE * FINE - covered)
    if bare > 0.0:
        middle = float(row) + 0.5
        uv = plane_point(view, float(column) + 0.5, middle)
        total += bare * backdrop(view, stage, shadow, uv, middle)
    for c in range(3):
        level = total[c] / float(FINE * FINE)
        picture[row, column, c] = wp.uint8(wp.clamp(level, 0.0, 1.0) * 255.0 + 0.5)
