"""Free rigid bodies against walls, tools and each other, point by point.

A body meets others with the balls of its shape's `contact_points`. A ball that overlaps a wall or
another body's distance field by −gap receives in a substep the impulse

    j_n = m · max(0, −κ gap/Δt − δ v_n),   j_t = −v_t · min(τ m, μ j_n/|v_t|),

an inelastic spring as stiff as the substep allows: m is the effective mass of the pair at the point
along the normal, so that the constants, fractions of what is stable, suit any mass and shape. Under
gravity a body at rest sinks in by g Δt²/κ (1e-5 m at 0.1 ms). The friction μ of a pair is the
larger of both; it holds without sliding up to a creep of g Δt/τ.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.contact import touch_type, window_functions
from simenv.mpm.contact_adjoint import pulled_back_function
from simenv.mpm.pose import pose_functions
from simenv.mpm.types import Types
from simenv.mpm.walls import SLIP, STICKY

STIFFNESS, DAMPING, GRIP = 0.01, 0.1, 0.2
"""κ, δ and τ [-]; with several points in touch their sum must stay well below 2."""


@lru_cache(maxsize=None)
def collision_kernels(types: Types) -> SimpleNamespace:
    """Kernels `walls`, `pair` and their adjoints; launch over environments x points of a body."""
    return SimpleNamespace(
        walls=_walls(types),
        pair=_pair(types),
        walls_adjoint=_walls_adjoint(types),
        pair_adjoint=_pair_adjoint(types),
    )


@lru_cache(maxsize=None)
def _push_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions from poses and twists to impulses, and their powers."""
    T, vec, node, d = types.scalar, types.vec, types.node, types.dim
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    Modes, Frictions = wp.types.vector(2 * d, wp.int32), wp.types.vector(2 * d, T)
    at = pose_functions(types, module)
    kappa, delta, tau = (wp.constant(T(c)) for c in (STIFFNESS, DAMPING, GRIP))

    @wp.func(module=module)
    def arm(pose: Pose, point: node):
        c = vec()
        for a in range(d):
            c[a] = point[a]
        return at.to_world(pose, c)

    @wp.func(module=module)
    def push(gap: T, v: vec, n: vec, m: T, mode: int, friction: T, dt: T):
        # Impulse on a point that moves with v relative to what it meets.
        v_n = wp.dot(v, n)
        j = m * wp.max(T(0.0), -kappa * gap / dt - delta * v_n)
        slide = v - n * v_n
        speed = wp.sqrt(wp.length_sq(slide) + T(1.0e-20))
        hold = tau * m
        if mode != wp.static(STICKY):
            hold = wp.min(hold, friction * j / speed)
        if gap >= T(0.0):
            return v * T(0.0)
        return n * j - slide * hold

    @wp.func(module=module)
    def wall_push(
        pose: Pose, twist: Twist, traits: Traits, point: node, axis: int, sign: T, edge: T,
        mode: int, friction: T, dt: T,
    ):  # fmt: skip
        n = vec()
        n[axis] = sign
        r = arm(pose, point) - n * point[3]
        gap = (at.position(pose)[axis] + r[axis] - edge) * sign
        grip = wp.max(friction, traits[0])
        if mode == wp.static(SLIP):
            grip = T(0.0)
        m = T(1.0) / at.compliance(pose, r, n, traits)
        return at.wrench(r, push(gap, at.velocity(twist, r), n, m, mode, grip, dt))

    @wp.func(module=module)
    def walls_push(
        pose: Pose, twist: Twist, traits: Traits, point: node, size: vec, modes: Modes,
        friction: Frictions, dt: T,
    ):  # fmt: skip
        J = Twist()
        for a in range(d):
            lower = wall_push(
                pose, twist, traits, point, a, T(1.0), T(0.0), modes[2 * a], friction[2 * a], dt
            )
            upper = wall_push(
                pose, twist, traits, point, a, T(-1.0), size[a], modes[2 * a + 1],
                friction[2 * a + 1], dt,
            )  # fmt: skip
            J = J + lower + upper
        return J

    @wp.func(module=module)
    def walls_power(
        pose: Pose, twist: Twist, traits: Traits, point: node, size: vec, modes: Modes,
        friction: Frictions, dt: T, J_bar: Twist,
    ):  # fmt: skip
        return wp.dot(walls_push(pose, twist, traits, point, size, modes, friction, dt), J_bar)

    @wp.func(module=module)
    def pair_impulse(
        pose: Pose, twist: Twist, traits: Traits, other: Pose, other_twist: Twist,
        other_traits: Traits, point: node, phi: T, g: vec, mode: int, dt: T,
    ):  # fmt: skip
        n = at.to_world(other, wp.normalize(g))
        r = arm(pose, point) - n * point[3]
        s = at.position(pose) + r - at.position(other)
        give = at.compliance(pose, r, n, traits) + at.compliance(other, s, n, other_traits)
        v = at.velocity(twist, r) - at.velocity(other_twist, s)
        grip = wp.max(traits[0], other_traits[0])
        return push(phi - point[3], v, n, T(1.0) / give, mode, grip, dt)

    @wp.func(module=module)
    def contact_arm(pose: Pose, other: Pose, point: node, g: vec):
        return arm(pose, point) - at.to_world(other, wp.normalize(g)) * point[3]

    @wp.func(module=module)
    def pair_power(
        pose: Pose, twist: Twist, traits: Traits, other: Pose, other_twist: Twist,
        other_traits: Traits, point: node, phi: T, g: vec, mode: int, dt: T,
        J_bar: Twist, other_bar: Twist,
    ):  # fmt: skip
        J = pair_impulse(
            pose, twist, traits, other, other_twist, other_traits, point, phi, g, mode, dt
        )
        r = contact_arm(pose, other, point, g)
        s = at.position(pose) + r - at.position(other)
        return wp.dot(at.wrench(r, J), J_bar) - wp.dot(at.wrench(s, J), other_bar)

    @wp.func(module=module)
    def local_point(pose: Pose, other: Pose, point: node):
        return at.to_local(other, at.position(pose) + arm(pose, point) - at.position(other))

    @wp.func(module=module)
    def local_power(pose: Pose, other: Pose, point: node, y_bar: vec):
        return wp.dot(local_point(pose, other, point), y_bar)

    return SimpleNamespace(
        at=at,
        Modes=Modes,
        Frictions=Frictions,
        walls_push=walls_push,
        walls_power=walls_power,
        pair_impulse=pair_impulse,
        contact_arm=contact_arm,
        pair_power=pair_power,
        local_point=local_point,
        local_power=local_power,
    )


