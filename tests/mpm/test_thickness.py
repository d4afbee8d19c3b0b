"""How thick hard bodies must be: the bounds themselves, and what they are for."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm.thickness import least_thickness
from tests.mpm import scenes, solids

DX = 0.1


def _ball(t: float) -> mpm.Shape:
    return mpm.Sphere((0.5,) * 3, t / 2)


def _rod(t: float) -> mpm.Shape:
    return mpm.Cylinder((0.2, 0.5, 0.5), (0.8, 0.5, 0.5), t / 2)


def _plate(t: float) -> mpm.Shape:
    return mpm.Box((0.5,) * 3, (0.6, t, 0.6))


def _disc(t: float) -> mpm.Shape:
    return mpm.Sphere((0.5,) * 2, t / 2)


def _bar(t: float) -> mpm.Shape:
    return mpm.Box((0.5,) * 2, (0.6, t))


BOUNDS = [
    (_ball, False, math.sqrt(3) - 1),
    (_ball, True, math.sqrt(3) - 1),
    (_rod, True, math.sqrt(2) - 1),
    (_plate, True, 1.0),
    (_plate, False, 0.0),
    (_disc, True, math.sqrt(2) - 1),
    (_bar, True, 1.0),
    (_bar, False, 0.0),
]


@pytest.mark.parametrize(("make", "separating", "cells"), BOUNDS)
def test_bound_is_what_a_lattice_needs(make, separating, cells):
    """Wherever the lattice lies, a body of the least thickness has a node in reach; thinner, not.

    A separating plate has one on either side of its middle.
    """
    least = least_thickness(make(0.05), separating, DX)
    assert least == pytest.approx(cells * DX)
    two_sided = separating and cells == 1.0
    for factor in (1.001, 0.9):
        shape = make(max(factor * least, 1e-6))
        d, always = shape.dim, True
        for shift in np.random.default_rng(0).random((400, d)) ** 2:
            axes = [np.arange(0, 1, DX) + s * DX for s in np.concatenate([shift[:-1], shift[-1:]])]
            nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)
            felt = nodes[shape.sdf(nodes) < DX / 2]
            sides = felt[:, 1] > 0.5
            always &= len(felt) > 0 and (not two_sided or (sides.any() and not sides.all()))
        assert always or factor < 1.0
        if factor < 1.0 and least > 0.0:
            assert not _always_at_worst(shape, two_sided)


def _always_at_worst(shape: mpm.Shape, two_sided: bool) -> bool:
    """Whether the lattices that lie worst, with nodes at half cells about the middle, will do."""
    d, good = shape.dim, True
    for share in (0.5, 1e-9, 1 - 1e-9):
        axes = [0.5 + (np.arange(-8, 8) + share) * DX for _ in range(d)]
        nodes = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, d)
        felt = nodes[shape.sdf(nodes) < DX / 2]
        sides = felt[:, 1] > 0.5
        good &= len(felt) > 0 and (not two_sided or (bool(sides.any()) and not bool(sides.all())))
    return good


@pytest.mark.parametrize("dim", [2, 3])
def test_thin_bodies_are_accepted_or_named(dim):
    """A rod of half a cell and a thin sticky plate will do, a thin separating plate will not."""
    scene = solids.stage(dim, cells=10)
    thin = mpm.Box((0.5,) * dim, scenes.vector(dim, 0.6, 0.05, 0.6))
    scene.add_tool(thin, mode="sticky")
    scene.add_tool(mpm.Sphere((0.3,) * dim, 0.06 if dim == 2 else 0.04))
    with pytest.raises(ConfigurationError, match=r"0\.05 m thick, but must be 0\.1 m.*softness"):
        scene.add_tool(thin)
    scene.add_tool(thin, softness=20.0)
    with pytest.raises(ConfigurationError, match="must be"):
        scene.add_tool(mpm.Sphere((0.7,) * dim, 0.015))


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.75])
@pytest.mark.parametrize("side", [1, -1])
def test_plate_of_a_cell_lets_nothing_through(side, shift):
    """Material thrown at a plate as thin as a cell stays on its side, wherever the lattice is."""
    scene = solids.stage(2, cells=10, substeps=10)
    height = 0.5 + shift * DX
    block = mpm.Box((0.5, height + side * 0.2), (0.3, 0.2))
    scene.add_body(block, scenes.soft(), velocity=(0.0, -2.0 * side))
    scene.add_tool(mpm.Box((0.5, height), (0.9, 1.001 * DX)))
    sim = scene.build(dtype="float64")
    state, across = sim.initial_state(), torch.zeros(())
    for _ in range(15):
        state = sim.step(state)
        across = torch.minimum(across, (side * (state.x[..., 1] - height)).min())
    assert float(across) >= 0.0
    assert float(side * state.impulse.new_tensor(side) * state.v[..., 1].mean()) * side > -2.0
