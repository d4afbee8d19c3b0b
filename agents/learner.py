"""Learner: what agents share that have a loop of their own, beside Stable-Baselines3's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.utils import configure_logger, set_random_seed
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor, nn
from torch.optim import Optimizer

from agents.callbacks import as_callback
from agents.guard import StepGuard
from agents.persistence import Persistent
from agents.randomness import random_state, set_random_state
from agents.spaces import from_unit
from simenv.errors import ConfigurationError, ShapeError
from simenv.mpm.device import resolve_device

if TYPE_CHECKING:
    from agents.physics.adjoints import Watch

EVALUATION_SEED = 1_000_000
"""First seed of the evaluation episodes, far from those of training."""


class Learner(Persistent):
    """Base of the agents that learn from datasets, or through the physics.

    An algorithm overrides `iterate`, `act`, and where step sizes change `schedule`. Modules,
    optimisers and tensors in its attributes are saved by the names of these.

    Attributes:
        num_timesteps: what `learn` counts, done so far.
        stride: how much of it an update is.
        losses: means of what `iterate` returned, over the updates since the last log.
        guard: counts steps that were skipped for not being finite.
        env: to evaluate in, or None.
        reference: returns (low, high) of normalised scores 0 and 100, or None.
    """

    observation_space: spaces.Box
    action_space: spaces.Box
    env: VecEnv | None
    reference: tuple[float, float] | None = None
    stride = 1

    def begin(self, seed: int | None, device: torch.device | str, tensorboard_log: Any) -> None:
        """Set counters, generators and the guard; the first thing that a constructor does.

        Args:
            seed: of everything random; None: another one each time.
            device: cpu, cuda:0 or auto.
            tensorboard_log: folder for TensorBoard; None: none.

        Raises:
            DeviceError: no such device on this machine.
        """
        self.device, self.tensorboard_log = torch.device(resolve_device(device)), tensorboard_log
        if seed is not None:
            set_random_seed(seed, using_cuda=self.device.type == "cuda")
        # Seeded alike, the global generator would draw its noise from the numbers of the batches.
        batches = np.random.SeedSequence(seed).spawn(1)[0].generate_state(1)
        self._generator = torch.Generator(self.device).manual_seed(int(batches[0]))
        self.guard, self.logger = StepGuard(), Logger(None, [])
        self.num_timesteps, self.losses = 0, dict[str, float]()
        self._sums: dict[str, Tensor] = {}

    # ------------------------------------------------------------------ hooks

    def iterate(self) -> dict[str, Tensor]:
        """One update; scalars to log, by name."""
        raise NotImplementedError

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """Actions (B, A) in [-1, 1] for observations (B, O) as `encode` gives them."""
        raise NotImplementedError

    def encode(self, observations: Tensor) -> Tensor:
        """What the networks see of raw observations (B, O)."""
        raise NotImplementedError

    def schedule(self, progress: float) -> None:
        """Set step sizes before an update; `progress` of the training, from 0 to 1."""

    def finish(self) -> None:
        """Do what remains after the last update, before the last evaluation and checkpoint."""

    # ------------------------------------------------------------------ learning

    def learn(
        self,
        total_timesteps: int,
        callback: Any = None,
        progress_bar: bool = False,
        *,
        log_interval: int = 1_000,
        tb_log_name: str | None = None,
    ) -> Any:
        """Go on until `num_timesteps` has grown by so much, or a little more; the agent itself.

        Args:
            total_timesteps: beside those done already; updates for agents that learn from a
                dataset.
            callback: Stable-Baselines3's kind; a step of it is an update.
            progress_bar: show progress.
            log_interval: of `num_timesteps`, between means of `losses`.
            tb_log_name: of TensorBoard's run.

        Raises:
            TrainingError: too many steps in a row are not finite.
        """
        total_timesteps += self.num_timesteps
        name, fresh = tb_log_name or type(self).__name__, self.num_timesteps == 0
        self.logger = configure_logger(0, self.tensorboard_log, name, fresh)
        hooks: BaseCallback = as_callback(callback, progress_bar)
        hooks.init_callback(self)  # type: ignore[arg-type]
        hooks.on_training_start(locals(), globals())
        going = True
        while going and self.num_timesteps < total_timesteps:
            hooks.on_rollout_start()
            self.schedule(self.num_timesteps / total_timesteps)
            self._add(self.iterate())
            self.num_timesteps += self.stride
            if self.num_timesteps % log_interval < self.stride:
                self._log()
                self._sums = {}
            going = hooks.on_step()
        self._log()
        if self.num_timesteps >= total_timesteps:
            self.finish()
        hooks.on_training_end()
        return self

    def descend(
        self,
        optimizer: Optimizer,
        name: str,
        loss: Tensor,
        max_norm: float | None = None,
        watch: Watch | None = None,
    ) -> Tensor:
        """One step of an optimiser down a loss, unless that is not finite; the loss, detached.

        Args:
            optimizer: of the parameters that the loss depends on.
            name: of the loss, for the report.
            loss: ().
            max_norm: bound on the norm of the gradient; None: none.
            watch: of the rollout that the loss was made from, for the report.

        Raises:
            TrainingError: neither this step nor any of the last few was finite.
        """
        optimizer.zero_grad()
        loss.backward()
        measure = loss.detach()
        if max_norm is not None:
            parameters = [p for group in optimizer.param_groups for p in group["params"]]
            # A norm that overflows would make zeros of a gradient whose numbers are finite.
            measure = measure + nn.utils.clip_grad_norm_(parameters, max_norm)
        bad = None if watch is None else watch.first_bad_step
        if self.guard.admits(optimizer, name, measure, self.num_timesteps, bad):
            optimizer.step()
        return loss.detach()

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
        rows = torch.as_tensor(seen.reshape(-1, int(np.prod(shape))), device=self.device)
        found = self.act(self.encode(rows), deterministic).cpu().numpy()
        batch = seen.shape[: seen.ndim - len(shape)]
        return from_unit(found.reshape(*batch, *self.action_space.shape), self.action_space), None

    def evaluate(self, episodes: int = 10, seed: int = EVALUATION_SEED) -> dict[str, float]:
        """Scores of whole episodes in `env` with deterministic actions, on fixed seeds.

        Returns:
            Means and deviations by name; `score` is normalised, where `reference` says how.

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

    # ------------------------------------------------------------------ state

    def get_state(self) -> dict[str, Any]:
        """The state by parts, as `checkpoints.write` takes it."""
        return {
            **self._own_state(),
            "loop": {
                "updates": self.num_timesteps,
                "losses": self.losses,
                "sums": self._sums,
            },
            "random": {**random_state(self.device), "batches": self._generator.get_state()},
        }

    def set_state(self, state: Mapping[str, Any], path: Any = "state") -> None:
        """Go on from what `get_state` gave; random generators come last."""
        self._set_parameters(state["parameters"], path)
        self.set_extra_state(state["extra"])
        loop = state["loop"]
        self.num_timesteps, self.losses = loop["updates"], dict(loop["losses"])
        self._sums = {name: value.to(self.device) for name, value in loop["sums"].items()}
        self._generator.set_state(state["random"]["batches"])
        set_random_state(state["random"], self.device)

    def get_extra_state(self) -> dict[str, Any]:
        """Counts of skipped steps, and the reference scores."""
        return {"guard": self.guard.get_state(), "reference": self.reference}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave."""
        self.guard.set_state(state["guard"])
        self.reference = state["reference"]

    def _get_torch_save_params(self) -> tuple[list[str], list[str]]:
        """Names of attributes with a state dict (modules, optimisers), and of tensors."""
        kinds = (nn.Module, Optimizer)
        found = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        modules = [name for name, value in found.items() if isinstance(value, kinds)]
        return modules, [name for name, value in found.items() if torch.is_tensor(value)]
