"""The differentiable face: right gradients, the environments' own numbers, batches."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import simenv
from simenv.envs import Functional
from simenv.errors import ShapeError
from tests.envs.support import FACES, OBSERVATION_ATOL, assert_same_state, single

STEPS = 5
N = 2


@pytest.fixture(scope="module", params=FACES)
def exact(request) -> Functional:
    """Two environments in float64."""
    return simenv.functional(request.param, num_envs=N, dtype="float64")


@pytest.fixture(scope="module", params=FACES)
def func(request) -> Functional:
    """Three environments in float32."""
    return simenv.functional(request.param, num_envs=3)


def draw(func: Functional, steps: int = STEPS) -> torch.Tensor:
    """Actions (steps, N, A) well inside the bounds."""
    rng = np.random.default_rng(0)
    shape = (steps, func.num_envs, func.task.num_actions)
    return torch.as_tensor(rng.uniform(-0.8, 0.8, shape), dtype=func.simulator.dtype)


def rewards(func: Functional, actions: torch.Tensor) -> torch.Tensor:
    """Rewards (steps, N) of an action sequence."""
    state, rows = func.initial(seed=3), []
    for action in actions:
        after = func.transition(state, action)
        rows.append(func.reward(state, action, after))
        state = after
    return torch.stack(rows)


@pytest.mark.parametrize("step", [0, STEPS - 1])
def test_gradient_equals_central_differences(exact, step):
    """The gradient of the return by the first and last action is the slope that one measures."""
    actions = draw(exact).requires_grad_()
    rewards(exact, actions).sum().backward()
    gradient = actions.grad[step]
    # The return carries the rounding of positions times 100, 2e-14, which the steps amplify to
    # 1e-13 or so: divided by 2h that is 5e-8 for h = 1e-6. Truncation, h^2 f'''/6, is far below;
    # what keeps h short are the kinks of Coulomb friction, which lie some 1e-4 apart.
    h, tolerance = 1e-6, 1e-6
    for component in range(actions.shape[-1]):
        ends = []
        for sign in (1.0, -1.0):
            moved = actions.detach().clone()
            moved[step, :, component] += sign * h
            with torch.no_grad():
                ends.append(rewards(exact, moved).sum(dim=0))
        slope = (ends[0] - ends[1]) / (2 * h)
        scale = float(gradient.abs().max())
        torch.testing.assert_close(gradient[:, component], slope, rtol=0, atol=tolerance * scale)
    assert (gradient != 0).all()


def test_gradient_stops_at_the_bounds(exact):
    """An action beyond its bound has no influence, and so no gradient."""
    actions = draw(exact)
    actions[0, :, 0] = 1.5
    actions.requires_grad_()
    rewards(exact, actions).sum().backward()
    assert (actions.grad[0, :, 0] == 0).all()
    assert (actions.grad[0, :, 1:] != 0).all()


def test_environments_do_not_mix(exact):
    """The return of one environment has no gradient by the actions of another."""
    actions = draw(exact).requires_grad_()
    rewards(exact, actions)[:, 0].sum().backward()
    assert (actions.grad[:, 1] == 0).all()
    assert (actions.grad[:, 0] != 0).all()


@pytest.mark.parametrize("task_id", FACES)
def test_equals_the_environment(task_id):
    """States, observations and rewards are those of `Env`, to the last bit."""
    func, env = simenv.functional(task_id), single(task_id)
    state = func.initial(seed=3)
    start, _ = env.reset(seed=3)
    np.testing.assert_array_equal(func.observation(state)[0].numpy(), start)
    for action in draw(func):
        after = func.transition(state, action)
        observation, reward, terminated, _, info = env.step(action[0].numpy())
        assert float(func.reward(state, action, after)) == reward
        np.testing.assert_array_equal(func.observation(after)[0].numpy(), observation)
        assert bool(func.terminal(after)) == terminated
        assert bool(func.success(after)) == info["success"]
        state = after


def test_row_of_a_batch_equals_a_single_environment(func):
    """Environment i of seed s is the single environment of seed s + i, to the last bit."""
    actions, state = draw(func), func.initial(seed=3)
    for action in actions:
        state = func.transition(state, action)
    for i in range(func.num_envs):
        lone = Functional(func.task.__module__ + ":" + type(func.task).__name__)
        one = lone.initial(seed=3 + i)
        for action in actions[:, i : i + 1]:
            one = lone.transition(one, action)
        assert_same_state(state[i : i + 1], one)
        torch.testing.assert_close(
            func.observation(state)[i : i + 1],
            lone.observation(one),
            rtol=0,
            atol=OBSERVATION_ATOL,
        )


def test_transition_is_pure(func):
    """The same state and action give the same next state, and the state is left as it was."""
    state, action = func.initial(seed=0), draw(func)[0]
    kept = state.clone()
    first, other = func.transition(state, action), func.transition(state, -action)
    again = func.transition(state, action)
    assert_same_state(first, again)
    assert_same_state(state, kept)
    assert not torch.equal(first.x, other.x)


def test_cost_is_never_negative(func):
    """Costs are one number of at least zero per environment."""
    state, action = func.initial(seed=0), draw(func)[0]
    cost = func.cost(state, action, func.transition(state, action))
    assert cost.shape == (func.num_envs,)
    assert (cost >= 0).all()


def test_wrong_shape_is_named(func):
    """Actions of the wrong shape are refused with expected and actual."""
    state, n, a = func.initial(), func.num_envs, func.task.num_actions
    for wrong in ((n, a + 1), (n + 1, a), (a,)):
        with pytest.raises(ShapeError) as caught:
            func.transition(state, torch.zeros(wrong))
        assert f"shape {wrong}, expected {(n, a)}" in str(caught.value)


def test_start_states_are_their_own():
    """Changing a start state in place does not change the next one."""
    func = simenv.functional("simenv/SoftWalker2D-v0")
    state = func.initial(seed=0)
    for _, tensor in state.items():
        tensor.mul_(2)
    fresh = func.initial(seed=0)
    assert torch.equal(fresh.F, torch.eye(2).expand_as(fresh.F))
    assert int(fresh.time) == 0
