"""OfflineAlgorithm: what agents that learn from a dataset alone have in common."""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import configure_logger, set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.optim import Optimizer

from agents.environments import as_vec_env
from agents.guard import StepGuard
from agents.offline.callbacks import as_callback
from agents.offline.data import Batch, Transitions, from_unit, require_fit
from agents.offline.networks import Standardiser
from agents.offline.persistence import PersistentOffline
from agents.train_options import check_range
from simenv.errors import ConfigurationError, ShapeError, require_count
from simenv.mpm.device import resolve_device

EVALUATION_SEED = 1_000_000
"""First seed of the episodes of `evaluate`."""


class OfflineAlgorithm(PersistentOffline):
    """Base of the agents that learn from a dataset.

    An algorithm overrides `setup`, which makes its networks and optimisers, `update`, which learns
    from one batch, `act`, and where step sizes change `schedule`. Modules, optimisers and tensors
    that `setup` puts into attributes are saved by the names of these.

    Args:
        dataset: name of a Minari dataset on this machine, an open one, or `Transitions`.
        env: to evaluate in: an id, a Gymnasium environment or a `VecEnv`; None: no evaluation.
        batch_size: B, transitions per update.
        learning_rate: Adam's step size.
        gamma: discount γ.
        tau: share of the networks that goes into their targets at each update.
        net_arch: widths of the hidden layers.
        normalize: standardise observations by the dataset's mean and deviation; None: as the
            algorithm's paper does.
        reward_scale: rewards are learnt from as scale · r + shift.
        reward_shift: see there.
        skip_bad_episodes: leave out damaged episodes of the dataset with a warning.
        seed: of networks, batches and noise; None: another one each time.
        device: where dataset and networks live: cpu, cuda:0 or auto.
        tensorboard_log: folder for TensorBoard; None: none.

    Attributes:
        num_timesteps: updates done so far.
        losses: means of what `update` returned, over the updates since the last log.
        normalizer: what observations pass through before every network.
        reference: returns (low, high) of normalised scores 0 and 100, or None.
        guard: counts steps that were skipped for not being finite.

    Raises:
        DatasetError: a dataset that is missing, damaged or of another environment.
        ConfigurationError: an option outside its bounds.
        DeviceError: no such device on this machine.
    """

    normalize_by_default: ClassVar[bool] = False
    unused: ClassVar[tuple[str, ...]] = ()
    """Arguments above that an algorithm has no use for, and refuses."""

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        batch_size: int = 256,
        learning_rate: float = 3e-4,
        gamma: float = 0.99,
        tau: float = 0.005,
        net_arch: Sequence[int] = (256, 256),
        normalize: bool | None = None,
        reward_scale: float = 1.0,
        reward_shift: float = 0.0,
        skip_bad_episodes: bool = False,
        seed: int | None = None,
        device: torch.device | str = "cpu",
        tensorboard_log: str | None = None,
    ) -> None:
        self._refuse_unused()
        require_count("batch_size", batch_size)
        check_range("learning_rate", learning_rate, above=0.0)
        check_range("gamma", gamma, at_least=0.0, at_most=1.0)
        check_range("tau", tau, above=0.0, at_most=1.0)
        check_range("reward_scale", reward_scale)
        check_range("reward_shift", reward_shift)
        if not net_arch or min(net_arch) < 1:
            raise ConfigurationError(f"net_arch = {net_arch} must name widths of at least 1")
        self.batch_size, self.learning_rate, self.gamma = batch_size, learning_rate, gamma
        self.tau, self.net_arch = tau, tuple(net_arch)
        self.reward_scale, self.reward_shift = reward_scale, reward_shift
        self.device, self.tensorboard_log = torch.device(resolve_device(device)), tensorboard_log
        self.env = None if env is None else as_vec_env(env, device=str(self.device))
        self.dataset = self._transitions(dataset, skip_bad_episodes)
        self.observation_space = self.dataset.observation_space
        self.action_space = self.dataset.action_space
        self.reference = self.dataset.source.reference
        if seed is not None:
            set_random_seed(seed, using_cuda=self.device.type == "cuda")
        # Seeded alike, the global generator would draw its noise from the numbers of the batches.
        batches = np.random.SeedSequence(seed).spawn(1)[0].generate_state(1)
        self._generator = torch.Generator(self.device).manual_seed(int(batches[0]))
        self.guard, self.logger = StepGuard(), Logger(None, [])
        self.num_timesteps, self.losses = 0, dict[str, float]()
        self._sums: dict[str, Tensor] = {}
        self.normalizer = Standardiser(self.num_features).to(self.device)
        wanted = self.normalize_by_default if normalize is None else normalize
        # A dataset without transitions stands for one that an agent is loaded without.
        if wanted and len(self.dataset):
            self.normalizer.fit(self.dataset.observations)
        self.setup()

    # ------------------------------------------------------------------ hooks

    def setup(self) -> None:
        """Make networks and optimisers, as attributes; widths are `num_features`, `num_actions`."""
        raise NotImplementedError

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """Learn from one batch, its observations standardised and its rewards transformed.

        Returns:
            Scalars to log, by name.
        """
        raise NotImplementedError

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """Actions (B, A) in [-1, 1] for standardised observations (B, O)."""
        raise NotImplementedError

    def encode(self, observations: Tensor) -> Tensor:
        """What the networks see of raw observations (B, O): standardised, (B, O)."""
        return self.normalizer(observations)

    def front(self, inputs: int) -> nn.Module | None:
        """What the input of a network passes first, for so many features; nothing here."""
        return None

    def schedule(self, progress: float) -> None:
        """Set step sizes before an update; `progress` of the training, from 0 to 1."""

    def finish(self) -> None:
        """Do what remains after the last update, before the last evaluation and checkpoint."""

    # ------------------------------------------------------------------ learning

    def learn(
        self,
        total_updates: int,
        callback: Any = None,
        progress_bar: bool = False,
        *,
        log_interval: int = 1_000,
        tb_log_name: str | None = None,
    ) -> Any:
        """Do so many updates more; the agent itself.

        Args:
            total_updates: updates, after those done already.
            callback: Stable-Baselines3's kind; a step of it is an update.
            progress_bar: show progress.
            log_interval: updates between means of `losses`.
            tb_log_name: of TensorBoard's run.

        Raises:
            TrainingError: too many steps in a row are not finite.
        """
        total_timesteps = self.num_timesteps + total_updates
        name, fresh = tb_log_name or type(self).__name__, self.num_timesteps == 0
        self.logger = configure_logger(0, self.tensorboard_log, name, fresh)
        hooks: BaseCallback = as_callback(callback, progress_bar)
        hooks.init_callback(self)  # type: ignore[arg-type]
        hooks.on_training_start(locals(), globals())
        going = True
        while going and self.num_timesteps < total_timesteps:
            hooks.on_rollout_start()
            self.schedule(self.num_timesteps / total_timesteps)
            self._add(self.update(self.sample()))
            self.num_timesteps += 1
            if self.num_timesteps % log_interval == 0:
                self._log()
                self._sums = {}
            going = hooks.on_step()
        self._log()
        if self.num_timesteps >= total_timesteps:
            self.finish()
        hooks.on_training_end()
        return self

    def sample(self) -> Batch:
        """A batch from the dataset, as `update` wants it."""
        return self.prepare(self.draw(self.batch_size))

    def draw(self, count: int, rows: Tensor | None = None) -> Batch:
        """So many transitions of the dataset, as they are; of some of its rows (R,), or of all.

        Raises:
            ConfigurationError: there is no dataset.
        """
        if not len(self.dataset):
            raise ConfigurationError("this agent was loaded without a dataset: load(…, dataset=…)")
        return self.dataset.sample(count, self._generator, rows)

    def prepare(self, batch: Batch) -> Batch:
        """A raw batch with observations standardised and rewards transformed."""
        return batch._replace(
            observations=self.encode(batch.observations),
            next_observations=self.encode(batch.next_observations),
            rewards=self.reward_scale * batch.rewards + self.reward_shift,
        )

    def descend(self, optimizer: Optimizer, name: str, loss: Tensor) -> Tensor:
        """One step of an optimiser down a loss, unless that is not finite; the loss, detached.

        Raises:
            TrainingError: neither this step nor any of the last few was finite.
        """
        optimizer.zero_grad()
        loss.backward()
        if self.guard.admits(optimizer, name, loss, self.num_timesteps):
            optimizer.step()
        return loss.detach()

    def adam(self, *modules: nn.Module, learning_rate: float | None = None) -> Optimizer:
        """Adam over the parameters of modules."""
        parameters = [p for module in modules for p in module.parameters()]
        return torch.optim.Adam(parameters, learning_rate or self.learning_rate)

    @property
    def num_features(self) -> int:
        """O, width of the observations."""
        return int(self.dataset.observations.shape[1])

    @property
    def num_actions(self) -> int:
        """A."""
        return int(self.dataset.actions.shape[1])

    def _add(self, found: Mapping[str, Tensor]) -> None:
        """Add to sums and counts (2,) by name; a step that was skipped is not counted."""
        for name, value in found.items():
            mean = value.detach().mean().to(self.device)
            whole = torch.isfinite(mean)
            pair = torch.stack([torch.where(whole, mean, 0.0), whole.to(mean.dtype)])
            self._sums[name] = self._sums[name] + pair if name in self._sums else pair

    def _log(self) -> None:
        if not self._sums:
            return
        # One copy from the device for all numbers.
        sums, counts = torch.stack(list(self._sums.values())).cpu().unbind(dim=1)
        self.losses = dict(zip(self._sums, (sums / counts).tolist(), strict=True))
        for name, value in self.losses.items():
            self.logger.record(f"train/{name}", value)
        if self.guard.skipped:
            self.logger.record("train/skipped", self.guard.skipped)
        self.logger.dump(self.num_timesteps)

    # ------------------------------------------------------------------ acting

    @torch.no_grad()
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, None]:
        """Actions for raw observations, in the environment's own units.

        Args:
            observation: one (…) or N of them (N, …), as the observation space has them.
            state: not used; there for Stable-Baselines3's sake.
            episode_start: not used either.
            deterministic: the mean action, not one drawn.

        Raises:
            ShapeError: observations of another shape.
        """
        seen, shape = np.asarray(observation, np.float32), self.observation_space.shape
        if seen.shape[-len(shape) :] != shape or seen.ndim > len(shape) + 1:
            raise ShapeError(
                f"observation has shape {seen.shape}, expected {shape} or (N, *{shape})"
            )
        rows = torch.as_tensor(seen.reshape(-1, self.num_features), device=self.device)
        found = self.act(self.encode(rows), deterministic).cpu().numpy()
        batch = seen.shape[: seen.ndim - len(shape)]
        return from_unit(found.reshape(*batch, *self.action_space.shape), self.action_space), None

    def evaluate(self, episodes: int = 10, seed: int = EVALUATION_SEED) -> dict[str, float]:
        """Scores of whole episodes in `env` with deterministic actions, on fixed seeds.

        Returns:
            Means and deviations by name; `score` is normalised, where the dataset says how.

        Raises:
            ConfigurationError: there is no environment.
        """
        from agents.evaluation import collect_episodes

        if self.env is None:
            raise ConfigurationError("there is no environment to evaluate in: pass env=…")
        score = collect_episodes(self.env, lambda seen: self.predict(seen)[0], episodes, seed)
        return score.row(reference=self.reference)

    def get_env(self) -> VecEnv | None:
        """The environment to evaluate in."""
        return self.env

    def _refuse_unused(self) -> None:
        known = inspect.signature(OfflineAlgorithm.__init__).parameters
        for name in self.unused:
            usual = known[name].default
            if self._arguments.get(name, usual) != usual:
                raise ConfigurationError(
                    f"{name} = {self._arguments[name]} has no effect on {type(self).__name__}; "
                    "leave it out"
                )

    def _transitions(self, dataset: Any, skip_bad_episodes: bool) -> Transitions:
        """The dataset on the device, after a look at whether it fits the environment."""
        env_spaces = None
        if self.env is not None:
            env_spaces = (self.env.observation_space, self.env.action_space)
        if not isinstance(dataset, Transitions):
            from agents.offline.reading import read

            return read(
                dataset,
                device=self.device,
                env_spaces=env_spaces,
                skip_bad_episodes=skip_bad_episodes,
            )
        if dataset.device != self.device:
            raise ConfigurationError(
                f"the transitions lie on {dataset.device}, the agent on {self.device}; make them "
                f"with device={str(self.device)!r}"
            )
        if env_spaces is not None:
            mine = (dataset.observation_space, dataset.action_space)
            require_fit(dataset.source.name, mine, env_spaces)
        return dataset


def follow_cosine(optimizer: Optimizer, rate: float, progress: float) -> None:
    """Set an optimiser's step size to η ½ (1 + cos π·progress), with η = `rate`."""
    for group in optimizer.param_groups:
        group["lr"] = rate * 0.5 * (1.0 + math.cos(math.pi * progress))
