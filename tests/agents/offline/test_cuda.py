"""Every agent that learns from a dataset on a GPU: learning, saving, loading, going on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from agents.algorithms import ALGORITHMS
from agents.offline.data import Transitions
from agents.offline.guardian import Guardian
from agents.offline.rollouts import RolloutBuffer
from tests.agents.offline.models import ROLLOUTS, TINY
from tests.agents.offline.systems import linear

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")

PLAIN: dict[str, Any] = {name: TINY[name] for name in ("net_arch", "batch_size", "seed")}
SAMPLED = {"num_samples": 2}
TRANSDUCED = {"transduction_arch": (8,), "rank": 2}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "bc": ("bc", PLAIN),
    "td3bc": ("td3bc", PLAIN),
    "iql": ("iql", PLAIN),
    "odice": ("odice", PLAIN | {"actor_arch": (8,)}),
    "cql": ("cql", PLAIN | SAMPLED),
    "cql-lagrange": ("cql", PLAIN | SAMPLED | {"lagrange_threshold": 1.0}),
    "cdsa": ("cdsa", PLAIN),
    "mopo": ("mopo", TINY | ROLLOUTS),
    "mobile": ("mobile", TINY | ROLLOUTS | {"penalty_samples": 2}),
    "ogsrl": (
        "ogsrl",
        TINY
        | {"rollouts": 6, "rollout_length": 4, "guardian_points": 100, "clone_steps": 3}
        | {"cost_limit": 2.0, "horizon": 10},
    ),
    "cocoa-cql": ("cocoa", TINY | TRANSDUCED | SAMPLED | {"base": "cql"}),
    "cocoa-iql": ("cocoa", TINY | TRANSDUCED | {"base": "iql"}),
    "cocoa-mopo": ("cocoa", TINY | TRANSDUCED | ROLLOUTS | {"base": "mopo"}),
    "cocoa-mobile": ("cocoa", TINY | TRANSDUCED | ROLLOUTS | {"base": "mobile"}),
}
"""Algorithms with options by which two updates take a moment."""


DEVICES = ("cpu", pytest.param("cuda", marks=needs_gpu))
"""On the CPU the same is cheap, and keeps these tests in order where there is no GPU."""


class Still:
    """A policy of zeros, for the agent that adjusts another one's actions."""

    def predict(self, seen, state=None, episode_start=None, deterministic=True):
        """Actions (B, 1) and the state."""
        return np.zeros((len(seen), 1), np.float32), state


def devices(model: Any) -> set[str]:
    """Where everything lies that is learnt or saved."""
    values = list(vars(model).values())
    for value in values[:]:
        if isinstance(value, nn.Module):
            values += [*value.parameters(), *value.buffers()]
        elif isinstance(value, Guardian | RolloutBuffer):
            values += vars(value).values()
    found = {value.device.type for value in values if torch.is_tensor(value)}
    return found | {model.device.type, model.dataset.device.type}


@pytest.mark.parametrize(
    ("name", "owner", "tensor"),
    [
        ("ogsrl", "guardian", "centres"),
        ("ogsrl", "guardian", "low"),
        ("ogsrl", "guardian", "width"),
        ("mopo", "rollouts", "rows"),
    ],
)
def test_a_tensor_elsewhere_is_seen(name, owner, tensor):
    """Also one that belongs neither to the agent nor to a network of it."""
    algorithm, options = CASES[name]
    model = ALGORITHMS[algorithm].load()(linear(300, costs=True, narrow=True), **options)
    assert devices(model) == {"cpu"}
    setattr(getattr(model, owner), tensor, torch.zeros(1, device="meta"))
    assert devices(model) == {"cpu", "meta"}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("name", CASES)
def test_learning_saving_and_going_on(name, device, tmp_path):
    """Two updates, all on the device; the agent that was saved acts the same and goes on."""
    algorithm, options = CASES[name]
    agent = ALGORITHMS[algorithm].load()
    data = linear(300, costs=True, narrow=True, device=device)
    policy = {"policy": Still()} if algorithm == "cdsa" else {}
    model = agent(data, **options, **policy, device=device).learn(2)
    assert devices(model) == {device}
    model.save(tmp_path / "model")
    model.save_checkpoint(tmp_path / "checkpoint")
    loaded = agent.load(tmp_path / "model", device=device, dataset=data, **policy)
    grid = np.linspace(-1.0, 1.0, 10, dtype=np.float32).reshape(5, 2)
    # Actions of size 1 in float32, by the same kernels.
    np.testing.assert_allclose(loaded.predict(grid)[0], model.predict(grid)[0], atol=1e-6)
    again = agent(data, **options, **policy, device=device)
    again.load_checkpoint(tmp_path / "checkpoint")
    for other in (loaded, again):
        assert devices(other.learn(1)) == {device}
    assert (loaded.num_timesteps, again.num_timesteps) == (1, 3)


@pytest.mark.parametrize("device", DEVICES)
def test_transitions_from_tensors(device):
    """Tensors of a device, even such as have a gradient, become the same transitions as arrays."""
    rows = torch.linspace(-1.0, 1.0, 8, device=device, requires_grad=True).reshape(4, 2)
    ends = torch.tensor([False, True, False, False], device=device)
    given = (rows, rows[:, :1], rows[:, 0], 2 * rows, ends)
    options = {"truncated": ends.flip(0), "costs": rows[:, 1]}
    found = Transitions.from_arrays(*given, **options, device=device)
    plain = [x.detach().cpu().numpy() for x in (*given, *options.values())]
    expected = Transitions.from_arrays(*plain[:5], truncated=plain[5], costs=plain[6])
    assert found.device.type == device
    assert found.digest() == expected.digest()
