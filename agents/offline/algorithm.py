"""OfflineAlgorithm: what agents that learn from a dataset alone have in common."""

from __future__ import annotations

import inspect
import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from agents.environments import as_vec_env
from agents.offline.data import Batch, Transitions, require_fit
from agents.offline.networks import Standardiser
from agents.offline.persistence import PersistentOffline
from agents.train_options import check_range
from simenv.errors import ConfigurationError, require_count


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
        skip_bad_episodes: leave out damaged episodes of the dataset, and take files that have
            changed since they were made as they are; warn of both.
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
        self.begin(seed, device, tensorboard_log)
        self.env = None if env is None else as_vec_env(env, device=str(self.device))
        self.dataset = self._transitions(dataset, skip_bad_episodes)
        self.observation_space = self.dataset.observation_space
        self.action_space = self.dataset.action_space
        self.reference = self.dataset.source.reference
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

    def encode(self, observations: Tensor) -> Tensor:
        """What the networks see of raw observations (B, O): standardised, (B, O)."""
        return self.normalizer(observations)

    def front(self, inputs: int) -> nn.Module | None:
        """What the input of a network passes first, for so many features; nothing here."""
        return None

    # ------------------------------------------------------------------ learning

    def iterate(self) -> dict[str, Tensor]:
        """One update from one batch."""
        return self.update(self.sample())

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
