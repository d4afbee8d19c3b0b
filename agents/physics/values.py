"""What windows are worth: sums that policies maximise, and targets that values are fitted to."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.physics.windows import Window


def window_return(window: Window, rewards: Tensor, values: Tensor, gamma: float) -> Tensor:
    """Mean return per step, what follows each piece of an episode estimated by its value.

    (1/NH) Σ over pieces of Σₗ γˡ rₗ + γʰ V(sₕ), the negative of SHAC's loss (Xu et al.,
    arXiv:2204.07137, equation 5); nothing follows where an episode terminated.

    Args:
        window: which pieces there are.
        rewards: (H, N).
        values: (H, N), of the observations after each step.
        gamma: γ.
    """
    weights = window.discounts(gamma)
    follows = window.bounded() & ~window.terminated
    tail = torch.where(follows, gamma * values, torch.zeros_like(values))
    return (weights * (rewards + tail)).mean()


def lambda_targets(
    window: Window, rewards: Tensor, values: Tensor, gamma: float, lam: float
) -> Tensor:
    """TD(λ) targets (H, N) of the observations before each step.

    Gₜ = rₜ + γ V′ₜ where a piece ends, and rₜ + γ ((1 − λ) V′ₜ + λ Gₜ₊₁) elsewhere, V′ₜ the value
    after the step, 0 where the episode terminated (arXiv:2204.07137, equations 7 and 8).
    """
    after = torch.where(window.terminated, torch.zeros_like(values), values)
    bounded, rows, last = window.bounded(), [], after[-1]
    for reward, value, bound in zip(rewards.flip(0), after.flip(0), bounded.flip(0), strict=True):
        last = reward + gamma * torch.where(bound, value, (1 - lam) * value + lam * last)
        rows.append(last)
    return torch.stack(rows[::-1])
