"""Free rigid bodies against walls, tools and each other."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm.collision import STIFFNESS
from simenv.mpm.rigid_constants import spacing_of
from simenv.mpm.transfer import LEFT_DOMAIN
from simenv.mpm.walls import meeting_mode
from tests.mpm import scenes, solids

DT, G = 1e-3, 9.81
SINK = G * DT**2 / STIFFNESS
"""How deep [m] a body at rest sinks in at most (`collision.py`)."""
EDGE = 0.2
"""Of the boxes here [m]."""
DENSITIES = 20.0, 5e3


def _floor(dim: int, friction: float = 0.5, slope: float = 0.0, **options) -> mpm.Scene:
    """A floor, rough and, where gravity is turned, sloping down along x."""
    gravity = scenes.vector(dim, G * math.sin(slope), -G * math.cos(slope))
    walls = {"default": mpm.Wall("separating", friction)}
    return solids.bare(dim, gravity=gravity, walls=walls, substeps=10, **options)


def _box(dim: int, x: float, y: float) -> mpm.Box:
    """A cube with its lower face at y, apart from the material in the corner."""
    return mpm.Box(scenes.vector(dim, x, y + EDGE / 2, 0.5), (EDGE,) * dim)


def _history(scene: mpm.Scene, steps: int) -> list[mpm.State]:
    sim = scene.build(dtype="float64", threads=1)
    states = [sim.initial_state()]
    for _ in range(steps):
        states.append(sim.step(states[-1]))
    return states


def _poses(states: list[mpm.State], body: int = 0) -> np.ndarray:
    return np.array([state.pose[0, body].numpy() for state in states])


def _twists(states: list[mpm.State], body: int = 0) -> np.ndarray:
    return np.array([state.twist[0, body].numpy() for state in states])


def _energy(body: mpm.Rigid, pose: np.ndarray, twist: np.ndarray) -> float:
    """Kinetic and potential energy [J] of a body above y = 0."""
    d = body.shape.dim
    turning = twist[d:] @ solids.angular_momentum(body, pose, twist[d:])
    return float(0.5 * body.mass * twist[:d] @ twist[:d] + 0.5 * turning + body.mass * G * pose[1])


# ---------------------------------------------------------------------- one body on the floor


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("dim", [2, 3])
def test_box_dropped_flat_comes_to_rest(dim, density):
    """However many points touch: no bounce, no turn, and no deeper than the spring's rest.

    In the substep of the impact it goes in by v Δt at most, and comes out with κ of v.
    """
    height = 0.05
    scene = _floor(dim)
    scene.add_rigid(_box(dim, 0.6, height), density=density)
    states = _history(scene, 40)
    gap, twist = _poses(states)[:, 1] - EDGE / 2, _twists(states)
    impact = math.sqrt(2 * G * height)
    assert gap.min() >= -impact * DT
    landed = int(np.argmin(gap[:20]))
    assert twist[landed:, 1].max() <= 1.1 * STIFFNESS * impact
    np.testing.assert_allclose(gap[-1], 0.0, atol=SINK)
    assert np.abs(twist[-1]).max() <= 0.01 * G * DT
    assert np.abs(twist[:, dim:]).max() <= 1e-12


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("dim", [2, 3])
def test_rod_lands_on_one_end(dim, density):
    """A slanted rod falls over and lies still; no substep adds energy.

    But for what the spring stores, κ m p²/(2 Δt²) at a depth p ≤ v Δt: κ of the impact's energy.
    """
    scene = _floor(dim, cells=12)
    rod = mpm.Capsule(scenes.vector(dim, -0.2, 0.0), scenes.vector(dim, 0.2, 0.0), 0.05)
    turn = 0.8 if dim == 2 else (0.0, 0.0, math.sin(0.4), math.cos(0.4))
    place = scenes.vector(dim, 0.6, 0.25, 0.5)
    body = scene.add_rigid(rod, density=density, position=place, orientation=turn)
    states = _history(scene, 100)
    pose, twist = _poses(states), _twists(states)
    energy = np.array([_energy(body, *both) for both in zip(pose, twist, strict=True)])
    assert np.diff(energy).max() <= STIFFNESS * (energy[0] - energy[-1])
    np.testing.assert_allclose(pose[-1, 1], 0.05, atol=SINK)
    assert np.abs(twist[-1]).max() <= 1e-5


@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("dim", [2, 3])
def test_sliding_box_stops_after_its_closed_form(compare, dim, density):
    """s = v²/(2 μ g), to the half substep by which symplectic Euler is off: v Δt/2."""
    mu, v = 0.3, 1.0
    scene = _floor(dim, mu)
    velocity = scenes.vector(dim, v, 0.0)
    scene.add_rigid(_box(dim, 0.4, 0.0), density=density, velocity=velocity)
    states = _history(scene, 50)
    expected = v**2 / (2 * mu * G)
    path = _poses(states)[-1, 0] - 0.4
    compare("friction: stopping distance", path, expected, v * DT / expected)
    assert np.abs(_twists(states)[-1]).max() <= 1e-4


@pytest.mark.parametrize("dim", [2, 3])
def test_box_slides_down_a_slope(compare, dim):
    """s = ½ g (sin θ − μ cos θ) t², off by the friction that is missing until the box has landed.

    Ten substeps or so: their loss of velocity μ g cos θ · 10 Δt over the time t, at most.
    """
    slope, mu, t = math.radians(20), 0.2, 0.4
    scene = _floor(dim, mu, slope)
    scene.add_rigid(_box(dim, 0.5, 0.0), density=500.0)
    states = _history(scene, round(t / scene.step))
    expected = 0.5 * G * (math.sin(slope) - mu * math.cos(slope)) * t**2
    late = mu * G * math.cos(slope) * 10 * DT * t / expected
    compare("friction: slope", _poses(states)[-1, 0] - 0.5, expected, late)


@pytest.mark.parametrize("mode", ["separating", "sticky"])
@pytest.mark.parametrize("density", DENSITIES)
@pytest.mark.parametrize("dim", [2, 3])
def test_friction_holds_a_box_on_a_slope(dim, density, mode):
    """Below tan θ = μ, and on whatever is sticky, nothing slides but for a creep of g Δt."""
    slope = math.radians(20)
    scene = _floor(dim, 0.5 if mode == "separating" else 0.0, slope)
    scene.add_rigid(_box(dim, 0.5, 0.0), density=density, mode=mode)
    states = _history(scene, 60)
    assert abs(_twists(states)[-1, 0]) <= G * DT
    assert abs(_poses(states)[-1, 0] - 0.5) <= G * DT * 0.6


@pytest.mark.parametrize("densities", [(20.0, 20.0), (5e3, 20.0), (100.0, 5e3)])
@pytest.mark.parametrize("dim", [2, 3])
def test_stack_stands(dim, densities):
    """Two equal boxes, one on the other: neither slides nor turns, and each bears what is on it.

    The spring between two bodies is as stiff as the lighter one allows, so that the lower one sinks
    in deeper by the load's share of its own weight, and the upper one by as much again.
    """
    scene = _floor(dim)
    for y, density in zip((0.0, EDGE), densities, strict=True):
        scene.add_rigid(_box(dim, 0.6, y), density=density)
    states = _history(scene, 80)
    load = 1 + densities[1] / densities[0]
    for i in range(2):
        pose, twist = _poses(states, i)[-1], _twists(states, i)[-1]
        assert -2 * load * SINK <= pose[1] - EDGE * (i + 0.5) <= 0.0
        assert abs(pose[0] - 0.6) <= 1e-5
        assert np.abs(twist).max() <= G * DT


@pytest.mark.parametrize("dim", [2, 3])
def test_ball_rolls(compare, dim):
    """A ball that slides begins to roll at v/(1 + I/(m r²)): 5/7 of v in space, 2/3 in the plane.

    Angular momentum about the line of contact is what friction cannot change; the ball's height
    changes by the sink, and rolling by the creep of a substep, both far below 1e-3.
    """
    v, r = 0.6, 0.1
    scene = _floor(dim, 0.5)
    ball = mpm.Sphere(scenes.vector(dim, 0.4, r, 0.5), r)
    scene.add_rigid(ball, density=800.0, velocity=scenes.vector(dim, v, 0.0))
    twist = _twists(_history(scene, 40))[-1]
    share = 1 / (1 + (0.4 if dim == 3 else 0.5))
    compare("rolling ball: velocity", twist[0], share * v, 1e-3)
    compare("rolling ball: spin", -twist[-1] * r, share * v, 1e-3)


# ---------------------------------------------------------------------- pairs


def _inward(scene: mpm.Scene, radius: float) -> float:
    """How far inward [m] a distance field has the surface of a ball (`distance.py`)."""
    return spacing_of(scene.rigids[0], scene) ** 2 / ((4 if scene.dim == 3 else 8) * radius)


@pytest.mark.parametrize("radius", [0.1, 0.2])
@pytest.mark.parametrize("dim", [2, 3])
def test_balls_meet_at_their_surfaces(dim, radius):
    """However large, two balls that collide head-on overlap little and stop: nothing bounces.

    They overlap by the relative velocity times a substep, and come out with κ of it; the field of
    either ball is read at the other's centre, where it is as far off as at its own surface at most.
    """
    speed = 0.5
    scene = solids.bare(dim, dt=1e-4, substeps=10)
    for name, side in (("left", -1), ("right", 1)):
        centre = scenes.vector(dim, 0.5 + side * (radius + 0.01), 0.5, 0.5)
        velocity = scenes.vector(dim, -side * speed, 0.0)
        scene.add_rigid(mpm.Sphere(centre, radius), density=1e3, name=name, velocity=velocity)
    states = _history(scene, 60)
    left, right = _poses(states, 0), _poses(states, 1)
    closest = float((right - left)[:, 0].min())
    bound = 2 * speed * 1e-4 + _inward(scene, radius)
    assert 0.0 <= 2 * radius - closest <= bound
    assert 0.0 <= states[-1].twist[0, 1, 0] <= STIFFNESS * speed
    assert -STIFFNESS * speed <= states[-1].twist[0, 0, 0] <= 0.0


def _kinetic(scene: mpm.Scene, state: mpm.State) -> float:
    """Kinetic energy [J] of all bodies of environment 0."""
    total = 0.0
    for i, body in enumerate(scene.rigids):
        pose, twist = state.pose[0, i].numpy().copy(), state.twist[0, i].numpy()
        pose[1] = 0.0
        total += _energy(body, pose, twist)
    return total


@pytest.mark.parametrize("kinds", [("ball", "ball"), ("ball", "box"), ("box", "box")])
@pytest.mark.parametrize("dim", [2, 3])
def test_collision_keeps_momentum(compare, dim, kinds):
    """Two bodies that meet off centre, turning: linear and angular momentum stay, energy falls.

    To rounding: 200 substeps of sums over some ten points.
    """
    scene = solids.bare(dim, substeps=10)
    v, d = scenes.vector, dim
    for i, (kind, x) in enumerate(zip(kinds, (0.39, 0.63), strict=True)):
        place = v(d, x, 0.5 + 0.05 * i, 0.5 - 0.03 * i)
        shape = mpm.Box(place, (EDGE,) * d) if kind == "box" else mpm.Sphere(place, EDGE / 2)
        velocity = v(d, 0.8 - 1.2 * i, 0.1, 0.05)
        spin = (1.0,) if d == 2 else (0.3, -0.5, 1.0)
        scene.add_rigid(
            shape, density=500.0 + 900.0 * i, velocity=velocity, spin=spin, friction=0.4
        )
    sim = scene.build(dtype="float64", threads=1)
    state = sim.initial_state()
    linear, angular = solids.momentum(sim, state)
    first, struck = state, False
    for _ in range(20):
        state = sim.step(state)
        struck = struck or bool(state.impulse.any())
    assert struck
    now = solids.momentum(sim, state)
    scale = np.linalg.norm(linear)
    compare("rigid: linear momentum", np.linalg.norm(now[0] - linear) / scale, 0.0, 1e-13)
    compare("rigid: angular momentum", np.linalg.norm(now[1] - angular) / scale, 0.0, 1e-13)
    before, after = (_kinetic(scene, s) for s in (first, state))
    assert after < before


@pytest.mark.parametrize("kinds", [("separating", "slip"), ("slip", "separating")])
@pytest.mark.parametrize("dim", [2, 3])
def test_slip_beats_friction_whoever_brings_the_points(dim, kinds):
    """A box slides freely on another where either of the two surfaces is slip.

    But for the lower one's slope under a load off its middle, 2 SINK over its half length of 0.2 m:
    2 m/s² · 0.005 over 0.2 s. Friction would take 0.8 g · 0.2 s = 1.6 m/s, if there were so much.
    """
    scene = _floor(dim)
    v = 0.3
    for y, mode in zip((0.0, EDGE), kinds, strict=True):
        friction = 0.8 if mode == "separating" else 0.0
        velocity = scenes.vector(dim, v if y else 0.0, 0.0)
        box = mpm.Box(
            scenes.vector(dim, 0.6, y + EDGE / 2, 0.5), (EDGE if y else 0.4, *[EDGE] * (dim - 1))
        )
        scene.add_rigid(box, density=500.0, mode=mode, friction=friction, velocity=velocity)
    twist = _twists(_history(scene, 20), 1)[-1]
    assert twist[0] == pytest.approx(v, abs=2e-3)


@pytest.mark.parametrize("modes", [("separating", "sticky"), ("sticky", "slip")])
@pytest.mark.parametrize("dim", [2, 3])
def test_sticky_holds_whoever_brings_the_points(dim, modes):
    """A box on a tool that moves sideways is carried along where either surface is sticky."""
    for mode, other in (modes, modes[::-1]):
        scene = solids.bare(dim, gravity=solids.down(dim), substeps=10)
        size = scenes.vector(dim, 0.6, 0.2, 0.4)
        scene.add_tool(mpm.Box(scenes.vector(dim, 0.5, 0.3, 0.5), size), mode=other)
        scene.add_rigid(_box(dim, 0.5, 0.4), density=500.0, mode=mode)
        sim = scene.build(dtype="float64")
        control = solids.commanded(solids.twist(dim, (0.2, 0.0, 0.0)))
        end = solids.run(sim, 20, control)
        assert float(end.twist[0, 1, 0]) == pytest.approx(0.2, abs=G * DT)


def test_which_mode_holds():
    """The stickier surface, in either order; friction where both separate."""
    sticky, slip, rough = mpm.Wall("sticky"), mpm.Wall("slip"), mpm.Wall("separating", 0.3)
    for one, other, expected in (
        (sticky, slip, sticky),
        (sticky, rough, sticky),
        (slip, rough, slip),
        (rough, rough, rough),
    ):
        assert meeting_mode(one, other) == meeting_mode(other, one) == expected.code


@pytest.mark.parametrize("dim", [2, 3])
def test_friction_of_a_pair_is_the_larger_one(compare, dim):
    """A box decelerates at μ g on a heavy plate, whichever of the two has the friction μ."""
    mu, v = 0.3, 0.6
    for own, other in ((mu, 0.0), (0.0, mu), (mu, 0.1)):
        scene = solids.bare(dim, gravity=solids.down(dim), substeps=10)
        size = scenes.vector(dim, 0.9, 0.2, 0.4)
        scene.add_tool(mpm.Box(scenes.vector(dim, 0.5, 0.3, 0.5), size), friction=other)
        velocity = scenes.vector(dim, v, 0.0)
        scene.add_rigid(_box(dim, 0.4, 0.4), density=500.0, friction=own, velocity=velocity)
        states = _history(scene, 15)
        # The first substep, before the box has sunk in, has no friction.
        lost = v - _twists(states, 1)[-1, 0]
        compare("friction: pair", lost, mu * G * 15 * scene.step, 2 * DT / (15 * scene.step))


@pytest.mark.parametrize("dim", [2, 3])
def test_tool_pushes_a_face_between_its_points(dim):
    """A pin that pokes the middle between a box's contact points moves it: its own points count."""
    scene = solids.bare(dim, cells=20, substeps=10)
    box = mpm.Box((0.6,) * dim, (0.4,) * dim)
    scene.add_rigid(box, density=500.0)
    tip = scenes.vector(dim, 0.36, 0.69, 0.69)
    pin = scene.add_tool(mpm.Box(tip, (0.06,) * dim))
    sim = scene.build(dtype="float64")
    end = solids.run(sim, 10, solids.commanded(solids.twist(dim, (0.5, 0.0, 0.0))))
    reach = float(end.pose[0, 1, 0]) + 0.03
    assert reach == pytest.approx(pin.pose[0] + 0.03 + 0.5 * 0.1, abs=1e-12)
    assert float(end.twist[0, 0, 0]) > 0.1
    assert float(end.impulse[0, 1, 0]) <= 0.0


