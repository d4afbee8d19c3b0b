"""Free rigid bodies against walls, tools and each other, point by point.

Bodies meet with the balls of their shapes' `contact_points`: each ball of one against the walls and
against the other's distance field, and the other way about. A ball that overlaps by −gap receives
in a substep the impulse

    j_n = m · max(0, −κ gap/Δt − δ v_n),   j_t = −v_t · min(τ m_t, μ j_n/|v_t|),

an inelastic spring: v is the relative velocity that gravity alone would leave, and nothing pulls.
The effective masses along and across the normal are

    1/m = K_i c_i + K_o c_o,

with c the compliance of a body at the point and K how many points of it touch anything in this
substep (`touching.py`): a body is lent to its points in K equal parts. So their impulses, computed
side by side, may be added however many there are and whichever body they belong to, and never take
more than the velocity that there is (mass splitting: Tonge, Benevolenski and Voroshilov, ACM TOG
31(4), 2012, sec. 3).

One round of this takes a share s of the velocity that it should take (0.9 for a ball, 0.3 for the
face of a cube), so there are several in a substep, each with the velocities of the one before: the
points stay, twists and impulses go on. What is left is small. Restitution is about κ; at rest a
body sinks in by less than g Δt²/κ, and on a slope that friction holds it creeps slower than g Δt. A
light body bears a heavy one up to a ratio of some hundred in mass, sinking in as much deeper. Which
surface counts where two meet, `walls.meeting_mode` says; μ is the larger one of both.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.contact import touch_type, window_functions
from simenv.mpm.pose import pose_functions
from simenv.mpm.types import Types
from simenv.mpm.walls import SEPARATING, SLIP

STIFFNESS, DAMPING, GRIP = 0.02, 0.9, 0.75
"""κ, δ and τ [-]. With δ and τ up to 1 no impulse overshoots; a little less damps a body that turns
as it is pushed, and keeps a ball at rest in touch."""
ROUNDS = 8
"""How often bodies meet in a substep, each time with the velocities that the time before left."""
SLOWEST = 1.0e-10
"""Sliding [m/s] below which friction fades out, so that its gradient is finite at rest."""


@lru_cache(maxsize=None)
def collision_kernels(types: Types) -> SimpleNamespace:
    """Kernels `walls` and `pair`; launch over environments x points of a body."""
    return SimpleNamespace(walls=_walls(types), pair=_pair(types))


@lru_cache(maxsize=None)
def push_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions from poses and twists to impulses, in a module of the caller's."""
    T, vec, node, d = types.scalar, types.vec, types.node, types.dim
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    Modes, Frictions = wp.types.vector(2 * d, wp.int32), wp.types.vector(2 * d, T)
    at = pose_functions(types, module)
    kappa, delta, tau, tiny = (wp.constant(T(c)) for c in (STIFFNESS, DAMPING, GRIP, SLOWEST**2))

    @wp.func(module=module)
    def arm(pose: Pose, point: node):
        c = vec()
        for a in range(d):
            c[a] = point[a]
        return at.to_world(pose, c)

    @wp.func(module=module)
    def push(gap: T, v: vec, n: vec, m: T, m_t: T, mode: int, friction: T, dt: T):
        # Impulse on a point that moves with v relative to what it meets.
        v_n = wp.dot(v, n)
        j = m * wp.max(T(0.0), -kappa * gap / dt - delta * v_n)
        slide = v - n * v_n
        hold = tau * m_t
        if mode == wp.static(SLIP):
            hold = T(0.0)
        if mode == wp.static(SEPARATING):
            hold = wp.min(hold, friction * j / wp.sqrt(wp.length_sq(slide) + tiny))
        return n * j - slide * hold

    @wp.func(module=module)
    def wall_gap(pose: Pose, point: node, axis: int, sign: T, edge: T):
        r = arm(pose, point)
        return (at.position(pose)[axis] + r[axis] - edge) * sign - point[3]

    @wp.func(module=module)
    def wall_push(
        pose: Pose, twist: Twist, traits: Traits, crowd: T, point: node, axis: int, sign: T,
        edge: T, mode: int, friction: T, dt: T,
    ):  # fmt: skip
        gap = wall_gap(pose, point, axis, sign, edge)
        if gap >= T(0.0):
            return twist * T(0.0)
        n = vec()
        n[axis] = sign
        r = arm(pose, point) - n * point[3]
        m = T(1.0) / (crowd * at.compliance(pose, r, n, traits))
        m_t = T(1.0) / (crowd * at.sideways(pose, r, n, traits))
        grip = wp.max(friction, traits[0])
        return at.wrench(r, push(gap, at.velocity(twist, r), n, m, m_t, mode, grip, dt))

    @wp.func(module=module)
    def walls_push(
        pose: Pose, twist: Twist, traits: Traits, crowd: T, point: node, size: vec, modes: Modes,
        friction: Frictions, dt: T,
    ):  # fmt: skip
        J = Twist()
        for a in range(d):
            lower = wall_push(
                pose, twist, traits, crowd, point, a, T(1.0), T(0.0), modes[2 * a],
                friction[2 * a], dt,
            )  # fmt: skip
            upper = wall_push(
                pose, twist, traits, crowd, point, a, T(-1.0), size[a], modes[2 * a + 1],
                friction[2 * a + 1], dt,
            )  # fmt: skip
            J = J + lower + upper
        return J

    @wp.func(module=module)
    def contact_arm(pose: Pose, other: Pose, point: node, g: vec):
        return arm(pose, point) - at.to_world(other, wp.normalize(g)) * point[3]

    @wp.func(module=module)
    def pair_impulse(
        pose: Pose, twist: Twist, traits: Traits, crowd: T, other: Pose, other_twist: Twist,
        other_traits: Traits, other_crowd: T, point: node, phi: T, g: vec, mode: int, dt: T,
    ):  # fmt: skip
        n = at.to_world(other, wp.normalize(g))
        r = arm(pose, point) - n * point[3]
        s = at.position(pose) + r - at.position(other)
        give = crowd * at.compliance(pose, r, n, traits)
        give_t = crowd * at.sideways(pose, r, n, traits)
        other_give = other_crowd * at.compliance(other, s, n, other_traits)
        other_give_t = other_crowd * at.sideways(other, s, n, other_traits)
        m, m_t = T(1.0) / (give + other_give), T(1.0) / (give_t + other_give_t)
        v = at.velocity(twist, r) - at.velocity(other_twist, s)
        grip = wp.max(traits[0], other_traits[0])
        return push(phi - point[3], v, n, m, m_t, mode, grip, dt)

    @wp.func(module=module)
    def local_point(pose: Pose, other: Pose, point: node):
        return at.to_local(other, at.position(pose) + arm(pose, point) - at.position(other))

    return SimpleNamespace(
        at=at,
        Modes=Modes,
        Frictions=Frictions,
        wall_gap=wall_gap,
        walls_push=walls_push,
        pair_impulse=pair_impulse,
        contact_arm=contact_arm,
        local_point=local_point,
    )


