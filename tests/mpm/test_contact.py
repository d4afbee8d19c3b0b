"""Tools and free bodies acting on material: node by node against the equations, and as a whole.

A single particle gives all nodes of its stencil its own velocity, so that what it has after a
substep is a weighted mean of what contact makes of one velocity at several places.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from simenv import mpm
from tests.mpm import scenes, solids

ROUNDING = 1e-13
"""Of velocities of about one [m/s], summed over 27 nodes with weights that add up to one."""
SURFACES = {
    "sticky": ("sticky", 0.0),
    "slip": ("slip", 0.0),
    "smooth": ("separating", 0.0),
    "rough": ("separating", 0.4),
}
SOFTNESS = 12.0
"""k [1/m] that leaves every node of the stencils here within reach, at shares between 0 and 1."""
INTO, OFF = (0.4, -1.0, 0.2), (0.4, 0.8, 0.2)
"""Velocities [m/s] into the surface and off it, relative to it."""
PLACE = (0.53, 0.49, 0.46)
"""Where the particle is [m]; 0.5 m is the height of the surface."""


def _probe(
    dim: int, x: tuple[float, ...], v: tuple[float, ...], **options
) -> tuple[mpm.Scene, torch.Tensor, torch.Tensor]:
    """A scene with one particle, and where it is and how it moves."""
    scene = solids.stage(dim, dt=1e-4, **options)
    scene.add_body(mpm.Box((0.5,) * dim, (0.1,) * dim), scenes.soft(), count=1)
    place = torch.tensor(scenes.vector(dim, *x), dtype=torch.float64)
    speed = torch.tensor(scenes.vector(dim, *v), dtype=torch.float64)
    return scene, place.expand(1, 1, dim), speed.expand(1, 1, dim)


def _after(scene: mpm.Scene, x: torch.Tensor, v: torch.Tensor, *twists: torch.Tensor) -> mpm.State:
    """The particle after one substep under commands."""
    sim = scene.build(len(x), dtype="float64", threads=1)
    start = sim.initial_state().replace(x=x.contiguous(), v=v.contiguous())
    control = solids.commanded(*twists, num_envs=len(x)) if twists else None
    return sim.step(start, control)


# ---------------------------------------------------------------------- the equations, in numpy


def _stencil(scene: mpm.Scene, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Nodes (K, d) and their quadratic B-spline weights (K,) about a particle."""
    d, dx = len(x), scene.dx
    base = np.floor(x / dx - 0.5)
    steps = np.array(list(itertools.product(range(3), repeat=d)))
    nodes = (base + steps) * dx
    u = np.abs(nodes - x) / dx
    return nodes, np.where(u < 0.5, 0.75 - u**2, 0.5 * (1.5 - u) ** 2).prod(axis=1)


def _resistance(v: np.ndarray, n: np.ndarray, mode: str, friction: float) -> np.ndarray:
    """N, with v − N v the velocity of v against a wall at rest."""
    identity, push = np.eye(len(v)), n @ v
    if mode == "sticky":
        return identity
    if mode == "slip":
        return np.outer(n, n)
    if push >= 0.0:
        return 0.0 * identity
    share = min(1.0, -friction * push / np.linalg.norm(v - n * push))
    return np.outer(n, n) * (1 - share) + identity * share


def _lever(r: np.ndarray) -> np.ndarray:
    """Velocity of the point r of a body per twist."""
    if len(r) == 2:
        return np.array([[1.0, 0.0, -r[1]], [0.0, 1.0, r[0]]])
    turn = [[0.0, r[2], -r[1]], [-r[2], 0.0, r[0]], [r[1], -r[0], 0.0]]
    return np.hstack([np.eye(3), turn])


def _share(phi: np.ndarray, softness: float, dx: float) -> np.ndarray:
    """How much of contact nodes at the distance φ feel."""
    if softness == 0.0:
        return (phi < dx / 2).astype(float)
    return np.clip((np.minimum(np.exp(-softness * phi), 1.0) - 0.01) / 0.99, 0.0, None)


