"""The first of the splatter's kernels: which sphere each sample of the picture sees, how deep.

View coordinates have the camera at the origin, x to the right, y up and depth along z. The ray
through plane coordinates (u, v) starts at the origin with direction (u, v, 1) in perspective, and
at (u, v, 0) with direction (0, 0, 1) in a flat view: the parameter along it is the depth.
"""

import warp as wp

EMPTY = wp.constant(wp.uint64(0xFFFFFFFFFFFFFFFF))  # the key of a sample that nothing covers
FINE = wp.constant(2)  # samples along each side of a pixel
FAR = wp.constant(1.0e12)  # [m], beyond which products of coordinates might overflow


@wp.struct
class View:
    """Camera and light; vectors are in the scene's coordinates unless said otherwise."""

    eye: wp.vec3
    right: wp.vec3
    up: wp.vec3
    forward: wp.vec3
    slant: wp.vec2  # how far a shadow falls along x and z for one unit of height
    seen_light: wp.vec3  # towards the light, unit length, in view coordinates
    seen_sky: wp.vec3  # the scene's y axis in view coordinates
    gleam: wp.vec3  # normal, in view coordinates, at which the light is mirrored to the camera
    scale: float  # pixels for one unit of plane coordinates
    unit: float  # its inverse
    near: float
    flat: int
    lens: float  # 1 in perspective, 0 in a flat view: the spread of the rays
    width: int
    height: int


@wp.struct
class Stage:
    """Everything behind the particles: background, ground and the outline of the domain."""

    top: wp.vec3
    bottom: wp.vec3
    has_ground: int
    level: float
    tile: float
    tiles: float  # tiles in one metre
    color: wp.vec3
    has_bounds: int
    lower: wp.vec3
    upper: wp.vec3
    focus: wp.vec3  # middle of the shadow map
    reach: float  # half the side of the shadow map
    cells: float  # cells of the shadow map in one metre


@wp.func
def plane_point(view: View, column: float, row: float) -> wp.vec2:
    """Plane coordinates of a place in the picture given in pixels."""
    u = (column - 0.5 * float(view.width)) * view.unit
    v = (0.5 * float(view.height) - row) * view.unit
    return wp.vec2(u, v)


@wp.func
def to_view(view: View, direction: wp.vec3) -> wp.vec3:
    """A direction of the scene in view coordinates."""
    return wp.vec3(
        wp.dot(view.right, direction), wp.dot(view.up, direction), wp.dot(view.forward, direction)
    )


@wp.func
def extent(view: View, x: float, z: float, r: float) -> wp.vec2:
    """Lowest and highest plane coordinate a sphere covers along one axis."""
    if view.flat == 1:
        return wp.vec2(x - r, x + r)
    gap = (z - r) * (z + r)
    half = r * wp.sqrt(x * x + gap)
    return wp.vec2((x * z - half) / gap, (x * z + half) / gap)


@wp.func
def first_sample(place: float, size: int) -> int:
    """First sample whose centre lies at or after a place [pixels], at most the sample count."""
    samples = float(FINE)
    return int(wp.clamp(wp.ceil(place * samples - 0.5), 0.0, float(size) * samples))


@wp.func
def hit_depth(view: View, u: float, v: float, x: float, y: float, z: float, r: float) -> float:
    """Depth at which the ray through (u, v) enters a sphere, or -1 if it passes by.

    Spelt out in numbers because this innermost step is several times slower with vectors.
    """
    a = view.lens * u
    b = view.lens * v
    x_off = x - (u - a)
    y_off = y - (v - b)
    inverse = 1.0 / (a * a + b * b + 1.0)
    nearest = (a * x_off + b * y_off + z) * inverse
    x_gap = x_off - a * nearest
    y_gap = y_off - b * nearest
    z_gap = z - nearest
    inside = r * r - (x_gap * x_gap + y_gap * y_gap + z_gap * z_gap)
    if inside > 0.0:
        return nearest - wp.sqrt(inside * inverse)
    return -1.0


@wp.func
def depth_key(depth: float, particle: int) -> wp.uint64:
    """Depth above identity: positive floats order as their bits, so the smallest key is nearest."""
    bits = wp.uint64(wp.cast(depth, wp.uint32))
    return (bits << wp.uint64(32)) | wp.uint64(particle)


@wp.func
def key_depth(key: wp.uint64) -> float:
    """Depth that a key holds."""
    return wp.cast(wp.uint32(key >> wp.uint64(32)), wp.float32)


@wp.func
def key_particle(key: wp.uint64) -> int:
    """Particle that a key holds."""
    return int(key & wp.uint64(0xFFFFFFFF))


@wp.func
def is_visible(view: View, center: wp.vec3, r: float) -> bool:
    """Whether a sphere lies in front of the camera; false for NaN and infinite centres."""
    bounded = wp.abs(center[0]) < FAR and wp.abs(center[1]) < FAR and wp.abs(center[2]) < FAR
    return bounded and center[2] > r + view.near


@wp.func
def sample_place(index: int) -> float:
    """Centre of a sample [pixels]."""
    return (float(index) + 0.5) / float(FINE)


@wp.kernel(module="simenv_render_splat", enable_backward=False)
def splat(
    view: View,
    positions: wp.array(dtype=wp.vec3),
    radii: wp.array(dtype=float),
    spheres: wp.array(dtype=wp.vec4),
    keys: wp.array2d(dtype=wp.uint64),
):
    """Keep in every sample the key of the nearest sphere that covers it."""
    i = wp.tid()
    r = radii[i]
    center = to_view(view, positions[i] - view.eye)
    spheres[i] = wp.vec4(center[0], center[1], center[2], r)
    if not is_visible(view, center, r):
        return
    across = extent(view, center[0], center[2], r) * view.scale
    along = extent(view, center[1], center[2], r) * view.scale
    first_column = first_sample(0.5 * float(view.width) + across[0], view.width)
    last_column = first_sample(0.5 * float(view.width) + across[1], view.width)
    first_row = first_sample(0.5 * float(view.height) - along[1], view.height)
    last_row = first_sample(0.5 * float(view.height) - along[0], view.height)
    # No sample of this sphere can come before this key, rounding included.
    front = depth_key(wp.max(center[2] * (1.0 - 1.0e-6) - r, 0.0), 0)
    for row in range(first_row, last_row):
        v = (0.5 * float(view.height) - sample_place(row)) * view.unit
        for column in range(first_column, last_column):
            if keys[row, column] > front:
                u = (sample_place(column) - 0.5 * float(view.width)) * view.unit
                depth = hit_depth(view, u, v, center[0], center[1], center[2], r)
                if depth > 0.0:
                    wp.atomic_min(keys, row, column, depth_key(depth, i))
