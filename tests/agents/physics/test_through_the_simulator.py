"""Windows through the simulator itself: right gradients, faults, and the memory they take."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import simenv
from agents.physics.shac import SHAC
from agents.physics.values import window_return
from agents.physics.windows import Drawn, Stage

WALKER = "simenv/SoftWalker2D-v0"
TINY = {"net_arch": (8,), "critic_arch": (8,), "normalize": False, "seed": 0}
GIGABYTE = 2**30


class Bytes:
    """Counts the memory that a graph keeps, each storage once."""

    def __init__(self) -> None:
        self.storages: dict[int, int] = {}

    def pack(self, tensor: torch.Tensor) -> torch.Tensor:
        """Note a tensor that is saved for backward."""
        storage = tensor.untyped_storage()
        self.storages[storage.data_ptr()] = storage.nbytes()
        return tensor

    def total(self) -> int:
        """Of all."""
        return sum(self.storages.values())


def test_gradients_of_a_rollout_by_the_policys_weights():
    """Those of what a window of five steps earns, against central differences in float64.

    With an error of 1e-15 in a gain of order 0.1 and steps of 1e-6, differences are good to 1e-10
    over slopes of 1e-4 or so that the weights have; the curvature adds 1e-12.
    """
    functional = simenv.functional(WALKER, num_envs=2, dtype="float64")
    model = SHAC(functional, window=5, **TINY)
    for module in (model.actor, model.value, model.target):
        module.double()
    start = model.stage.get_state()

    def gain() -> torch.Tensor:
        model.stage.set_state(start)
        torch.manual_seed(3)
        window = model.stage.window(model.draw, 5)
        return window_return(window, window.rewards, model.bootstrap(window.after), model.gamma)

    parameters = list(model.actor.parameters())
    slopes = torch.autograd.grad(gain(), parameters)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        ways = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
        along = sum(float((s * w).sum()) for s, w in zip(slopes, ways, strict=True))
        with torch.no_grad():
            ends = []
            for sign in (1.0, -1.0):
                for p, way in zip(parameters, ways, strict=True):
                    p += sign * 1e-6 * way
                ends.append(float(gain()))
                for p, way in zip(parameters, ways, strict=True):
                    p -= sign * 1e-6 * way
        assert along == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-3)
        assert abs(along) > 1e-3


def test_two_thousand_steps_fit_in_a_gigabyte():
    """What the graph of 50 steps keeps grows by so much a step that 2,000 take less than 1 GB."""
    functional = simenv.functional(WALKER, num_envs=1)
    policy = SHAC(functional, **TINY).draw
    kept = []
    for steps in (10, 50):
        counter = Bytes()
        with torch.autograd.graph.saved_tensors_hooks(counter.pack, lambda t: t):
            window = Stage(functional).window(policy, steps)
        assert window.rewards.requires_grad
        kept.append(counter.total())
    each = (kept[1] - kept[0]) / 40
    assert 0 < kept[0] + 1990 * each < GIGABYTE


def test_an_environment_that_breaks_does_not_spoil_the_others():
    """An action that is not a number ends one episode; gradients of the others stay finite."""
    functional = simenv.functional(WALKER, num_envs=3)
    stage = Stage(functional)
    bias = torch.zeros(3, 4, requires_grad=True)

    policy = lambda seen: Drawn(torch.tanh(bias), torch.zeros(3))  # noqa: E731
    poison = stage.state.v.clone()
    poison[1] = torch.nan
    stage.state = stage.state.replace(v=poison)
    window = stage.window(policy, 3)
    assert window.terminated[0].tolist() == [False, True, False]
    assert window.rewards[0, 1] == 0.0
    assert bool(torch.isfinite(window.rewards).all())
    window.rewards[:, [0, 2]].sum().backward()
    assert bool(torch.isfinite(bias.grad[[0, 2]]).all())
    assert np.abs(bias.grad[[0, 2]].numpy()).max() > 0
