"""What SHAC and SAPO share: windows of rollouts, values fitted to their ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from agents.physics.algorithm import FirstOrder
from agents.physics.networks import SmoothActor, Values
from agents.physics.values import lambda_targets, window_return
from agents.physics.windows import Window
from agents.train_options import check_range, require_betas, require_widths
from simenv.errors import require_count


class WindowActorCritic(FirstOrder):
    """Base of `SHAC` and `SAPO`.

    An update takes a window of H steps in N environments, moves the policy up the gradient of what
    the window earns and of the value of where it ends, and fits the value to TD(λ) targets. An
    algorithm makes the networks (`make_actor`, `make_values`) and says what values the policy sees
    (`bootstrap`).

    Args:
        env: see `FirstOrder`.
        eval_env: see there.
        window: H, steps through which gradients flow.
        gamma: discount γ.
        reward_scale: rewards are learnt from as scale · r.
        td_lambda: λ of the targets.
        critic_learning_rate: step size of the values; falls as that of the policy does.
        critic_arch: widths of their hidden layers.
        critic_epochs: passes over a window by which they are fitted.
        critic_batches: mini-batches of a pass.
        betas: Adam's decay rates, in [0, 1).
        options: everything else that `FirstOrder` takes.
    """

    activation: type[nn.Module]

    def __init__(
        self,
        env: Any,
        eval_env: Any = None,
        *,
        window: int = 32,
        gamma: float = 0.99,
        reward_scale: float = 1.0,
        td_lambda: float = 0.95,
        critic_learning_rate: float = 2e-3,
        critic_arch: Sequence[int] = (64, 64),
        critic_epochs: int = 16,
        critic_batches: int = 4,
        betas: tuple[float, float] = (0.7, 0.95),
        **options: Any,
    ) -> None:
        require_count("window", window)
        check_range("gamma", gamma, above=0.0, at_most=1.0)
        check_range("reward_scale", reward_scale)
        check_range("td_lambda", td_lambda, at_least=0.0, at_most=1.0)
        check_range("critic_learning_rate", critic_learning_rate, above=0.0)
        require_count("critic_epochs", critic_epochs)
        require_count("critic_batches", critic_batches)
        require_widths("critic_arch", critic_arch)
        require_betas(betas)
        self.window, self.gamma, self.reward_scale = window, gamma, reward_scale
        self.td_lambda, self.critic_learning_rate = td_lambda, critic_learning_rate
        self.critic_arch, self.critic_epochs = tuple(critic_arch), critic_epochs
        self.critic_batches, self.betas = critic_batches, (betas[0], betas[1])
        super().__init__(env, eval_env, **options)

    # ------------------------------------------------------------------ set-up

    def setup(self) -> None:
        """Policy, values and optimisers."""
        self.actor = self.make_actor().to(self.device)
        self.value = self.make_values().to(self.device)
        self.actor_optimizer = self.optimizer(self.actor, self.learning_rate)
        self.value_optimizer = self.optimizer(self.value, self.critic_learning_rate)

    def make_actor(self) -> SmoothActor:
        """The policy."""
        raise NotImplementedError

    def make_values(self) -> Values:
        """The value, or several."""
        raise NotImplementedError

    def optimizer(self, module: nn.Module, rate: float) -> Optimizer:
        """Adam over a module."""
        return torch.optim.Adam(module.parameters(), rate, betas=self.betas)

    # ------------------------------------------------------------------ learning

    @property
    def steps_per_update(self) -> int:
        """H."""
        return self.window

    def iterate(self) -> dict[str, Tensor]:
        """One window: the policy, what weighs its entropy, the values."""
        stage = self.require_stage()
        # The gain is a mean over steps; bounds are on what one environment gains in a window.
        watch = self.watch(self.window * stage.functional.num_envs)
        window = stage.window(self.draw, self.window, watch)
        rewards = self.rewards(window)
        # The norm stands still until the values have seen this window as the policy saw it.
        gain = window_return(window, rewards, self.bootstrap(window.after), self.gamma)
        found = {"gain": self.climb("actor_loss", gain, watch)}
        found |= self.dual_step(window) | self.fit_values(window, rewards.detach())
        if self.norm is not None:
            self.norm.update(window.observations.detach().flatten(0, 1))
        return found | {"reward": window.rewards, "entropy": window.entropies}

    def rewards(self, window: Window) -> Tensor:
        """What is maximised of every step, (H, N)."""
        return self.reward_scale * window.rewards

    def bootstrap(self, observations: Tensor) -> Tensor:
        """Values (H, N) that the policy sees at the end of a piece."""
        raise NotImplementedError

    def target_values(self, observations: Tensor) -> Tensor:
        """Values (H, N) that targets are made from."""
        return self.bootstrap(observations)

    def dual_step(self, window: Window) -> dict[str, Tensor]:
        """Adapt what weighs the entropy; nothing here."""
        return {}

    def fit_values(self, window: Window, rewards: Tensor) -> dict[str, Tensor]:
        """Least squares to TD(λ) targets over some passes; the last loss."""
        with torch.no_grad():
            after = self.target_values(window.after)
            targets = lambda_targets(window, rewards, after, self.gamma, self.td_lambda)
            seen, targets = self.encode(window.observations).flatten(0, 1), targets.flatten()
        loss = targets.new_zeros(())
        for _ in range(self.critic_epochs):
            order = torch.randperm(len(seen), generator=self._generator, device=seen.device)
            for rows in order.chunk(self.critic_batches):
                error = (self.value(seen[rows]) - targets[rows, None]).square().mean(dim=0).sum()
                loss = self.descend(self.value_optimizer, "value_loss", error, self.max_grad_norm)
        return {"value_loss": loss}

    def schedule(self, progress: float) -> None:
        """Both step sizes, linear in the progress."""
        super().schedule(progress)
        self.fade(self.value_optimizer, self.critic_learning_rate, progress)
