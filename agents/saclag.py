"""SACLag: soft actor-critic with a Lagrange multiplier that follows the cost of episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.optim import Adam

from agents.actor_critic import Proposal
from agents.networks import ActorCriticPolicy
from agents.replay import Batch
from agents.safe import EpisodeCostActorCritic, require_at_least


class SACLag(EpisodeCostActorCritic):
    """Soft actor-critic with a Lagrangian (Ha et al., arXiv:2002.08550; as in OmniSafe).

    The actor descends E[α log π − minᵢ Qᵢ + λ Q̂_c] / (1 + λ). The multiplier rises while training
    episodes cost more than the limit: λ ← max(0, λ + η (episode cost − D)) by Adam, once per update
    of the actor, the episode cost being the mean of the last `cost_window` episodes.

    Args:
        policy: as in `ActorCritic`.
        env: as in `SafeActorCritic`.
        dual_learning_rate: η. Adam moves λ by about η per update, whatever the cost's scale.
        initial_multiplier: λ at first.
        options: of `EpisodeCostActorCritic`.

    Raises:
        ConfigurationError: as `SafeActorCritic`.

    Example:
        >>> model = SACLag("MlpPolicy", "simenv/SoftWalker2D-Safe-v0", num_envs=16)
        >>> model.learn(20_000)
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        dual_learning_rate: float = 1e-4,
        initial_multiplier: float = 0.001,
        **options: Any,
    ) -> None:
        require_at_least("dual_learning_rate", dual_learning_rate, 0.0)
        require_at_least("initial_multiplier", initial_multiplier, 0.0)
        self.dual_learning_rate, self.initial_multiplier = dual_learning_rate, initial_multiplier
        super().__init__(policy, env, **options)

    @property
    def multiplier(self) -> Tensor:
        """λ, (1,), without gradient."""
        return self.lagrange_multiplier.detach().clone()

    def update_duals(self, batch: Batch, proposal: Proposal) -> None:
        """Ascend λ (episode cost − D), and keep λ at least 0."""
        if not self.episode_costs:
            return
        self.note("episode_cost", self._episode_cost)
        loss = self.lagrange_multiplier * (self.limit - self._episode_cost)
        self.descend(self.dual_optimizer, "dual_loss", loss.sum())
        with torch.no_grad():
            self.lagrange_multiplier.clamp_(min=0.0)

    def measured(self) -> None:
        """Bring the mean cost of the last episodes to the device, once for many updates."""
        if self.episode_costs:
            self._episode_cost.fill_(float(np.mean(self.episode_costs)))

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave."""
        super().set_extra_state(state)
        self.measured()

    def _setup_model(self) -> None:
        super()._setup_model()
        self._episode_cost = torch.zeros((), device=self.device)
        first = torch.full((1,), float(self.initial_multiplier), device=self.device)
        self.lagrange_multiplier = first.requires_grad_()
        self.dual_optimizer = Adam([self.lagrange_multiplier], lr=self.dual_learning_rate)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, tensors = super()._get_torch_save_params()
        return [*modules, "dual_optimizer"], [*tensors, "lagrange_multiplier"]
