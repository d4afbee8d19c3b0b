"""Windows through the simulator itself: right gradients, faults, and the memory they take."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch

import simenv
from agents.demonstrations import demonstrate
from agents.physics.ild import ILD
from agents.physics.shac import SHAC
from agents.physics.values import window_return
from agents.physics.windows import Drawn, Stage
from agents.schemes import Schemes
from agents.trajopt import make_policy, rollout

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


# ------------------------------------------------------------------ gradients


@pytest.fixture(scope="module")
def walker():
    """The small walker in float64."""
    return simenv.functional(WALKER, num_envs=1, dtype="float64")


def check_slopes(parameters: Sequence[torch.Tensor], gain: Callable[[], torch.Tensor]) -> None:
    """Slopes along three random ways are those of central differences.

    Over an episode a gain of order 1 is good to some 1e-13; with steps of 1e-7 differences are
    good to 1e-6, of slopes of 0.02 or more to 1e-4. Longer steps go across kinks: at 1e-6 a
    particle comes into contact, and differences are off by 1 %.
    """
    slopes = torch.autograd.grad(gain(), parameters)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        ways = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
        along = sum(float((s * w).sum()) for s, w in zip(slopes, ways, strict=True))
        ends = [_moved(parameters, ways, sign * 1e-7, gain) for sign in (1.0, -1.0)]
        assert abs(along) > 0.02
        assert along == pytest.approx((ends[0] - ends[1]) / 2e-7, rel=1e-4)


@torch.no_grad()
def _moved(
    parameters: Sequence[torch.Tensor],
    ways: Sequence[torch.Tensor],
    by: float,
    gain: Callable[[], torch.Tensor],
) -> float:
    before = [p.clone() for p in parameters]
    for p, way in zip(parameters, ways, strict=True):
        p += by * way
    found = float(gain())
    for p, kept in zip(parameters, before, strict=True):
        p.copy_(kept)
    return found


@pytest.mark.parametrize("steps", [5, 80])
def test_gradients_of_a_window_by_the_policys_weights(walker, steps):
    """SHAC's, of a few steps and of a whole episode."""
    model = SHAC(walker, window=steps, **TINY)
    for module in (model.actor, model.value, model.target):
        module.double()
    start = model.stage.get_state()

    def gain() -> torch.Tensor:
        model.stage.set_state(start)
        torch.manual_seed(3)
        window = model.stage.window(model.draw, steps)
        return window_return(window, window.rewards, model.bootstrap(window.after), model.gamma)

    check_slopes(list(model.actor.parameters()), gain)


def test_gradients_of_an_imitation_by_the_policys_weights(walker):
    """ILD's loss of a whole episode, without truncation or bounds."""
    still = torch.zeros(1, walker.task.num_actions, dtype=torch.float64)
    shown = demonstrate(walker, lambda state, t: still, 0, WALKER)
    free = {"truncation": 0, "clip_adjoint": 0.0, "clip_action": 0.0, "warmup": 0}
    model = ILD(walker, demonstration=shown, net_arch=(8,), normalize=False, seed=0, **free)
    model.actor.double()
    start = model.stage.get_state()

    def loss() -> torch.Tensor:
        model.stage.set_state(start)
        torch.manual_seed(3)
        episode = model.stage.play(model.draw, model._matching, walker.task.horizon)
        return model.weigh(model.distances(episode), episode).mean()

    check_slopes(list(model.actor.parameters()), loss)


def test_gradients_of_an_episode_by_a_gaits_parameters(walker):
    """Those of trajectory optimisation."""
    policy = make_policy("gait", walker.task, 1, 0).double()
    start = walker.initial(0)
    gain = lambda: rollout(walker, policy, start, schemes=Schemes(window=0)).rewards.sum()  # noqa: E731
    check_slopes(list(policy.parameters()), gain)


# ------------------------------------------------------------------ memory


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


@pytest.mark.slow
@pytest.mark.parametrize("way", ["window", "imitation", "optimisation"])
def test_two_thousand_steps_and_back_in_a_gigabyte(way):
    """What the process holds at most, its kernels and libraries taken off, in one of its own."""
    found = subprocess.run(
        [sys.executable, "-m", "tests.agents.physics.long_rollout", way],
        capture_output=True,
        text=True,
        check=True,
    )
    assert 0 < int(found.stdout) < GIGABYTE


# ------------------------------------------------------------------ faults


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
