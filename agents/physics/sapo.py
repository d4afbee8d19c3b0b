"""SAPO: SHAC for the maximum-entropy return."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from agents.physics.actor_critic import WindowActorCritic
from agents.physics.networks import SmoothActor, Values
from agents.physics.windows import Window
from agents.train_options import check_range


class SAPO(WindowActorCritic):
    """Soft analytic policy optimisation (Xing et al., arXiv:2412.12089).

    `SHAC` with an entropy bonus in returns and targets, a deviation that depends on the state, and
    two values without target networks: the policy sees their mean, targets hold the lesser.

    Args:
        env: see `FirstOrder`.
        eval_env: see there.
        initial_temperature: α at first.
        temperature_learning_rate: step size of its logarithm.
        target_entropy: that the temperature aims at; None: −A/2.
        weight_decay: of AdamW.
        options: everything else that `WindowActorCritic` takes.
    """

    activation = nn.SiLU

    def __init__(
        self,
        env: Any,
        eval_env: Any = None,
        *,
        initial_temperature: float = 1.0,
        temperature_learning_rate: float = 5e-3,
        target_entropy: float | None = None,
        weight_decay: float = 0.01,
        critic_learning_rate: float = 5e-4,
        max_grad_norm: float = 0.5,
        **options: Any,
    ) -> None:
        check_range("initial_temperature", initial_temperature, above=0.0)
        check_range("temperature_learning_rate", temperature_learning_rate, at_least=0.0)
        check_range("weight_decay", weight_decay, at_least=0.0)
        if target_entropy is not None:
            check_range("target_entropy", target_entropy, below=0.0)
        self.initial_temperature = initial_temperature
        self.temperature_learning_rate = temperature_learning_rate
        self.given_entropy, self.weight_decay = target_entropy, weight_decay
        super().__init__(
            env,
            eval_env,
            critic_learning_rate=critic_learning_rate,
            max_grad_norm=max_grad_norm,
            **options,
        )

    def setup(self) -> None:
        """With the temperature."""
        given = self.given_entropy
        self.target_entropy = -0.5 * self.num_actions if given is None else given
        start = math.log(self.initial_temperature)
        self.log_temperature = torch.full((), start, device=self.device, requires_grad=True)
        super().setup()
        rate = self.temperature_learning_rate
        self.temperature_optimizer = torch.optim.Adam([self.log_temperature], rate)

    def make_actor(self) -> SmoothActor:
        """A Gaussian whose deviation depends on the state, squashed."""
        widths, activation = self.net_arch, self.activation
        return SmoothActor(
            self.num_features, self.num_actions, widths, activation=activation, initial_std=None
        )

    def make_values(self) -> Values:
        """The two values."""
        return Values(self.num_features, self.critic_arch, 2, self.activation)

    def optimizer(self, module: nn.Module, rate: float) -> Optimizer:
        """AdamW over a module."""
        decay = self.weight_decay
        return torch.optim.AdamW(module.parameters(), rate, betas=self.betas, weight_decay=decay)

    @property
    def temperature(self) -> Tensor:
        """α."""
        return self.log_temperature.detach().exp()

    def rewards(self, window: Window) -> Tensor:
        """Rewards (H, N) with α times the entropy, moved and scaled to about [0, 1].

        Ĥ = (H + |H̄|) / (2 |H̄|), H̄ the target entropy (section 4 of the paper; the scale by its
        code).
        """
        target = abs(self.target_entropy)
        bonus = (window.entropies + target) / (2 * target)
        return super().rewards(window) + self.temperature * bonus

    def bootstrap(self, observations: Tensor) -> Tensor:
        """The mean of the values."""
        return self.value(self.encode(observations)).mean(dim=-1)

    def target_values(self, observations: Tensor) -> Tensor:
        """The lesser of the values."""
        return self.value(self.encode(observations)).amin(dim=-1)

    def dual_step(self, window: Window) -> dict[str, Tensor]:
        """Move the temperature: down where the entropy exceeds its target, up where it lacks."""
        excess = (window.entropies.detach() - self.target_entropy).mean()
        loss = self.log_temperature.exp() * excess
        self.descend(self.temperature_optimizer, "temperature_loss", loss)
        return {"temperature": self.temperature}
