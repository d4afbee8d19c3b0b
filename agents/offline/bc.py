"""BC: behavioural cloning."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.data import Batch
from agents.offline.networks import DeterministicActor


class BC(OfflineAlgorithm):
    """The actor that is nearest to the actions of the data, whatever they earned.

    Deterministic: actions of data often lie at the very bound, where a squashed distribution has no
    finite density.

    Example:
        >>> model = BC("pendulum/medium-v0", seed=0).learn(4_000)
    """

    normalize_by_default: ClassVar[bool] = True
    unused: ClassVar[tuple[str, ...]] = ("gamma", "tau", "reward_scale", "reward_shift")

    def setup(self) -> None:
        """The actor."""
        actor = DeterministicActor(self.num_features, self.num_actions, self.net_arch)
        self.actor = actor.to(self.device)
        self.actor_optimizer = self.adam(self.actor)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of the actor."""
        loss = self.actor_loss(batch)
        return {"actor_loss": self.descend(self.actor_optimizer, "actor_loss", loss)}

    def actor_loss(self, batch: Batch) -> Tensor:
        """E(π(s) − a)², the mean over actions as well (Pomerleau, "ALVINN", 1989)."""
        return (self.actor(batch.observations) - batch.actions).square().mean()

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """π(s)."""
        return self.actor(observations)