def _walls(types: Types) -> Any:
    T, vec, node = types.scalar, types.vec, types.node
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    module = f"simenv_mpm_collision_{types.tag}"
    on = _push_functions(types, module)
    Modes, Frictions = on.Modes, on.Frictions

    @wp.kernel(module=module, enable_backward=False)
    def walls(
        points: wp.array(dtype=node),
        count: int,
        rigid: int,
        rigids: int,
        pose: wp.array(dtype=Pose),
        twist: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        size: vec,
        modes: Modes,
        friction: Frictions,
        dt: T,
        impulse: wp.array(dtype=Twist),
    ):
        t = wp.tid()
        i = (t // count) * rigids + rigid
        J = on.walls_push(
            pose[i], twist[i], traits[i], points[t % count], size, modes, friction, dt
        )
        wp.atomic_add(impulse, i, J)

    return walls


def _walls_adjoint(types: Types) -> Any:
    T, vec, node = types.scalar, types.vec, types.node
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    module = f"simenv_mpm_collision_adjoint_{types.tag}"
    on = _push_functions(types, module)
    Modes, Frictions, power = on.Modes, on.Frictions, on.walls_power

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
        pose_part, twist_part, traits_part, _0, _1, _2, _3, _4, _5 = wp.grad(power)(
            pose[i], twist[i], traits[i], points[t % count], size, modes, friction, dt,
            impulse_bar[i],
        )  # fmt: skip
        wp.atomic_add(pose_bar, i, pose_part)
        wp.atomic_add(twist_bar, i, twist_part)
        wp.atomic_add(traits_bar, i, traits_part)

    return walls_adjoint


def _pair(types: Types) -> Any:
    T, node = types.scalar, types.node
    Pose, Twist, Traits, Touch = types.pose, types.twist, types.traits, touch_type(types)
    module = f"simenv_mpm_collision_{types.tag}"
    on, find = _push_functions(types, module), window_functions(types, module)
    at = on.at

    @wp.kernel(module=module, enable_backward=False)
    def pair(
        points: wp.array(dtype=node),
        count: int,
        rigid: int,
        touch: Touch,
        values: wp.array(dtype=T),
        pose: wp.array(dtype=Pose),
        twist: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        dt: T,
        impulse: wp.array(dtype=Twist),
    ):
        # The points of body `rigid` against the distance field of `touch`'s.
        t = wp.tid()
        i = (t // count) * touch.rigids + rigid
        o = (t // count) * touch.rigids + touch.rigid
        point = points[t % count]
        field = find.distance(values, touch, on.local_point(pose[i], pose[o], point))
        if field[0, 3] < point[3]:
            g = find.gradient(field)
            J = on.pair_impulse(
                pose[i], twist[i], traits[i], pose[o], twist[o], traits[o], point, field[0, 3], g,
                touch.mode, dt,
            )  # fmt: skip
            r = on.contact_arm(pose[i], pose[o], point, g)
            s = at.position(pose[i]) + r - at.position(pose[o])
            wp.atomic_add(impulse, i, at.wrench(r, J))
            wp.atomic_add(impulse, o, -at.wrench(s, J))

    return pair


def _pair_adjoint(types: Types) -> Any:
    T, node = types.scalar, types.node
    Pose, Twist, Traits, Touch = types.pose, types.twist, types.traits, touch_type(types)
    module = f"simenv_mpm_collision_adjoint_{types.tag}"
    on, find = _push_functions(types, module), window_functions(types, module)
    pulled_back = pulled_back_function(types, module)
    power, local = on.pair_power, on.local_power

    @wp.kernel(module=module, enable_backward=True)
    def pair_adjoint(
        points: wp.array(dtype=node),
        count: int,
        rigid: int,
        touch: Touch,
        values: wp.array(dtype=T),
        pose: wp.array(dtype=Pose),
        twist: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
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
                pose_i, twist_i, traits_i, pose_o, twist_o, traits_o, _0, phi_bar, g_bar,
                _1, _2, _3, _4,
            ) = wp.grad(power)(
                pose[i], twist[i], traits[i], pose[o], twist[o], traits[o], point, field[0, 3],
                find.gradient(field), touch.mode, dt, impulse_bar[i], impulse_bar[o],
            )  # fmt: skip
            y_bar = pulled_back(field, phi_bar, g_bar)
            through_i, through_o, _5, _6 = wp.grad(local)(pose[i], pose[o], point, y_bar)
            wp.atomic_add(pose_bar, i, pose_i + through_i)
            wp.atomic_add(pose_bar, o, pose_o + through_o)
            wp.atomic_add(twist_bar, i, twist_i)
            wp.atomic_add(twist_bar, o, twist_o)
            wp.atomic_add(traits_bar, i, traits_i)
            wp.atomic_add(traits_bar, o, traits_o)

    return pair_adjoint
