"""What agents under a cost budget share: an ensemble of cost critics, and the budget they face."""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, ClassVar, cast

import numpy as np
import torch
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import get_actor_critic_arch
from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, Optimizer

from agents.actor_critic import ActorCritic, Proposal
from agents.budgets import suggested_limit
from agents.horizon import find_horizon
from agents.networks import ActorCriticPolicy
from agents.replay import Batch, TensorReplayBuffer
from simenv.errors import ConfigurationError, require_count

DEFAULT_WINDOW = 10
"""Least number of episodes whose mean cost is one measurement, unless another is asked for."""


class CostCritics(nn.Module):
    """E multilayer perceptrons with SiLU, evaluated side by side by batched products.

    Weights start from a normal distribution of standard deviation 1/(2 √inputs), cut off at two of
    them, so that members disagree at first (Chua et al., arXiv:1805.12114).

    Args:
        num_inputs: features of state and action.
        hidden: widths of the hidden layers.
        members: E.
    """

    def __init__(self, num_inputs: int, hidden: Sequence[int], members: int) -> None:
        super().__init__()
        sizes = [num_inputs, *hidden, 1]
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise(sizes):
            std = 0.5 / math.sqrt(before)
            weight = nn.init.trunc_normal_(
                torch.empty(members, before, after), std=std, a=-2 * std, b=2 * std
            )
            self.weights.append(weight)
            self.biases.append(torch.zeros(members, 1, after))

    def forward(self, inputs: Tensor, frozen: bool = False) -> Tensor:
        """Values (B, E) of inputs (B, I); `frozen` leaves gradients to the inputs alone."""
        layers = [
            (weight.detach(), bias.detach()) if frozen else (weight, bias)
            for weight, bias in zip(self.weights, self.biases, strict=True)
        ]
        hidden = inputs.expand(len(layers[0][0]), *inputs.shape)
        for weight, bias in layers[:-1]:
            hidden = F.silu(torch.baddbmm(bias, hidden, weight))
        weight, bias = layers[-1]
        return torch.baddbmm(bias, hidden, weight).squeeze(2).T


