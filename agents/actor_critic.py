"""ActorCritic: Stable-Baselines3's soft actor-critic, its training step split into hooks."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple, cast

import torch
from gymnasium import spaces
from stable_baselines3 import SAC
from stable_baselines3.common.policies import BasePolicy
from stable_baselines3.common.type_aliases import RolloutReturn
from stable_baselines3.common.utils import LinearSchedule, polyak_update
from torch import Tensor
from torch.nn import functional as F
from torch.optim import Optimizer

from agents.collection import collect
from agents.dictionaries import DictBuffer
from agents.environments import as_vec_env
from agents.guard import StepGuard, require_finite
from agents.networks import ActorCriticPolicy, MultiInputPolicy
from agents.persistence import PersistentLearner
from agents.replay import Batch, TensorReplayBuffer
from agents.vector import GymnasiumVecEnv
from simenv.errors import ConfigurationError

MUNCHAUSEN_TEMPERATURE, MUNCHAUSEN_FLOOR = 0.03, -1.0
"""τ and l₀ of Vieillard et al., "Munchausen reinforcement learning" (2020)."""


class Proposal(NamedTuple):
    """Actions that the present policy draws in the states of a batch.

    Attributes:
        actions: (B, A) in [-1, 1], with the graph behind them.
        penalty: (B, 1), what the temperature weighs: log π(a|s) here, the kinetic energy in FLAC.
    """

    actions: Tensor
    penalty: Tensor


class ActorCritic(PersistentLearner, SAC):  # type: ignore[misc]  # its save and load take folders
    """Soft actor-critic (Haarnoja et al., arXiv:1812.05905) to build other agents on.

    With default switches and no hook overridden it is Stable-Baselines3's SAC to the last bit,
    given the same seed. An update calls, in this order, `sample`, `propose`, `update_temperature`,
    `critic_loss`, `update_costs`, `actor_loss`, `update_duals` and `update_targets`; an algorithm
    overrides what it changes.

    Args:
        policy: "MlpPolicy", or "MultiInputPolicy" for dictionary observations.
        env: an id, a Gymnasium environment, a Gymnasium vector environment in any autoreset mode,
            or a Stable-Baselines3 `VecEnv`.
        num_envs: environments stepped together, where `env` is an id.
        n_steps: rewards summed before the target's bootstrap; with Box observations alone.
        gradient_steps: updates after every vector step; -1: as many as environments.
        policy_delay: critic updates per update of actor and multipliers.
        temperature_learning_rate: step size of log α; None: that of the networks.
        final_learning_rate: step size at the end of training, reached linearly from
            `learning_rate`, then a number; None: no change.
        munchausen: weight of the Munchausen bonus, usually 0.9; 0 leaves it out.
        policy_kwargs: of `agents.networks.ActorCriticPolicy` (`net_arch`, `layer_norm`, `simba`,
            `normalize`).
        replay_buffer_class: None: `TensorReplayBuffer`, for dictionaries `DictBuffer`.
        options: everything else that Stable-Baselines3's SAC takes.

    A step whose loss or gradient is not finite is skipped, reported once and counted
    (train/skipped).

    Raises:
        ConfigurationError: options that exclude each other, or outside their bounds.
        TrainingError: while it learns, observations that are not finite, or twenty steps of one
            optimiser skipped in a row.

    Example:
        >>> model = ActorCritic("MlpPolicy", "simenv/SoftWalker2D-v0", num_envs=16, seed=0)
        >>> model.learn(20_000).save("walker")
    """

    policy_aliases: ClassVar[dict[str, type[BasePolicy]]] = {
        "MlpPolicy": ActorCriticPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }
    needs_costs: ClassVar[bool] = False

    def __init__(
        self,
        policy: str | type[ActorCriticPolicy],
        env: Any,
        *,
        num_envs: int = 1,
        n_steps: int = 1,
        policy_delay: int = 1,
        temperature_learning_rate: float | None = None,
        final_learning_rate: float | None = None,
        munchausen: float = 0.0,
        replay_buffer_class: Any = None,
        replay_buffer_kwargs: dict[str, Any] | None = None,
        device: torch.device | str = "cpu",
        **options: Any,
    ) -> None:
        if munchausen and n_steps > 1:
            raise ConfigurationError(
                f"munchausen = {munchausen} rewards single steps; set n_steps = 1, not {n_steps}"
            )
        for name, value in (("n_steps", n_steps), ("policy_delay", policy_delay)):
            if value < 1:
                raise ConfigurationError(f"{name} = {value} must be at least 1")
        self.policy_delay, self.munchausen = policy_delay, munchausen
        self.temperature_learning_rate = temperature_learning_rate
        self.final_learning_rate = final_learning_rate
        self._notes: dict[str, list[Tensor]] = defaultdict(list)
        self.guard, self._update = StepGuard(), 0
        env = as_vec_env(env, num_envs=num_envs, device=str(device))
        replay_buffer_class = replay_buffer_class or _default_replay(env.observation_space)
        if issubclass(replay_buffer_class, TensorReplayBuffer):
            replay_buffer_kwargs = {
                "n_steps": n_steps,
                "gamma": options.get("gamma", 0.99),
                "with_costs": self.needs_costs,
                **(replay_buffer_kwargs or {}),
            }
        elif n_steps > 1:
            raise ConfigurationError(
                f"n_steps = {n_steps} needs a TensorReplayBuffer, which keeps no dictionaries, not "
                f"{replay_buffer_class.__name__}; set n_steps = 1"
            )
        super().__init__(
            policy,
            env,
            replay_buffer_class=replay_buffer_class,
            replay_buffer_kwargs=replay_buffer_kwargs,
            device=device,
            **options,
        )

    # ------------------------------------------------------------------ the training step

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """Do so many updates."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.optimizers())
        for index in range(gradient_steps):
            self.update(self.sample(batch_size), index)
        self._n_updates += gradient_steps
        self._log_notes()

    def update(self, batch: Batch, index: int) -> None:
        """One update of everything; `index` counts those since the last vector step."""
        self._update = self._n_updates + index
        if self.use_sde:
            self.actor.reset_noise()
        proposal = self.propose(batch.observations)
        temperature = self.update_temperature(proposal)
        self.descend(self.critic.optimizer, "critic_loss", self.critic_loss(batch, temperature))
        self.update_costs(batch)
        if self._update % self.policy_delay == 0:
            loss = self.actor_loss(batch, proposal, temperature)
            self.descend(self.actor.optimizer, "actor_loss", loss)
            self.update_duals(batch, proposal)
        if index % self.target_update_interval == 0:
            self.update_targets()

    def descend(self, optimizer: Optimizer, name: str, loss: Tensor) -> None:
        """One step of an optimiser down a loss, which is logged as train/`name`.

        Raises:
            TrainingError: neither this step nor any of the last few was finite.
        """
        optimizer.zero_grad()
        loss.backward()
        if self.guard.admits(optimizer, name, loss, self._update):
            optimizer.step()
            self.note(name, loss)

    def note(self, name: str, value: Tensor) -> None:
        """Log the mean of `value` over the updates of a vector step as train/`name`."""
        self._notes[name].append(value.detach().mean())

    # ------------------------------------------------------------------ hooks

    def optimizers(self) -> list[Optimizer]:
        """Those whose step size follows the learning-rate schedule."""
        chosen = [self.actor.optimizer, self.critic.optimizer]
        if self.ent_coef_optimizer is not None and self.temperature_learning_rate is None:
            chosen.append(self.ent_coef_optimizer)
        return chosen

    def sample(self, batch_size: int) -> Batch:
        """Transitions to learn from."""
        assert self.replay_buffer is not None
        return cast(Batch, self.replay_buffer.sample(batch_size, env=self._vec_normalize_env))

    def propose(self, observations: Any) -> Proposal:
        """Actions of the present policy."""
        actions, log_prob = self.actor.action_log_prob(observations)
        return Proposal(actions, log_prob.reshape(-1, 1))

    def update_temperature(self, proposal: Proposal) -> Tensor:
        """Step log α towards the target entropy; the α (1,) from before the step."""
        if self.ent_coef_optimizer is None or self.log_ent_coef is None:
            self.note("ent_coef", self.ent_coef_tensor)
            return self.ent_coef_tensor
        temperature = torch.exp(self.log_ent_coef.detach())
        self.note("ent_coef", temperature)
        surplus = (proposal.penalty + float(self.target_entropy)).detach()
        loss = -(self.log_ent_coef * surplus).mean()
        self.descend(self.ent_coef_optimizer, "ent_coef_loss", loss)
        return temperature

    def critic_loss(self, batch: Batch, temperature: Tensor) -> Tensor:
        """½ Σᵢ E(Qᵢ(s, a) − y)² against the soft target."""
        target = self.target(batch, temperature)
        found = self.critic(batch.observations, batch.actions)
        return 0.5 * sum((F.mse_loss(q, target) for q in found), torch.zeros(()).to(target))

    @torch.no_grad()
    def target(self, batch: Batch, temperature: Tensor) -> Tensor:
        """Y = r + γⁿ (1 − terminated) [minᵢ Q̄ᵢ(s', a') − α log π(a'|s')], (B, 1)."""
        after = self.propose(batch.next_observations)
        values = torch.cat(self.critic_target(batch.next_observations, after.actions), dim=1)
        value = values.min(dim=1, keepdim=True).values - temperature * after.penalty
        discounts = self.gamma if batch.discounts is None else batch.discounts
        return self.rewards(batch) + (1 - batch.dones) * discounts * value

    def rewards(self, batch: Batch) -> Tensor:
        """Rewards (B, 1), with the Munchausen bonus α_m clip(τ log π(a|s), l₀, 0) where asked."""
        if not self.munchausen:
            return batch.rewards
        bonus = MUNCHAUSEN_TEMPERATURE * self.log_prob(batch.observations, batch.actions)
        return batch.rewards + self.munchausen * bonus.clamp(MUNCHAUSEN_FLOOR, 0.0)

    def log_prob(self, observations: Any, actions: Tensor) -> Tensor:
        """Log density (B, 1) of given actions (B, A) in [-1, 1] under the squashed Gaussian."""
        mean, log_std, kwargs = self.actor.get_action_dist_params(observations)
        squashed = self.actor.action_dist.proba_distribution(mean, log_std, **kwargs)
        # Actions at the very bound, which a random warm-up gives, have no finite pre-image.
        return squashed.log_prob(actions.clamp(-1 + 1e-6, 1 - 1e-6)).reshape(-1, 1)

    def update_costs(self, batch: Batch) -> None:
        """Update critics of other signals than the reward; none here."""

    def actor_loss(self, batch: Batch, proposal: Proposal, temperature: Tensor) -> Tensor:
        """E[α log π(a|s) − minᵢ Qᵢ(s, a)]."""
        return (temperature * proposal.penalty - self.value(batch, proposal)).mean()

    def value(self, batch: Batch, proposal: Proposal) -> Tensor:
        """minᵢ Qᵢ(s, a) of the proposed actions, (B, 1)."""
        values = torch.cat(self.critic(batch.observations, proposal.actions), dim=1)
        return values.min(dim=1, keepdim=True).values

    def update_duals(self, batch: Batch, proposal: Proposal) -> None:
        """Update multipliers of constraints, after the actor; none here."""

    def update_targets(self) -> None:
        """θ̄ ← (1 − τ) θ̄ + τ θ."""
        polyak_update(self.critic.parameters(), self.critic_target.parameters(), self.tau)
        polyak_update(self.batch_norm_stats, self.batch_norm_stats_target, 1.0)

    # ------------------------------------------------------------------ the rest

    def _setup_lr_schedule(self) -> None:
        super()._setup_lr_schedule()
        if self.final_learning_rate is None:
            return
        for name in ("learning_rate", "final_learning_rate"):
            value = getattr(self, name)
            if callable(value) or not (math.isfinite(value) and value > 0.0):
                raise ConfigurationError(f"{name} = {value} must be a number above 0")
        start = cast(float, self.learning_rate)
        self.lr_schedule = LinearSchedule(start, self.final_learning_rate, end_fraction=1.0)

    def get_extra_state(self) -> dict[str, Any]:
        """Counts of skipped steps."""
        return {**super().get_extra_state(), "guard": self.guard.get_state()}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave."""
        super().set_extra_state(state)
        self.guard.set_state(state["guard"])

    def _store_transition(
        self, replay_buffer: Any, action: Any, new_obs: Any, reward: Any, dones: Any, infos: Any
    ) -> None:
        require_finite(new_obs, self.num_timesteps)
        for i, info in enumerate(infos):
            if "terminal_observation" in info:
                require_finite(info["terminal_observation"], self.num_timesteps, i)
        if isinstance(self.policy, ActorCriticPolicy):
            self.policy.observe(self._last_obs)
        super()._store_transition(replay_buffer, action, new_obs, reward, dones, infos)

    def collect_rollouts(self, env: Any, *args: Any, **options: Any) -> RolloutReturn:
        """Fill the replay, in tensors where the environments are Gymnasium's own vectors."""
        if self.num_timesteps == 0:
            require_finite(self._last_obs, 0)
        tensors = isinstance(options.get("replay_buffer"), TensorReplayBuffer)
        if tensors and isinstance(env, GymnasiumVecEnv):
            return collect(self, env, *args, **options)
        return super().collect_rollouts(env, *args, **options)

    def _setup_model(self) -> None:
        super()._setup_model()
        if self.temperature_learning_rate is not None and self.ent_coef_optimizer is not None:
            for group in self.ent_coef_optimizer.param_groups:
                group["lr"] = self.temperature_learning_rate

    def _log_notes(self) -> None:
        # One copy from the device for all numbers of a vector step.
        names = list(self._notes)
        if names:
            means = torch.stack([torch.stack(self._notes[name]).mean() for name in names])
            for name, mean in zip(names, means.tolist(), strict=True):
                self.logger.record(f"train/{name}", mean)
        self._notes.clear()
        if self.guard.skipped:
            self.logger.record("train/skipped", self.guard.skipped)
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")


def _default_replay(space: spaces.Space[Any]) -> Any:
    return DictBuffer if isinstance(space, spaces.Dict) else TensorReplayBuffer
