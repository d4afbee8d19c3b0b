"""Tools acting on material: what a node inside a tool does, and what whole bodies make of it.

Where all nodes of a particle's stencil lie inside a tool, its velocity after a substep is exactly
what the tool makes of it, whatever the distances.
"""

from __future__ import annotations

import pytest
import torch

from simenv import mpm
from tests.mpm import scenes, solids

ROUNDING = 1e-13
"""Of velocities of about one [m/s], summed over 27 nodes with weights that add up to one."""
HALF = 0.5
"""Height [m] of the surface below which the tools of `_ground` reach."""


def _probe(
    dim: int, x: list[float], v: list[float], num_envs: int = 1, **options
) -> tuple[mpm.Scene, torch.Tensor, torch.Tensor]:
    """A scene with one particle, and where it is and how it moves."""
    scene = solids.stage(dim, dt=1e-4, **options)
    scene.add_body(mpm.Box((0.5,) * dim, (0.1,) * dim), scenes.soft(), count=1)
    place = torch.tensor(scenes.vector(dim, *x), dtype=torch.float64)
    speed = torch.tensor(scenes.vector(dim, *v), dtype=torch.float64)
    return scene, place.expand(num_envs, 1, dim), speed.expand(num_envs, 1, dim)


def _after(scene: mpm.Scene, x: torch.Tensor, v: torch.Tensor, *twists: torch.Tensor) -> mpm.State:
    """The particle after one substep under commands."""
    sim = scene.build(len(x), dtype="float64", threads=1)
    start = sim.initial_state().replace(x=x.contiguous(), v=v.contiguous())
    return sim.step(start, solids.commanded(*twists, num_envs=len(x)))


# ---------------------------------------------------------------------- planes


@pytest.mark.parametrize("dim", [2, 3])
def test_plane_lies_where_it_is_put(dim):
    """A plane 0.2 m above its frame's origin, which is put at 0.3 m, ends at 0.5 m."""
    command = solids.twist(dim, (0.0, 1.0, 0.0))
    for height, speed in ((0.25, 1.0), (0.75, 0.0)):
        scene, x, v = _probe(dim, [0.5, height, 0.5], [0.0, 0.0, 0.0])
        plane = mpm.HalfSpace(scenes.vector(dim, 0.1, 0.2), scenes.vector(dim, 0.0, 2.0))
        scene.add_tool(plane, position=scenes.vector(dim, 0.5, 0.3, 0.5), mode="sticky")
        end = _after(scene, x, v, command)
        assert float(end.v[0, 0, 1]) == pytest.approx(speed, abs=ROUNDING)
