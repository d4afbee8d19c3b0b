"""Distance fields: exact where they should be, FAR beyond, bounded, and kept."""

import numpy as np
import pytest
import torch
import warp as wp

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm import distance
from simenv.mpm.contact import touch_type, window_functions
from simenv.mpm.distance import FAR, DistanceField
from simenv.mpm.rigid_constants import Fields, largest_ball, spacing_of, touches
from simenv.mpm.types import warp_types
from tests.mpm import scenes, solids


def _reader(dim: int):
    """Function (touch, values, points) -> distances and gradients, by the kernels' own sampling."""
    types, module = warp_types(dim, "float64"), f"test_distance_{dim}d"
    T, vec, Affine, Touch = types.scalar, types.vec, types.affine, touch_type(types)
    find = window_functions(types, module)

    @wp.kernel(module=module, enable_backward=False)
    def read(
        touch: Touch,
        values: wp.array(dtype=T),
        y: wp.array(dtype=vec),
        out: wp.array(dtype=Affine),
    ):
        i = wp.tid()
        out[i] = find.distance(values, touch, y[i])

    def at(touch, values: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        y, out = wp.array(points, dtype=vec), wp.zeros(len(points), dtype=Affine)
        wp.launch(read, dim=len(points), inputs=[touch, wp.array(values, dtype=T), y, out])
        return out.numpy()[:, 0, 3], out.numpy()[:, 0, :dim]

    return at


def _field_of(scene: mpm.Scene, i: int = 0):
    fields = Fields(scene)
    return touches(scene, fields, warp_types(scene.dim, "float64"))[i], fields


@pytest.mark.parametrize("dim", [2, 3])
def test_flat_faces_are_exact(dim):
    """Away from edges the splines of a box's distance are the distance, and beyond it FAR."""
    scene = solids.stage(dim)
    box = mpm.Box((0.5,) * dim, (0.5,) * dim)
    scene.add_tool(box)
    touch, fields = _field_of(scene)
    points = np.zeros((5, dim))
    points[:, 1] = (0.2, 0.25, 0.3, 0.31, 5.0)
    phi, g = _reader(dim)(touch, fields.values, points)
    np.testing.assert_allclose(phi[:4], points[:4, 1] - 0.25, atol=1e-14)
    np.testing.assert_allclose(g[:4], np.tile(np.eye(dim)[1], (4, 1)), atol=1e-13)
    assert phi[4] == FAR


@pytest.mark.parametrize("softness", [0.0, 10.0, 100.0])
@pytest.mark.parametrize("dim", [2, 3])
def test_field_covers_its_reach(dim, softness):
    """Wherever material feels a body, and a ball meets it, its distance is known and not FAR."""
    scene = solids.stage(dim)
    shape = mpm.Capsule(scenes.vector(dim, 0.4, 0.5, 0.5), scenes.vector(dim, 0.6, 0.5, 0.5), 0.1)
    rigid = scene.add_tool(shape, softness=softness)
    scene.add_rigid(mpm.Sphere(scenes.vector(dim, 0.5, 0.8, 0.5), 0.15), density=1e3)
    touch, fields = _field_of(scene)
    far = max(rigid.reach(scene.dx), largest_ball(rigid, scene))
    assert far >= 0.15
    directions = np.random.default_rng(0).normal(size=(200, dim))
    directions /= np.linalg.norm(directions, axis=1)[:, None]
    # Points at the very end of reach, along rays from the capsule's ends.
    ends = np.where(directions[:, :1] > 0, 0.1, -0.1) * np.eye(dim)[0]
    points = ends + directions * (0.1 + far)
    phi, _g = _reader(dim)(touch, fields.values, points)
    # Between lattice points a surface of radius R + φ is off by h²/(4R) at most.
    np.testing.assert_allclose(phi, far, atol=spacing_of(rigid, scene) ** 2 / 0.4)


def test_soft_tool_reaches_far():
    """A soft tool acts on material from where its share is FAINT, and no farther."""
    for height, felt in ((0.6, True), (0.8, False)):
        scene = solids.stage(2, dt=1e-4, cells=20)
        scene.add_body(mpm.Box((0.5, 0.9), (0.1, 0.1)), scenes.soft(), count=1)
        scene.add_tool(mpm.Box((0.5, 0.2), (0.4, 0.2)), softness=11.0, mode="sticky")
        sim = scene.build(dtype="float64")
        start = sim.initial_state()
        x = torch.tensor([[[0.5, height]]], dtype=torch.float64)
        end = sim.step(start.replace(x=x, v=torch.ones_like(x)))
        # Reach is 4.6/11 = 0.42 m above the top at 0.3 m; stencils end 0.075 m farther.
        assert bool((end.impulse != 0).any()) == felt


def test_too_large_a_lattice_is_refused():
    """The error names the shape, how much it would take, the bound and what to do."""
    scene = solids.stage(3, cells=64, dt=1e-4)
    scene.add_body(mpm.Box((0.5,) * 3, (0.1,) * 3), scenes.soft(), count=1)
    scene.add_tool(mpm.Box((0.5, 0.0, 0.5), (9.0, 0.5, 9.0)))
    with pytest.raises(ConfigurationError, match=r"Box.*e\+07 numbers, more than .*HalfSpace"):
        scene.build()


def test_field_is_kept(monkeypatch):
    """Building again samples nothing; another spacing, margin or shape does."""
    calls = []
    sampled = DistanceField.sampled.__func__

    def counted(cls, *args):
        calls.append(args)
        return sampled(cls, *args)

    monkeypatch.setattr(DistanceField, "sampled", classmethod(counted))
    distance._kept.cache_clear()
    ball, centre = mpm.Sphere((0.5, 0.5), 0.1), np.array([0.5, 0.5])
    one = DistanceField.of(ball, centre, 0.05, 0.1)
    assert DistanceField.of(mpm.Sphere((0.5, 0.5), 0.1), centre, 0.05, 0.1) is one
    assert len(calls) == 1
    listed = mpm.Sphere([0.5, 0.5], 0.1)  # not hashable: kept as the object that it is
    assert DistanceField.of(listed, centre, 0.05, 0.1) is DistanceField.of(
        listed, centre, 0.05, 0.1
    )
    for changes in ((centre, 0.04, 0.1), (centre, 0.05, 0.2), (centre + 0.1, 0.05, 0.1)):
        assert DistanceField.of(ball, *changes) is not one
    assert len(calls) == 5
    with pytest.raises(ValueError, match="read-only"):
        one.values[0, 0] = 1.0
