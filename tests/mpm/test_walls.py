"""Walls: every mode on every face, in the plane and in space.

A particle half a cell beyond a face has all its weight on wall nodes (to 1e-10), so after one
substep without gravity its velocity is exactly what the wall makes of it.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError
from tests.mpm import scenes

CELL = 0.125
FRICTION = 0.3
TOLERANCE = 1e-9
"""Absolute [m/s]: speeds of one, of which 1e-10 lies on the next layer of nodes."""
FACES = {dim: list(itertools.product(range(dim), (1.0, -1.0))) for dim in (2, 3)}
"""(axis, sign of the inward normal) of every face, in the order of the scene's walls."""


def _one_particle(dim: int, walls: dict[str, mpm.Wall], num_envs: int) -> mpm.Simulator:
    scene = mpm.Scene(
        (1.0,) * dim, (8,) * dim, step=1e-4, substeps=1, gravity=(0.0,) * dim, walls=walls
    )
    shape = mpm.Box((0.5,) * dim, (CELL / 2,) * dim)
    scene.add_body(shape, scenes.soft(), particles_per_cell=1)
    assert scene.num_particles == 1
    return scene.build(num_envs, dtype="float64", threads=1)


def _at_faces(sim: mpm.Simulator, faces: list[tuple[int, float]]) -> torch.Tensor:
    """Positions (N, 1, d): environment i's particle half a cell beyond face i."""
    x = sim.initial_state().x.clone()
    for i, (axis, sign) in enumerate(faces):
        x[i, 0, axis] = 0.5 - sign * (0.5 + CELL / 2 * (1 - 1e-5))
    return x


def _velocity(axis: int, normal: float, tangent: tuple[float, ...]) -> list[float]:
    v = list(tangent)
    v.insert(axis, normal)
    return v


def _after(dim: int, wall: mpm.Wall, normal: float, tangent: tuple[float, ...]):
    """Velocities after a substep at every face, split into (inward normal, tangential)."""
    faces = FACES[dim]
    sim = _one_particle(dim, {"default": wall}, len(faces))
    v = [[_velocity(axis, sign * normal, tangent[: dim - 1])] for axis, sign in faces]
    v = torch.tensor(v, dtype=torch.float64)
    state = sim.initial_state().replace(x=_at_faces(sim, faces), v=v)
    end = sim.step(state).v[:, 0]
    normals = [float(s * end[i, a]) for i, (a, s) in enumerate(faces)]
    tangents = [[float(end[i, b]) for b in range(dim) if b != a] for i, (a, _) in enumerate(faces)]
    return normals, tangents


def _expect(dim, wall, normal, tangent, expected_normal, expected_tangent):
    normals, tangents = _after(dim, wall, normal, tangent)
    for n, t in zip(normals, tangents, strict=True):
        assert n == pytest.approx(expected_normal, abs=TOLERANCE)
        assert t == pytest.approx(list(expected_tangent)[: dim - 1], abs=TOLERANCE)