def _walls(types: Types) -> Any:
    T, vec, node = types.scalar, types.vec, types.node
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    module = f"simenv_mpm_collision_{types.tag}"
    on = push_functions(types, module)
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
        crowd: wp.array(dtype=T),
        size: vec,
        modes: Modes,
        friction: Frictions,
        dt: T,
        impulse: wp.array(dtype=Twist),
    ):
        t = wp.tid()
        i = (t // count) * rigids + rigid
        J = on.walls_push(
            pose[i], twist[i], traits[i], crowd[i], points[t % count], size, modes, friction, dt
        )
        wp.atomic_add(impulse, i, J)

    return walls


def _pair(types: Types) -> Any:
    T, node = types.scalar, types.node
    Pose, Twist, Traits, Touch = types.pose, types.twist, types.traits, touch_type(types)
    module = f"simenv_mpm_collision_{types.tag}"
    on, find = push_functions(types, module), window_functions(types, module)
    at = on.at

    @wp.kernel(module=module, enable_backward=False)
    def pair(
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
                pose[i], twist[i], traits[i], crowd[i], pose[o], twist[o], traits[o], crowd[o],
                point, field[0, 3], g, mode, dt,
            )  # fmt: skip
            r = on.contact_arm(pose[i], pose[o], point, g)
            s = at.position(pose[i]) + r - at.position(pose[o])
            wp.atomic_add(impulse, i, at.wrench(r, J))
            wp.atomic_add(impulse, o, -at.wrench(s, J))

    return pair
