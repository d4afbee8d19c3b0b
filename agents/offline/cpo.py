"""A step of constrained policy optimisation on rollouts, found by a line search."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Normal, kl_divergence
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from agents.offline.networks import GaussianActor
from agents.offline.trust_region import (
    conjugate_gradient,
    constrained_step,
    flat_gradient,
    hessian_product,
)

BACKTRACK = 0.8
"""Factor between two steps of a line search."""
CURVATURE = 64
"""Rollouts, about, whose states the curvature is measured on: twenty to thirty products with it are
most of the cost of a step, and it wants fewer samples than gradients do."""


class Rollouts(NamedTuple):
    """N rollouts of H steps, one after the other in time.

    Attributes:
        observations: (H + 1, N, O), as the policy sees them.
        actions: (H, N, A), drawn, not clipped.
        signals: (H, N, 1 + K): reward, then the costs that are held against budgets.
        alive: float (H, N), one until the episode has ended.
        terminated: float (H, N), one where it ends.
    """

    observations: Tensor
    actions: Tensor
    signals: Tensor
    alive: Tensor
    terminated: Tensor

    def weights(self, gamma: float) -> Tensor:
        """γʰ / N of every step (H, N), 0 after an end."""
        steps = torch.arange(len(self.alive), device=self.alive.device)
        return gamma ** steps[:, None] * self.alive / self.alive.shape[1]

    def some(self, count: int) -> Rollouts:
        """About so many of them, evenly chosen."""
        stride = max(1, self.alive.shape[1] // count)
        return Rollouts(*(column[:, ::stride] for column in self))


class ConstrainedStep:
    """Achiam et al., "Constrained policy optimization" (arXiv:1705.10528), for several budgets.

    Args:
        actor: whose parameters are changed.
        gamma: γ.
        max_kl: δ, trust region of a step.
        damping: added to the curvature of the divergence.
        search_steps: of the line search.
    """

    def __init__(
        self,
        actor: GaussianActor,
        gamma: float,
        *,
        max_kl: float = 0.01,
        damping: float = 0.1,
        search_steps: int = 30,
    ) -> None:
        self.actor, self.gamma, self.max_kl = actor, gamma, max_kl
        self.damping, self.search_steps = damping, search_steps

    def __call__(self, found: Rollouts, advantages: Tensor, excess: Tensor) -> dict[str, Tensor]:
        """Change the policy.

        Args:
            found: rollouts of the present policy.
            advantages: (H, N, 1 + K), of all signals.
            excess: (K,), mean discounted costs less their budgets.

        Returns:
            Numbers to log: the divergence, the share of the step that was taken, whether none was,
            the policy's deviation, and whether no step could meet the budgets.
        """
        before = detached(self.policy(found))
        step, feasible, far = self.direction(found, advantages, before, excess)
        # Without a direction (gradients that are zero, or not finite) there is nothing to search.
        taken = self.search(found, advantages, before, step, excess, far) if step.any() else 0.0
        return {
            "kl": self.divergence(found, before).detach(),
            "step_share": torch.tensor(taken),
            "no_step": torch.tensor(float(not taken)),
            "std": self.actor.std().mean(),
            "recovery": torch.tensor(float(not feasible)),
        }

    def direction(
        self, found: Rollouts, advantages: Tensor, before: Normal, excess: Tensor
    ) -> tuple[Tensor, bool, Tensor]:
        """The best step by first and second order.

        Returns:
            The step (P,), whether it meets the budgets, and how far (K,), in the metric of the
            steps, one has to go for a unit of each cost; 0 where none changes it.
        """
        gains = self.gains(found, advantages, before)
        gradients = torch.stack([flat_gradient(gain, self.actor) for gain in gains])
        divergence = self.divergence(found.some(CURVATURE))
        product = hessian_product(divergence, self.actor, self.damping)
        solved = torch.stack([conjugate_gradient(product, row) for row in gradients])
        slopes = (gradients * solved).sum(dim=1)[1:].clamp(min=0.0).sqrt()
        step, feasible = constrained_step(gradients, solved, excess.tolist(), self.max_kl)
        return step, feasible, torch.where(slopes > 0, 1 / slopes, 0.0)

    def policy(self, found: Rollouts) -> Normal:
        """Distributions (H, N, A) of the actions."""
        return Normal(self.actor(found.observations[:-1]), self.actor.std())

    def gains(self, found: Rollouts, advantages: Tensor, before: Normal) -> Tensor:
        """Expected changes (1 + K,) of the mean discounted sums by the present policy.

        Those of costs are in the units of their budgets, so that these bind; that of the reward is
        in units of its advantages' deviation. Σₕ γʰ ρ (A − mean A): a constant that is taken off
        the advantages changes no gradient's mean.
        """
        weights = found.weights(self.gamma)[..., None]
        centred = advantages - (weights * advantages).sum(dim=(0, 1)) / weights.sum()
        log_ratio = self.policy(found).log_prob(found.actions) - before.log_prob(found.actions)
        ratio = log_ratio.sum(dim=-1, keepdim=True).exp()
        gains = (weights * (ratio - 1) * centred).sum(dim=(0, 1))
        scale = (weights[..., 0] * centred[..., 0].square()).sum() / weights.sum()
        return torch.cat([gains[:1] / (scale.sqrt() + 1e-8), gains[1:]])

    def divergence(self, found: Rollouts, before: Normal | None = None) -> Tensor:
        """Mean KL(before ‖ now) over the states; `before` is the present policy by default."""
        now = self.policy(found)
        each = kl_divergence(before or detached(now), now).sum(dim=-1)
        return (found.alive * each).sum() / found.alive.sum()

    @torch.no_grad()
    def search(
        self,
        found: Rollouts,
        advantages: Tensor,
        before: Normal,
        step: Tensor,
        excess: Tensor,
        far: Tensor,
    ) -> float:
        """Take the largest share 0.8ⁱ of a step that keeps what it promises; 0: none does."""
        start, exceeded = parameters_to_vector(self.actor.parameters()), excess > 0
        for attempt in range(self.search_steps):
            share = BACKTRACK**attempt
            vector_to_parameters(start + share * step, self.actor.parameters())
            gains = self.gains(found, advantages, before)
            near = self.divergence(found, before) <= self.max_kl
            kept = ((gains[1:] <= -excess) | exceeded).all()
            # While budgets are exceeded, coming nearer to them comes before the return.
            better = nearer(excess, gains[1:], far) if exceeded.any() else gains[0] >= 0
            if bool(near & kept & better & torch.isfinite(gains).all()):
                return share
        vector_to_parameters(start, self.actor.parameters())
        return 0.0


def detached(policy: Normal) -> Normal:
    """The same distributions, through which no gradient flows."""
    return Normal(policy.loc.detach(), policy.scale.detach())


def nearer(excess: Tensor, gains: Tensor, far: Tensor) -> Tensor:
    """Whether changes (K,) bring costs nearer to their budgets: Σ of squared distances falls.

    That sum is what the recovery step descends, over budgets that are exceeded; a smaller excess
    may grow where a larger one falls.
    """
    ahead, behind = (far * (excess + gains)).clamp(min=0.0), (far * excess).clamp(min=0.0)
    return ahead.square().sum() < behind.square().sum()
