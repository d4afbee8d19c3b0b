"""Adjoints of the collision kernels (see `collision.py`): derivatives of the power J · J̄.

How many points touch is a whole number and has no derivative.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.collision import push_functions
from simenv.mpm.contact import touch_type, window_functions
from simenv.mpm.contact_adjoint import pulled_back_function
from simenv.mpm.types import Types


@lru_cache(maxsize=None)
def collision_adjoint_kernels(types: Types) -> SimpleNamespace:
    """Adjoints of `collision_kernels`, by the same names and launched like them."""
    return SimpleNamespace(walls=_walls_adjoint(types), pair=_pair_adjoint(types))


@lru_cache(maxsize=None)
def _power_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions whose derivatives are the adjoints."""
    T, vec, node = types.scalar, types.vec, types.node
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    on = push_functions(types, module)
    at, Modes, Frictions = on.at, on.Modes, on.Frictions

    @wp.func(module=module)
    def walls(
        pose: Pose, twist: Twist, traits: Traits, crowd: T, point: node, size: vec, modes: Modes,
        friction: Frictions, dt: T, J_bar: Twist,
    ):  # fmt: skip
        J = on.walls_push(pose, twist, traits, crowd, point, size, modes, friction, dt)
        return wp.dot(J, J_bar)

    @wp.func(module=module)
    def pair(
        pose: Pose, twist: Twist, traits: Traits, crowd: T, other: Pose, other_twist: Twist,
        other_traits: Traits, other_crowd: T, point: node, phi: T, g: vec, mode: int, dt: T,
        J_bar: Twist, other_bar: Twist,
    ):  # fmt: skip
        J = on.pair_impulse(
            pose, twist, traits, crowd, other, other_twist, other_traits, other_crowd, point, phi,
            g, mode, dt,
        )  # fmt: skip
        r = on.contact_arm(pose, other, point, g)
        s = at.position(pose) + r - at.position(other)
        return wp.dot(at.wrench(r, J), J_bar) - wp.dot(at.wrench(s, J), other_bar)

    @wp.func(module=module)
    def local(pose: Pose, other: Pose, point: node, y_bar: vec):
        return wp.dot(on.local_point(pose, other, point), y_bar)

    return SimpleNamespace(on=on, walls=walls, pair=pair, local=local)


def _walls_adjoint(types: Types) -> Any:
    T, vec, node = types.scalar, types.vec, types.node
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    module = f"simenv_mpm_collision_adjoint_{types.tag}"
    by = _power_functions(types, module)
    Modes, Frictions, power = by.on.Modes, by.on.Frictions, by.walls

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def walls_adjoint(
        points: wp.array(dtype=node),
        count: int,
        rigid: int,
        rigids: int,
        pose: wp.array(dtype=Pose),
        twist: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        crowd: wp.array(dtype=T),
        size: vec,
        modes: Modes,
        friction: Frictions,
        dt: T,
        impulse_bar: wp.array(dtype=Twist),
        pose_bar: wp.array(dtype=Pose),
        twist_bar: wp.array(dtype=Twist),
        traits_bar: wp.array(dtype=Traits),
    ):
        t = wp.tid()
        i = (t // count) * rigids + rigid
        pose_part, twist_part, traits_part, _0, _1, _2, _3, _4, _5, _6 = wp.grad(power)(
            pose[i], twist[i], traits[i], crowd[i], points[t % count], size, modes, friction, dt,
            impulse_bar[i],
        )  # fmt: skip
        wp.atomic_add(pose_bar, i, pose_part)
        wp.atomic_add(twist_bar, i, twist_part)
        wp.atomic_add(traits_bar, i, traits_part)

    return walls_adjoint


def _pair_adjoint(types: Types) -> Any:
    T, node = types.scalar, types.node
    Pose, Twist, Traits, Touch = types.pose, types.twist, types.traits, touch_type(types)
    module = f"simenv_mpm_collision_adjoint_{types.tag}"
    by, find = _power_functions(types, module), window_functions(types, module)
    pulled_back = pulled_back_function(types, module)
    on, power, local = by.on, by.pair, by.local

    @wp.kernel(module=module, enable_backward=True)
    def pair_adjoint(
        points: wp.array(dtype=node),
        count: int,
        rigid: int,
        touch: Touch,
        mode: int,
        values: wp.array(dtype=T),
        pose: wp.array(dtype=Pose),
        twist: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        crowd: wp.array(dtype=T),
        dt: T,
        impulse_bar: wp.array(dtype=Twist),
        pose_bar: wp.array(dtype=Pose),
        twist_bar: wp.array(dtype=Twist),
        traits_bar: wp.array(dtype=Traits),
    ):
        t = wp.tid()
        i = (t // count) * touch.rigids + rigid
        o = (t // count) * touch.rigids + touch.rigid
        point = points[t % count]
        field = find.distance(values, touch, on.local_point(pose[i], pose[o], point))
        if field[0, 3] < point[3]:
            (
                pose_i, twist_i, traits_i, _0, pose_o, twist_o, traits_o, _1, _2, phi_bar, g_bar,
                _3, _4, _5, _6,
            ) = wp.grad(power)(
                pose[i], twist[i], traits[i], crowd[i], pose[o], twist[o], traits[o], crowd[o],
                point, field[0, 3], find.gradient(field), mode, dt, impulse_bar[i],
                impulse_bar[o],
            )  # fmt: skip
            y_bar = pulled_back(field, phi_bar, g_bar)
            through_i, through_o, _7, _8 = wp.grad(local)(pose[i], pose[o], point, y_bar)
            wp.atomic_add(pose_bar, i, pose_i + through_i)
            wp.atomic_add(pose_bar, o, pose_o + through_o)
            wp.atomic_add(twist_bar, i, twist_i)
            wp.atomic_add(twist_bar, o, twist_o)
            wp.atomic_add(traits_bar, i, traits_i)
            wp.atomic_add(traits_bar, o, traits_o)

    return pair_adjoint
