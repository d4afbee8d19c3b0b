"""CAL: conservative augmented Lagrangian, an off-policy agent that keeps to a cost budget."""

from __future__ import annotations

import math
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor
from torch.optim import Adam

from agents.actor_critic import Proposal
from agents.networks import ActorCriticPolicy
from agents.replay import Batch, TensorReplayBuffer
from agents.safe import SafeActorCritic, require_at_least
from simenv.errors import ConfigurationError

DualActions = Literal["buffer", "policy"]
LOG_MULTIPLIER_BOUNDS = (-10.0, 5.0)
"""log λ stays within: while a budget is out of reach, Adam would raise it without end."""


class CAL(SafeActorCritic):
    """Conservative augmented Lagrangian (Wu et al., ICLR 2024, arXiv:2401.14758).

    The actor descends E[α log π − minᵢ Qᵢ + max(0, λ + c (E Q̂_c − d)) Q̂_c]: the cost is a
    pessimistic bound over an ensemble, and the penalty c acts at once where the multiplier λ still
    lags. λ = exp(ℓ) follows the violation E Q̂_c − d.

    Args:
        policy: as in `ActorCritic`.
        env: as in `SafeActorCritic`.
        penalty: c, in units of reward per squared cost; 0 leaves the plain Lagrangian.
        dual_learning_rate: step size of ℓ.
        initial_multiplier: λ at first.
        dual_actions: whose expected cost is held against the budget: that of the actions in the
            replay "buffer", as in the paper, or of the present "policy".
        dual_window: newest transitions in whose states that cost is taken; 0: in those of the whole
            replay, as in the paper. While an agent learns to move faster, old states make it look
            slower, and cheaper, than it is.
        options: of `SafeActorCritic`.

    Raises:
        ConfigurationError: as `SafeActorCritic`.

    Example:
        >>> model = CAL("MlpPolicy", "simenv/SoftWalker2D-Safe-v0", num_envs=16, cost_limit=20.0)
        >>> model.learn(20_000)
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        penalty: float = 10.0,
        dual_learning_rate: float = 3e-4,
        initial_multiplier: float = 0.6931,
        dual_actions: DualActions = "buffer",
        dual_window: int = 0,
        **options: Any,
    ) -> None:
        require_at_least("penalty", penalty, 0.0)
        require_at_least("dual_learning_rate", dual_learning_rate, 0.0)
        low, high = (math.exp(bound) for bound in LOG_MULTIPLIER_BOUNDS)
        if not low <= initial_multiplier <= high:
            raise ConfigurationError(
                f"initial_multiplier = {initial_multiplier} must lie in [{low:.2g}, {high:.3g}]"
            )
        if dual_actions not in get_args(DualActions):
            raise ConfigurationError(
                f"dual_actions = {dual_actions!r} is not one of {get_args(DualActions)}"
            )
        require_at_least("dual_window", dual_window, 0)
        self.penalty, self.dual_actions, self.dual_window = penalty, dual_actions, dual_window
        self.dual_learning_rate, self.initial_multiplier = dual_learning_rate, initial_multiplier
        super().__init__(policy, env, **options)

    @property
    def multiplier(self) -> Tensor:
        """λ = exp(ℓ), (1,), without gradient."""
        return self.log_multiplier.detach().exp()

    def cost_weight(self, batch: Batch, expected_cost: Tensor) -> Tensor:
        """λ − ρ = max(0, λ + c (E Q̂_c − d)), (1,), with the rectification ρ of the paper."""
        self._slack = self.cost_budget - self._dual_cost(batch, expected_cost)
        rectification = torch.minimum(self.penalty * self._slack, self.multiplier)
        self.note("rectification", rectification)
        self.note("violation", -self._slack)
        return self.multiplier - rectification

    def update_duals(self, batch: Batch, proposal: Proposal) -> None:
        """Descend λ (d − E Q̂_c) in ℓ, and keep ℓ in `LOG_MULTIPLIER_BOUNDS`."""
        loss = self.log_multiplier.exp() * self._slack
        self.descend(self.dual_optimizer, "dual_loss", loss.sum())
        with torch.no_grad():
            self.log_multiplier.clamp_(*LOG_MULTIPLIER_BOUNDS)

    @torch.no_grad()
    def _dual_cost(self, batch: Batch, expected_cost: Tensor) -> Tensor:
        """E Q̂_c, (), that is held against the budget."""
        if self.dual_actions == "policy" and not self.dual_window:
            return expected_cost
        if self.dual_window:
            buffer = cast(TensorReplayBuffer, self.replay_buffer)
            env, size = self._vec_normalize_env, len(batch.actions)
            batch = buffer.sample_newest(size, self.dual_window, env)
        proposed = self.dual_actions == "policy"
        actions = self.propose(batch.observations).actions if proposed else batch.actions
        return self.cost_bound(batch.observations, actions).mean()

    def _setup_model(self) -> None:
        super()._setup_model()
        log = torch.full((1,), math.log(self.initial_multiplier), device=self.device)
        self.log_multiplier = log.requires_grad_()
        self.dual_optimizer = Adam([self.log_multiplier], lr=self.dual_learning_rate)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, tensors = super()._get_torch_save_params()
        return [*modules, "dual_optimizer"], [*tensors, "log_multiplier"]
