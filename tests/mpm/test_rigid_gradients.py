"""Gradients through contact: of every input, for every kind of tool and body, over substeps."""

from __future__ import annotations

import pytest
import torch
import trimesh

from simenv import mpm
from tests.mpm import scenes, solids
from tests.mpm.touch_problem import TouchProblem, tilt

TOLERANCE = 1e-5
"""Three orders above truncation and rounding of the difference, far below a missing term."""
TOP = 0.35
"""Height [m] of the top of the material that tools press on."""


def _ground(dim: int, **options) -> mpm.Scene:
    """A block of material on the floor, 5 substeps of 1 ms per step."""
    options = {"gravity": solids.down(dim), "cells": 10, "substeps": 5, **options}
    scene = solids.stage(dim, walls={"default": mpm.Wall("separating", 0.2)}, **options)
    size = scenes.vector(dim, 0.3, TOP - 0.1, 0.3)
    block = mpm.Box(scenes.vector(dim, 0.5, (TOP + 0.1) / 2, 0.5), size)
    scene.add_body(block, scenes.soft(), name="block", particles_per_cell=2.0**dim)
    return scene


def _shapes(dim: int) -> dict[str, mpm.Shape]:
    """Every kind of shape about the origin, some 0.2 m thick."""
    v = scenes.vector
    box, ball = mpm.Box((0.0,) * dim, (0.2,) * dim), mpm.Sphere((0.0,) * dim, 0.1)
    shapes = {
        "box": box,
        "sphere": ball,
        "capsule": mpm.Capsule(v(dim, -0.1, 0.0), v(dim, 0.1, 0.0), 0.1),
        "plane": mpm.HalfSpace(v(dim, 0.0, -0.1), v(dim, 0.0, -1.0)),
        "compound": mpm.Difference(
            mpm.Union(box, mpm.Sphere(v(dim, 0.1, 0.0), 0.1)),
            mpm.Sphere(v(dim, -0.15, -0.1), 0.1),
        ),
    }
    if dim == 3:
        shapes["cylinder"] = mpm.Cylinder((0.0, 0.0, -0.1), (0.0, 0.0, 0.1), 0.1)
        shapes["mesh"] = mpm.Mesh(trimesh.creation.icosphere(1, 0.12))
    return shapes


KINDS = [(dim, kind) for dim in (2, 3) for kind in _shapes(dim)]
SURFACES = {
    "sticky": {"mode": "sticky"},
    "slip": {"mode": "slip"},
    "rough": {"friction": 0.4},
    "soft": {"friction": 0.4, "softness": 30.0},
    "soft sticky": {"mode": "sticky", "softness": 30.0},
}


def _assert_right(compare, case: str, problem: TouchProblem) -> None:
    """The derivative along a random direction in each input is that of the loss."""
    misfits = problem.misfits()
    worst = max(misfits, key=misfits.get)
    compare(f"gradient of contact, {case}", misfits[worst], 0.0, TOLERANCE)


@pytest.mark.parametrize(("dim", "kind"), KINDS)
def test_tool_of_any_shape(compare, dim, kind):
    """A rough tool, tilted, that presses on material while it turns."""
    scene = _ground(dim)
    place = scenes.vector(dim, 0.52, TOP + 0.08, 0.49)
    scene.add_tool(_shapes(dim)[kind], position=place, orientation=tilt(dim), friction=0.4)
    command = solids.twist(dim, (0.3, -0.8, 0.1), 1.5)
    _assert_right(compare, "tools", TouchProblem(scene, [command]))


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("dim", [2, 3])
def test_tool_of_any_surface(compare, dim, surface):
    """A ball of every mode, hard and soft."""
    scene = _ground(dim)
    place = scenes.vector(dim, 0.52, TOP + 0.08, 0.49)
    scene.add_tool(mpm.Sphere(place, 0.12), **SURFACES[surface])
    command = solids.twist(dim, (0.3, -0.8, 0.1), 1.5)
    _assert_right(compare, "tools", TouchProblem(scene, [command]))


@pytest.mark.parametrize("dim", [2, 3])
def test_two_tools_at_once(compare, dim):
    """Two tools that hold the same material: what the first leaves, the second takes."""
    scene = _ground(dim)
    for x, mode in ((0.42, "separating"), (0.6, "sticky")):
        place = scenes.vector(dim, x, TOP + 0.06, 0.5)
        scene.add_tool(mpm.Sphere(place, 0.12), mode=mode, softness=20.0)
    commands = [solids.twist(dim, (s, -0.6), s) for s in (0.5, -0.5)]
    _assert_right(compare, "two tools", TouchProblem(scene, commands))