class SafeActorCritic(ActorCritic):
    """Soft actor-critic with cost critics: the base of `CAL`, `SACLag` and `SACPID`.

    The cost of a step is `info["cost"]`, taken as it comes: neither shifted nor normalised. The
    actor descends E[α log π − minᵢ Qᵢ + w Q̂_c], where Q̂_c is an upper confidence bound of the
    discounted cost and the weight w is the algorithm's. `n_steps` applies to rewards only.

    Args:
        policy: as in `ActorCritic`.
        env: as in `ActorCritic`, with costs: a "-Safe" id, or
            `agents.environments.make_vec(id, cost="effort")`.
        cost_limit: budget D of an episode's undiscounted cost; None: that suggested by simenv for
            the id.
        cost_gamma: discount of the cost critics; None: that of the rewards.
        horizon: steps T of an episode; None: the environment's own limit.
        cost_critics: members E of the ensemble; widths are those of the reward critics.
        cost_pessimism: k in Q̂_c = mean + k · standard deviation over the members.
        options: of `ActorCritic`.

    Attributes:
        cost_budget: what the discounted cost is held against, `discounted_budget`.

    Raises:
        ConfigurationError: no limit or horizon known, options outside their bounds, observations
            that are dictionaries, or (at the first step) an environment without costs.
    """

    needs_costs: ClassVar[bool] = True

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        cost_limit: float | None = None,
        cost_gamma: float | None = None,
        horizon: int | None = None,
        cost_critics: int = 4,
        cost_pessimism: float = 0.5,
        **options: Any,
    ) -> None:
        require_count("cost_critics", cost_critics)
        require_at_least("cost_pessimism", cost_pessimism, 0.0)
        suggestion = suggested_limit(env)
        cost_limit = suggestion if cost_limit is None else cost_limit
        self.cost_limit, self.cost_gamma, self.horizon = cost_limit, cost_gamma, horizon
        self.cost_critics, self.cost_pessimism = cost_critics, cost_pessimism
        super().__init__(policy, env, **options)

    # ------------------------------------------------------------------ cost critics

    def update_costs(self, batch: Batch) -> None:
        """Step every cost critic towards its target; a sum of mean squares over the members."""
        batch = batch if batch.discounts is None else self._single_steps(len(batch.actions))
        target = self.cost_target(batch)
        found = self.cost_values(self.cost_ensemble, batch.observations, batch.actions)
        loss = (found - target).square().mean(dim=0).sum()
        self.descend(self.cost_optimizer, "cost_critic_loss", loss)
        self.note("cost_std", spread(found))

    @torch.no_grad()
    def cost_target(self, batch: Batch) -> Tensor:
        """Y_c = c + γ_c (1 − terminated) Q̄_c(s', a'), a' ~ π(s'), for each member, (B, E)."""
        if batch.costs is None:
            raise ConfigurationError("this batch holds no costs; make its buffer with_costs=True")
        actions = self.propose(batch.next_observations).actions
        after = self.cost_values(self.cost_ensemble_target, batch.next_observations, actions)
        return batch.costs + self._cost_gamma * (1 - batch.dones) * after

    def cost_values(
        self, critics: CostCritics, observations: Any, actions: Tensor, frozen: bool = False
    ) -> Tensor:
        """Discounted costs (B, E) of actions (B, A) by each member.

        Images pass through the encoder of the reward critics, which costs do not train.
        """
        with torch.no_grad():
            extractor = self.critic.features_extractor
            features = self.critic.extract_features(observations, extractor)
        return cast(Tensor, critics(torch.cat([features, actions], dim=1), frozen))

    def cost_bound(self, observations: Any, actions: Tensor) -> Tensor:
        """Q̂_c (B, 1): mean plus k standard deviations of the members, differentiable in a."""
        values = self.cost_values(self.cost_ensemble, observations, actions, frozen=True)
        return values.mean(dim=1, keepdim=True) + self.cost_pessimism * spread(values)

    def update_targets(self) -> None:
        """Let the target networks follow, those of the cost included."""
        super().update_targets()
        polyak_update(
            self.cost_ensemble.parameters(), self.cost_ensemble_target.parameters(), self.tau
        )

    # ------------------------------------------------------------------ actor

    def actor_loss(self, batch: Batch, proposal: Proposal, temperature: Tensor) -> Tensor:
        """E[α log π(a|s) − minᵢ Qᵢ(s, a) + w Q̂_c(s, a)]."""
        cost = self.cost_bound(batch.observations, proposal.actions).mean()
        weight = self.cost_weight(batch, cost.detach())
        self.note("cost_value", cost)
        self.note("cost_budget", torch.full_like(cost, self.cost_budget))
        self.note("multiplier", self.multiplier)
        return super().actor_loss(batch, proposal, temperature) + weight * cost

    def cost_weight(self, batch: Batch, expected_cost: Tensor) -> Tensor:
        """The weight w, without gradient; `expected_cost` () is E Q̂_c of the policy's actions."""
        return self.multiplier

    @property
    def multiplier(self) -> Tensor:
        """The Lagrange multiplier λ, (), without gradient."""
        raise NotImplementedError

    # ------------------------------------------------------------------ state

    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, with the limit and horizon that were found."""
        return {**super().arguments(), "cost_limit": self.cost_limit, "horizon": self.horizon}

    # ------------------------------------------------------------------ set-up

    def optimizers(self) -> list[Optimizer]:
        """Those of `ActorCritic` and the cost critics'."""
        return [*super().optimizers(), self.cost_optimizer]

    def _setup_model(self) -> None:
        super()._setup_model()
        if not getattr(self.replay_buffer, "with_costs", False):
            raise ConfigurationError(
                f"{type(self.replay_buffer).__name__} keeps no costs; take an environment with box "
                f"observations, not {self.observation_space}"
            )
        self.horizon = find_horizon(self.env) if self.horizon is None else self.horizon
        self.cost_budget = discounted_budget(self.limit, self._cost_gamma, self.horizon)
        self._setup_cost_critics()

    @property
    def limit(self) -> float:
        """The budget D of an episode."""
        if self.cost_limit is None:
            raise ConfigurationError("no cost limit is known here; give cost_limit, per episode")
        require_at_least("cost_limit", self.cost_limit, 0.0)
        return self.cost_limit

    @property
    def _cost_gamma(self) -> float:
        return self.gamma if self.cost_gamma is None else self.cost_gamma

    def _setup_cost_critics(self) -> None:
        _, hidden = get_actor_critic_arch(self.policy.net_arch)
        inputs = self.critic.features_extractor.features_dim + get_action_dim(self.action_space)
        self.cost_ensemble = CostCritics(inputs, hidden, self.cost_critics).to(self.device)
        self.cost_ensemble_target = copy.deepcopy(self.cost_ensemble).requires_grad_(False)
        self.cost_optimizer = Adam(
            self.cost_ensemble.parameters(), lr=self.lr_schedule(1), fused=True
        )

    def _single_steps(self, size: int) -> Batch:
        """Transitions over one step, whatever the number of rewards that are summed."""
        buffer = copy.copy(cast(TensorReplayBuffer, self.replay_buffer))
        buffer.n_steps = 1
        return buffer.sample(size, env=self._vec_normalize_env)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, tensors = super()._get_torch_save_params()
        return [*modules, "cost_ensemble", "cost_ensemble_target", "cost_optimizer"], tensors


