"""Soft actor-critic (Haarnoja et al., 2018), Stable-Baselines3's, on the native environment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecMonitor
from stable_baselines3.sac.policies import SACPolicy
from torch import Tensor

from agents.evaluation import play
from agents.options import TrainSAC
from agents.runs import Run
from simenv.envs.functional import Functional
from simenv.envs.sb3 import SB3VecEnv
from simenv.envs.task import Task

EVALUATION_SEED = 1_000_000
"""First seed of the evaluation episodes, far from those of training."""


def make_model(
    task_id: str,
    *,
    num_envs: int,
    size: str = "small",
    net_arch: Sequence[int] = (128, 128),
    device: str = "cpu",
    **options: Any,
) -> SAC:
    """An untrained SAC on `num_envs` environments of a task; `options` go to SB3's SAC."""
    env = VecMonitor(SB3VecEnv(task_id, num_envs, size=size, device=device))
    policy_kwargs = {"net_arch": list(net_arch)}
    return SAC("MlpPolicy", env, policy_kwargs=policy_kwargs, device=device, **options)


def train(options: TrainSAC) -> Run:
    """Train, writing metrics and checkpoints as it goes; returns the finished run.

    An interrupted training evaluates and saves once more before it ends.
    """
    functional = Functional(
        options.id, num_envs=options.eval_episodes, size=options.size, device=options.device
    )
    model = _model(options)
    run = Run.create("sac", options, options.seed)
    model.tensorboard_log = str(run.path / "tensorboard")
    callback = Checkpoints(run, functional, options.eval_every)
    # Networks this small gain nothing from a second thread, and the simulator has its own.
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model.learn(
            options.steps, callback=callback, progress_bar=options.progress_bar, tb_log_name="sac"
        )
    finally:
        callback.evaluate_now()
        torch.set_num_threads(threads)
    return run


def _model(options: TrainSAC) -> SAC:
    return make_model(
        options.id,
        num_envs=options.num_envs,
        size=options.size,
        net_arch=options.net_arch,
        device=options.device,
        seed=options.seed,
        train_freq=1,
        gradient_steps=options.gradient_steps,
        batch_size=options.batch_size,
        learning_rate=options.learning_rate,
        buffer_size=options.buffer_size,
        learning_starts=options.learning_starts,
        gamma=options.gamma,
    )


def load_policy(task: Task, net_arch: Sequence[int]) -> SACPolicy:
    """An untrained policy of the right shape, to be filled from a checkpoint."""
    spaces = task.observation_space, task.action_space
    return SACPolicy(*spaces, lambda _: 0.0, net_arch=list(net_arch))


class Checkpoints(BaseCallback):
    """Evaluates the deterministic policy every so many steps and keeps the last and the best."""

    def __init__(self, run: Run, functional: Functional, every: int) -> None:
        super().__init__()
        self.run, self.functional, self.every = run, functional, every
        self._next, self._best, self._began = 0, -np.inf, time.perf_counter()
        self._evaluated = -1

    def _on_step(self) -> bool:
        if self.num_timesteps >= self._next:
            self.evaluate_now()
            self._next += self.every
        return True

    def evaluate_now(self) -> None:
        """Evaluate, log, and write checkpoints, unless this step was evaluated already."""
        if self.num_timesteps == self._evaluated or not hasattr(self, "model"):
            return
        self._evaluated = self.num_timesteps
        row = play(self.functional, self._controller, EVALUATION_SEED).row()
        for key, value in row.items():
            self.logger.record(f"eval/{key}", value)
        seconds = time.perf_counter() - self._began
        self.run.write_metrics([{"step": self.num_timesteps, "seconds": seconds, **row}])
        weights = self.model.policy.state_dict()
        self.run.save("last", weights)
        if row["return_mean"] > self._best:
            self._best = row["return_mean"]
            self.run.save("best", weights)

    def _controller(self, observation: Tensor, t: int) -> Tensor:
        action, _ = self.model.predict(observation.cpu().numpy(), deterministic=True)
        return torch.as_tensor(action).to(observation)
