"""ODICE: a value function by orthogonal gradients, and the actor that its residuals weigh."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import torch
from stable_baselines3.common.utils import polyak_update
from torch import Tensor

from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.data import Batch, Transitions
from agents.offline.networks import Critics, GaussianActor
from agents.offline.trust_region import flat_gradient
from agents.train_options import check_range
from simenv.errors import ConfigurationError, require_one_of

MAX_WEIGHT = 100.0
"""Largest weight of a transition in the actor's loss (odice.py, EXP_ADV_MAX)."""
SMALLEST = 1e-10
"""Least squared norm of the forward gradient that the projection divides by (odice.py)."""
GRADIENTS = ("orthogonal", "true", "semi")


class Gradients(NamedTuple):
    """Gradients of the value's loss, (P,) each over all P parameters of V.

    Attributes:
        linear: of (1 − λ) E V(s).
        forward: of λ E f*(e_f), through V(s).
        backward: of λ η E f*(e_b), through V(s').
    """

    linear: Tensor
    forward: Tensor
    backward: Tensor


class ODICE(OfflineAlgorithm):
    """Orthogonal-gradient DICE (Mao et al., arXiv:2402.00348; github.com/maoliyuan/ODICE-Pytorch).

    An update steps V, then its target, then the actor. There is no Q, and no network is ever asked
    about an action that is not in the data.

    λ and the size of the rewards belong together: a constant residual comes to rest at
    2 (1 − 2λ) / λ, and the actor learns from positive residuals alone. Watch `positive_share`.

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        dice_lambda: λ, weight of the residuals against the values, above 0 and below 1.
        eta: η, weight of the backward gradient.
        gradient: "orthogonal": the backward gradient is projected; "true": it is not; "semi": it is
            left out.
        actor_arch: widths of the actor's hidden layers; those of V are `net_arch`.
        layer_norm: LayerNorm in V.
        tanh_mean: the actor's mean passes through tanh.
        weight_decay: of the actor.
        imitate: number of the one episode to learn from, its rewards taken as 0; None: learn from
            all of them with their rewards.
        options: everything else that `OfflineAlgorithm` takes.
    """

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        dice_lambda: float = 0.6,
        eta: float = 1.0,
        gradient: Literal["orthogonal", "true", "semi"] = "orthogonal",
        actor_arch: Sequence[int] = (1024, 1024),
        layer_norm: bool = True,
        tanh_mean: bool = False,
        weight_decay: float = 1e-4,
        imitate: int | None = None,
        learning_rate: float = 2e-4,
        **options: Any,
    ) -> None:
        check_range("dice_lambda", dice_lambda, above=0.0, below=1.0)
        check_range("eta", eta, at_least=0.0)
        check_range("weight_decay", weight_decay, at_least=0.0)
        require_one_of("gradient", gradient, GRADIENTS)
        if not actor_arch or min(actor_arch) < 1:
            raise ConfigurationError(f"actor_arch = {actor_arch} must name widths of at least 1")
        self.dice_lambda, self.eta, self.gradient = dice_lambda, eta, gradient
        self.actor_arch, self.layer_norm = tuple(actor_arch), layer_norm
        self.tanh_mean, self.weight_decay, self.imitate = tanh_mean, weight_decay, imitate
        super().__init__(dataset, env, learning_rate=learning_rate, **options)

    def setup(self) -> None:
        """Actor, twin values and their target."""
        kind = GaussianActor if self.tanh_mean else LinearGaussianActor
        self.actor = kind(self.num_features, self.num_actions, self.actor_arch).to(self.device)
        value = Critics(self.num_features, self.net_arch, layer_norm=self.layer_norm)
        self.value = value.to(self.device)
        self.value_target = copy.deepcopy(self.value).requires_grad_(False)
        self.value_optimizer = self.adam(self.value)
        self.actor_optimizer = torch.optim.Adam(
            self.actor.parameters(), self.learning_rate, weight_decay=self.weight_decay
        )

    def prepare(self, batch: Batch) -> Batch:
        """As for every agent, but without rewards where one episode is to be imitated."""
        batch = super().prepare(batch)
        if self.imitate is None:
            return batch
        return batch._replace(rewards=torch.zeros_like(batch.rewards))

    # ------------------------------------------------------------------ learning

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of V, of its target and of the actor, whose weights are from before V's step."""
        with torch.no_grad():
            residual = self.forward_residual(batch)
        found = self.descend_value(batch)
        polyak_update(self.value.parameters(), self.value_target.parameters(), self.tau)
        loss = self.actor_loss(batch, residual)
        found["actor_loss"] = self.descend(self.actor_optimizer, "actor_loss", loss)
        return found | {"positive_share": (residual > 0).to(residual.dtype)}

    def descend_value(self, batch: Batch) -> dict[str, Tensor]:
        """One step of V along `combine`, unless that is not finite."""
        loss, found = self.value_loss(batch), self.gradients(batch)
        self._put(combine(found, self.gradient))
        if self.guard.admits(self.value_optimizer, "value_loss", loss, self.num_timesteps):
            self.value_optimizer.step()
        cosine = torch.cosine_similarity(found.forward, found.backward, dim=0)
        return {"value_loss": loss, "gradient_cosine": cosine}

    def gradients(self, batch: Batch) -> Gradients:
        """The three parts of the gradient of V's loss (odice.py, orthogonal_true_g_update)."""
        weight, value = self.dice_lambda, self.value
        forward, backward = weight, weight * self.eta
        return Gradients(
            flat_gradient((1 - weight) * value(batch.observations).mean(), value),
            flat_gradient(forward * conjugate(self.forward_residual(batch)).mean(), value),
            flat_gradient(backward * conjugate(self.backward_residual(batch)).mean(), value),
        )

    @torch.no_grad()
    def value_loss(self, batch: Batch) -> Tensor:
        """(1 − λ) E V(s) + λ E f*(e_f), to be watched; its gradient is not the one that V takes."""
        linear = (1 - self.dice_lambda) * self.value(batch.observations).mean()
        return linear + self.dice_lambda * conjugate(self.forward_residual(batch)).mean()

    def forward_residual(self, batch: Batch) -> Tensor:
        """e_f = r + γ (1 − terminated) minᵢ V̄ᵢ(s') − Vᵢ(s), (B, 2)."""
        with torch.no_grad():
            after = self.value_target.smallest(batch.next_observations)
        target = batch.rewards + self.gamma * (1 - batch.terminated) * after
        return target - self.value(batch.observations)

    def backward_residual(self, batch: Batch) -> Tensor:
        """e_b = r + γ (1 − terminated) Vᵢ(s') − minᵢ V̄ᵢ(s), (B, 2)."""
        with torch.no_grad():
            before = self.value_target.smallest(batch.observations)
        after = self.value(batch.next_observations)
        return batch.rewards + self.gamma * (1 - batch.terminated) * after - before

    def actor_loss(self, batch: Batch, residual: Tensor) -> Tensor:
        """−E[min(max(e_f, 0), 100) log π(a|s)], the mean over both values as well.

        Args:
            batch: of B transitions.
            residual: e_f (B, 2), without a gradient.
        """
        weight = residual.clamp(0.0, MAX_WEIGHT)
        return -(weight * self.actor.log_prob(batch.observations, batch.actions)).mean()

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """The mean of π, or a draw."""
        return self.actor(observations) if deterministic else self.actor.sample(observations)

    # ------------------------------------------------------------------ parts

    def _put(self, gradient: Tensor) -> None:
        """Hand a gradient (P,) to V's optimiser."""
        parameters = list(self.value.parameters())
        parts = gradient.split([p.numel() for p in parameters])
        for parameter, part in zip(parameters, parts, strict=True):
            parameter.grad = part.reshape(parameter.shape)

    def _transitions(self, dataset: Any, skip_bad_episodes: bool) -> Transitions:
        found = super()._transitions(dataset, skip_bad_episodes)
        # Loaded without a dataset there is nothing to choose from.
        return found if self.imitate is None or not len(found) else one_episode(found, self.imitate)