class EpisodeCostActorCritic(SafeActorCritic):
    """A safe actor-critic whose multiplier follows the measured cost of training episodes.

    The actor descends E[α log π − minᵢ Qᵢ + λ Q̂_c] / (1 + λ), so that a large λ does not drive its
    steps. Episodes that ended in the random warm-up do not count.

    Args:
        policy: as in `ActorCritic`.
        env: as in `SafeActorCritic`.
        cost_window: finished episodes whose mean cost is one measurement; None: as many as there
            are environments, at least 10.
        cost_pessimism: as in `SafeActorCritic`; 0 here, the plain mean.
        options: of `SafeActorCritic`.

    Raises:
        ConfigurationError: as `SafeActorCritic`.
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        cost_window: int | None = None,
        cost_pessimism: float = 0.0,
        **options: Any,
    ) -> None:
        if cost_window is not None:
            require_count("cost_window", cost_window)
        self.cost_window = cost_window
        super().__init__(policy, env, cost_pessimism=cost_pessimism, **options)

    def actor_loss(self, batch: Batch, proposal: Proposal, temperature: Tensor) -> Tensor:
        """E[α log π(a|s) − minᵢ Qᵢ(s, a) + λ Q̂_c(s, a)] / (1 + λ)."""
        return super().actor_loss(batch, proposal, temperature) / (1 + self.multiplier)

    def episode_ended(self, cost: float) -> None:
        """Take note of the cost of a training episode."""
        self.episode_costs.append(cost)
        self.measured()

    def measured(self) -> None:
        """Called when the costs of the last episodes have changed; nothing here."""

    def default_window(self) -> int:
        """Episodes of a measurement: environments that end together count together."""
        return max(DEFAULT_WINDOW, self.n_envs)

    def _setup_model(self) -> None:
        window = self.default_window() if self.cost_window is None else self.cost_window
        self.episode_costs: deque[float] = deque(maxlen=window)
        super()._setup_model()

    def get_extra_state(self) -> dict[str, Any]:
        """Costs of the last episodes."""
        return {**super().get_extra_state(), "episode_costs": list(self.episode_costs)}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave."""
        super().set_extra_state(state)
        self.episode_costs.clear()
        self.episode_costs.extend(state["episode_costs"])

    def _update_info_buffer(
        self, infos: list[dict[str, Any]], dones: np.ndarray | None = None
    ) -> None:
        super()._update_info_buffer(infos, dones)
        if self.num_timesteps <= self.learning_starts:
            return
        for info in infos:
            if "c" in info.get("episode", {}):
                self.episode_ended(info["episode"]["c"])


def spread(values: Tensor) -> Tensor:
    """Standard deviation (B, 1) over the members of values (B, E), unbiased; 0 for one member."""
    if values.shape[1] == 1:
        return torch.zeros_like(values)
    return values.std(dim=1, keepdim=True)


def discounted_budget(limit: float, gamma: float, horizon: int) -> float:
    """Discounted cost d = D (1 − γᵀ) / ((1 − γ) T) of an episode that spends D evenly over T steps.

    Wu et al., "Off-policy primal-dual safe reinforcement learning" (arXiv:2401.14758).

    Raises:
        ConfigurationError: a discount outside (0, 1], or a horizon below 1.
    """
    require_count("horizon", horizon)
    if not 0.0 < gamma <= 1.0:
        raise ConfigurationError(f"cost_gamma = {gamma} must lie in (0, 1]")
    steps = horizon if gamma == 1.0 else (1 - gamma**horizon) / (1 - gamma)
    return limit * steps / horizon


def require_at_least(name: str, value: float, bound: float) -> None:
    """Raise `ConfigurationError` unless a finite value is at least a bound."""
    if not (math.isfinite(value) and value >= bound):
        raise ConfigurationError(f"{name} = {value} must be finite and at least {bound}")
