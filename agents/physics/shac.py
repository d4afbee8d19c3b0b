"""SHAC: short-horizon actor-critic."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from stable_baselines3.common.utils import polyak_update
from torch import Tensor, nn

from agents.physics.actor_critic import WindowActorCritic
from agents.physics.networks import SmoothActor, Values
from agents.physics.windows import Window
from agents.train_options import check_range


class SHAC(WindowActorCritic):
    """Short-horizon actor-critic (Xu et al., ICLR 2022, arXiv:2204.07137).

    Args:
        env: see `FirstOrder`.
        eval_env: see there.
        target_share: share of the target values that is kept at each update.
        initial_std: deviation of the policy at first, before tanh; the same in all states.
        options: everything else that `WindowActorCritic` takes.
    """

    activation = nn.ELU

    def __init__(
        self,
        env: Any,
        eval_env: Any = None,
        *,
        target_share: float = 0.2,
        initial_std: float = 0.3679,
        **options: Any,
    ) -> None:
        check_range("target_share", target_share, at_least=0.0, below=1.0)
        check_range("initial_std", initial_std, above=0.0)
        self.target_share, self.initial_std = target_share, initial_std
        super().__init__(env, eval_env, **options)

    def setup(self) -> None:
        """With the target values."""
        super().setup()
        self.target = deepcopy(self.value).requires_grad_(False)

    def make_actor(self) -> SmoothActor:
        """A Gaussian of one deviation in all states, squashed."""
        widths, std = self.net_arch, self.initial_std
        sizes = self.num_features, self.num_actions
        return SmoothActor(*sizes, widths, activation=self.activation, initial_std=std)

    def make_values(self) -> Values:
        """The value."""
        return Values(self.num_features, self.critic_arch, 1, self.activation)

    def bootstrap(self, observations: Tensor) -> Tensor:
        """The target value."""
        return self.target(self.encode(observations))[..., 0]

    def fit_values(self, window: Window, rewards: Tensor) -> dict[str, Tensor]:
        """Fit the value, then move its target: V̄ ← share · V̄ + (1 − share) · V."""
        found = super().fit_values(window, rewards)
        polyak_update(self.value.parameters(), self.target.parameters(), 1 - self.target_share)
        return found
