"""Policies of the actor-critics: Stable-Baselines3's, with switches for newer networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from gymnasium import spaces
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.preprocessing import get_action_dim, preprocess_obs
from stable_baselines3.common.torch_layers import (
    BaseFeaturesExtractor,
    CombinedExtractor,
    FlattenExtractor,
    create_mlp,
    get_actor_critic_arch,
)
from stable_baselines3.common.type_aliases import Schedule
from stable_baselines3.sac.policies import Actor, SACPolicy
from torch import Tensor, nn

from agents.goals.features import GoalFeatures
from simenv.errors import ConfigurationError

SIMBA_ARCH = {"pi": [128], "qf": [512, 512]}
"""Blocks of SimBa's actor and critics (SonyResearch/simba, configs/agent/sac_simba.yaml)."""

SIMBA_WEIGHT_DECAY = 1e-2
EXPANSION = 4
"""Width of a SimBa block's hidden layer over that of its trunk."""


class ActorCriticPolicy(SACPolicy):
    """Actor, critics and target critics, for vectors and for dictionaries of vectors.

    With every switch off, names, shapes and random draws are those of Stable-Baselines3's
    `SACPolicy` (`MultiInputPolicy` for dictionaries).

    Args:
        observation_space: a Box, or a Dict of such.
        action_space: a Box.
        lr_schedule: step size by the remaining part of the training, 1 to 0.
        net_arch: widths of the hidden layers, a list or {"pi": …, "qf": …}; with `simba` one
            residual block for each. None: [256, 256], with `simba` `SIMBA_ARCH`.
        layer_norm: layer normalisation after each hidden linear layer of the critics.
        simba: residual networks for actor and critics, normalised observations, and AdamW with
            weight decay 0.01 unless another optimiser is named (Lee et al., "SimBa: Simplicity
            bias for scaling up parameters in deep reinforcement learning", arXiv:2410.09754).
        normalize: normalise observations by their running mean and variance.
        goal_box: lower and upper corner [(G,), (G,)] of the goals, for dictionaries with goals:
            networks see goals as `agents.goals.features.GoalFeatures` shows them.
        features_extractor_class: None: flatten, and concatenate dictionaries.
        optimizer_class: None: Adam, with `simba` AdamW.
        optimizer_kwargs: its options apart from the step size.
        options: everything else that `SACPolicy` takes.

    Attributes:
        norm: statistics of the observations; None unless they are normalised. Actor, critics and
            target critics share this one module.

    Raises:
        ConfigurationError: switches that exclude each other, blocks of different widths, or
            `normalize` behind a features extractor that learns.
    """

    def __init__(
        self,
        observation_space: spaces.Space[Any],
        action_space: spaces.Box,
        lr_schedule: Schedule,
        net_arch: list[int] | dict[str, list[int]] | None = None,
        *,
        layer_norm: bool = False,
        simba: bool = False,
        normalize: bool = False,
        goal_box: Sequence[Sequence[float]] | None = None,
        features_extractor_class: type[BaseFeaturesExtractor] | None = None,
        optimizer_class: type[torch.optim.Optimizer] | None = None,
        optimizer_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        if simba and layer_norm:
            raise ConfigurationError(
                "simba = True normalises layers already; leave layer_norm at False"
            )
        self.layer_norm, self.simba, self.normalize = layer_norm, simba, normalize or simba
        if simba:
            net_arch = SIMBA_ARCH if net_arch is None else net_arch
            if optimizer_class is None:
                optimizer_class = torch.optim.AdamW
                optimizer_kwargs = {"weight_decay": SIMBA_WEIGHT_DECAY, **(optimizer_kwargs or {})}
        if goal_box is not None:
            features_extractor_class = GoalFeatures
            options["features_extractor_kwargs"] = {"goal_box": goal_box}
        if features_extractor_class is None:
            nested = isinstance(observation_space, spaces.Dict)
            features_extractor_class = CombinedExtractor if nested else FlattenExtractor
        super().__init__(
            observation_space,
            action_space,
            lr_schedule,
            net_arch,
            features_extractor_class=features_extractor_class,
            optimizer_class=optimizer_class or torch.optim.Adam,
            optimizer_kwargs=optimizer_kwargs,
            **options,
        )

    # ------------------------------------------------------------------ networks

    def _build(self, lr_schedule: Schedule) -> None:
        self.norm: RunningNorm | None = None
        if self.normalize:
            self.norm = RunningNorm(self._plain_extractor().features_dim)
        super()._build(lr_schedule)

    def make_actor(self, features_extractor: BaseFeaturesExtractor | None = None) -> Actor:
        """The squashed Gaussian."""
        actor = super().make_actor(features_extractor)
        if self.simba:
            actor.latent_pi = simba(actor.features_dim, actor.net_arch).to(self.device)
        return actor

    def make_critic(
        self, features_extractor: BaseFeaturesExtractor | None = None
    ) -> ContinuousCritic:
        """The critics."""
        critic = super().make_critic(features_extractor)
        if self.simba or self.layer_norm:
            inputs = critic.features_extractor.features_dim + get_action_dim(self.action_space)
            critic.q_networks = [self._value_network(inputs) for _ in critic.q_networks]
            for index, network in enumerate(critic.q_networks):
                critic.add_module(f"qf{index}", network)
        return critic

    def _value_network(self, inputs: int) -> nn.Module:
        widths = get_actor_critic_arch(self.net_arch)[1]
        if self.simba:
            return nn.Sequential(simba(inputs, widths), nn.Linear(widths[-1], 1)).to(self.device)
        layers = create_mlp(
            inputs, 1, widths, self.activation_fn, post_linear_modules=[nn.LayerNorm]
        )
        return nn.Sequential(*layers).to(self.device)

    # ------------------------------------------------------------------ observations

    def make_features_extractor(self) -> BaseFeaturesExtractor:
        """What stands before every network: flattening, and normalisation where asked."""
        plain = self._plain_extractor()
        return plain if self.norm is None else Normalized(plain, self.norm)

    def _plain_extractor(self) -> BaseFeaturesExtractor:
        extractor = super().make_features_extractor()
        if self.normalize and list(extractor.parameters()):
            raise ConfigurationError(
                f"normalize = True keeps statistics of observations, and {type(extractor).__name__}"
                " learns its features; set normalize (and simba) to False"
            )
        return extractor

    def observe(self, observations: Any) -> None:
        """Take observations (N, …), as environments give them, into the statistics.

        Call it once for every observation collected. Does nothing unless they are normalised.

        Args:
            observations: arrays, tensors on the device, or a dictionary of arrays.
        """
        if self.norm is None:
            return
        tensors = observations
        if not torch.is_tensor(observations):
            tensors, _ = self.obs_to_tensor(observations)
        seen = preprocess_obs(tensors, self.observation_space, self.normalize_images)
        extractor = self.actor.features_extractor
        assert isinstance(extractor, Normalized)
        self.norm.update(extractor.plain(seen))

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {
            **super()._get_constructor_parameters(),
            "layer_norm": self.layer_norm,
            "simba": self.simba,
            "normalize": self.normalize,
        }


MultiInputPolicy = ActorCriticPolicy
"""The same policy by the name that Stable-Baselines3 has for dictionary observations."""


class RunningNorm(nn.Module):
    """(x − mean) / √variance of all x seen so far, clipped.

    Args:
        dim: D, number of features.
        clip: largest magnitude that comes out.
        epsilon: added to the variance.

    Attributes:
        mean: (D,).
        var: (D,), divided by the count.
        count: (), features seen.
    """

    mean: Tensor
    var: Tensor
    count: Tensor

    def __init__(self, dim: int, clip: float = 10.0, epsilon: float = 1e-8) -> None:
        super().__init__()
        self.clip, self.epsilon = clip, epsilon
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("var", torch.ones(dim))
        self.register_buffer("count", torch.zeros((), dtype=torch.int64))

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (…, D)."""
        scaled = (features - self.mean) / torch.sqrt(self.var + self.epsilon)
        return scaled.clamp(-self.clip, self.clip)

    @torch.no_grad()
    def update(self, features: Tensor) -> None:
        """Take (N, D) into the statistics (Chan et al., "Updating formulae…", 1979)."""
        self.count += len(features)
        share = len(features) / self.count
        offset = features.mean(dim=0) - self.mean
        spread = features.var(dim=0, unbiased=False) - self.var
        self.mean += share * offset
        self.var += share * spread + share * (1 - share) * offset.square()


class Normalized(BaseFeaturesExtractor):
    """A features extractor without weights, and a shared `RunningNorm` behind it.

    The norm stays the policy's: registered here as well, one tensor would stand several times in
    a state dict.
    """

    def __init__(self, plain: BaseFeaturesExtractor, norm: RunningNorm) -> None:
        super().__init__(plain._observation_space, plain.features_dim)
        self.plain = plain
        self._norm = (norm,)

    def forward(self, observations: Any) -> Tensor:
        """Normalised features (B, D)."""
        return self._norm[0](self.plain(observations))


class ResidualBlock(nn.Module):
    """X + W₂ ReLU(W₁ LayerNorm(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, EXPANSION * width),
            nn.ReLU(),
            nn.Linear(EXPANSION * width, width),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, width) to (B, width)."""
        return x + self.branch(x)


def simba(inputs: int, widths: Sequence[int]) -> nn.Sequential:
    """SimBa's trunk, (B, inputs) to (B, width): one residual block for each entry of `widths`.

    Raises:
        ConfigurationError: no block, or blocks of different widths.
    """
    if len(set(widths)) != 1:
        raise ConfigurationError(
            f"net_arch {list(widths)} of a SimBa network must repeat one width, such as [512, 512]"
        )
    blocks = [ResidualBlock(width) for width in widths]
    return nn.Sequential(nn.Linear(inputs, widths[0]), *blocks, nn.LayerNorm(widths[0]))
