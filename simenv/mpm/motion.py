"""Kernels that move tools and free rigid bodies by one substep, and their adjoints.

Symplectic Euler: velocities first, from gravity and the impulses of the substep, then poses. A free
body keeps its angular momentum to rounding (see `pose.py`).

`fall` gives the velocities after gravity, with which bodies meet walls and each other, `strike`
those after the impulses of these collisions, with which they meet again (see `collision.py`) and,
in the end, material, and `move` those after everything.
"""

from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.mpm.pose import pose_functions
from simenv.mpm.transfer import LEFT_DOMAIN, NOT_A_NUMBER
from simenv.mpm.types import Types


@lru_cache(maxsize=None)
def motion_kernels(types: Types) -> SimpleNamespace:
    """Kernels of motion and adjoints; launch over environments x rigid bodies."""
    return SimpleNamespace(
        fall=_fall(types),
        strike=_strike(types),
        strike_adjoint=_strike_adjoint(types),
        move=_move(types),
        adjoint=_move_adjoint(types),
    )


@lru_cache(maxsize=None)
def _halves(types: Types, module: str) -> SimpleNamespace:
    """Warp functions between a motion and its pose and twist."""
    Pose, Twist, Motion = types.pose, types.twist, types.motion
    poses, twists = Pose._length_, Twist._length_

    @wp.func(module=module)
    def pose_of(motion: Motion):
        pose = Pose()
        for i in range(poses):
            pose[i] = motion[i]
        return pose

    @wp.func(module=module)
    def twist_of(motion: Motion):
        twist = Twist()
        for i in range(twists):
            twist[i] = motion[wp.static(poses) + i]
        return twist

    @wp.func(module=module)
    def joined(pose: Pose, twist: Twist):
        motion = Motion()
        for i in range(poses):
            motion[i] = pose[i]
        for i in range(twists):
            motion[wp.static(poses) + i] = twist[i]
        return motion

    return SimpleNamespace(pose_of=pose_of, twist_of=twist_of, joined=joined)


def _fall(types: Types) -> Any:
    vec, Twist, Traits = types.vec, types.twist, types.traits
    module = f"simenv_mpm_motion_{types.tag}"
    at = pose_functions(types, module)

    @wp.kernel(module=module, enable_backward=False)
    def fall(
        twist: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        gravity_dt: vec,
        fallen: wp.array(dtype=Twist),
    ):
        # Its adjoint is the identity: whoever uses `fallen` adds to the adjoint of `twist`.
        i = wp.tid()
        fallen[i] = at.falling(twist[i], traits[i], gravity_dt)

    return fall


def _strike(types: Types) -> Any:
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    module = f"simenv_mpm_motion_{types.tag}"
    at = pose_functions(types, module)

    @wp.kernel(module=module, enable_backward=False)
    def strike(
        pose: wp.array(dtype=Pose),
        fallen: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        struck: wp.array(dtype=Twist),
        twist: wp.array(dtype=Twist),
        following: wp.array(dtype=Twist),
    ):
        # Whatever strikes next adds to the same impulse.
        i = wp.tid()
        twist[i] = fallen[i] + at.answer(pose[i], traits[i], struck[i])
        following[i] = struck[i]

    return strike