def _expected(
    scene: mpm.Scene, x: np.ndarray, v: np.ndarray, mass: float, C: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Velocity of a lone particle after contact with the scene's body, and the body's impulse.

    The body's surface is the plane y = 0.5 m with its normal along y; its twist before contact is
    the scene's. Nodes get v + C (x_i − x) from the particle.
    """
    (body,) = scene.rigids
    d, n = len(x), np.eye(len(x))[1]
    nodes, weight = _stencil(scene, x)
    field = v if C is None else v + (nodes - x) @ C.T
    v_i = np.broadcast_to(field, nodes.shape)
    share = weight * _share(nodes[:, 1] - 0.5, body.softness, scene.dx)
    start, levers = body.twist, [_lever(r) for r in nodes - body.pose[:d]]
    held = [
        mass * s * _resistance(v - P @ start, n, body.surface.mode, body.surface.friction)
        for s, P, v in zip(share, levers, v_i, strict=True)
    ]
    U = start
    if body.free:
        M = np.diag([body.mass] * d + [0.0] * (len(start) - d))
        M[d:, d:] = body.inertia
        K = M + sum(P.T @ N @ P for N, P in zip(held, levers, strict=True))
        push = sum(P.T @ N @ (v - P @ start) for N, P, v in zip(held, levers, v_i, strict=True))
        U = start + np.linalg.solve(K, push)
    taken = [N @ (v - P @ U) for N, P, v in zip(held, levers, v_i, strict=True)]
    impulse = sum(P.T @ j for j, P in zip(taken, levers, strict=True))
    return v - sum(taken) / mass, impulse


# ---------------------------------------------------------------------- one node at a time


def _surface(scene: mpm.Scene, kind: str, soft: bool, free: bool) -> mpm.Rigid:
    """A body below y = 0.5 m, a plane or a box, that moves and turns slowly."""
    mode, friction = SURFACES[kind]
    dim, softness = scene.dim, SOFTNESS if soft else 0.0
    options = {"mode": mode, "friction": friction, "softness": softness}
    if not free:
        plane = mpm.HalfSpace(scenes.vector(dim, 0.2, 0.5), scenes.vector(dim, 0.0, 1.0))
        return scene.add_tool(plane, **options)
    # So wide that the particle is far from the edges, which the distance field rounds.
    box = mpm.Box(scenes.vector(dim, 0.5, 0.26, 0.5), scenes.vector(dim, 0.96, 0.48, 0.96))
    turn = 0.3 if dim == 2 else (0.2, -0.1, 0.3)
    velocity = scenes.vector(dim, 0.1, 0.2, -0.1)
    return scene.add_rigid(box, density=300.0, velocity=velocity, spin=turn, **options)


@pytest.mark.parametrize("relative", [INTO, OFF], ids=["into", "off"])
@pytest.mark.parametrize("free", [False, True], ids=["tool", "free"])
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
@pytest.mark.parametrize("kind", SURFACES)
@pytest.mark.parametrize("dim", [2, 3])
def test_contact_follows_its_equations(dim, kind, soft, free, relative):
    """Velocity of the material, impulse and torque are those of the equations of `coupling.py`.

    The torque is about the body's position, and momentum goes nowhere else.
    """
    v = np.array(scenes.vector(dim, *relative))
    scene, place, speed = _probe(dim, PLACE, tuple(v), cells=12)
    body = _surface(scene, kind, soft, free)
    command = [] if free else [solids.twist(dim, (0.0, 0.0, 0.0))]
    end = _after(scene, place, speed, *command)
    (mote,) = scene.bodies
    mass = mote.volume * mote.material.density
    after, impulse = _expected(scene, place[0, 0].numpy(), v, mass)
    np.testing.assert_allclose(end.v[0, 0].numpy(), after, atol=ROUNDING)
    np.testing.assert_allclose(end.impulse[0, 0].numpy(), impulse, atol=mass * ROUNDING)
    np.testing.assert_allclose(mass * (v - after), impulse[:dim], atol=mass * ROUNDING)
    moves = kind in ("sticky", "slip") or relative is INTO
    assert bool(np.any(impulse != 0.0)) == moves
    if free:
        change = body.mass * (end.twist[0, 0, :dim].numpy() - body.twist[:dim])
        np.testing.assert_allclose(change, impulse[:dim], atol=body.mass * ROUNDING)


@pytest.mark.parametrize("kind", ["smooth", "rough"])
@pytest.mark.parametrize("dim", [2, 3])
def test_body_ends_up_as_predicted(dim, kind):
    """A light body that some nodes push away from others: contact acts as the prediction reckons.

    Nodes that the body came at, and that it leaves after the push of others, are held in both, so
    that the impulse is M ΔU; deciding anew with the new velocity would give the body another twist.
    """
    scene = solids.stage(dim, dt=1e-4, cells=12)
    scene.add_body(mpm.Box((0.5,) * dim, (0.1,) * dim), scenes.soft(E=1e-6), count=1)
    body = _surface(scene, kind, soft=False, free=True)
    x = np.array(scenes.vector(dim, 0.53, 0.42, 0.46))
    v = np.array(scenes.vector(dim, 0.4, -1.0, 0.2))
    C = np.zeros((dim, dim))
    C[1, :2] = 8.0, 5.0
    sim = scene.build(dtype="float64", threads=1)
    start = sim.initial_state()
    batch = {"x": x[None, None], "v": v[None, None], "C": C[None, None]}
    start = start.replace(**{name: torch.tensor(t) for name, t in batch.items()})
    # So heavy that the body takes on the material's velocity.
    mass = 50 * body.mass
    (mote,) = scene.bodies
    density = torch.tensor(mass / mote.volume, dtype=torch.float64)
    end = sim.step(start, parameters={mote.name: {"density": density}})
    after, impulse = _expected(scene, x, v, mass, C)
    np.testing.assert_allclose(end.v[0, 0].numpy(), after, atol=1e-11)
    np.testing.assert_allclose(end.impulse[0, 0].numpy(), impulse, atol=1e-11 * mass)
    change = end.twist[0, 0, :dim].numpy() - body.twist[:dim]
    np.testing.assert_allclose(body.mass * change, impulse[:dim], atol=1e-11 * mass)


@pytest.mark.parametrize("dim", [2, 3])
def test_material_sticks_to_a_turning_tool(dim):
    """Well inside a sticky tool material has the velocity of the tool's point where it is."""
    scene, x, v = _probe(dim, (0.53, 0.2, 0.46), INTO)
    scene.add_tool(
        mpm.HalfSpace(scenes.vector(dim, 0.2, 0.5), scenes.vector(dim, 0.0, 1.0)), mode="sticky"
    )
    end = _after(scene, x, v, solids.twist(dim, (0.3, 0.4, 0.5), 2.0))
    r = x[0, 0].numpy() - np.array(scenes.vector(dim, 0.2, 0.5))
    expected = np.array(scenes.vector(dim, 0.3 - 2.0 * r[1], 0.4 + 2.0 * r[0], 0.5))
    np.testing.assert_allclose(end.v[0, 0].numpy(), expected, atol=ROUNDING)


@pytest.mark.parametrize("placed", [False, True])
@pytest.mark.parametrize("dim", [2, 3])
def test_plane_lies_where_it_is_put(dim, placed):
    """A plane 0.2 m above its frame's origin, which is put at 0.3 m, ends at 0.5 m."""
    command = solids.twist(dim, (0.0, 1.0, 0.0))
    plane = mpm.HalfSpace(scenes.vector(dim, 0.1, 0.2), scenes.vector(dim, 0.0, 2.0))
    place = scenes.vector(dim, 0.5, 0.3, 0.5)
    for height, speed in ((0.25, 1.0), (0.75, 0.0)):
        scene, x, v = _probe(dim, (0.5, height, 0.5), (0.0, 0.0, 0.0))
        if placed:
            scene.add_tool(mpm.Placed(plane, place), mode="sticky")
        else:
            scene.add_tool(plane, position=place, mode="sticky")
        end = _after(scene, x, v, command)
        assert float(end.v[0, 0, 1]) == pytest.approx(speed, abs=ROUNDING)


@pytest.mark.parametrize("dim", [2, 3])
def test_plane_is_turned_about_its_position(dim):
    """A floor turned by a quarter about z becomes a wall of which the solid lies at x > 0.5 m."""
    quarter = math.pi / 2 if dim == 2 else (0.0, 0.0, math.sqrt(0.5), math.sqrt(0.5))
    plane = mpm.HalfSpace(scenes.vector(dim, 0.0, 0.1), scenes.vector(dim, 0.0, 1.0))
    for x, speed in ((0.15, 0.0), (0.75, 1.0)):
        scene, place, v = _probe(dim, (x, 0.5, 0.5), (0.0, 0.0, 0.0))
        scene.add_tool(
            plane,
            position=scenes.vector(dim, 0.6, 0.3, 0.5),
            orientation=quarter,
            mode="sticky",
        )
        end = _after(scene, place, v, solids.twist(dim, (0.0, 1.0, 0.0)))
        assert float(end.v[0, 0, 1]) == pytest.approx(speed, abs=ROUNDING)


# ---------------------------------------------------------------------- whole bodies of material


def _crowd(dim: int, **options) -> mpm.Scene:
    """A block in the air with a light, rough, soft box and a heavy sticky ball flying into it."""
    scene = solids.stage(dim, cells=10, **options)
    block = mpm.Box((0.5,) * dim, (0.3,) * dim)
    scene.add_body(block, scenes.soft(), particles_per_cell=2.0**dim, spin=(1.0,) * (2 * dim - 3))
    v = scenes.vector
    scene.add_rigid(
        mpm.Box(v(dim, 0.26, 0.55, 0.5), (0.15,) * dim),
        density=100.0,
        velocity=v(dim, 0.5, 0.1, 0.1),
        spin=(1.0,) * (2 * dim - 3),
        friction=0.3,
        softness=40.0,
    )
    ball = mpm.Sphere(v(dim, 0.55, 0.74, 0.5), 0.08)
    scene.add_rigid(ball, density=4e3, velocity=v(dim, 0.0, -0.3), mode="sticky")
    return scene


@pytest.mark.parametrize("dim", [2, 3])
def test_impulse_is_what_material_lost(dim):
    """Linear momentum, and angular about a moving, turning tool's position, substep by substep."""
    scene = solids.stage(dim, cells=10)
    block = mpm.Box((0.5,) * dim, (0.3,) * dim)
    scene.add_body(block, scenes.soft(), particles_per_cell=2.0**dim)
    tool = mpm.Box(scenes.vector(dim, 0.5, 0.7, 0.45), (0.2,) * dim)
    scene.add_tool(tool, friction=0.5, softness=20.0)
    sim = scene.build(dtype="float64", threads=1)
    control = solids.commanded(solids.twist(dim, (0.3, -0.5, 0.1), 3.0))
    state = sim.initial_state()
    for _ in range(20):
        before, place = solids.momentum(sim, state), state.pose[0, 0, :dim].numpy()
        state = sim.step(state, control)
        after, J = solids.momentum(sim, state), state.impulse[0, 0].numpy()
        assert np.linalg.norm(J) > 0.0
        scale = float(np.linalg.norm(J))
        np.testing.assert_allclose(before[0] - after[0], J[:dim], atol=1e-11 * scale)
        turning = J[dim:] + solids.cross(place, J[:dim])
        np.testing.assert_allclose(before[1] - after[1], turning, atol=1e-11 * scale)


@pytest.mark.parametrize("dim", [2, 3])
def test_momentum_of_material_and_bodies_is_kept(compare, dim):
    """Linear and angular momentum over 1,000 substeps of a crowd that touches no wall.

    Each of some thousand sums rounds to 1e-16 of what goes through it, and a substep's errors do
    not know the next one's: 1e-13 at most.
    """
    sim = _crowd(dim, substeps=100).build(dtype="float64", threads=2)
    state = sim.initial_state()
    linear, angular = solids.momentum(sim, state)
    scale, touched = np.linalg.norm(linear), False
    for _ in range(10):
        state = sim.step(state)
        touched = touched or bool((state.impulse[0] != 0.0).any(dim=1).all())
        now = solids.momentum(sim, state)
        compare("rigid: linear momentum", np.linalg.norm(now[0] - linear) / scale, 0.0, 1e-12)
        compare("rigid: angular momentum", np.linalg.norm(now[1] - angular) / scale, 0.0, 1e-12)
    assert touched


@pytest.mark.parametrize("dim", [2, 3])
def test_single_precision_keeps_momentum(compare, dim):
    """Linear momentum to 1e-5 and angular to 1e-4 over 1,000 substeps in float32.

    Positions of 0.5 m are rounded to 3e-8 m in every substep, each of which moves particles by
    some 1e-4 m: angular momentum, x times m v, drifts by that rounding even if no velocity changes.
    """
    sim = _crowd(dim, substeps=100).build(dtype="float32", threads=2)
    state = sim.initial_state()
    linear, angular = solids.momentum(sim, state)
    scale = np.linalg.norm(linear)
    for _ in range(10):
        state = sim.step(state)
    now = solids.momentum(sim, state)
    compare("rigid: linear momentum, float32", np.linalg.norm(now[0] - linear) / scale, 0.0, 1e-5)
    compare("rigid: angular momentum, float32", np.linalg.norm(now[1] - angular) / scale, 0.0, 1e-4)


@pytest.mark.parametrize("dim", [2, 3])
def test_collisions_count_before_material(dim):
    """A box on the floor, with material on it, carries the material: it gives way to nothing.

    What the floor's impulses leave of the box's velocity is what material meets; without them it
    would meet a box that falls, and the box would be pressed into the floor by its weight.
    """
    scene = solids.stage(dim, cells=12, substeps=20, gravity=solids.down(dim))
    v = scenes.vector
    scene.add_body(mpm.Box(v(dim, 0.5, 0.4, 0.5), (0.2,) * dim), scenes.soft())
    box = mpm.Box(v(dim, 0.5, 0.125, 0.5), v(dim, 0.4, 0.25, 0.4))
    scene.add_rigid(box, density=100.0)
    sim = scene.build(dtype="float64")
    state = solids.run(sim, 40)
    pose, speed = state.pose[0, 0].numpy(), state.twist[0, 0].numpy()
    # The load is four times the box's weight (see `collision.py` for g Δt²/κ).
    assert -5 * 9.81 * scene.dt**2 / 0.02 <= pose[1] - 0.125 <= 0.0
    assert np.abs(speed).max() <= 9.81 * scene.dt
    assert float(state.x[0, :, 1].min()) >= 0.25
