"""LatteStir and Mixing: scene, reward, success and costs, recomputed by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import simenv
from simenv.envs import Functional, Start

LATTE, MIXING = "simenv/LatteStir-v0", "simenv/Mixing-v0"
TRAY, RADIUS, DX = 0.24, 0.012, 0.01
EDGE = RADIUS + DX / 2
"""Least distance of the stirrer's centre from a wall [m]."""


@pytest.fixture(scope="module")
def latte() -> Functional:
    """One tray of milk in float64."""
    return simenv.functional(LATTE, dtype="float64")


@pytest.fixture(scope="module")
def mixing() -> Functional:
    """Two trays to be mixed in float64."""
    return simenv.functional(MIXING, num_envs=2, dtype="float64")


def at(state, place):
    """The state with the stirrer at a place [m]."""
    pose = state.pose.clone()
    pose[:, 0, :2] = torch.tensor(place, dtype=pose.dtype)
    return state.replace(pose=pose)


@pytest.mark.parametrize("task_id", [LATTE, MIXING])
def test_fluid_fills_the_tray(task_id):
    """The fluid fills the tray but for the stirrer, in particles of nearly equal volume."""
    scene = simenv.functional(task_id).task.scene
    area = sum(len(body.x) * body.volume for body in scene.bodies)
    # Areas of differences are summed over a lattice, to about 3e-4 of the disc and its overlaps.
    assert area == pytest.approx(TRAY**2 - np.pi * RADIUS**2, rel=1e-3)
    volumes = [body.volume for body in scene.bodies]
    # The disc is cut out of a lattice: of its 18 particles' worth two more or less may go.
    assert volumes == pytest.approx([(DX / 2) ** 2] * 2, rel=2e-3)


def test_milk_is_the_square_in_the_middle(latte):
    """Milk is what starts within 0.04 m of the middle along both axes."""
    x = latte.simulator.initial_state().x[0]
    inside = ((x - TRAY / 2).abs() < TRAY / 6).all(dim=1).nonzero()[:, 0]
    milk = torch.arange(len(x))[latte.task.target_particles()]
    assert torch.equal(inside, milk)


def test_latte_reward_and_success(latte):
    """Minus the squared distance to the target of the moment, over that of milk at rest."""
    state = latte.initial(seed=0)
    task, milk = latte.task, latte.simulator.particles("milk")
    rest = latte.simulator.initial_state().x[:, milk]
    end = task.target_points()
    idle = float((end - rest).square().sum(dim=2).mean())
    late = state.replace(time=torch.tensor([150]))
    x = state.x.clone()
    shift = torch.tensor([0.3, 0.1], dtype=x.dtype) * idle**0.5
    x[:, milk] = end + shift
    close = late.replace(x=x)
    action = torch.zeros(1, 2, dtype=x.dtype)
    assert float(latte.reward(state, action, close)) == pytest.approx(-0.1, rel=1e-9)
    x[:, milk] = end + 0.999 * shift
    assert latte.success(late.replace(x=x)).all()
    # Not before the end, and not with milk that stayed where it was.
    assert not latte.success(state.replace(x=x, time=torch.tensor([149]))).any()
    x[:, milk] = rest
    assert float(latte.reward(state, action, late.replace(x=x))) == pytest.approx(-1.0, rel=1e-9)


def test_latte_target_starts_at_rest(latte):
    """At the start the milk is its target, but for the jitter of up to 2 % of a cell."""
    state = latte.initial(seed=0)
    gap = float(-latte.reward(state, torch.zeros(1, 2), state)) * float(latte.task._idle)
    # Uniform along two axes: the mean square is 2 (0.02 Δx)²/3, of 256 particles to a tenth.
    assert gap == pytest.approx(2 * (0.02 * DX) ** 2 / 3, rel=0.3)


