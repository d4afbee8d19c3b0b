"""Free rigid bodies and tools as parts of a simulation: state, motion, faults."""

from __future__ import annotations

import pytest
import torch

from simenv import mpm
from tests.mpm import solids


def _toolbox(dim: int, num_envs: int, dtype: str = "float64") -> mpm.Simulator:
    """A tool and a free body, apart from each other, with nothing to touch."""
    scene = solids.bare(dim)
    scene.add_tool(mpm.Sphere((0.3,) * dim, 0.1), name="tool")
    scene.add_rigid(mpm.Sphere((0.7,) * dim, 0.1), density=solids.DENSITY, name="free")
    return scene.build(num_envs, dtype=dtype, threads=1)


# ---------------------------------------------------------------------- state


@pytest.mark.parametrize("dim", [2, 3])
def test_start_can_replace_any_state(dim):
    """Environments put back to the start, impulses and all, as after the end of an episode."""
    sim = _toolbox(dim, 2)
    start = sim.initial_state()
    end = sim.step(start)
    assert start.impulse.shape == end.impulse.shape == start.twist.shape
    assert not start.impulse.any()
    mixed = start.where(torch.tensor([True, False]), end)
    for name, tensor in mixed.items():
        assert torch.equal(tensor[0], getattr(start, name)[0])
        assert torch.equal(tensor[1], getattr(end, name)[1])


# ---------------------------------------------------------------------- faults


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dim", [2, 3])
def test_bad_command_keeps_the_last_good_state(dim, value):
    """A command that is no number undoes the step, twist included; others go on bitwise alike."""
    sim = _toolbox(dim, 2)
    start = sim.initial_state()
    good = solids.commanded(solids.twist(dim, (0.1, 0.2, 0.3), 1.0), num_envs=2)
    start = sim.step(start, good)
    bad = good.tools.clone()
    bad[1, 0, 1] = value
    clean, broken = sim.step(start, good), sim.step(start, mpm.Control(tools=bad))
    assert broken.failed.tolist() == [False, True]
    for name, tensor in broken.items():
        if name not in ("fault", "impulse"):
            assert torch.equal(tensor[1], getattr(start, name)[1]), name
        assert torch.equal(tensor[0], getattr(clean, name)[0]), name
    assert not broken.impulse[1].any()


@pytest.mark.parametrize("dim", [2, 3])
def test_bad_command_has_no_gradient(dim):
    """Where the step was undone its command has no gradient, and the state's passes unchanged."""
    sim = _toolbox(dim, 2)
    start = sim.initial_state().requires_grad_()
    tools = solids.commanded(solids.twist(dim, (0.1, 0.2, 0.3)), num_envs=2).tools.clone()
    tools[1, 0, 0] = float("nan")
    tools.requires_grad_()
    end = sim.step(start, mpm.Control(tools=tools))
    (end.pose.sum() + 2 * end.twist.sum()).backward()
    assert not tools.grad[1].any()
    assert bool((tools.grad[0, 0, :dim] != 0).all())
    assert torch.equal(start.pose.grad[1], torch.ones_like(start.pose[1]))
    assert torch.equal(start.twist.grad[1], torch.full_like(start.twist[1], 2.0))