@pytest.mark.parametrize(("dim", "kind"), [c for c in KINDS if c[1] != "plane"])
def test_free_body_of_any_shape(compare, dim, kind):
    """A light body, tilted, that falls onto material and turns."""
    scene = _ground(dim)
    scene.add_rigid(
        _shapes(dim)[kind],
        density=300.0,
        position=scenes.vector(dim, 0.52, TOP + 0.08, 0.49),
        orientation=tilt(dim),
        velocity=scenes.vector(dim, 0.3, -0.8, 0.1),
        spin=1.5 if dim == 2 else (0.5, -0.3, 1.5),
        friction=0.4,
    )
    _assert_right(compare, "free bodies", TouchProblem(scene, []))


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("dim", [2, 3])
def test_free_body_of_any_surface(compare, dim, surface):
    """A ball of every mode, hard and soft."""
    scene = _ground(dim)
    velocity = scenes.vector(dim, 0.3, -0.8, 0.1)
    place = scenes.vector(dim, 0.52, TOP + 0.08, 0.49)
    scene.add_rigid(mpm.Sphere(place, 0.12), density=300.0, velocity=velocity, **SURFACES[surface])
    _assert_right(compare, "free bodies", TouchProblem(scene, []))


@pytest.mark.parametrize(("dim", "kind"), [c for c in KINDS if c[1] != "plane"])
def test_free_body_in_a_corner(compare, dim, kind):
    """A body that slides and turns on the floor while it hits a wall and a tool, by its points."""
    scene = _ground(dim)
    shape = _shapes(dim)[kind]
    body = scene.add_rigid(
        shape,
        density=300.0,
        position=scenes.vector(dim, 0.25, 0.25, 0.5),
        velocity=scenes.vector(dim, -0.8, -0.8, 0.3),
        spin=1.5 if dim == 2 else (0.5, -0.3, 1.5),
        friction=0.4,
    )
    lower, _upper = mpm.Placed(shape, tuple(body.pose[:dim] - body.centre)).bounds
    corner = body.pose[:dim] - lower  # where the body's position goes when it is in the corner
    top = float(corner[1] + shape.bounds[1][1] + 0.05)
    scene.add_tool(mpm.Sphere(scenes.vector(dim, corner[0] + 0.03, top, 0.52), 0.06), friction=0.2)
    problem = TouchProblem(scene, [solids.twist(dim, (0.1, -0.5, 0.2), 2.0)])
    # Two millimetres into wall and floor, where bodies that move like this are after some substeps.
    shift = torch.zeros_like(problem.inputs["pose"])
    shift[0, 0, :2] = torch.tensor(-lower[:2] - 0.002)
    problem.inputs["pose"] = problem.inputs["pose"] + shift
    _assert_right(compare, "collisions", problem)


@pytest.mark.parametrize("kinds", [("box", "box"), ("sphere", "box"), ("compound", "capsule")])
@pytest.mark.parametrize("dim", [2, 3])
def test_two_free_bodies(compare, dim, kinds):
    """Two bodies of different mass that meet off centre, turning, with friction."""
    scene = _ground(dim)
    for i, kind in enumerate(kinds):
        scene.add_rigid(
            _shapes(dim)[kind],
            density=300.0 + 900.0 * i,
            position=scenes.vector(dim, 0.37 + 0.195 * i, 0.7 + 0.03 * i, 0.5 - 0.02 * i),
            velocity=scenes.vector(dim, 0.9 - 1.8 * i, 0.2, -0.1),
            spin=5.0 if dim == 2 else (4.0, -3.0, 5.0),
            friction=0.3 + 0.1 * i,
        )
    _assert_right(compare, "collisions", TouchProblem(scene, []))


@pytest.mark.parametrize("dim", [2, 3])
def test_tool_pushes_a_body_into_material(compare, dim):
    """A tool on a free body on material on a floor: every kind of contact in one chain.

    Nothing is aligned with the grid: nodes that lie just where reach ends make the loss jump.
    """
    scene = _ground(dim)
    v = scenes.vector
    scene.add_rigid(
        mpm.Box(v(dim, 0.513, TOP + 0.093, 0.487), v(dim, 0.3, 0.2, 0.3)),
        density=300.0,
        friction=0.3,
    )
    scene.add_tool(mpm.Sphere(v(dim, 0.53, TOP + 0.291, 0.48), 0.1), friction=0.5)
    problem = TouchProblem(scene, [solids.twist(dim, (0.3, -1.0, 0.1), 1.0)], steps=3)
    _assert_right(compare, "chain", problem)
