"""TD3+BC: TD3 whose actor is held to the actions of the data."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import torch
from stable_baselines3.common.utils import polyak_update
from torch import Tensor
from torch.nn import functional as F

from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.data import Batch
from agents.offline.networks import Critics, DeterministicActor
from agents.train_options import check_range
from simenv.errors import require_count


class TD3BC(OfflineAlgorithm):
    """TD3+BC (Fujimoto & Gu, "A minimalist approach to offline RL", arXiv:2106.06860).

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        alpha: weight α of the values against the squared distance from the data's actions.
        policy_noise: deviation of the noise on target actions.
        noise_clip: its bound.
        policy_delay: critic updates per update of the actor and of the targets.
        options: everything else that `OfflineAlgorithm` takes.
    """

    normalize_by_default: ClassVar[bool] = True

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        alpha: float = 2.5,
        policy_noise: float = 0.2,
        noise_clip: float = 0.5,
        policy_delay: int = 2,
        **options: Any,
    ) -> None:
        check_range("alpha", alpha, at_least=0.0)
        check_range("policy_noise", policy_noise, at_least=0.0)
        check_range("noise_clip", noise_clip, at_least=0.0)
        require_count("policy_delay", policy_delay)
        self.alpha, self.policy_noise = alpha, policy_noise
        self.noise_clip, self.policy_delay = noise_clip, policy_delay
        super().__init__(dataset, env, **options)

    def setup(self) -> None:
        """Actor, twin critics, and a target of each."""
        actor = DeterministicActor(self.num_features, self.num_actions, self.net_arch)
        self.actor = actor.to(self.device)
        critic = Critics(self.num_features + self.num_actions, self.net_arch)
        self.critic = critic.to(self.device)
        self.actor_target = copy.deepcopy(self.actor)
        self.critic_target = copy.deepcopy(self.critic)
        self.actor_optimizer = self.adam(self.actor)
        self.critic_optimizer = self.adam(self.critic)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the critics, and every `policy_delay`-th time of actor and targets."""
        loss = self.critic_loss(batch)
        found = {"critic_loss": self.descend(self.critic_optimizer, "critic_loss", loss)}
        if (self.num_timesteps + 1) % self.policy_delay == 0:
            loss = self.actor_loss(batch)
            found["actor_loss"] = self.descend(self.actor_optimizer, "actor_loss", loss)
            for network, target in (
                (self.critic, self.critic_target),
                (self.actor, self.actor_target),
            ):
                polyak_update(network.parameters(), target.parameters(), self.tau)
        return found

    def critic_loss(self, batch: Batch) -> Tensor:
        """Σᵢ E(Qᵢ(s, a) − y)²."""
        found = self.critic(batch.observations, batch.actions)
        return (found - self.target(batch)).square().mean(dim=0).sum()

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """The target r + γ (1 − terminated) minᵢ Q̄ᵢ(s', π̄(s') + clipped noise), (B, 1).

        Fujimoto et al., "Addressing function approximation error" (arXiv:1802.09477), algorithm 1.
        """
        noise = self.policy_noise * torch.randn_like(batch.actions)
        noise = noise.clamp(-self.noise_clip, self.noise_clip)
        after = (self.actor_target(batch.next_observations) + noise).clamp(-1.0, 1.0)
        value = self.critic_target.smallest(batch.next_observations, after)
        return batch.rewards + self.gamma * (1 - batch.terminated) * value

    def actor_loss(self, batch: Batch) -> Tensor:
        """E[−λ Q₁(s, π(s)) + (π(s) − a)²], λ = α / E|Q₁(s, π(s))| (section 5 of the paper)."""
        actions = self.actor(batch.observations)
        values = self.critic(batch.observations, actions)[:, :1]
        weight = self.alpha / values.abs().mean().detach()
        return F.mse_loss(actions, batch.actions) - weight * values.mean()

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """π(s)."""
        return self.actor(observations)
