"""Rules of termination: which environments they are for, and which versions of these."""

from __future__ import annotations

import inspect
import math
from typing import Any

import gymnasium
import numpy as np
import pytest

from agents.offline.data import Source, Transitions
from agents.offline.mopo import MOPO
from agents.offline.termination import ASSUMED, COMMON, LEARNT, NEVER, resolve
from tests.agents.offline.models import ROLLOUTS, TINY


@pytest.mark.parametrize(
    "options",
    [
        {"terminate_when_unhealthy": False},
        {"exclude_current_positions_from_observation": False},
        {"healthy_z_range": [0.5, math.inf]},
        {"healthy_angle_range": (-1.0, 1.0)},
        {"healthy_state_range": [-50.0, 50.0]},
    ],
)
def test_arguments_that_change_a_rule(options):
    """Then there is no rule, as of an unknown environment; asked for by name it is taken."""
    assert resolve("auto", "Hopper-v5", False, options) == NEVER
    assert resolve("auto", "Hopper-v5", True, options) == LEARNT
    assert resolve("Hopper", "Hopper-v5", True, options) == "Hopper"


def test_arguments_that_leave_a_rule_as_it_is():
    """Defaults that are spelt out, ranges as JSON has them, and what ends nothing."""
    spelt: dict[str, Any] = COMMON | {k: list(v) for k, v in ASSUMED["Hopper"].items()}
    assert resolve("auto", "Hopper-v5", True, spelt) == "Hopper"
    assert resolve("auto", "Ant-v4", True, {"healthy_reward": 2.0, "size": "small"}) == "Ant"


@pytest.mark.parametrize("version", ["v4", "v5"])
@pytest.mark.parametrize("name", ASSUMED)
def test_what_is_assumed_are_the_environments_defaults(name, version):
    """Every argument about health, as Gymnasium's signature has it."""
    pytest.importorskip("mujoco")
    entry = gymnasium.registry[f"{name}-{version}"].entry_point
    known = inspect.signature(gymnasium.envs.registration.load_env_creator(entry)).parameters
    words = ("healthy_", "terminate_", "exclude_")
    theirs = {k: p.default for k, p in known.items() if k.startswith(words)}
    theirs.pop("healthy_reward", None)
    # The inverted pendulum has none of them at all.
    assert theirs == (ASSUMED[name] | COMMON if theirs else ASSUMED[name])


def test_an_agent_asks_for_the_arguments_of_its_dataset():
    """A Hopper that never falls has no ends in the model."""
    rng = np.random.default_rng(0)
    seen, ends = rng.normal(size=(20, 11)), np.zeros(20, bool)
    source = Source("hops", "Hopper-v5", {"terminate_when_unhealthy": False})
    data = Transitions.from_arrays(seen, np.zeros((20, 3)), ends, seen, ends, source=source)
    assert MOPO(data, **TINY | ROLLOUTS).termination == NEVER
