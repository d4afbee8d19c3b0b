"""Differentiable rollouts with truncation and adjoint-norm clipping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from agents.physics.adjoints import Watch
from agents.schemes import Schemes
from agents.trajopt.objective import gain
from simenv.envs.functional import Functional
from simenv.mpm import State

Controller = Callable[[Tensor, int], Tensor]


@dataclass(frozen=True)
class Rollout:
    """T steps of N environments.

    Attributes:
        rewards: (T, N), with the graph behind them as far as the loss window reaches.
        gains: (W, N), what each step of the loss window adds to the objective.
        final: state after the last step.
        alive: bool (N,), where the task has not ended.
        failed: bool (N,), where a step broke and was undone, which ends the rollout too.
        success: reached at any step, bool (N,).
        watch: what was seen of the adjoints, once backward has run.
    """

    rewards: Tensor
    gains: Tensor
    final: State
    alive: Tensor
    failed: Tensor
    success: Tensor
    watch: Watch = field(default_factory=Watch)


def rollout(
    functional: Functional,
    controller: Controller,
    start: State,
    *,
    schemes: Schemes | None = None,
    loss_window: int | None = None,
    frozen: int = 0,
    steps: int | None = None,
) -> Rollout:
    """Run a controller from a start state, keeping the graph; nothing counts after a task's end.

    Args:
        functional: the task.
        controller: (observation (N, O), t) -> action (N, A).
        start: N start states.
        schemes: truncation, clipping and what is gained by a step; default: neither, the reward.
        loss_window: steps that keep a graph; default all.
        frozen: steps at the beginning whose actions get no gradient.
        steps: T; default the task's horizon.
    """
    schemes = schemes or Schemes(window=0)
    watch = Watch(schemes.clip, schemes.clip_action, schemes.normalize)
    state, rewards, gains = start, [], []
    success = torch.zeros(start.num_envs, dtype=torch.bool, device=start.x.device)
    alive, failed, total = ~success, success, steps or functional.task.horizon
    counted = total if loss_window is None else min(loss_window, total)
    graph = torch.is_grad_enabled()
    for t in range(total):
        with torch.set_grad_enabled(graph and t < counted):
            cut = schemes.window and t % schemes.window == 0
            state = watch.state(state.detach() if cut else state, t)
            action = watch.action(controller(functional.task.features(state), t), t)
            action = action.detach() if t < frozen else action
            after = functional.transition(state, action)
            reward = functional.reward(state, action, after)
            rewards.append(torch.where(alive, reward, 0.0))
            if t < counted:
                value = gain(schemes, functional.task, reward, after)
                gains.append(torch.where(alive, value, 0.0))
        success = success | alive & functional.success(after.detach())
        failed = failed | (alive & after.failed)
        alive = alive & ~functional.terminal(after.detach()) & ~failed
        state = after
    return Rollout(torch.stack(rewards), torch.stack(gains), state, alive, failed, success, watch)


def one_start(functional: Functional, seed: int) -> State:
    """The start state of a seed, one environment."""
    return functional.initial(seed)[:1]


def repeated(start: State, count: int) -> State:
    """One environment's state for so many."""
    return start[torch.zeros(count, dtype=torch.long, device=start.x.device)]