@pytest.mark.parametrize("task_id", [LATTE, MIXING])
def test_stirrer_stops_at_the_walls(task_id):
    """Whatever the action, the stirrer ends half a cell from the wall, and that costs one."""
    functional = simenv.functional(task_id, dtype="float64")
    state = at(functional.initial(seed=0), (TRAY - EDGE - 1e-3, 0.1))
    action = torch.tensor([[1.0, 0.2]], dtype=torch.float64)
    after = functional.transition(state, action)
    assert float(after.pose[0, 0, 0]) == pytest.approx(TRAY - EDGE, abs=1e-12)
    moved = 0.2 * functional.task.top_speed * 0.05
    assert float(after.pose[0, 0, 1]) == pytest.approx(0.1 + moved, abs=1e-12)
    assert float(functional.cost(state, action, after)) == 1.0
    free = at(after, (EDGE + 1.1e-3, 0.1))
    assert float(functional.cost(state, action, free)) == 0.0


def test_segregation(mixing):
    """One for fluids apart, zero for parcels of equal shares; in between by hand."""
    state, task = mixing.initial(seed=0), mixing.task
    left, right = (mixing.simulator.particles(name) for name in ("left", "right"))
    x = torch.empty_like(state.x)
    # All particles on two nodes of the parcels, 0.04 m apart.
    x[:, left] = torch.tensor([0.04, 0.08], dtype=x.dtype)
    x[:, right] = torch.tensor([0.2, 0.08], dtype=x.dtype)
    apart = state.replace(x=x)
    torch.testing.assert_close(task.segregation(apart), torch.ones(2, dtype=x.dtype))
    together = state.replace(x=torch.full_like(x, 0.1))
    # Shares add up to rounding of 2288 terms.
    assert float(task.segregation(together).abs().max()) < 1e-12
    # A quarter of the left fluid halfway between its node and the right fluid's neighbour.
    quarter = slice(0, (left.stop - left.start) // 4)
    x[:, quarter] = torch.tensor([0.18, 0.08], dtype=x.dtype)
    a, b, q = (left.stop - left.start, right.stop - right.start, quarter.stop)
    parcels = [(a - q, a - q), (q / 2, q / 2), (q / 2, q / 2 + b)]
    mean = a / (a + b)
    spread = sum(w * (p / w - mean) ** 2 for p, w in parcels) / (a + b)
    expected = spread / (mean * (1 - mean))
    mixed = state.replace(x=x)
    assert task.segregation(mixed).tolist() == pytest.approx([expected] * 2, rel=1e-12)
    action = torch.zeros(2, 2, dtype=x.dtype)
    assert mixing.reward(state, action, mixed).tolist() == pytest.approx([-expected] * 2)
    assert mixing.success(together).all()
    assert not mixing.success(mixed).any()


def test_mixing_observes_the_shares(mixing):
    """With the left fluid on one node and the right on another, their entries are 1 and -1."""
    state = mixing.initial(seed=0)
    x = torch.empty_like(state.x)
    x[:, mixing.simulator.particles("left")] = torch.tensor([0.04, 0.08], dtype=x.dtype)
    x[:, mixing.simulator.particles("right")] = torch.tensor([0.2, 0.12], dtype=x.dtype)
    seen = mixing.observation(at(state.replace(x=x), (0.12, 0.18)))[0]
    # Node (i, j) is entry 7 i + j.
    assert float(seen[7 * 1 + 2]) == pytest.approx(1.0)
    assert float(seen[7 * 5 + 3]) == pytest.approx(-1.0)
    assert seen[249:].tolist() == pytest.approx([0.0, 0.5, 0.0, 0.0])


def test_viscosity_is_drawn(mixing):
    """The material option multiplies the viscosity of both fluids."""
    start = mixing.initial(seed=0, start=Start(material={"dynamic_viscosity": 2.0}))
    overrides = mixing.task.parameters(start)
    values = {name: law["dynamic_viscosity"].tolist() for name, law in overrides.items()}
    assert values == {"left": [2.0, 2.0], "right": [2.0, 2.0]}