class LinearGaussianActor(GaussianActor):
    """a ~ N(network(s), σ²): the mean may lie beyond the bounds, where `predict` clips it."""

    def forward(self, observations: Tensor) -> Tensor:
        """The mean (B, A)."""
        mean: Tensor = self.network(observations)
        return mean


def conjugate(residual: Tensor) -> Tensor:
    """f*(x) = x w − (w − 1)², w = max(x / 2 + 1, 0), of the Pearson χ² divergence (odice.py)."""
    ratio = (0.5 * residual + 1.0).clamp(min=0.0)
    return residual * ratio - (ratio - 1.0).square()


def combine(found: Gradients, gradient: str) -> Tensor:
    """The gradient (P,) that V takes: linear and forward part, and what is kept of the backward."""
    if gradient == "semi":
        return found.linear + found.forward
    kept = found.backward if gradient == "true" else orthogonal(found.backward, found.forward)
    return found.linear + found.forward + kept


def orthogonal(backward: Tensor, forward: Tensor) -> Tensor:
    """g_b − (g_f·g_b / max(‖g_f‖², 1e-10)) g_f, (P,) (odice.py, orthogonal_true_g_update).

    In float64: the two gradients are nearly opposite, and in float32 some 1e-6 would be left.
    """
    one, other = forward.double(), backward.double()
    share = torch.dot(one, other) / torch.dot(one, one).clamp(min=SMALLEST)
    return (other - share * one).to(backward.dtype)


def one_episode(data: Transitions, number: int) -> Transitions:
    """The transitions of one episode.

    Raises:
        ConfigurationError: there is no such episode.
    """
    chosen = data.episodes == number
    if not bool(chosen.any()):
        last = int(data.episodes.max())
        raise ConfigurationError(f"imitate = {number} must be an episode, from 0 to {last}")
    found = copy.copy(data)
    for name in data.TENSORS:
        tensor = getattr(data, name)
        setattr(found, name, None if tensor is None else tensor[chosen])
    return found
