"""Values over several steps: through states and time limits, and never beyond an end."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from agents.offline.cql import CQL
from agents.offline.data import Transitions
from agents.offline.iql import IQL
from agents.offline.sac import OfflineSAC
from agents.offline.td3bc import TD3BC

GAMMA = 0.5
LIMITED = 3
"""The state in which an episode goes on for ever, but for its time limit."""
VALUES = (1 + GAMMA + GAMMA**2, 1 + GAMMA, 1.0, 1 / (1 - GAMMA))
"""Of the states 0, 1 and 2, the last of them before an end, and of the one without an end."""
TOLERANCE = 0.1
"""Less than half of γ², the least that a step left out, or one too many, changes in a value."""

OPTIONS = {
    "net_arch": (32,),
    "batch_size": 64,
    "learning_rate": 1e-2,
    "gamma": GAMMA,
    "tau": 0.2,
    "seed": 0,
}
SOFT = {"temperature": 0.0, "actor_learning_rate": 1e-3}
"""Without entropy the values are those of the rewards alone."""
AGENTS = {
    "iql": (IQL, {}),
    "td3bc": (TD3BC, {}),
    "sac": (OfflineSAC, SOFT),
    "cql": (CQL, SOFT | {"conservative_weight": 0.0, "num_samples": 1}),
}


def chain(copies: int = 40) -> Transitions:
    """Episodes 0 → 1 → 2 → end, and 3 → 3 cut off by a time limit; each step earns 1.

    Actions are uniform and change nothing. What follows an end is the state of the greatest value,
    so that a value taken from beyond it shows.
    """
    before, after = np.tile([0, 1, 2, LIMITED], copies), np.tile([1, 2, LIMITED, LIMITED], copies)
    states = np.eye(4, dtype=np.float32)
    return Transitions.from_arrays(
        states[before],
        np.random.default_rng(0).uniform(-1.0, 1.0, (len(before), 1)),
        np.ones(len(before)),
        states[after],
        np.tile([False, False, True, False], copies),
        truncated=np.tile([False, False, False, True], copies),
    )


@pytest.mark.parametrize("name", AGENTS)
def test_values_are_discounted_returns(name):
    """Of every state and action of the data, by the critics and where there is one by V."""
    agent, more = AGENTS[name]
    model = agent(chain(), **OPTIONS | more).learn(300)
    batch = model.prepare(model.dataset.at(torch.arange(len(model.dataset))))
    expected = torch.tensor(VALUES).repeat(len(batch.actions) // 4)[:, None]
    with torch.no_grad():
        found = {"Q": model.critic(batch.observations, batch.actions)}
        if name == "iql":
            found["V"] = model.value(batch.observations)
    for values in found.values():
        torch.testing.assert_close(values, expected.expand_as(values), rtol=0, atol=TOLERANCE)
