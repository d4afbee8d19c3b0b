"""CQL: conservative Q-learning."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.offline.data import Batch
from agents.offline.networks import squashed_draw
from agents.offline.sac import OfflineSAC
from agents.train_options import check_range
from simenv.errors import require_count

MAX_MULTIPLIER = 1e6
"""Largest multiplier of the Lagrangian form."""


class Candidates(NamedTuple):
    """M actions per state at which the values are held down.

    Attributes:
        actions: (B, M, A).
        log_density: (B, M, 1), under what each was drawn from.
    """

    actions: Tensor
    log_density: Tensor


class CQL(OfflineSAC):
    """Conservative Q-learning, CQL(H) (Kumar et al., arXiv:2006.04779).

    Soft actor-critic on a dataset, whose critics are pushed down where actions look good and up at
    the actions of the data. An update steps the actor, the temperature, the critics, in the
    Lagrangian form the multiplier, and the targets.

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        conservative_weight: α_c of the conservative term.
        num_samples: N, actions drawn from each of three distributions to estimate it.
        softmax_temperature: T of its soft maximum.
        lagrange_threshold: τ; a multiplier of α_c rises while the gap is above it, and falls while
            it is below. None: α_c stays.
        net_arch: widths of the hidden layers.
        entropy_backup: whether targets count the entropy of the next action.
        options: everything else that `OfflineSAC` takes.

    Example:
        >>> model = CQL("pendulum/medium-v0", seed=0, reward_scale=0.1).learn(20_000)
    """

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        conservative_weight: float = 5.0,
        num_samples: int = 10,
        softmax_temperature: float = 1.0,
        lagrange_threshold: float | None = None,
        net_arch: Sequence[int] = (256, 256, 256),
        entropy_backup: bool = False,
        **options: Any,
    ) -> None:
        check_range("conservative_weight", conservative_weight, at_least=0.0)
        require_count("num_samples", num_samples)
        check_range("softmax_temperature", softmax_temperature, above=0.0)
        check_range("lagrange_threshold", lagrange_threshold or 0.0)
        self.conservative_weight, self.num_samples = conservative_weight, num_samples
        self.softmax_temperature = softmax_temperature
        self.lagrange_threshold = lagrange_threshold
        super().__init__(dataset, env, net_arch=net_arch, entropy_backup=entropy_backup, **options)

    def setup(self) -> None:
        """What soft actor-critic has, and the logarithm of the multiplier, if there is one."""
        super().setup()
        if self.lagrange_threshold is not None:
            self.log_multiplier = torch.zeros(1, device=self.device, requires_grad=True)
            self.multiplier_optimizer = torch.optim.Adam([self.log_multiplier], self.learning_rate)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of everything."""
        found = self.update_actor(batch) | self.update_critic(batch)
        self.update_targets()
        return found

    def update_critic(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the critics, and of the multiplier, if there is one."""
        gaps, found = self.gaps(batch)
        loss = self.critic_loss(batch) + self.conservative_loss(gaps)
        found["critic_loss"] = self.descend(self.critic_optimizer, "critic_loss", loss)
        if self.lagrange_threshold is not None:
            loss = self.multiplier_loss(gaps.detach())
            self.descend(self.multiplier_optimizer, "multiplier_loss", loss)
            self.log_multiplier.data.clamp_(max=math.log(MAX_MULTIPLIER))
            found["multiplier"] = self.multiplier.detach()
        return found

    def gaps(self, batch: Batch) -> tuple[Tensor, dict[str, Tensor]]:
        """E[soft maximum of Qᵢ(s, ·) − Qᵢ(s, a)] of each critic, (2,), and what to log of it.

        Eq. 4 of the paper. The critics are asked once for all actions.
        """
        held = self.candidates(batch)
        actions = torch.cat([batch.actions.unsqueeze(1), held.actions], dim=1)
        states = batch.observations.unsqueeze(1).expand(-1, actions.shape[1], -1)
        values = self.critic(states, actions)
        data, others = values[:, 0], values[:, 1:]
        maximum = soft_maximum(others, held.log_density, self.softmax_temperature)
        return (maximum - data).mean(dim=0), self._differences(data.detach(), others.detach())

    @torch.no_grad()
    def candidates(self, batch: Batch) -> Candidates:
        """N uniform actions, N of π(s) and N of π(s'), in this order along the second axis.

        All of them are tried in s; appendix F of the paper.
        """
        shape = (len(batch.actions), self.num_samples, self.num_actions)
        uniform = 2.0 * torch.rand(shape, device=self.device) - 1.0
        density = torch.full_like(uniform[..., :1], -self.num_actions * math.log(2.0))
        drawn = [(uniform, density)]
        for observations in (batch.observations, batch.next_observations):
            mean, std = (x.unsqueeze(1) for x in self.actor.parameters_of(observations))
            drawn.append(squashed_draw(mean.expand(shape), std.expand(shape)))
        actions, densities = (torch.cat(parts, dim=1) for parts in zip(*drawn, strict=True))
        return Candidates(actions, densities)

    def conservative_loss(self, gaps: Tensor) -> Tensor:
        """α_c Σᵢ gapᵢ (eq. 4); in the Lagrangian form α_c α' Σᵢ (gapᵢ − τ) (eq. 30)."""
        if self.lagrange_threshold is not None:
            gaps = self.multiplier.detach() * (gaps - self.lagrange_threshold)
        return self.conservative_weight * gaps.sum()

    def multiplier_loss(self, gaps: Tensor) -> Tensor:
        """−α_c α' mean of (gapᵢ − τ)."""
        assert self.lagrange_threshold is not None
        excess = (gaps - self.lagrange_threshold).mean()
        return -self.conservative_weight * self.multiplier.sum() * excess

    @property
    def multiplier(self) -> Tensor:
        """The multiplier α' (1,) of the Lagrangian form, 1 at first."""
        return self.log_multiplier.exp()

    def _differences(self, data: Tensor, others: Tensor) -> dict[str, Tensor]:
        """How much higher than at the data Q is at the policy's actions and at random ones."""
        mean, count = data.mean(), self.num_samples
        return {
            "policy_gap": others[:, count : 2 * count].mean() - mean,
            "random_gap": others[:, :count].mean() - mean,
            "data_value": mean,
        }


def soft_maximum(values: Tensor, log_density: Tensor, temperature: float = 1.0) -> Tensor:
    """T log Σ exp(Q(s, a) / T − log μ(a)) over M actions drawn from densities μ, (B, C).

    Up to T log M, an estimate of T log ∫ exp(Q(s, a) / T) da by importance sampling.

    Args:
        values: (B, M, C), of C critics.
        log_density: (B, M, 1).
        temperature: T.
    """
    return temperature * torch.logsumexp(values / temperature - log_density, dim=1)
