"""What happens to adjoints on their way back through a rollout: watched, clipped, normalised."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from simenv.mpm import State
from simenv.mpm.fields import NAMES

TINY = 1e-30
"""Adjoints whose norm is smaller are left alone."""


@dataclass
class Watch:
    """Sees every adjoint on its way back, and bounds it.

    Attributes:
        clip: bound on the norm of an environment's adjoint state; 0 leaves it.
        clip_action: bound on the norm of an environment's adjoint action; 0 leaves it.
        normalize: bring norms to their bound where they are smaller, too.
        first_bad_step: last step of the rollout whose state or action had an adjoint that was not
            finite (the first one that backward meets), or None.
    """

    clip: float = 0.0
    clip_action: float = 0.0
    normalize: bool = False
    first_bad_step: int | None = None

    def state(self, state: State, t: int) -> State:
        """The same state, whose joint adjoint is watched and bounded per environment."""
        moving = {name: getattr(state, name) for name in NAMES}
        gated = gate(self, t, self.clip, *moving.values())
        return state.replace(**dict(zip(moving, gated, strict=True)))

    def action(self, action: Tensor, t: int) -> Tensor:
        """The same action (N, A), whose adjoint is watched and bounded per environment."""
        return gate(self, t, self.clip_action, action)[0]

    def see(self, norms: Tensor, t: int) -> None:
        """Note the norms (N,) of a step's adjoints."""
        if self.first_bad_step is None and not bool(torch.isfinite(norms).all()):
            self.first_bad_step = t

    def scale(self, norms: Tensor, bound: float) -> Tensor:
        """Factors (N,) that bring adjoints of such norms to their bound."""
        factor = bound / norms.clamp(min=TINY)
        return factor.masked_fill(norms <= TINY, 1.0) if self.normalize else factor.clamp(max=1.0)


class _Gate(torch.autograd.Function):
    """Identity whose backward bounds the norm of each environment's adjoint over all fields."""

    @staticmethod
    def forward(ctx: Any, watch: Watch, t: int, bound: float, *fields: Tensor) -> tuple[Any, ...]:
        ctx.watch, ctx.t, ctx.bound = watch, t, bound
        return tuple(f.view_as(f) for f in fields)

    @staticmethod
    def backward(ctx: Any, *bars: Tensor) -> tuple[Tensor | None, ...]:
        # In float64, where the square of no float32 overflows.
        squares = torch.stack([bar.flatten(1).double().square().sum(dim=1) for bar in bars])
        norms = torch.sqrt(squares.sum(dim=0))
        ctx.watch.see(norms, ctx.t)
        if ctx.bound > 0.0:
            scale = ctx.watch.scale(norms, ctx.bound)
            bars = tuple(
                bar * scale.to(bar.dtype).reshape(-1, *[1] * (bar.ndim - 1)) for bar in bars
            )
        return (None, None, None, *bars)


def gate(watch: Watch, t: int, bound: float, *fields: Tensor) -> tuple[Tensor, ...]:
    """The same tensors; on the way back their joint adjoint is watched and bounded per row."""
    if not any(field.requires_grad for field in fields):
        return fields
    gated: tuple[Tensor, ...] = _Gate.apply(watch, t, bound, *fields)
    return gated
