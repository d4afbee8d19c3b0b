"""Tools and free rigid bodies in pictures: where they are, what hides them, how many spheres."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from simenv import mpm
from simenv.envs.picture import Painter
from simenv.envs.solids import MOST_SPHERES, RIGID_COLOR, TOOL_COLOR, Solids
from simenv.mpm import tools
from simenv.mpm.shapes.surface import surface_points
from simenv.render import Camera, Camera2D, Ground, Splatter

SAND, WHITE = (0.93, 0.79, 0.55), (1.0, 1.0, 1.0)
CAMERAS = {
    2: Camera2D(center=(0.5, 0.5), height=1.2),
    3: Camera(eye=(0.5, 0.5, 3.0), target=(0.5, 0.5, 0.5), fov_degrees=30.0),
}
WIDTH, HEIGHT = 160, 120
LAW = mpm.NeoHookean(E=1e3, nu=0.2, density=1e3)


def _scene(dim: int, block: mpm.Box | None = None) -> mpm.Scene:
    """A cubic metre of 16 cells an edge with a block of material, low in the middle by default."""
    scene = mpm.Scene((1.0,) * dim, (16,) * dim)
    scene.add_body(block or mpm.Box((0.5, 0.1, 0.5)[:dim], (0.2,) * dim), LAW)
    return scene


def _frame(scene: mpm.Scene, pose: Any = None, **look: Any) -> np.ndarray:
    """The picture of a scene at its start, or with its bodies elsewhere."""
    look = {
        "colors": np.array(SAND),
        "radius": 0.02,
        "camera": CAMERAS[scene.dim],
        "background": WHITE,
        **look,
    }
    task = SimpleNamespace(scene=scene, picture=lambda state, action: look)
    x = torch.tensor(np.concatenate([body.x for body in scene.bodies]))[None]
    poses = _poses(scene) if pose is None else pose
    state = _State(x, torch.tensor(poses, dtype=torch.float32)[None])
    painter: Any = Painter(SimpleNamespace(task=task, device="cpu"), WIDTH, HEIGHT)
    return painter.frame(state, None)


class _State(SimpleNamespace):
    """As much of a state as a picture needs."""

    def __init__(self, x: torch.Tensor, pose: torch.Tensor) -> None:
        super().__init__(x=x, pose=pose)

    def __getitem__(self, rows: slice) -> _State:
        return _State(self.x[rows], self.pose[rows])


def _poses(scene: mpm.Scene) -> np.ndarray:
    return np.array([rigid.pose for rigid in scene.rigids]).reshape(-1, 4 * scene.dim - 5)


def _bluish(picture: np.ndarray) -> np.ndarray:
    """Pixels bluer than red: a tool's or free body's, neither sand's nor the white background's."""
    return picture[..., 2].astype(int) > picture[..., 0].astype(int) + 8


def _middle(mask: np.ndarray) -> np.ndarray:
    rows, columns = np.nonzero(mask)
    return np.array([columns.mean() + 0.5, rows.mean() + 0.5])


@pytest.mark.parametrize("dim", [2, 3])
@pytest.mark.parametrize("kind", ["tool", "rigid"])
def test_body_is_drawn_where_it_is(dim, kind):
    """A ball is seen at its projection, as large as it is, and moves with its pose."""
    scene = _scene(dim)
    ball = mpm.Sphere((0.3, 0.7, 0.5)[:dim], 0.1)
    if kind == "tool":
        scene.add_tool(ball)
    else:
        scene.add_rigid(ball, density=1e3)
    poses = _poses(scene)
    for move in ((0.0, 0.0), (0.35, 0.1)):
        poses[0, :2] = np.add((0.3, 0.7), move)
        seen = _bluish(_frame(scene, poses))
        place = CAMERAS[dim].project(poses[:, :dim], width=WIDTH, height=HEIGHT)[0, :2]
        # A pixel is a centimetre or more; the body looks larger from nearer than its centre.
        np.testing.assert_allclose(_middle(seen), place, atol=1.0)
        pixels = HEIGHT / (1.2 if dim == 2 else 2 * 2.5 * np.tan(np.radians(15)))
        assert seen.sum() == pytest.approx(np.pi * (0.1 * pixels) ** 2, rel=0.15)


@pytest.mark.parametrize(
    ("dim", "turn"), [(2, [np.pi / 2]), (3, [0, 0, np.sqrt(0.5), np.sqrt(0.5)])]
)
def test_body_turns_with_its_pose(dim, turn):
    """A plate at rest is broad; a quarter turn later it is tall."""
    scene = _scene(dim)
    scene.add_tool(tools.plate(0.4, 0.1, 0.1 if dim == 3 else None), position=(0.5,) * dim)
    level, upright = _poses(scene), _poses(scene)
    upright[0, dim:] = turn
    for pose, longer in ((level, 1), (upright, 0)):
        rows, columns = np.nonzero(_bluish(_frame(scene, pose)))
        spans = np.ptp(rows), np.ptp(columns)
        assert spans[longer] > 2.5 * spans[1 - longer]


def test_material_hides_what_is_behind_it():
    """A ball behind a wall of particles is not seen, in front of it all of it is."""
    wall = mpm.Box((0.5, 0.5, 0.5), (0.8, 0.8, 0.1))
    scene = _scene(3, wall)
    scene.add_rigid(mpm.Sphere((0.5, 0.5, 0.5), 0.1), density=1e3)
    pose = _poses(scene)
    # Particles 0.031 m apart leave no gaps from a radius of 0.022 m.
    pose[0, 2] = 0.2
    assert not _bluish(_frame(scene, pose, radius=0.03)).any()
    pose[0, 2] = 0.8
    assert _bluish(_frame(scene, pose, radius=0.03)).sum() > 300


def test_bodies_cast_shadows():
    """The ground under a tool is darker than without it."""
    camera = Camera(eye=(0.5, 2.0, 3.0), target=(0.5, 0.2, 0.5))
    look = {"camera": camera, "ground": Ground(), "background": WHITE}
    scene = _scene(3, mpm.Box((0.1, 0.05, 0.1), (0.1, 0.1, 0.1)))
    bare = _frame(scene, **look).astype(int)
    scene.add_tool(mpm.Sphere((0.5, 0.5, 0.5), 0.15))
    picture = _frame(scene, **look).astype(int)
    darker = (bare - picture).min(axis=2) > 15
    assert np.sum(darker & ~_bluish(picture)) > 100


def test_tools_and_free_bodies_differ():
    """Each kind has a colour of its own."""
    scene = _scene(2)
    scene.add_tool(mpm.Sphere((0.3, 0.7), 0.1))
    scene.add_rigid(mpm.Sphere((0.7, 0.7), 0.1), density=1e3)
    spheres = Solids(scene).spheres(_poses(scene))
    left = spheres.positions[:, 0] < 0.5
    np.testing.assert_array_equal(np.unique(spheres.colors[left], axis=0), [TOOL_COLOR])
    np.testing.assert_array_equal(np.unique(spheres.colors[~left], axis=0), [RIGID_COLOR])


@pytest.mark.parametrize("dim", [2, 3])
def test_scene_without_bodies_is_drawn_as_before(dim):
    """No tool, no difference to what the splatter makes of the particles."""
    scene = _scene(dim)
    expected = Splatter(WIDTH, HEIGHT).render(
        scene.bodies[0].x, colors=SAND, radius=0.02, camera=CAMERAS[dim], background=WHITE
    )
    np.testing.assert_array_equal(_frame(scene), expected)


@pytest.mark.parametrize("dim", [2, 3])
def test_colors_may_be_bytes_and_radii_arrays(dim):
    """What a task gives per particle in whole numbers is kept."""
    scene = _scene(dim)
    scene.add_tool(mpm.Sphere((0.3, 0.7, 0.5)[:dim], 0.1))
    count = scene.num_particles
    plain = _frame(scene, colors=np.array([0.2, 0.4, 0.0]))
    whole = np.tile(np.array([51, 102, 0], dtype=np.uint8), (count, 1))
    np.testing.assert_array_equal(_frame(scene, colors=whole, radius=np.full(count, 0.02)), plain)


# ---------------------------------------------------------------------- spheres

SHAPES = {
    "comb": tools.comb(3, 0.3, 0.15, 0.04, dim=2),
    "cup 2-D": tools.cup(0.2, 0.3, 0.07, dim=2),
    "cup": tools.cup(0.2, 0.3, 0.07),
    "rolling pin": tools.rolling_pin(0.1, 0.3, 0.04, 0.1),
}


@pytest.mark.parametrize("name", SHAPES)
def test_spheres_fill_the_surface(name):
    """Spheres lie within the shape, touch its surface and leave no gap in it."""
    shape = SHAPES[name]
    scene = _scene(shape.dim)
    scene.add_tool(shape, position=(0.5,) * shape.dim)
    spheres = Solids(scene).spheres(_poses(scene))
    x, radius = spheres.positions - 0.5, spheres.radii[0]
    distance = shape.sdf(x)
    assert distance.max() <= 1e-6
    surface, _ = surface_points(shape, scene.dx / 3, *shape.bounds)
    away = np.linalg.norm(surface[:, None] - x[None], axis=2).min(axis=1)
    # A surface point is at most 1.25 spacings away, 5/3 radii, and its sphere's centre one radius
    # below it, √2 of them at an edge: √(25/9 + 2) = 2.2.
    assert away.max() <= 2.2 * radius
    assert radius <= 0.76 * scene.dx / 2


def test_a_body_has_few_spheres():
    """A large body on a fine grid is drawn with larger spheres."""
    scene = mpm.Scene((1.0,) * 3, (64,) * 3)
    scene.add_tool(mpm.Sphere((0.5,) * 3, 0.4))
    count = len(Solids(scene).spheres(_poses(scene)).positions)
    # The surface, moved in by a radius, has about as many points at any spacing squared.
    assert 0.7 * MOST_SPHERES <= count <= 1.2 * MOST_SPHERES


def test_a_huge_body_is_shown_inside_the_domain():
    """A floor made of a box of 100 m is sampled about the domain and cut off at its walls."""
    scene = _scene(3)
    scene.add_tool(mpm.Box((0.5, -49.9, 0.5), (100.0, 100.0, 100.0)), name="floor")
    solids = Solids(scene)
    pose = _poses(scene)
    for lift in (0.0, 0.3):
        pose[0, 1] = -49.9 + lift
        x, radii, _ = solids.spheres(pose)
        assert np.all((x >= 0) & (x <= 1))
        np.testing.assert_allclose(x[:, 1], 0.1 + lift - radii, atol=1e-6)
        assert len(x) == pytest.approx((1 / (radii[0] / 0.75)) ** 2, rel=0.1)


@pytest.mark.parametrize("dim", [2, 3])
def test_a_plane_is_shown_inside_the_domain(dim):
    """The points of a tilted plane lie on it, fill the domain's section, wherever it has moved."""
    scene = _scene(dim)
    normal = np.array([0.3, 1.0, 0.2])[:dim]
    normal /= np.linalg.norm(normal)
    scene.add_tool(mpm.HalfSpace((0.5,) * dim, normal))
    solids, pose = Solids(scene), _poses(scene)
    for along in (0.0, 30.0):
        # Sliding in itself, however far, a plane stays what it is.
        slide = np.array([normal[1], -normal[0], 0.0])[:dim] * along
        pose[0, :dim] = 0.5 + 0.1 * normal + slide
        x, radii, _ = solids.spheres(pose)
        height = (x - 0.5) @ normal
        spacing = radii[0] / 0.75
        on_top = x[height > height.max() - 0.5 * spacing]
        np.testing.assert_allclose(height.max() + radii[0], 0.1, atol=1e-9)
        # The section of the unit cube has an area of 1 / n_y.
        assert len(on_top) == pytest.approx(1 / normal[1] / spacing ** (dim - 1), rel=0.1)


def test_a_plane_is_not_seen_from_within():
    """A wall between the camera and the scene is left out, and drawn from the other side."""
    scene = _scene(3)
    scene.add_tool(mpm.HalfSpace((0.5, 0.5, 0.9), (0.0, 0.0, -1.0)))
    assert not _bluish(_frame(scene)).any()
    other = Camera(eye=(0.5, 0.5, -3.0), target=(0.5, 0.5, 0.5), fov_degrees=30.0)
    assert _bluish(_frame(scene, camera=other)).sum() > 1000
