"""Free motion of rigid bodies and of tools, against closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simenv import mpm
from tests.mpm import scenes, solids

G = 9.81
EDGES = (0.1, 0.2, 0.3)
"""Of a box [m] with three different moments of inertia."""


def _brick(spin: tuple[float, ...], density: float = 500.0) -> mpm.Scene:
    """A box of `EDGES` in the air, turned, that spins, and nothing else."""
    scene = solids.bare(3, dt=1e-3, substeps=10)
    turn = np.array([0.1, -0.2, 0.3, 0.9])
    box = mpm.Box((0.0,) * 3, EDGES)
    scene.add_rigid(box, density=density, position=(0.6,) * 3, orientation=turn, spin=spin)
    return scene


def _energy(body: mpm.Rigid, pose: np.ndarray, w: np.ndarray) -> float:
    return float(0.5 * w @ solids.angular_momentum(body, pose, w))


@pytest.mark.parametrize("dim", [2, 3])
def test_free_fall(compare, dim):
    """y_n = y_0 + n Δt v_0 − ½ g Δt² n(n + 1) of symplectic Euler, and a turn that goes on."""
    scene = solids.bare(dim, dt=1e-3, substeps=20, gravity=solids.down(dim))
    spin = 2.0 if dim == 2 else (0.0, 0.0, 2.0)
    velocity = scenes.vector(dim, 0.3, 1.0)
    ball = mpm.Sphere((0.5,) * dim, 0.1)
    scene.add_rigid(ball, density=700.0, velocity=velocity, spin=spin)
    end = solids.run(scene.build(dtype="float64"), 10)
    n, dt = 200, scene.dt
    compare("rigid: free fall", float(end.pose[0, 0, 0]), 0.5 + n * dt * 0.3, 1e-12)
    expected = 0.5 + n * dt * 1.0 - 0.5 * G * dt**2 * n * (n + 1)
    compare("rigid: free fall", float(end.pose[0, 0, 1]), expected, 1e-12)
    angle = end.pose[0, 0, 2] if dim == 2 else 2 * math.atan2(*end.pose[0, 0, 5:7].tolist())
    compare("rigid: turn about an axis", float(angle), 2.0 * n * dt, 1e-12)


def test_symmetric_top_precesses(compare):
    """Torque-free: the axis goes round L at |L|/I₁ (Goldstein, Classical Mechanics, sec. 5.6).

    The explicit midpoint rule turns too fast by some (ω Δt)²/24 = 2e-6 of the angle.
    """
    scene = solids.bare(3, dt=1e-3, substeps=10)
    spin = np.array([1.5, 6.0, 0.0])
    rod = mpm.Cylinder((0.6, 0.5, 0.6), (0.6, 0.7, 0.6), 0.1)
    body = scene.add_rigid(rod, density=500.0, spin=spin)
    across, along = body.inertia[0, 0], body.inertia[1, 1]
    L = np.array([across * 1.5, along * 6.0, 0.0])
    rate, axis, t = np.linalg.norm(L) / across, L / np.linalg.norm(L), 0.5
    end = solids.run(scene.build(dtype="float64"), 50)
    pointing = solids.turned(3, end.pose[0, 0].numpy()) @ [0.0, 1.0, 0.0]
    start, angle = np.array([0.0, 1.0, 0.0]), rate * t
    side = np.cross(axis, start)
    expected = (axis @ start) * axis + math.cos(angle) * np.cross(side, axis)
    expected = expected + math.sin(angle) * side
    compare("rigid: precession", float(np.linalg.norm(pointing - expected)), 0.0, 1e-5 * angle)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_euler_equations(axis):
    """About the longest and the shortest axis a box spins stably, about the middle one it tumbles.

    A disturbance of 1e-3 grows or swings at ω √|(I₁ − I₂)(I₁ − I₃)/(I₂ I₃)|.
    """
    spin = 1e-3 * np.ones(3)
    spin[axis] = 8.0
    scene = solids.bare(3, dt=1e-3, substeps=20)
    body = scene.add_rigid(mpm.Box((0.6,) * 3, EDGES), density=500.0, spin=tuple(spin))
    sim = scene.build(dtype="float64")
    state, aside = sim.initial_state(), []
    for _ in range(100):
        state = sim.step(state)
        pose, w = state.pose[0, 0].numpy(), state.twist[0, 0, 3:].numpy()
        local = solids.turned(3, pose).T @ w
        aside.append(float(np.linalg.norm(np.delete(local, axis))))
    moments = np.diag(body.inertia)
    middle = axis == int(np.argsort(moments)[1])
    assert (max(aside) > 1.0) == middle
    if not middle:
        assert max(aside) < 1e-2


def test_tumbling_keeps_momentum_and_energy(compare):
    """Angular momentum to rounding; energy to the square of the substep, as the midpoint rule says.

    The product of the inertia and its inverse is off by some 1e-15, the same in every substep:
    500 of them keep momentum to 1e-12. Halving the substep must cut the largest change of energy by
    four; 3 leaves room for the terms after.
    """
    drifts = []
    for dt in (2e-3, 1e-3):
        scene = _brick((3.0, 5.0, -4.0))
        scene.step, scene._substeps = 20 * dt, 20
        sim = scene.build(dtype="float64")
        (body,), state = scene.rigids, sim.initial_state()
        pose, w = state.pose[0, 0].numpy(), state.twist[0, 0, 3:].numpy()
        L, energy = solids.angular_momentum(body, pose, w), _energy(body, pose, w)
        change = []
        for _ in range(round(0.5 / scene.step)):
            state = sim.step(state)
            pose, w = state.pose[0, 0].numpy(), state.twist[0, 0, 3:].numpy()
            change.append(abs(_energy(body, pose, w) / energy - 1))
        lost = np.linalg.norm(solids.angular_momentum(body, pose, w) - L) / np.linalg.norm(L)
        compare("rigid: angular momentum of a tumbling box", float(lost), 0.0, 1e-12)
        drifts.append(max(change))
        assert float(np.linalg.norm(pose[3:])) == pytest.approx(1.0, abs=1e-14)
    assert drifts[1] <= 1e-4
    assert drifts[0] >= 3 * drifts[1]


@pytest.mark.parametrize("dim", [2, 3])
def test_tool_follows_its_command(dim):
    """A tool moves and turns as commanded, about its position, whatever gravity is; then it stops.

    The turn of a substep is exact to (ω Δt/2)⁶/720, far below rounding.
    """
    scene = solids.bare(dim, dt=1e-3, substeps=50, gravity=solids.down(dim))
    box = mpm.Box(scenes.vector(dim, 0.1, 0.0), (0.2,) * dim)
    scene.add_tool(box, position=scenes.vector(dim, 0.5, 0.6, 0.5))
    sim = scene.build(dtype="float64")
    end = solids.run(sim, 4, solids.commanded(solids.twist(dim, (0.2, 0.1, -0.1), 3.0)))
    place = np.array(scenes.vector(dim, 0.5 + 0.04, 0.6 + 0.02, 0.5 - 0.02))
    np.testing.assert_allclose(end.pose[0, 0, :dim].numpy(), place, atol=1e-14)
    expected = [[math.cos(0.6), -math.sin(0.6)], [math.sin(0.6), math.cos(0.6)]]
    turn = solids.turned(dim, end.pose[0, 0].numpy())[:2, :2]
    np.testing.assert_allclose(turn, expected, atol=1e-13)
    after = sim.step(end)
    assert torch.equal(after.pose, end.pose)
    assert not after.twist.any()
