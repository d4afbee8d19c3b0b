"""SACPID: soft actor-critic whose multiplier is set by a PID controller of the episode cost."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.actor_critic import Proposal
from agents.networks import ActorCriticPolicy
from agents.replay import Batch
from agents.safe import DEFAULT_WINDOW, EpisodeCostActorCritic, require_at_least


@dataclass
class PIDController:
    """λ = (K_P Δ + I + K_D ∂)₊ of an excess Δ (Stooke et al., arXiv:2007.03964, algorithm 2).

    I sums K_I Δ, and ∂ is the rise of Δ since the last step (0 where it fell). Against wind-up, I
    stays within [0, maximum], and does not grow while λ is at the maximum.

    Attributes:
        proportional: K_P.
        integral: K_I.
        derivative: K_D.
        maximum: largest λ.
        accumulated: I, in units of λ.
        last: Δ of the last step; None before the first.
        output: λ.
    """

    proportional: float
    integral: float
    derivative: float
    maximum: float
    accumulated: float = 0.0
    last: float | None = None
    output: float = 0.0

    def step(self, excess: float) -> float:
        """Take a measurement of Δ; the new λ."""
        rise = 0.0 if self.last is None else max(excess - self.last, 0.0)
        prompt = self.proportional * excess + self.derivative * rise
        # Growth stops where λ reaches its maximum; shrinking never waits.
        room = max(self.maximum - prompt - self.accumulated, 0.0)
        self.accumulated += min(self.integral * excess, room)
        self.accumulated = min(max(self.accumulated, 0.0), self.maximum)
        self.last = excess
        self.output = min(max(prompt + self.accumulated, 0.0), self.maximum)
        return self.output


class SACPID(EpisodeCostActorCritic):
    """Soft actor-critic with a PID-controlled multiplier (Stooke et al., arXiv:2007.03964).

    The actor descends E[α log π − minᵢ Qᵢ + λ Q̂_c] / (1 + λ). Each time `cost_window` training
    episodes have ended, their mean cost gives one step of the controller. The proportional and
    derivative terms damp the swings of a multiplier that only integrates.

    Args:
        policy: as in `ActorCritic`.
        env: as in `SafeActorCritic`.
        proportional_gain: K_P, λ per unit of an episode's cost, as are the others.
        integral_gain: K_I.
        derivative_gain: K_D.
        max_multiplier: largest λ.
        options: of `EpisodeCostActorCritic`; `cost_window` None: the least multiple of the number
            of environments that is at least 10.

    Raises:
        ConfigurationError: as `SafeActorCritic`.

    Example:
        >>> model = SACPID("MlpPolicy", "simenv/SoftWalker2D-Safe-v0", num_envs=16)
        >>> model.learn(20_000)
    """

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        proportional_gain: float = 0.1,
        integral_gain: float = 0.01,
        derivative_gain: float = 0.01,
        max_multiplier: float = 100.0,
        **options: Any,
    ) -> None:
        gains = (proportional_gain, integral_gain, derivative_gain, max_multiplier)
        names = ("proportional_gain", "integral_gain", "derivative_gain", "max_multiplier")
        for name, gain in zip(names, gains, strict=True):
            require_at_least(name, gain, 0.0)
        self.gains = gains
        super().__init__(policy, env, **options)

    @property
    def multiplier(self) -> Tensor:
        """λ, (), without gradient."""
        # Filled in on the device: nothing is copied there, and nothing waits.
        return torch.full((), self.controller.output, device=self.device)

    def update_duals(self, batch: Batch, proposal: Proposal) -> None:
        """Log what was measured; the multiplier moves at the ends of episodes."""
        if self.controller.last is not None:
            cost = self.controller.last + self.limit
            self.note("episode_cost", torch.full((), cost, device=self.device))

    def default_window(self) -> int:
        """The least multiple of the number of environments that is at least 10."""
        return math.ceil(DEFAULT_WINDOW / self.n_envs) * self.n_envs

    def measured(self) -> None:
        """Step the controller once a window of episodes is full."""
        if len(self.episode_costs) == self.episode_costs.maxlen:
            self.controller.step(float(np.mean(self.episode_costs)) - self.limit)
            self.episode_costs.clear()

    def get_extra_state(self) -> dict[str, Any]:
        """The controller's numbers, beside the costs of the last episodes."""
        return {**super().get_extra_state(), "controller": asdict(self.controller)}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave."""
        super().set_extra_state(state)
        self.controller = PIDController(**state["controller"])

    def _setup_model(self) -> None:
        super()._setup_model()
        self.controller = PIDController(*self.gains)
