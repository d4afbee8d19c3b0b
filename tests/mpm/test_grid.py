"""Grid work near particles alone: what lies elsewhere in the grid is neither read nor paid for."""

from __future__ import annotations

import pytest
import torch

from tests.mpm import scenes


@pytest.mark.parametrize("dim", [2, 3])
def test_rest_of_the_grid_is_never_read(dim):
    """Forward and backward steps give the same bits whatever the grids held before."""
    results = []
    for rubbish in (0.0, float("nan")):
        sim = scenes.block(dim).build(2, dtype="float64")
        torch.manual_seed(0)
        state = scenes.stirred(sim.initial_state()).requires_grad_()
        # A first gradient makes the backward buffers.
        sim.step(state).x.sum().backward()
        state.x.grad = state.F.grad = None
        for grid in (
            sim._buffers.grid,
            sim._runner.adjoint_buffers.velocity,
            sim._runner.adjoint_buffers.grid_bar,
        ):
            grid.fill_(rubbish)
        end = sim.step(state)
        (end.x.sum() + end.F.square().sum()).backward()
        results.append((end.x, end.v, state.x.grad, state.F.grad))
    for clean, dirty in zip(*results, strict=True):
        assert torch.isfinite(clean).all()
        assert torch.equal(clean, dirty)


def test_only_touched_rows_are_worked_on():
    """A cube of 0.25 m over 1 m³ touches its own rows and the stencils' rim, not the rest."""
    sim = scenes.block(3).build(1)
    sim.step(sim.initial_state())
    touched = sim._buffers.rows.reshape(11, 11)
    # Particles lie at 3.25 to 4.75 cells, 4.25 to 5.75 nodes: their nearest three are 3 to 7.
    expected = torch.zeros_like(touched)
    expected[3:8, 3:8] = 1
    assert torch.equal(touched, expected)
