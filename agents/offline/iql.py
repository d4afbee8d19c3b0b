"""IQL: implicit Q-learning."""

from __future__ import annotations

import copy
from typing import Any

import torch
from stable_baselines3.common.utils import polyak_update
from torch import Tensor

from agents.offline.algorithm import OfflineAlgorithm, follow_cosine
from agents.offline.data import Batch
from agents.offline.networks import Critics, GaussianActor
from agents.train_options import check_range

MAX_WEIGHT = 100.0
"""Largest weight of a transition in the actor's loss."""


class IQL(OfflineAlgorithm):
    """Implicit Q-learning (Kostrikov et al., arXiv:2110.06169).

    An update steps V, then the Qs, then the actor, then the targets. No network is ever asked about
    an action that is not in the data.

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        expectile: ξ of the value's regression; towards 1 it approaches the best action of the data.
        beta: β, inverse temperature of the weights of the actor's regression.
        cosine: the actor's step size falls along a cosine to 0 over the training.
        options: everything else that `OfflineAlgorithm` takes.
    """

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        expectile: float = 0.7,
        beta: float = 3.0,
        cosine: bool = True,
        **options: Any,
    ) -> None:
        check_range("expectile", expectile, above=0.0, below=1.0)
        check_range("beta", beta, at_least=0.0)
        self.expectile, self.beta, self.cosine = expectile, beta, cosine
        super().__init__(dataset, env, **options)

    def setup(self) -> None:
        """Actor, value, twin critics and their targets."""
        width = self.num_features
        actor = GaussianActor(width, self.num_actions, self.net_arch, self.front)
        self.actor = actor.to(self.device)
        critic = Critics(width + self.num_actions, self.net_arch, front=self.front)
        self.critic = critic.to(self.device)
        self.critic_target = copy.deepcopy(self.critic)
        self.value = Critics(width, self.net_arch, count=1, front=self.front).to(self.device)
        self.actor_optimizer = self.adam(self.actor)
        self.critic_optimizer = self.adam(self.critic)
        self.value_optimizer = self.adam(self.value)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of everything."""
        losses = {}
        losses["value_loss"] = self.descend(
            self.value_optimizer, "value_loss", self.value_loss(batch)
        )
        losses["critic_loss"] = self.descend(
            self.critic_optimizer, "critic_loss", self.critic_loss(batch)
        )
        losses["actor_loss"] = self.descend(
            self.actor_optimizer, "actor_loss", self.actor_loss(batch)
        )
        polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
        return losses

    def value_loss(self, batch: Batch) -> Tensor:
        """E |ξ − 1(u < 0)| u², u = minᵢ Q̄ᵢ(s, a) − V(s) (eq. 5)."""
        with torch.no_grad():
            target = self.critic_target.smallest(batch.observations, batch.actions)
        return expectile_loss(target - self.value(batch.observations), self.expectile)

    def critic_loss(self, batch: Batch) -> Tensor:
        """Σᵢ E(r + γ (1 − terminated) V(s') − Qᵢ(s, a))² (eq. 6)."""
        with torch.no_grad():
            after = self.value(batch.next_observations)
            target = batch.rewards + self.gamma * (1 - batch.terminated) * after
        found = self.critic(batch.observations, batch.actions)
        return (found - target).square().mean(dim=0).sum()

    def actor_loss(self, batch: Batch) -> Tensor:
        """−E[min(exp(β (minᵢ Q̄ᵢ(s, a) − V(s))), 100) log π(a|s)] (eq. 7)."""
        with torch.no_grad():
            target = self.critic_target.smallest(batch.observations, batch.actions)
            advantage = target - self.value(batch.observations)
            weight = torch.exp(self.beta * advantage).clamp(max=MAX_WEIGHT)
        return -(weight * self.actor.log_prob(batch.observations, batch.actions)).mean()

    def schedule(self, progress: float) -> None:
        """The actor's step size, η ½ (1 + cos π·progress)."""
        if self.cosine:
            follow_cosine(self.actor_optimizer, self.learning_rate, progress)

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """The mean of π, or a draw."""
        return self.actor(observations) if deterministic else self.actor.sample(observations)


def expectile_loss(difference: Tensor, expectile: float) -> Tensor:
    """E |ξ − 1(u < 0)| u² of differences u (B, 1)."""
    weight = torch.where(difference < 0, 1.0 - expectile, expectile)
    return (weight * difference.square()).mean()
