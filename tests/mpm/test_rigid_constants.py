"""What scenes make of their rigid bodies before anything moves."""

from __future__ import annotations

import math

import numpy as np
import pytest
import trimesh

from simenv import mpm
from simenv.mpm.rigid_constants import (
    ACROSS,
    FINENESS,
    inner_balls,
    meeting,
    pairs,
    spacing_of,
    window_of,
)
from tests.mpm import scenes, solids


def _pair(shape: mpm.Shape) -> mpm.Scene:
    """A free body of a shape and a free box beside it."""
    dim = shape.dim
    scene = solids.bare(dim, cells=10)
    scene.add_rigid(shape, density=500.0, position=scenes.vector(dim, 0.3, 0.3, 0.3))
    scene.add_rigid(mpm.Box((0.7,) * dim, (0.2,) * dim), density=500.0)
    return scene


@pytest.mark.parametrize("dim", [2, 3])
def test_box_has_a_ball_in_every_corner(dim):
    """Each touches, from within, the faces that meet at its contact point, and no other."""
    box = mpm.Box((0.0,) * dim, (0.3,) * dim)
    scene = _pair(box)
    balls, radius = inner_balls(scene.rigids[0], scene), 1.5 * 0.2 / ACROSS
    points = box.contact_points()[:, :-1]
    np.testing.assert_allclose(balls[:, 3], radius, rtol=1e-8)
    np.testing.assert_allclose(balls[:, :dim], points - radius * np.sign(points), atol=1e-9)


@pytest.mark.parametrize(
    "shape",
    [
        mpm.Cylinder((0.0, -0.1, 0.0), (0.0, 0.1, 0.0), 0.1),
        mpm.Mesh(trimesh.creation.icosphere(2, 0.12)),
        mpm.Difference(mpm.Box((0.0,) * 3, (0.2,) * 3), mpm.Sphere((0.1,) * 3, 0.08)),
    ],
    ids=["cylinder", "mesh", "compound"],
)
def test_balls_touch_the_surface_from_within(shape):
    """Their radius is their depth; where there is room it is what the other's field rounds."""
    scene = _pair(shape)
    (body, other), radius = scene.rigids, 1.5 * spacing_of(scene.rigids[1], scene)
    balls = inner_balls(body, scene)
    assert len(balls) >= 0.9 * len(shape.contact_points())
    depth = -shape.sdf(balls[:, :3] + body.centre)
    np.testing.assert_allclose(depth, balls[:, 3], atol=1e-9)
    assert np.all(balls[:, 3] <= radius * (1 + 1e-6))
    assert np.all(balls[:, 3] >= 0.5 * radius)
    assert other in meeting(body, scene)


def test_balls_alone_need_none():
    """A ball has no corners, and a body that meets nothing but planes no use for any."""
    scene = _pair(mpm.Sphere((0.0, 0.0), 0.1))
    assert len(inner_balls(scene.rigids[0], scene)) == 0
    scene = solids.bare(2)
    box = scene.add_rigid(mpm.Box((0.5, 0.5), (0.2, 0.2)), density=1.0)
    scene.add_tool(mpm.HalfSpace((0.0, 0.1), (0.0, 1.0)))
    assert len(inner_balls(box, scene)) == 0


def test_fields_are_fine_where_bodies_meet():
    """A sixteenth of the body, or half a cell where it meets material alone."""
    scene = _pair(mpm.Box((0.0, 0.0), (0.1, 0.3)))
    assert spacing_of(scene.rigids[0], scene) == pytest.approx(0.1 / ACROSS)
    alone = solids.bare(2, cells=10)
    tool = alone.add_tool(mpm.Box((0.5, 0.5), (0.1, 0.3)))
    alone.add_tool(mpm.Box((0.2, 0.5), (0.1, 0.3)))
    assert spacing_of(tool, alone) == alone.dx / FINENESS


def test_tools_do_not_meet():
    """Free bodies meet everything; two tools, which nothing deflects, do not."""
    scene = solids.bare(2)
    for x in (0.3, 0.6):
        scene.add_tool(mpm.Sphere((x, 0.3), 0.1))
    scene.add_rigid(mpm.Sphere((0.5, 0.7), 0.1), density=1.0)
    met = [(i, o) for i, o, _mode in pairs(scene)]
    assert met == [(0, 2), (1, 2), (2, 0), (2, 1)]


@pytest.mark.parametrize("dim", [2, 3])
def test_window_holds_body_and_reach(dim):
    """Wherever the body is, every node within its reach is in the window; planes take all nodes."""
    scene = solids.bare(dim, cells=20)
    ball = scene.add_tool(mpm.Sphere((0.5,) * dim, 0.13), softness=40.0)
    reach = 0.13 + math.log(100) / 40.0
    width = window_of(ball, scene)[0]
    for x in np.linspace(0.4, 0.6, 57):
        inside = np.sum(np.abs(np.arange(-1, 22) * scene.dx - x) < reach)
        assert inside <= width
    plane = scene.add_tool(mpm.HalfSpace((0.0,) * dim, scenes.vector(dim, 0.0, 1.0)))
    assert window_of(plane, scene) == scene.nodes
