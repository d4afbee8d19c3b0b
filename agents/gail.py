"""GAIL: imitation of a demonstration by a discriminator that rewards what looks like it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import Tensor, nn
from torch.nn import functional as F

from agents.actor_critic import ActorCritic
from agents.demonstrations import Demonstration, as_demonstration, require_continued
from agents.environments import make_vec
from agents.networks import ActorCriticPolicy
from agents.offline.networks import mlp
from agents.persistence import UNSAVED
from agents.physics.matching import deviations
from agents.replay import Batch
from agents.train_options import check_range
from simenv.errors import ConfigurationError, require_count


class GAIL(ActorCritic):
    """Generative adversarial imitation learning (Ho and Ermon, arXiv:1606.03476), off-policy.

    A discriminator D(s, a) learns to tell the demonstration's steps from those of the replay, and
    the soft actor-critic earns −log(1 − D(s, a)); the environment's reward is never looked at.
    Rewards are taken anew from the present discriminator at every update, and its slope is held
    near one between both kinds of steps (Kostrikov et al., "Discriminator-actor-critic",
    arXiv:1809.02925).

    Args:
        policy: as in `ActorCritic`.
        env: as in `ActorCritic`, with Box observations. Episodes should be of one length: all
            rewards are positive, which favours long ones.
        demonstration: the one to imitate, or its file.
        discriminator_arch: widths of the discriminator's hidden layers.
        discriminator_learning_rate: Adam's step size.
        gradient_penalty: weight of (|∇ logit D| − 1)².
        options: of `ActorCritic`, with single-step rewards.

    Raises:
        DatasetError: a demonstration that is missing, damaged, of another task or other spaces.
        ConfigurationError: options outside their bounds, or that change rewards or observations.

    Example:
        >>> model = GAIL("MlpPolicy", "simenv/SoftWalker2D-v0", demonstration="demonstration.npz")
        >>> model.learn(20_000)
    """

    unsaved: ClassVar[tuple[str, ...]] = (*UNSAVED, "demonstration")

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        demonstration: Demonstration | str | Path | None = None,
        discriminator_arch: Sequence[int] = (128, 128),
        discriminator_learning_rate: float = 3e-4,
        gradient_penalty: float = 10.0,
        **options: Any,
    ) -> None:
        check_range("discriminator_learning_rate", discriminator_learning_rate, above=0.0)
        check_range("gradient_penalty", gradient_penalty, at_least=0.0)
        for width in discriminator_arch:
            require_count("discriminator_arch", width)
        for name, usual in (("n_steps", 1), ("munchausen", 0.0)):
            if options.get(name, usual) != usual:
                raise ConfigurationError(
                    f"{name} = {options[name]} must be {usual}: the reward of "
                    "a single step is the discriminator's"
                )
        self.discriminator_arch = tuple(discriminator_arch)
        self.discriminator_learning_rate = discriminator_learning_rate
        self.gradient_penalty = gradient_penalty
        self.demonstration = as_demonstration(demonstration)
        if self.demonstration is not None and isinstance(env, str):
            self.demonstration.require_task(env)
            if chosen := self.demonstration.start_options():
                # Of other goals than the shown one the discriminator would know episodes apart.
                count, device = options.pop("num_envs", 1), str(options.get("device", "cpu"))
                env = make_vec(env, count, device=device, reset_options=chosen)
        super().__init__(policy, env, **options)

    def _setup_model(self) -> None:
        super()._setup_model()
        if not isinstance(self.observation_space, spaces.Box) or self._vec_normalize_env:
            raise ConfigurationError(
                f"GAIL compares observations with the demonstration's, which {self.env} changes; "
                "take the task's plain id"
            )
        inputs = spaces.flatdim(self.observation_space) + spaces.flatdim(self.action_space)
        self.discriminator = Discriminator(inputs, self.discriminator_arch).to(self.device)
        self.discriminator_optimizer = torch.optim.Adam(
            self.discriminator.parameters(), self.discriminator_learning_rate
        )
        if self.demonstration is not None:
            self.demonstration.require_spaces(self.observation_space, self.action_space)
            seen, acted = self.demonstration.features[:-1], self.demonstration.actions
            steps = torch.cat([torch.as_tensor(seen), torch.as_tensor(acted)], dim=1)
            self._steps = steps.to(self.device)
            self.discriminator.study(self._steps)

    # ------------------------------------------------------------------ hooks

    def learn(self, *args: Any, **options: Any) -> Any:
        """As `ActorCritic.learn`.

        Raises:
            ConfigurationError: the agent was made or loaded without a demonstration.
        """
        if self.demonstration is None:
            raise ConfigurationError("there is nothing to imitate: pass demonstration=…")
        return super().learn(*args, **options)

    def update(self, batch: Batch, index: int) -> None:
        """One update of the discriminator, then one of everything else."""
        self._update = self._n_updates + index
        loss = self.discriminator_loss(_joined(batch))
        self.descend(self.discriminator_optimizer, "discriminator_loss", loss)
        super().update(batch, index)

    def discriminator_loss(self, mine: Tensor) -> Tensor:
        """−E log D(demonstration) − E log(1 − D(mine)), and the penalty on its slope between.

        Args:
            mine: states and actions of the replay, (B, O + A).
        """
        rows = torch.randint(len(self._steps), (len(mine),), device=mine.device)
        theirs = self._steps[rows]
        shown, own = self.discriminator(theirs), self.discriminator(mine)
        loss = F.softplus(-shown).mean() + F.softplus(own).mean()
        return loss + self.gradient_penalty * self._penalty(theirs, mine)

    def _penalty(self, theirs: Tensor, mine: Tensor) -> Tensor:
        share = torch.rand_like(mine[:, :1])
        between = (share * theirs + (1 - share) * mine).requires_grad_()
        logits = self.discriminator(between).sum()
        (slopes,) = torch.autograd.grad(logits, between, create_graph=True)
        # In the units that the network sees.
        norms = torch.linalg.vector_norm(slopes * self.discriminator.deviation, dim=1)
        return (norms - 1.0).square().mean()

    def rewards(self, batch: Batch) -> Tensor:
        """−log(1 − D(s, a)), (B, 1), in the place of the environment's."""
        found = F.softplus(self.discriminator(_joined(batch)))
        self.note("imitation_reward", found)
        return found

    # ------------------------------------------------------------------ state

    def get_extra_state(self) -> dict[str, Any]:
        """With the digest of the demonstration."""
        given = self.demonstration
        digest = None if given is None else given.digest()
        return {**super().get_extra_state(), "demonstration": digest}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave.

        Raises:
            CheckpointError: it learnt from another demonstration.
        """
        require_continued(state["demonstration"], self.demonstration)
        super().set_extra_state(state)

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        modules, tensors = super()._get_torch_save_params()
        return [*modules, "discriminator", "discriminator_optimizer"], tensors


class Discriminator(nn.Module):
    """Logit (B, 1) of D, that a state and an action (B, O + A) are the demonstration's.

    Attributes:
        mean: of the demonstration's steps, (O + A,).
        deviation: their standard deviation.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, inputs: int, widths: Sequence[int]) -> None:
        super().__init__()
        self.network = mlp(inputs, 1, widths)
        self.register_buffer("mean", torch.zeros(inputs))
        self.register_buffer("deviation", torch.ones(inputs))

    def study(self, steps: Tensor) -> None:
        """Take the units of inputs from steps (T, O + A)."""
        self.mean.copy_(steps.mean(dim=0))
        self.deviation.copy_(deviations(steps))

    def forward(self, steps: Tensor) -> Tensor:
        """(B, O + A) to (B, 1)."""
        found: Tensor = self.network((steps - self.mean) / self.deviation)
        return found


def _joined(batch: Batch) -> Tensor:
    return torch.cat([batch.observations.flatten(1), batch.actions], dim=1)