@pytest.mark.parametrize("normal", [-1.0, 1.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_sticky_wall_stops_everything(dim, normal):
    """Towards or away from a sticky wall, and along it: all speed is lost."""
    _expect(dim, mpm.Wall("sticky"), normal, (0.6, 0.8), 0.0, (0.0, 0.0))


@pytest.mark.parametrize("normal", [-1.0, 1.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_slip_wall_holds_the_normal(dim, normal):
    """A slip wall takes the normal velocity in both directions and leaves the tangential one."""
    _expect(dim, mpm.Wall("slip"), normal, (0.6, 0.8), 0.0, (0.6, 0.8))


@pytest.mark.parametrize("friction", [0.0, FRICTION])
@pytest.mark.parametrize("dim", [2, 3])
def test_separating_wall_lets_go(dim, friction):
    """Away from a separating wall nothing is changed, with friction or without."""
    _expect(dim, mpm.Wall("separating", friction), 1.0, (0.6, 0.8), 1.0, (0.6, 0.8))


@pytest.mark.parametrize("dim", [2, 3])
def test_separating_wall_blocks(dim):
    """Into a smooth separating wall the normal velocity is lost, the tangential one kept."""
    _expect(dim, mpm.Wall("separating"), -1.0, (0.6, 0.8), 0.0, (0.6, 0.8))


@pytest.mark.parametrize("dim", [2, 3])
def test_friction_shortens_the_tangent(dim):
    """Coulomb: a normal loss of 0.5 costs μ · 0.5 of the sliding speed, whatever its direction."""
    speed = 0.6 if dim == 2 else 1.0
    left = 1.0 - FRICTION * 0.5 / speed
    wall = mpm.Wall("separating", FRICTION)
    _expect(dim, wall, -0.5, (0.6, 0.8), 0.0, (0.6 * left, 0.8 * left))


@pytest.mark.parametrize("dim", [2, 3])
def test_friction_sticks(dim):
    """Where friction could take more than the sliding speed the material sticks; never reverses."""
    _expect(dim, mpm.Wall("separating", FRICTION), -4.0, (0.6, 0.8), 0.0, (0.0, 0.0))


@pytest.mark.parametrize("wall", [mpm.Wall("sticky"), mpm.Wall("separating", FRICTION)])
@pytest.mark.parametrize("dim", [2, 3])
def test_each_face_has_its_own_wall(dim, wall):
    """A mode and a friction given for one face act on that face alone."""
    faces = FACES[dim]
    names = [f"{'xyz'[axis]}{'-' if sign > 0 else '+'}" for axis, sign in faces]
    v = [[_velocity(axis, -0.5 * sign, (0.5, 0.5)[: dim - 1])] for axis, sign in faces]
    v = torch.tensor(v, dtype=torch.float64)
    for chosen, name in enumerate(names):
        sim = _one_particle(dim, {"default": mpm.Wall("separating"), name: wall}, len(names))
        end = sim.step(sim.initial_state().replace(x=_at_faces(sim, faces), v=v)).v[:, 0]
        # Smooth walls take the normal part and leave the tangential one.
        slowed = end.norm(dim=1) < 0.5 * math.sqrt(dim - 1) - 0.01
        assert slowed.tolist() == [i == chosen for i in range(len(names))]


def test_edge_obeys_both_walls():
    """In a corner between two slip walls both normal velocities are lost, the third is kept."""
    sim = _one_particle(3, {"default": mpm.Wall("slip")}, 1)
    state = sim.initial_state()
    x = state.x.clone()
    x[..., :2] = -CELL / 2 * (1 - 1e-5)
    v = torch.tensor([[[0.3, -0.4, 0.5]]], dtype=torch.float64)
    assert sim.step(state.replace(x=x, v=v)).v[0, 0].tolist() == pytest.approx(
        [0.0, 0.0, 0.5], abs=TOLERANCE
    )


def test_inside_no_wall_acts():
    """Two cells away from every face a particle keeps its velocity."""
    sim = _one_particle(3, {"default": mpm.Wall("sticky")}, 1)
    state = sim.initial_state()
    v = torch.tensor([[[0.3, -0.4, 0.5]]], dtype=torch.float64)
    x = torch.full_like(state.x, 2 * CELL)
    assert sim.step(state.replace(x=x, v=v)).v[0, 0].tolist() == pytest.approx(
        [0.3, -0.4, 0.5], rel=1e-14
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bouncy",), "'bouncy' is not one of"),
        (("separating", -0.1), "friction -0.1"),
        (("separating", math.nan), "friction nan"),
        (("separating", math.inf), "friction inf"),
        (("sticky", 0.5), "no effect on a 'sticky' wall"),
        (("slip", 0.5), "no effect on a 'slip' wall"),
    ],
)
def test_bad_wall_is_named(arguments, message):
    """An unknown mode, a bad coefficient, or friction where it has no effect is refused."""
    with pytest.raises(ConfigurationError, match=message):
        mpm.Wall(*arguments)
