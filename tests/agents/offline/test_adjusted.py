"""Policies whose actions are adjusted: left alone, moved, one observation or many."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium import spaces

from agents.offline.cdsa import CDSA
from agents.offline.data import Transitions
from tests.agents.offline.policies import TINY, Policy
from tests.agents.offline.sets import bandit


def test_steps_of_zero_return_the_policys_actions_bit_by_bit():
    """Even where they are beyond the bounds, negative zeros, or of another type."""
    given = np.array([[-0.0], [1e-30], [0.1], [3.0]], np.float64)
    adjusted = CDSA(bandit(40), **TINY).wrap(Policy(lambda seen: given), 0.0, 0.0)
    actions, after = adjusted.predict(np.zeros((4, 1)), "before", "start", False)
    assert actions.tobytes() == given.tobytes()
    assert actions.dtype == np.float64
    assert after == ("before", "start", False)


def test_actions_are_moved_along_the_directions():
    """In the units of the environment, each step with its own size, up to the bounds."""
    space = spaces.Box(np.float32([-3.0]), np.float32([5.0]))
    raw = bandit(40)
    data = Transitions.from_arrays(
        raw.observations,
        1 + 4 * raw.actions,
        np.zeros(40),
        raw.observations,
        np.ones(40),
        action_space=space,
    )
    model = CDSA(data, **TINY)
    asked = []
    ways = (torch.full((2, 1), 0.1), torch.full((2, 1), 0.01))
    model.directions = lambda s, a: asked.append((s, a)) or ways
    policy = Policy(lambda seen: np.float32([[1.0], [4.9]]))
    observations = np.float32([[0.5], [-0.5]])
    actions, _ = model.wrap(policy, action_step=2.0, state_step=3.0).predict(observations)
    # 2 · .1 + 3 · .01 of half the range, which is 4.
    np.testing.assert_allclose(actions, [[1.92], [5.0]], rtol=1e-6)
    assert actions.dtype == np.float32
    torch.testing.assert_close(asked[0][0], model.normalizer(torch.tensor(observations)))
    torch.testing.assert_close(asked[0][1], torch.tensor([[0.0], [0.975]]))


def test_one_observation_or_many():
    """The same action."""
    policy = Policy(lambda seen: 0.5 * np.ones_like(seen, np.float32))
    adjusted = CDSA(bandit(40), **TINY).wrap(policy)
    many, one = adjusted.predict(np.float32([[0.1], [0.2]]))[0], adjusted.predict([0.2])[0]
    assert (many.shape, one.shape) == ((2, 1), (1,))
    np.testing.assert_allclose(one, many[1], rtol=1e-6)


def test_a_policy_of_stable_baselines3():
    """Anything with `predict` will do."""
    from stable_baselines3 import SAC

    policy = SAC("MlpPolicy", "Pendulum-v1", seed=0)
    rng = np.random.default_rng(0)
    data = Transitions.from_arrays(
        rng.standard_normal((40, 3)),
        rng.uniform(-2, 2, (40, 1)),
        np.zeros(40),
        rng.standard_normal((40, 3)),
        np.zeros(40, bool),
        action_space=policy.action_space,
    )
    model = CDSA(data, **TINY, policy=policy).learn(2)
    plain, moved = (p.predict(np.zeros((2, 3)), deterministic=True)[0] for p in (policy, model))
    assert moved.shape == plain.shape
    assert policy.action_space.contains(moved[0])
