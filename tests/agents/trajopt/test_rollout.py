"""Rollouts: rewards, truncated gradients, adjoint norms clipped and watched."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import simenv
from agents.physics.adjoints import Watch, gate
from agents.schemes import Schemes
from agents.trajopt.rollout import rollout
from tests.agents.toy import DIM, Toy

WALKER = "simenv/SoftWalker2D-v0"
T, WINDOW = 6, 3


def replay(actions):
    """A controller that plays actions (T, N, A)."""
    return lambda observation, t: actions[t]


@pytest.fixture(scope="module")
def walker():
    """Two soft walkers."""
    return simenv.functional(WALKER, num_envs=2)


def draw(functional, steps: int = T) -> torch.Tensor:
    """Small random actions (steps, N, A) that ask for gradients."""
    generator = torch.Generator().manual_seed(0)
    shape = (steps, functional.num_envs, functional.task.num_actions)
    return (0.5 * torch.randn(shape, generator=generator)).requires_grad_()


def slopes(functional, step: int, window: int) -> torch.Tensor:
    """Gradient of the rewards of one step by all actions (T, N, A)."""
    actions = draw(functional)
    schemes = Schemes(window=window)
    run = rollout(functional, replay(actions), functional.initial(0), schemes=schemes, steps=T)
    return torch.autograd.grad(run.rewards[step].sum(), actions)[0]


def test_rewards_and_final_state(walker):
    """A rollout is the transitions and rewards one after another, over the task's horizon."""
    actions = draw(walker)
    run = rollout(walker, replay(actions), walker.initial(0), steps=T)
    state = walker.initial(0)
    for t in range(T):
        after = walker.transition(state, actions[t])
        assert torch.equal(run.rewards[t], walker.reward(state, actions[t], after))
        state = after
    assert torch.equal(run.final.x, state.x)
    toy = Toy(horizon=7)
    assert rollout(toy, replay(torch.zeros(7, 2, DIM)), toy.initial()).rewards.shape == (7, 2)


def test_controller_sees_observation_and_step():
    """The controller gets the observation of the present state and counts steps from zero."""
    toy, seen = Toy(), []

    def act(observation, t):
        seen.append((t, observation))
        return torch.ones(2, DIM)

    rollout(toy, act, toy.initial())
    assert [t for t, _ in seen] == list(range(6))
    # Pushed by one each step: velocity t, position t (t + 1) / 2.
    assert seen[3][1][0].tolist() == [6.0, 6.0, 3.0, 3.0]


def test_success_at_any_step():
    """Passing through the goal counts, although the episode ends elsewhere."""
    toy = Toy()
    actions = torch.zeros(6, 2, DIM)
    actions[0, 0] = torch.tensor(toy.goal)  # environment 0 flies through the goal
    run = rollout(toy, replay(actions), toy.initial())
    assert run.success.tolist() == [True, False]
    assert not toy.success(run.final).any()


@pytest.mark.parametrize("make", [lambda w: Toy(horizon=T), lambda w: w], ids=["toy", "walker"])
@pytest.mark.parametrize("step", [WINDOW - 1, WINDOW, T - 1])
def test_window_cuts_gradients(walker, make, step):
    """Within its window a reward has its full gradient, and none by the actions before."""
    functional = make(walker)
    full, cut = slopes(functional, step, 0), slopes(functional, step, WINDOW)
    begin = step // WINDOW * WINDOW
    assert torch.equal(cut[begin:], full[begin:])
    assert (cut[:begin] == 0).all()
    # The cut took something away: without it these gradients are there.
    assert (full[: step + 1].abs().sum(dim=(1, 2)) > 0).all()


def expected_slopes(weights, clip: float) -> np.ndarray:
    """Gradient of all rewards by the actions (T, N, DIM) of a `Toy`, by its adjoint recursion."""
    n = len(weights)
    x, v, slopes = np.zeros((n, DIM)), np.zeros((n, DIM)), []
    for t in reversed(range(T)):
        x = x + np.asarray(weights)[:, None]
        v = v + x
        slopes.append(v)
        if clip and t > 0:
            norm = np.sqrt((x**2).sum(axis=1) + (v**2).sum(axis=1))[:, None]
            scale = np.minimum(1.0, clip / norm)
            x, v = x * scale, v * scale
    return np.stack(slopes[::-1])


