"""Warp functions on the poses and twists of rigid bodies, in two and three dimensions.

A pose is (x, y, angle) in 2-D and (x, y, z, quaternion x, y, z, w) in 3-D; a twist is velocity and
angular velocity in world axes, about the pose's position. Impulses are laid out as twists.
"""

from functools import lru_cache
from types import SimpleNamespace

import warp as wp

from simenv.mpm.types import Types


@lru_cache(maxsize=None)
def pose_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions on poses, in a module of the caller's (where their adjoints are generated).

    `position`, `linear` (velocity), `to_world` and `to_local` (directions), `velocity` (of a point
    of the body) and `lever` (the same as a matrix), `wrench` (an impulse at a point), `compliance`
    (of a point along a direction) and `sideways` (across it), `kinetic` (the mass matrix between
    two twists), `answer` (change of twist by an impulse), `falling` (twist after gravity) and
    `advance` (pose and twist after a substep, one behind the other).
    """
    return _planar(types, module) if types.dim == 2 else _spatial(types, module)


def _planar(types: Types, module: str) -> SimpleNamespace:
    T, vec, Pose, Twist = types.scalar, types.vec, types.pose, types.twist
    Traits, Motion, Lever = types.traits, types.motion, types.lever

    @wp.func(module=module)
    def position(pose: Pose):
        return vec(pose[0], pose[1])

    @wp.func(module=module)
    def linear(twist: Twist):
        return vec(twist[0], twist[1])

    @wp.func(module=module)
    def to_world(pose: Pose, y: vec):
        # A direction; add `position` for a point.
        c, s = wp.cos(pose[2]), wp.sin(pose[2])
        return vec(c * y[0] - s * y[1], s * y[0] + c * y[1])

    @wp.func(module=module)
    def to_local(pose: Pose, r: vec):
        # A direction; subtract `position` from a point first.
        c, s = wp.cos(pose[2]), wp.sin(pose[2])
        return vec(c * r[0] + s * r[1], c * r[1] - s * r[0])

    @wp.func(module=module)
    def velocity(twist: Twist, r: vec):
        return vec(twist[0] - twist[2] * r[1], twist[1] + twist[2] * r[0])

    @wp.func(module=module)
    def wrench(r: vec, J: vec):
        return Twist(J[0], J[1], r[0] * J[1] - r[1] * J[0])

    @wp.func(module=module)
    def compliance(pose: Pose, r: vec, d: vec, traits: Traits):
        # Velocity along the unit vector d of the point r per unit impulse along d there.
        arm = r[0] * d[1] - r[1] * d[0]
        return traits[2] + arm * arm * traits[4]

    @wp.func(module=module)
    def sideways(pose: Pose, r: vec, d: vec, traits: Traits):
        # The same for an impulse across d.
        arm = wp.dot(r, d)
        return traits[2] + arm * arm * traits[4]

    @wp.func(module=module)
    def kinetic(pose: Pose, traits: Traits, a: Twist, b: Twist):
        # aᵀ M b with the mass matrix M: twice the kinetic energy if a = b.
        return traits[1] * (a[0] * b[0] + a[1] * b[1]) + traits[3] * a[2] * b[2]

    @wp.func(module=module)
    def answer(pose: Pose, traits: Traits, J: Twist):
        # M⁻¹ J: none for a tool, whose inverse mass is zero.
        return Twist(J[0] * traits[2], J[1] * traits[2], J[2] * traits[4])

    @wp.func(module=module)
    def lever(r: vec):
        # Velocity of the point r per twist.
        return Lever(T(1.0), T(0.0), -r[1], T(0.0), T(1.0), r[0])

    @wp.func(module=module)
    def falling(twist: Twist, traits: Traits, gravity_dt: vec):
        # Twist after a substep of gravity alone, which a tool does not feel.
        if traits[1] > T(0.0):
            return Twist(twist[0] + gravity_dt[0], twist[1] + gravity_dt[1], twist[2])
        return twist

    @wp.func(module=module)
    def advance(pose: Pose, twist: Twist, J: Twist, traits: Traits, gravity_dt: vec, dt: T):
        U = falling(twist, traits, gravity_dt) + answer(pose, traits, J)
        x = pose + U * dt
        return Motion(x[0], x[1], x[2], U[0], U[1], U[2])

    return SimpleNamespace(
        position=position,
        linear=linear,
        to_world=to_world,
        to_local=to_local,
        velocity=velocity,
        wrench=wrench,
        compliance=compliance,
        sideways=sideways,
        kinetic=kinetic,
        answer=answer,
        lever=lever,
        falling=falling,
        advance=advance,
    )


def _spatial(types: Types, module: str) -> SimpleNamespace:
    T, vec, mat, Pose, Twist = types.scalar, types.vec, types.mat, types.pose, types.twist
    Traits, Motion, Lever = types.traits, types.motion, types.lever
    Quat = wp.types.quaternion(T)
    sixth, twenty_fourth, hundred_twentieth = (wp.constant(T(1.0 / n)) for n in (6, 24, 120))

    @wp.func(module=module)
    def position(pose: Pose):
        return vec(pose[0], pose[1], pose[2])

    @wp.func(module=module)
    def orientation(pose: Pose):
        return Quat(pose[3], pose[4], pose[5], pose[6])

    @wp.func(module=module)
    def linear(twist: Twist):
        return vec(twist[0], twist[1], twist[2])

    @wp.func(module=module)
    def angular(twist: Twist):
        return vec(twist[3], twist[4], twist[5])

    @wp.func(module=module)
    def to_world(pose: Pose, y: vec):
        # A direction; add `position` for a point.
        return wp.quat_rotate(orientation(pose), y)

    @wp.func(module=module)
    def to_local(pose: Pose, r: vec):
        # A direction; subtract `position` from a point first.
        return wp.quat_rotate_inv(orientation(pose), r)

    @wp.func(module=module)
    def velocity(twist: Twist, r: vec):
        return linear(twist) + wp.cross(angular(twist), r)

    @wp.func(module=module)
    def wrench(r: vec, J: vec):
        t = wp.cross(r, J)
        return Twist(J[0], J[1], J[2], t[0], t[1], t[2])

    @wp.func(module=module)
    def inertia(traits: Traits):
        return mat(
            traits[3], traits[4], traits[5], traits[6], traits[7],
            traits[8], traits[9], traits[10], traits[11],
        )  # fmt: skip

    @wp.func(module=module)
    def inverse_inertia(traits: Traits):
        return mat(
            traits[12], traits[13], traits[14], traits[15], traits[16],
            traits[17], traits[18], traits[19], traits[20],
        )  # fmt: skip

    @wp.func(module=module)
    def compliance(pose: Pose, r: vec, d: vec, traits: Traits):
        # Velocity along the unit vector d of the point r per unit impulse along d there.
        arm = to_local(pose, wp.cross(r, d))
        return traits[2] + wp.dot(arm, inverse_inertia(traits) * arm)

    @wp.func(module=module)
    def sideways(pose: Pose, r: vec, d: vec, traits: Traits):
        # The same for impulses across d: the mean of any two at right angles, from the trace
        # |r|² tr I⁻¹ − r·I⁻¹ r of all three.
        B, y = inverse_inertia(traits), to_local(pose, r)
        turning = wp.dot(y, y) * wp.trace(B) - wp.dot(y, B * y)
        return T(0.5) * (T(3.0) * traits[2] + turning - compliance(pose, r, d, traits))

    @wp.func(module=module)
    def transformed(pose: Pose, M: mat, w: vec):
        return to_world(pose, M * to_local(pose, w))

    @wp.func(module=module)
    def kinetic(pose: Pose, traits: Traits, a: Twist, b: Twist):
        # aᵀ M b with the mass matrix M: twice the kinetic energy if a = b.
        turning = wp.dot(angular(a), transformed(pose, inertia(traits), angular(b)))
        return traits[1] * wp.dot(linear(a), linear(b)) + turning

    @wp.func(module=module)
    def answer(pose: Pose, traits: Traits, J: Twist):
        # M⁻¹ J: none for a tool, whose inverse mass is zero.
        v = linear(J) * traits[2]
        w = transformed(pose, inverse_inertia(traits), angular(J))
        return Twist(v[0], v[1], v[2], w[0], w[1], w[2])

    @wp.func(module=module)
    def lever(r: vec):
        # Velocity of the point r per twist.
        z, o = T(0.0), T(1.0)
        return Lever(
            o, z, z, z, r[2], -r[1], z, o, z, -r[2], z, r[0], z, z, o, r[1], -r[0], z
        )  # fmt: skip

    @wp.func(module=module)
    def falling(twist: Twist, traits: Traits, gravity_dt: vec):
        # Twist after a substep of gravity alone, which a tool does not feel.
        if traits[1] > T(0.0):
            v, w = linear(twist) + gravity_dt, angular(twist)
            return Twist(v[0], v[1], v[2], w[0], w[1], w[2])
        return twist

    @wp.func(module=module)
    def turned(q: Quat, w: vec, dt: T):
        # exp(w dt/2) q, by series that are exact to (w dt/2)⁶/720 and smooth where nothing turns.
        h = w * (T(0.5) * dt)
        s = wp.dot(h, h)
        a = h * (T(1.0) - s * (sixth - s * hundred_twentieth))
        b = T(1.0) - s * (T(0.5) - s * twenty_fourth)
        return wp.normalize(Quat(a[0], a[1], a[2], b) * q)

    @wp.func(module=module)
    def placed(p: vec, q: Quat):
        return Pose(p[0], p[1], p[2], q[0], q[1], q[2], q[3])

    @wp.func(module=module)
    def moved(pose: Pose, v: vec, w: vec, q: Quat, dt: T):
        p = position(pose) + v * dt
        return Motion(p[0], p[1], p[2], q[0], q[1], q[2], q[3], v[0], v[1], v[2], w[0], w[1], w[2])

    @wp.func(module=module)
    def advance(pose: Pose, twist: Twist, J: Twist, traits: Traits, gravity_dt: vec, dt: T):
        # Angular momentum is what a free body keeps: ω is read from it before, half way through
        # (with which the body turns: the explicit midpoint rule) and after the turn.
        v = linear(twist)
        w = angular(twist)
        q = orientation(pose)
        if traits[1] > T(0.0):
            v = v + gravity_dt + linear(J) * traits[2]
            L = transformed(pose, inertia(traits), w) + angular(J)
            w_before = transformed(pose, inverse_inertia(traits), L)
            half = turned(q, w_before, T(0.5) * dt)
            w_half = transformed(placed(position(pose), half), inverse_inertia(traits), L)
            q_after = turned(q, w_half, dt)
            w_after = transformed(placed(position(pose), q_after), inverse_inertia(traits), L)
            return moved(pose, v, w_after, q_after, dt)
        return moved(pose, v, w, turned(q, w, dt), dt)

    return SimpleNamespace(
        position=position,
        linear=linear,
        to_world=to_world,
        to_local=to_local,
        velocity=velocity,
        wrench=wrench,
        compliance=compliance,
        sideways=sideways,
        kinetic=kinetic,
        answer=answer,
        lever=lever,
        falling=falling,
        advance=advance,
    )
