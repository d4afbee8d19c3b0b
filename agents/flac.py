"""FLAC: an actor that is a flow, regularised by its kinetic energy (arXiv:2602.12829)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import torch
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.preprocessing import get_action_dim
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor, create_mlp
from torch import Tensor, nn

from agents.actor_critic import ActorCritic, Proposal
from agents.networks import ActorCriticPolicy, simba
from agents.replay import Batch
from simenv.errors import ConfigurationError

INITIAL_TEMPERATURE = "auto_0.1353352832366127"
"""Learnt, from exp(−2)."""

TEMPERATURE_RATE = 0.1
"""Step size of log α over that of the networks."""

DENSITY_OPTIONS = {"munchausen": 0.0, "use_sde": False, "target_entropy": "auto"}
"""Options of `ActorCritic` that mean something only beside a density, and their defaults."""


class VelocityField(nn.Module):
    """u(s, τ, x): Linear – LayerNorm – ELU for each hidden layer, and a linear one.

    Args:
        num_features: S, of the state.
        num_actions: A.
        net_arch: widths of the hidden layers.
        residual: `agents.networks.simba` in place of the hidden layers.
    """

    def __init__(
        self, num_features: int, num_actions: int, net_arch: list[int], residual: bool = False
    ) -> None:
        super().__init__()
        inputs = num_features + num_actions + 1
        norms: list[type[nn.Module]] = [nn.LayerNorm]
        hidden = create_mlp(inputs, -1, net_arch, nn.ELU, post_linear_modules=norms)
        body = simba(inputs, net_arch) if residual else nn.Sequential(*hidden)
        self.layers = nn.Sequential(body, nn.Linear([inputs, *net_arch][-1], num_actions))
        for module in self.layers.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, features: Tensor, time: float, x: Tensor) -> Tensor:
        """Velocity (B, A) at `time` in [0, 1] and x (B, A), given features (B, S)."""
        return self.layers(torch.cat([features, x.new_full((len(x), 1), time), x], dim=1))


def integrate(
    velocity: Callable[[float, Tensor], Tensor], start: Tensor, steps: int
) -> tuple[Tensor, Tensor]:
    """Midpoint rule from time 0 to 1.

    Args:
        velocity: (time, x (B, A)) to (B, A).
        start: x₀ (B, A).
        steps: N, of size Δ = 1/N.

    Returns:
        x₁ (B, A) and the kinetic energy Σₙ ½‖vₙ‖²Δ (B,), vₙ the velocity at the n-th midpoint.
    """
    size, x = 1.0 / steps, start
    energy = start.new_zeros(len(start))
    for n in range(steps):
        time = n * size
        middle = x + 0.5 * size * velocity(time, x)
        v = velocity(time + 0.5 * size, middle)
        x = x + size * v
        energy = energy + 0.5 * size * v.square().sum(dim=1)
    return x, energy


class FlowActor(BasePolicy):
    """Carries noise x₀ along a velocity field to x₁; the action is tanh(x₁).

    Args:
        observation_space: of the states.
        action_space: a Box.
        net_arch: widths of the velocity field's hidden layers.
        features_extractor: what stands before it.
        features_dim: number of features it gives.
        flow_steps: midpoint steps, each of two evaluations of the field.
        residual: `agents.networks.simba` in place of plain hidden layers.
        normalize_images: divide images by 255.
    """

    def __init__(
        self,
        observation_space: Any,
        action_space: Any,
        net_arch: list[int],
        features_extractor: BaseFeaturesExtractor,
        features_dim: int,
        flow_steps: int = 1,
        residual: bool = False,
        normalize_images: bool = True,
    ) -> None:
        super().__init__(
            observation_space,
            action_space,
            features_extractor=features_extractor,
            normalize_images=normalize_images,
            squash_output=True,
        )
        self.net_arch, self.features_dim = net_arch, features_dim
        self.flow_steps, self.residual = flow_steps, residual
        self.num_actions = get_action_dim(action_space)
        self.velocity = VelocityField(features_dim, self.num_actions, net_arch, residual)

    def action_log_prob(self, observations: Any) -> tuple[Tensor, Tensor]:
        """Actions (B, A) in [-1, 1] and the kinetic energy (B,) that stands for log π."""
        assert self.features_extractor is not None
        features = self.extract_features(observations, self.features_extractor)
        noise = torch.randn(len(features), self.num_actions, device=features.device)
        end, energy = integrate(
            lambda time, x: self.velocity(features, time, x), noise.clamp(-1, 1), self.flow_steps
        )
        return torch.tanh(end), energy

    def forward(self, observations: Any, deterministic: bool = False) -> Tensor:
        """Actions (B, A) in [-1, 1]; drawn in either case, the flow having no mode."""
        return self.action_log_prob(observations)[0]

    def _predict(self, observation: Any, deterministic: bool = False) -> Tensor:
        return self(observation, deterministic)


class FLACPolicy(ActorCriticPolicy):
    """A flow actor and the critics of `ActorCriticPolicy`.

    Args:
        args: of `ActorCriticPolicy`.
        flow_steps: midpoint steps from noise to action.
        options: of `ActorCriticPolicy`.
    """

    def __init__(self, *args: Any, flow_steps: int = 1, **options: Any) -> None:
        if flow_steps < 1:
            raise ConfigurationError(f"flow_steps = {flow_steps} must be at least 1")
        self.flow_steps = flow_steps
        super().__init__(*args, **options)

    def make_actor(  # type: ignore[override]  # another kind of actor, of the same methods
        self, features_extractor: BaseFeaturesExtractor | None = None
    ) -> FlowActor:
        """The flow."""
        chosen = "observation_space", "action_space", "net_arch", "normalize_images"
        kwargs: dict[str, Any] = {name: self.actor_kwargs[name] for name in chosen}
        kwargs = self._update_features_extractor(kwargs, features_extractor)
        actor = FlowActor(**kwargs, flow_steps=self.flow_steps, residual=self.simba)
        return actor.to(self.device)

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "flow_steps": self.flow_steps}


class FLAC(ActorCritic):
    """Actor-critic whose actor is a flow, kept near its noise by a price on kinetic energy.

    With the kinetic energy K in the place of log π, ActorCritic's target r + γ (min Q̄ − α K'),
    its actor's loss E[α K − min Q] and its temperature's loss −log α (K − budget) are FLAC's. The
    official order is kept: actor and temperature are updated every second time, actor first. The
    targets follow the critics at every update.

    There is no deterministic mode: `predict(…, deterministic=True)` draws x₀ too, from torch's
    global generator.

    Args:
        policy: "MlpPolicy" or "MultiInputPolicy".
        env: as in `ActorCritic`.
        flow_steps: midpoint steps from noise to action, each of two evaluations of the field.
        energy_budget: kinetic energy per action dimension that the temperature aims at.
        ent_coef: α, or "auto_" and the value to start learning it from.
        learning_rate: of the networks, a number or a schedule.
        temperature_learning_rate: of log α; None: a tenth of the (first) `learning_rate`.
        policy_delay: critic updates per update of actor and temperature.
        policy_kwargs: of `FLACPolicy`.
        options: of `ActorCritic`.

    Raises:
        ConfigurationError: options that need log π, or outside their bounds.

    Example:
        >>> model = FLAC("MlpPolicy", "Pendulum-v1", learning_rate=1e-3, seed=0).learn(15_000)
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": FLACPolicy,
        "MultiInputPolicy": FLACPolicy,
    }

    def __init__(
        self,
        policy: str | type[FLACPolicy],
        env: Any,
        *,
        flow_steps: int = 1,
        energy_budget: float = 2.5,
        ent_coef: str | float = INITIAL_TEMPERATURE,
        learning_rate: float | Callable[[float], float] = 3e-4,
        temperature_learning_rate: float | None = None,
        policy_delay: int = 2,
        policy_kwargs: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        for name, default in DENSITY_OPTIONS.items():
            if options.get(name, default) != default:
                raise ConfigurationError(
                    f"{name} = {options[name]!r} needs log π, which a flow does not give; leave "
                    f"it at {default!r} (energy_budget takes the place of target_entropy)"
                )
        if energy_budget <= 0:
            raise ConfigurationError(f"energy_budget = {energy_budget} must be positive")
        self.energy_budget = energy_budget
        if temperature_learning_rate is None:
            first = learning_rate(1.0) if callable(learning_rate) else learning_rate
            temperature_learning_rate = TEMPERATURE_RATE * first
        super().__init__(
            policy,
            env,
            ent_coef=ent_coef,
            learning_rate=learning_rate,
            temperature_learning_rate=temperature_learning_rate,
            policy_delay=policy_delay,
            policy_kwargs={"flow_steps": flow_steps, **(policy_kwargs or {})},
            **options,
        )

    def _setup_model(self) -> None:
        self.target_entropy = -self.energy_budget * get_action_dim(self.action_space)
        super()._setup_model()

    def update_temperature(self, proposal: Proposal) -> Tensor:
        """The present α (1,); its step comes after the actor's."""
        if self.log_ent_coef is None:
            return self.ent_coef_tensor
        return torch.exp(self.log_ent_coef.detach())

    def update_duals(self, batch: Batch, proposal: Proposal) -> None:
        """Step log α towards the energy budget: up where the mean K is above, down below."""
        self.note("energy", proposal.penalty)
        super().update_temperature(proposal)