@pytest.mark.parametrize("clip", [0.0, 5.0])
def test_clip_bounds_each_environment(clip):
    """Adjoint norms are clipped step by step and environment by environment."""
    # Weight 0.01 stays below the bound, weight 1 exceeds it, weight 100 by far.
    weights = (0.01, 1.0, 100.0)
    toy = Toy(num_envs=3, horizon=T, weights=weights)
    actions = draw(toy)
    run = rollout(toy, replay(actions), toy.initial(), schemes=Schemes(window=0, clip=clip))
    run.rewards.sum().backward()
    # float32, sums of a few dozen terms.
    np.testing.assert_allclose(actions.grad, expected_slopes(weights, clip), rtol=1e-5)
    assert run.watch.first_bad_step is None
    clipped = np.abs(expected_slopes(weights, 5.0) / expected_slopes(weights, 0.0) - 1) > 0.1
    assert clipped[0].all(axis=1).tolist() == [False, True, True]


def test_adjoints_of_actions_are_bounded_and_normalised():
    """Slopes above the bound come down to it; normalised, smaller ones come up to it."""
    toy = Toy(num_envs=3, horizon=T, weights=(0.01, 1.0, 100.0))
    norms = []
    for schemes in ({}, {"clip_action": 0.1}, {"clip_action": 0.1, "normalize": True}):
        actions = draw(toy)
        run = rollout(toy, replay(actions), toy.initial(), schemes=Schemes(window=0, **schemes))
        run.rewards.sum().backward()
        norms.append(actions.grad.norm(dim=-1))
    free, bounded, normal = norms
    assert (free > 0.1).any()
    assert (free < 0.1).any()
    torch.testing.assert_close(bounded, free.clamp(max=0.1))
    torch.testing.assert_close(normal, torch.full_like(free, 0.1))


def test_clip_on_the_walker(walker):
    """A bound above every norm changes nothing; a tiny one leaves each step its own reward."""
    gradients = []
    for clip in (0.0, 1e9, 1e-9):
        actions = draw(walker)
        run = rollout(
            walker,
            replay(actions),
            walker.initial(0),
            schemes=Schemes(window=0, clip=clip),
            steps=T,
        )
        run.rewards.sum().backward()
        gradients.append(actions.grad)
    assert torch.equal(gradients[0], gradients[1])
    own = torch.stack([slopes(walker, t, 0)[t] for t in range(T)])
    # What still comes from later steps is 1e-9 times the norm of d state / d action, below 1e4.
    torch.testing.assert_close(gradients[2], own, rtol=1e-5, atol=1e-5)
    assert float((gradients[0] - own)[:-1].norm()) > 0.1 * float(own.norm())


@pytest.mark.parametrize("bad", [1, 4])
@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_first_bad_step_is_reported(bad, clip):
    """The step at which backward meets a gradient that is not finite is kept, and it stays so."""
    toy = Toy(bad_step=bad)
    actions = draw(toy)
    run = rollout(toy, replay(actions), toy.initial(), schemes=Schemes(window=0, clip=clip))
    assert run.watch.first_bad_step is None
    run.rewards.sum().backward()
    assert run.watch.first_bad_step == bad
    # Never silently zeroed: everything before the bad step is marked.
    assert torch.isnan(actions.grad[: bad + 1, 0]).all()
    assert torch.isfinite(actions.grad[bad + 1 :, 0]).all()
    assert torch.isfinite(actions.grad[:, 1]).all()


def test_huge_adjoints_are_clipped_not_lost():
    """A norm whose square exceeds float32 still scales to the bound instead of to zero."""
    x = torch.ones(2, 3, requires_grad=True)
    (gated,) = gate(Watch(clip=1.0), 0, 1.0, x)
    (1e25 * gated).sum().backward()
    torch.testing.assert_close(x.grad.norm(dim=1), torch.ones(2))
