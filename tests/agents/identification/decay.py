"""An identification problem without a simulator: height and rate of a curve that decays."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor


class Sought(NamedTuple):
    """A parameter."""

    name: str
    truth: float


class Decay:
    """Which height and rate has h e^(−rt)? Books of what is asked are kept.

    Attributes:
        asked: values (N, K) of every call.
        differentiated: how many calls wanted a gradient.
        not_finite_above: errors are NaN where the height lies above this multiple of the truth.
        steep_above: gradients are NaN there.
        highest: upper bounds, over the truth.
    """

    parameters = (Sought("height", 3.0), Sought("rate", 0.7))
    steps = 7

    def __init__(
        self,
        num_envs: int = 1,
        *,
        not_finite_above: float = math.inf,
        steep_above: float = math.inf,
        highest: tuple[float, float] = (4.0, 2.4),
    ) -> None:
        self.num_envs, self.highest = num_envs, torch.tensor(highest, dtype=torch.float64)
        self.not_finite_above, self.steep_above = not_finite_above, steep_above
        self.truth = torch.tensor([p.truth for p in self.parameters], dtype=torch.float64)
        self.start = 0.2 * self.truth
        self.bounds = torch.stack([0.1 * self.truth, self.highest * self.truth])
        self.times = torch.linspace(0.0, 4.0, self.steps, dtype=torch.float64)
        self.asked: list[Tensor] = []
        self.differentiated = 0

    def to_logs(self, values: Tensor) -> Tensor:
        """Logarithms."""
        return torch.log(values)

    def from_logs(self, logs: Tensor) -> Tensor:
        """Values, kept within the bounds."""
        return torch.minimum(torch.maximum(torch.exp(logs), self.bounds[0]), self.bounds[1])

    def curve(self, values: Tensor) -> Tensor:
        """Heights (N, T) of values (N, K)."""
        return values[:, :1] * torch.exp(-values[:, 1:] * self.times)

    def error(self, values: Tensor) -> Tensor:
        """Mean squared distance from the true curve."""
        assert values.shape == ((self.num_envs, 2) if values.ndim == 2 else (2,))
        rows = values.reshape(-1, 2)
        self.asked.append(rows.detach().clone())
        self.differentiated += int(values.requires_grad)
        error = (self.curve(rows) - self.curve(self.truth[None])).square().mean(dim=1)
        share = rows[:, 0] / self.truth[0]
        error = error.masked_fill(share > self.not_finite_above, math.nan)
        if rows.requires_grad and bool((share > self.steep_above).any()):
            rows.register_hook(lambda gradient: torch.full_like(gradient, math.nan))
        return error if values.ndim == 2 else error[0]

    @property
    def tried(self) -> Tensor:
        """All values that were asked for, (M, K)."""
        return torch.cat(self.asked)