@pytest.mark.parametrize("dim", [2, 3])
def test_body_beyond_the_walls_is_flagged(dim):
    """A body that is shot through a wall within one substep is flagged, and others are not."""
    sim = solids.bare(dim)
    sim.add_rigid(mpm.Sphere((0.5,) * dim, 0.1), density=500.0)
    sim = sim.build(2, dtype="float64", threads=1)
    start = sim.initial_state()
    fast = start.twist.clone()
    fast[1, 0, 0] = 1e4
    end = sim.step(start.replace(twist=fast))
    assert end.fault.tolist() == [0, LEFT_DOMAIN]
    assert not end.failed.any()
    assert "left the domain" in mpm.describe_fault(int(end.fault[1]))


@pytest.mark.parametrize("dim", [2, 3])
def test_free_body_must_start_inside(dim):
    """A body that reaches beyond a wall, which would throw it in, is refused with how far."""
    scene = solids.bare(dim)
    with pytest.raises(ConfigurationError, match=r"0\.02 m beyond the domain's wall along y.*move"):
        scene.add_rigid(_box(dim, 0.5, -0.02), density=500.0)
    turn = math.pi / 4 if dim == 2 else (0.0, 0.0, math.sin(math.pi / 8), math.cos(math.pi / 8))
    centred = mpm.Box((0.0,) * dim, (EDGE,) * dim)
    place = scenes.vector(dim, 0.5, EDGE / 2, 0.5)
    with pytest.raises(ConfigurationError, match=r"0\.04142 m beyond .* along y"):
        scene.add_rigid(centred, density=500.0, position=place, orientation=turn)
    scene.add_rigid(centred, density=500.0, position=place)
