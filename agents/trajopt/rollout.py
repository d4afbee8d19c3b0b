"""Differentiable rollouts with truncation and adjoint-norm clipping."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from agents.schemes import Schemes
from agents.trajopt.objective import gain
from simenv.envs.functional import Functional
from simenv.mpm import State
from simenv.mpm.fields import NAMES

Controller = Callable[[Tensor, int], Tensor]


@dataclass
class Watch:
    """Sees every adjoint state on its way back.

    Attributes:
        clip: bound on the norm of an environment's adjoint state; 0 leaves it.
        first_bad_step: last step of the rollout whose state or action had an adjoint that was not
            finite (the first one that backward meets), or None.
    """

    clip: float = 0.0
    first_bad_step: int | None = None


@dataclass(frozen=True)
class Rollout:
    """T steps of N environments.

    Attributes:
        rewards: (T, N), with the graph behind them as far as the loss window reaches.
        gains: (W, N), what each step of the loss window adds to the objective.
        final: state after the last step.
        success: reached at any step, bool (N,).
        watch: what was seen of the adjoints, once backward has run.
    """

    rewards: Tensor
    gains: Tensor
    final: State
    success: Tensor
    watch: Watch = field(default_factory=Watch)


class _Gate(torch.autograd.Function):
    """Identity whose backward clips the norm of each environment's adjoint over all fields."""

    @staticmethod
    def forward(ctx: Any, watch: Watch, t: int, clip: float, *fields: Tensor) -> tuple[Tensor, ...]:
        ctx.watch, ctx.t, ctx.clip = watch, t, clip
        return tuple(f.view_as(f) for f in fields)

    @staticmethod
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        # In float64, where the square of no float32 overflows.
        squares = torch.stack([bar.flatten(1).double().square().sum(dim=1) for bar in bars])
        norm = torch.sqrt(squares.sum(dim=0))
        if ctx.watch.first_bad_step is None and not bool(torch.isfinite(norm).all()):
            ctx.watch.first_bad_step = ctx.t
        if ctx.clip > 0.0:
            scale = torch.clamp(ctx.clip / torch.clamp(norm, min=1e-30), max=1.0)
            bars = tuple(
                bar * scale.to(bar.dtype).reshape(-1, *[1] * (bar.ndim - 1)) for bar in bars
            )
        return (None, None, None, *bars)


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
    watch, state, rewards, gains = Watch(schemes.clip), start, [], []
    success = torch.zeros(start.num_envs, dtype=torch.bool, device=start.x.device)
    alive, total = ~success, steps or functional.task.horizon
    counted = total if loss_window is None else min(loss_window, total)
    graph = torch.is_grad_enabled()
    for t in range(total):
        with torch.set_grad_enabled(graph and t < counted):
            cut = schemes.window and t % schemes.window == 0
            state = _gated(state.detach() if cut else state, watch, t)
            # Watched, not clipped: a step's own gradient is wanted whole.
            (action,) = gate(watch, t, 0.0, controller(functional.task.features(state), t))
            action = action.detach() if t < frozen else action
            after = functional.transition(state, action)
            reward = functional.reward(state, action, after)
            rewards.append(torch.where(alive, reward, 0.0))
            if t < counted:
                value = gain(schemes, functional.task, reward, after)
                gains.append(torch.where(alive, value, 0.0))
        success |= alive & functional.success(after.detach())
        alive = alive & ~functional.terminal(after.detach())
        state = after
    return Rollout(torch.stack(rewards), torch.stack(gains), state, success, watch)


def _gated(state: State, watch: Watch, t: int) -> State:
    moving = {name: getattr(state, name) for name in NAMES}
    gated = gate(watch, t, watch.clip, *moving.values())
    return state.replace(**dict(zip(moving, gated, strict=True)))


def gate(watch: Watch, t: int, clip: float, *fields: Tensor) -> tuple[Tensor, ...]:
    """The same tensors; on the way back their joint adjoint is watched and clipped per row."""
    if not any(field.requires_grad for field in fields):
        return fields
    gated: tuple[Tensor, ...] = _Gate.apply(watch, t, clip, *fields)
    return gated
