"""Sorting particles by cell: nothing of it shows but the rounding of sums in another order."""

from __future__ import annotations

import pytest
import torch

from simenv import mpm
from simenv.mpm.parameters import group_bodies
from simenv.mpm.sorting import CellOrder
from tests.mpm import scenes
from tests.mpm.problem import SCALES, WALLS, Problem


def _problem(dim: int, sort: bool) -> Problem:
    sim = scenes.menagerie(dim, 10, WALLS["friction"]).build(2, dtype="float64", sort=sort)
    return Problem(sim, moving=True)


@pytest.mark.parametrize("dim", [2, 3])
def test_sorting_is_invisible(dim):
    """States and all gradients of sorted and unsorted steps agree to the rounding of their sums.

    Some hundred terms of rounding 1e-16 meet at a node, in ten substeps each way.
    """
    given, ordered = _problem(dim, sort=False), _problem(dim, sort=True)
    for name, tensor in given.end(given.inputs).items():
        torch.testing.assert_close(getattr(ordered.end(ordered.inputs), name), tensor)
    expected, measured = given.gradient(), ordered.gradient()
    for name in SCALES:
        scale = float(expected[name].abs().max())
        assert float((measured[name] - expected[name]).abs().max()) <= 1e-11 * scale, name


def test_order_follows_cells_within_groups():
    """Keys rise along the order, bodies of one law stay together, and undoing it restores all."""
    scene = scenes.menagerie(2, 1, WALLS["slip"])
    groups = group_bodies(scene)
    torch.manual_seed(0)
    x = torch.rand(3, scene.num_particles, 2, dtype=torch.float64)
    order = CellOrder(scene, groups, x)
    cell = torch.floor(x / scene.dx + 0.5).long()
    flat = torch.take_along_dim(cell[..., 0] * scene.nodes[1] + cell[..., 1], order.order, dim=1)
    for group in groups:
        rows = slice(group.start, group.start + group.count)
        assert (flat[:, rows].diff(dim=1) >= 0).all()
        assert set(order.order[0, rows].tolist()) == set(range(rows.start, rows.stop))
    assert torch.equal(order.order.gather(1, order.inverse), torch.arange(x.shape[1]).expand(3, -1))


def test_strays_are_sorted_too():
    """Positions outside of the grid, infinite or NaN have a place in the order."""
    scene = scenes.block()
    x = torch.full((1, scene.num_particles, 2), float("nan"))
    x[0, 1:4] = torch.tensor([-1e9, 1e9, float("inf")])[:, None]
    order = CellOrder(scene, group_bodies(scene), x).order[0]
    assert sorted(order.tolist()) == list(range(scene.num_particles))


def test_default_is_where_it_pays():
    """On the CPU particles are left in their order; an explicit choice is kept."""
    scene = scenes.block()
    assert scene.build().sort is False
    assert scene.build(sort=True).sort is True
    assert isinstance(scene.build(sort=True).step(scene.build().initial_state()), mpm.State)
