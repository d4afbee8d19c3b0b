"""How many contact points of each rigid body touch something in this substep.

Impulses at points are computed side by side, each as if it were alone: `collision.py` divides a
body among its points by this number.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.collision import push_functions
from simenv.mpm.contact import touch_type, window_functions
from simenv.mpm.types import Types


@lru_cache(maxsize=None)
def touching_kernels(types: Types) -> SimpleNamespace:
    """Kernels `walls` and `pair`, launched like those of `collision_kernels` before them."""
    return SimpleNamespace(walls=_walls(types), pair=_pair(types))


def _walls(types: Types) -> Any:
    T, vec, node, Pose, d = types.scalar, types.vec, types.node, types.pose, types.dim
    module = f"simenv_mpm_touching_{types.tag}"
    on = push_functions(types, module)

    @wp.func(module=module)
    def touched(gap: T):
        return wp.where(gap < T(0.0), T(1.0), T(0.0))

    @wp.kernel(module=module, enable_backward=False)
    def walls(
        points: wp.array(dtype=node),
        count: int,
        rigid: int,
        rigids: int,
        pose: wp.array(dtype=Pose),
        size: vec,
        crowd: wp.array(dtype=T),
    ):
        t = wp.tid()
        i = (t // count) * rigids + rigid
        point, number = points[t % count], T(0.0)
        for a in range(d):
            number = number + touched(on.wall_gap(pose[i], point, a, T(1.0), T(0.0)))
            number = number + touched(on.wall_gap(pose[i], point, a, T(-1.0), size[a]))
        if number > T(0.0):
            wp.atomic_add(crowd, i, number)

    return walls


def _pair(types: Types) -> Any:
    T, node, Pose, Touch = types.scalar, types.node, types.pose, touch_type(types)
    module = f"simenv_mpm_touching_{types.tag}"
    on, find = push_functions(types, module), window_functions(types, module)

    @wp.kernel(module=module, enable_backward=False)
    def pair(
        points: wp.array(dtype=node),
        count: int,
        rigid: int,
        touch: Touch,
        values: wp.array(dtype=T),
        pose: wp.array(dtype=Pose),
        crowd: wp.array(dtype=T),
    ):
        # Both bodies lend a part of themselves to a point of either.
        t = wp.tid()
        i = (t // count) * touch.rigids + rigid
        o = (t // count) * touch.rigids + touch.rigid
        point = points[t % count]
        field = find.distance(values, touch, on.local_point(pose[i], pose[o], point))
        if field[0, 3] < point[3]:
            wp.atomic_add(crowd, i, T(1.0))
            wp.atomic_add(crowd, o, T(1.0))

    return pair
