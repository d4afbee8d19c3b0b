"""Soft actor-critic on batches: the base of the offline agents that have a SAC inside."""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from stable_baselines3.common.utils import polyak_update
from torch import Tensor

from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.data import Batch
from agents.offline.networks import Critics, SquashedGaussianActor
from agents.train_options import check_range


class OfflineSAC(OfflineAlgorithm):
    """Soft actor-critic (Haarnoja et al., arXiv:1812.05905) without an environment.

    By itself it learns the values of actions that no data speak of; `CQL`, `MOPO` and `MOBILE` add
    what keeps it from believing them. An update is `update_critic`, `update_actor`,
    `update_targets`; an algorithm with another order overrides `update`.

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        actor_learning_rate: Adam's step size of the actor; `learning_rate` is the critics'.
        temperature: α that stays as it is; None: it is learnt.
        initial_temperature: α at first, where it is learnt.
        temperature_learning_rate: Adam's step size of log α.
        target_entropy: H̄, the entropy that α aims at; None: minus the number of actions.
        entropy_backup: whether targets count the entropy of the next action.
        options: everything else that `OfflineAlgorithm` takes.
    """

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        actor_learning_rate: float = 1e-4,
        temperature: float | None = None,
        initial_temperature: float = 1.0,
        temperature_learning_rate: float = 1e-4,
        target_entropy: float | None = None,
        entropy_backup: bool = True,
        **options: Any,
    ) -> None:
        check_range("actor_learning_rate", actor_learning_rate, above=0.0)
        check_range("temperature", temperature or 0.0, at_least=0.0)
        check_range("initial_temperature", initial_temperature, above=0.0)
        check_range("temperature_learning_rate", temperature_learning_rate, above=0.0)
        check_range("target_entropy", target_entropy or 0.0)
        self.actor_learning_rate, self.temperature = actor_learning_rate, temperature
        self.initial_temperature = initial_temperature
        self.temperature_learning_rate = temperature_learning_rate
        self.target_entropy, self.entropy_backup = target_entropy, entropy_backup
        super().__init__(dataset, env, **options)

    # ------------------------------------------------------------------ networks

    def setup(self) -> None:
        """Actor, twin critics, their targets, and the logarithm of the temperature."""
        self.actor = self.make_actor().to(self.device)
        self.critic = self.make_critic().to(self.device)
        self.critic_target = copy.deepcopy(self.critic).requires_grad_(False)
        start = math.log(self.initial_temperature)
        self.log_temperature = torch.tensor(start, device=self.device, requires_grad=True)
        self.actor_optimizer = self.adam(self.actor, learning_rate=self.actor_learning_rate)
        self.critic_optimizer = self.adam(self.critic)
        self.temperature_optimizer = torch.optim.Adam(
            [self.log_temperature], self.temperature_learning_rate
        )

    def make_actor(self) -> Any:
        """A policy with `sample`, as `SquashedGaussianActor` has it."""
        return SquashedGaussianActor(self.num_features, self.num_actions, self.net_arch, self.front)

    def make_critic(self) -> Any:
        """Values (B, N) of states and actions, and `smallest`, as `Critics` has them."""
        return Critics(self.num_features + self.num_actions, self.net_arch, front=self.front)

    @property
    def alpha(self) -> Tensor:
        """The temperature α, (), without gradient."""
        if self.temperature is not None:
            return torch.full_like(self.log_temperature.detach(), self.temperature)
        return self.log_temperature.detach().exp()

    @property
    def entropy_goal(self) -> float:
        """H̄."""
        return -float(self.num_actions) if self.target_entropy is None else self.target_entropy

    # ------------------------------------------------------------------ learning

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of everything: critics, actor, temperature, targets."""
        found = self.update_critic(batch) | self.update_actor(batch)
        self.update_targets()
        return found

    def update_critic(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the critics."""
        loss = self.critic_loss(batch)
        return {"critic_loss": self.descend(self.critic_optimizer, "critic_loss", loss)}

    def update_actor(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the actor, and then of the temperature by the same actions."""
        actions, log_prob = self.actor.sample(batch.observations)
        loss = self.actor_loss(batch, actions, log_prob)
        found = {"actor_loss": self.descend(self.actor_optimizer, "actor_loss", loss)}
        found |= {"temperature": self.alpha, "entropy": -log_prob.detach()}
        if self.temperature is None:
            loss = self.temperature_loss(log_prob.detach())
            found["temperature_loss"] = self.descend(
                self.temperature_optimizer, "temperature_loss", loss
            )
        return found

    def update_targets(self) -> None:
        """Let the target critics follow."""
        polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)

    def critic_loss(self, batch: Batch) -> Tensor:
        """Σᵢ E(Qᵢ(s, a) − y)²."""
        found = self.critic(batch.observations, batch.actions)
        return (found - self.target(batch)).square().mean(dim=0).sum()

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """The target y = r + γ (1 − terminated) (minᵢ Q̄ᵢ(s', a') − α log π(a'|s')), (B, 1).

        Without `entropy_backup` the last term is left out.
        """
        actions, log_prob = self.actor.sample(batch.next_observations)
        after = self.critic_target.smallest(batch.next_observations, actions)
        if self.entropy_backup:
            after = after - self.alpha * log_prob
        return batch.rewards + self.gamma * (1 - batch.terminated) * after

    def actor_loss(self, batch: Batch, actions: Tensor, log_prob: Tensor) -> Tensor:
        """E[α log π(a|s) − minᵢ Qᵢ(s, a)] of actions (B, A) of the policy."""
        return (self.alpha * log_prob - self.critic.smallest(batch.observations, actions)).mean()

    def temperature_loss(self, log_prob: Tensor) -> Tensor:
        """−log α · E[log π(a|s) + H̄], which lowers α where there is more entropy than H̄."""
        return -self.log_temperature * (log_prob + self.entropy_goal).mean()

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """The action of the mean, or a draw."""
        return self.actor(observations) if deterministic else self.actor.sample(observations)[0]
