"""A vector environment's state: given to another, that one does the same, to the last bit."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from simenv.envs import VectorEnv
from simenv.errors import ShapeError

FINGER = "tasks.reaching:FingerReach2D"
N, HORIZON = 3, 4


def make(mode="NextStep", task=FINGER, n=N, **options) -> VectorEnv:
    """Environments of short episodes."""
    return VectorEnv(task, n, max_episode_steps=HORIZON, autoreset_mode=mode, threads=1, **options)


def play(envs: VectorEnv, steps: int, seed: int) -> list:
    """What some random actions lead to; finished environments are reset by mask where needed."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(steps):
        observation, reward, terminated, truncated, _ = envs.step(rng.uniform(-1, 1, (N, 2)))
        seen.append((observation, reward, truncated))
        done = terminated | truncated
        if envs.mode.value == "Disabled" and done.any():
            seen.append((envs.reset(options={"reset_mask": done})[0],))
    return seen


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
@pytest.mark.parametrize("done", [0, 2, 4, 5])
def test_another_goes_on_alike(mode, done):
    """Within, at and beyond the end of an episode; restarts draw the same starts and goals."""
    one, other = make(mode), make(mode)
    one.reset(seed=3, options={"material": True})
    other.reset(seed=8)
    play(one, done, 0)
    play(other, 3, 1)
    other.set_state(one.get_state())
    for mine, theirs in zip(play(one, 7, 2), play(other, 7, 2), strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))


def test_the_state_is_a_copy_in_time():
    """Steps after `get_state` do not change what it gave."""
    envs = make()
    envs.reset(seed=3)
    state = envs.get_state()
    first = play(envs, 3, 0)
    envs.set_state(state)
    again = play(envs, 3, 0)
    assert all(np.array_equal(a[0], b[0]) for a, b in zip(first, again, strict=True))


def test_others_are_refused():
    """The state of another number of environments, or of another task, is refused by its shape."""
    envs, fewer = make(), make(n=2)
    walker = VectorEnv("tasks.locomotion:SoftWalker2D", N, threads=1)
    for env in (envs, fewer, walker):
        env.reset(seed=0)
    for other in (fewer, walker):
        with pytest.raises(ShapeError, match=r"saved x has shape .*, expected \(3, 300, 2"):
            envs.set_state(other.get_state())


def test_tensors_of_the_state_may_come_from_elsewhere():
    """A state in float64, or as it comes from a file, is taken in the environment's own type."""
    envs = make()
    envs.reset(seed=3)
    state = envs.get_state()
    tensors = {
        k: t.double() if t.is_floating_point() else t for k, t in state["episodes"]["state"].items()
    }
    first = play(envs, 2, 0)
    envs.set_state({**state, "episodes": {**state["episodes"], "state": tensors}})
    assert envs._episodes.state.x.dtype == torch.float32
    assert np.array_equal(play(envs, 2, 0)[-1][0], first[-1][0])