def _strike_adjoint(types: Types) -> Any:
    Pose, Twist, Traits = types.pose, types.twist, types.traits
    module = f"simenv_mpm_motion_adjoint_{types.tag}"
    at = pose_functions(types, module)

    @wp.func(module=module)
    def answered(pose: Pose, traits: Traits, J: Twist, twist_bar: Twist):
        return wp.dot(at.answer(pose, traits, J), twist_bar)

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def strike_adjoint(
        pose: wp.array(dtype=Pose),
        traits: wp.array(dtype=Traits),
        struck: wp.array(dtype=Twist),
        twist_bar: wp.array(dtype=Twist),
        struck_bar: wp.array(dtype=Twist),
        pose_bar: wp.array(dtype=Pose),
        fallen_bar: wp.array(dtype=Twist),
        traits_bar: wp.array(dtype=Traits),
    ):
        # struck_bar goes from the adjoint of `following` to that of `struck`; twist_bar, used up,
        # is zero for the twist of the round before.
        i = wp.tid()
        pose_part, traits_part, struck_part, _bar = wp.grad(answered)(
            pose[i], traits[i], struck[i], twist_bar[i]
        )
        pose_bar[i] = pose_bar[i] + pose_part
        fallen_bar[i] = fallen_bar[i] + twist_bar[i]
        traits_bar[i] = traits_bar[i] + traits_part
        struck_bar[i] = struck_bar[i] + struck_part
        twist_bar[i] = Twist()

    return strike_adjoint


def _move(types: Types) -> Any:
    T, vec, Pose, Twist, Traits = types.scalar, types.vec, types.pose, types.twist, types.traits
    d, module = types.dim, f"simenv_mpm_motion_{types.tag}"
    at, part = pose_functions(types, module), _halves(types, module)

    @wp.kernel(module=module, enable_backward=False)
    def move(
        pose: wp.array(dtype=Pose),
        twist: wp.array(dtype=Twist),
        impulse: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        gravity_dt: vec,
        dt: T,
        size: vec,
        rigids: int,
        pose_out: wp.array(dtype=Pose),
        twist_out: wp.array(dtype=Twist),
        total: wp.array(dtype=Twist),
        fault: wp.array(dtype=wp.int32),
    ):
        # Adds the substep's impulse to the step's.
        i = wp.tid()
        motion = at.advance(pose[i], twist[i], impulse[i], traits[i], gravity_dt, dt)
        total[i] = total[i] + impulse[i]
        if not wp.isfinite(wp.length_sq(motion)):
            wp.atomic_or(fault, i // rigids, NOT_A_NUMBER)
        elif traits[i][1] > T(0.0):
            for a in range(d):
                if motion[a] < T(0.0) or motion[a] > size[a]:
                    wp.atomic_or(fault, i // rigids, LEFT_DOMAIN)
        pose_out[i] = part.pose_of(motion)
        twist_out[i] = part.twist_of(motion)

    return move


def _move_adjoint(types: Types) -> Any:
    T, vec, Pose, Twist, Traits = types.scalar, types.vec, types.pose, types.twist, types.traits
    Motion, module = types.motion, f"simenv_mpm_motion_adjoint_{types.tag}"
    at, part = pose_functions(types, module), _halves(types, module)

    @wp.func(module=module)
    def contraction(
        pose: Pose, twist: Twist, J: Twist, traits: Traits, gravity_dt: vec, dt: T, bar: Motion
    ):
        return wp.dot(at.advance(pose, twist, J, traits, gravity_dt, dt), bar)

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def move_adjoint(
        pose: wp.array(dtype=Pose),
        twist: wp.array(dtype=Twist),
        impulse: wp.array(dtype=Twist),
        traits: wp.array(dtype=Traits),
        gravity_dt: vec,
        dt: T,
        pose_bar: wp.array(dtype=Pose),
        twist_bar: wp.array(dtype=Twist),
        total_bar: wp.array(dtype=Twist),
        impulse_bar: wp.array(dtype=Twist),
        traits_bar: wp.array(dtype=Traits),
    ):
        # pose_bar and twist_bar go from the adjoints after the substep to those before it.
        i = wp.tid()
        bar = part.joined(pose_bar[i], twist_bar[i])
        pose_part, twist_part, impulse_part, traits_part, _g, _dt, _bar = wp.grad(contraction)(
            pose[i], twist[i], impulse[i], traits[i], gravity_dt, dt, bar
        )
        pose_bar[i] = pose_part
        twist_bar[i] = twist_part
        impulse_bar[i] = total_bar[i] + impulse_part
        traits_bar[i] = traits_bar[i] + traits_part

    return move_adjoint
