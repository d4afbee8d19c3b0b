"""Collection of transitions in tensors, in place of Stable-Baselines3's loop over numpy rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.noise import ActionNoise
from stable_baselines3.common.type_aliases import RolloutReturn, TrainFreq, TrainFrequencyUnit
from stable_baselines3.common.utils import should_collect_more_steps
from torch import Tensor

from agents.guard import require_finite
from agents.replay import TensorReplayBuffer
from agents.transitions import Transitions
from agents.vector import GymnasiumVecEnv
from simenv.errors import ConfigurationError


def collect(
    model: Any,
    env: GymnasiumVecEnv,
    callback: BaseCallback,
    train_freq: TrainFreq,
    replay_buffer: TensorReplayBuffer,
    action_noise: ActionNoise | None = None,
    learning_starts: int = 0,
    log_interval: int | None = None,
) -> RolloutReturn:
    """Fill the replay from the environments, as Stable-Baselines3's `collect_rollouts`.

    Same draws, same numbers; but no loop over environments, `num_timesteps` counts transitions
    alone, not the restarts of NEXT_STEP, and a transition is kept before callbacks hear of it, so
    that what a callback saves is complete.

    Args:
        model: an off-policy algorithm with a squashed policy.
        env: its environments.
        callback: told of the rollout's start, steps and end.
        train_freq: vector steps (or episodes, of a single environment) to take.
        replay_buffer: takes the transitions.
        action_noise: added to scaled actions.
        learning_starts: transitions taken with uniform actions first.
        log_interval: episodes between logs.

    Raises:
        ConfigurationError: `train_freq` in episodes with several environments.
    """
    if env.num_envs > 1 and train_freq.unit != TrainFrequencyUnit.STEP:
        raise ConfigurationError(
            f"train_freq in episodes needs num_envs = 1, not {env.num_envs}; give it in steps"
        )
    model.policy.set_training_mode(False)
    taken, steps, episodes = 0, 0, model._episode_num
    if model.use_sde:
        model.actor.reset_noise(env.num_envs)
    callback.on_rollout_start()
    while should_collect_more_steps(train_freq, steps, model._episode_num - episodes):
        if model.use_sde and model.sde_sample_freq > 0 and steps % model.sde_sample_freq == 0:
            model.actor.reset_noise(env.num_envs)
        scaled = scaled_actions(model, env, learning_starts, action_noise)
        step = env.advance(env.unscale(scaled))
        for seen in (step.next_observations, *([env.observations] if step.finished else [])):
            require_finite(seen, model.num_timesteps)
        _keep(model.policy, replay_buffer, step, scaled)
        model._last_obs = env.observations
        count = int(step.host.valid.sum())
        model.num_timesteps, taken, steps = model.num_timesteps + count, taken + count, steps + 1
        if not _tell(model, step, callback, action_noise, log_interval):
            return RolloutReturn(taken, model._episode_num - episodes, continue_training=False)
    callback.on_rollout_end()
    return RolloutReturn(taken, model._episode_num - episodes, continue_training=True)


@torch.no_grad()
def scaled_actions(
    model: Any, env: GymnasiumVecEnv, learning_starts: int, noise: ActionNoise | None
) -> Tensor:
    """Actions (N, …) in [-1, 1]: uniform before `learning_starts`, then the policy's."""
    if model.num_timesteps < learning_starts and not (model.use_sde and model.use_sde_at_warmup):
        space = model.action_space
        drawn = space.np_random.uniform(space.low, space.high, (env.num_envs, *space.shape))
        actions = torch.as_tensor(drawn.astype(np.float32), device=env.device)
    else:
        own = model.policy._predict(env.observations, deterministic=False)
        # There and back again as Stable-Baselines3 does, to keep the same rounded numbers.
        actions = env.unscale(own.reshape(-1, *env.low.shape))
    scaled = env.scale(actions)
    if noise is not None:
        scaled = (scaled + torch.as_tensor(noise(), device=env.device)).clamp(-1, 1)
    return scaled.to(torch.float32)


def _keep(policy: Any, replay: TensorReplayBuffer, step: Transitions, scaled: Tensor) -> None:
    """Everything that is collected passes here: into running statistics and into the replay."""
    if hasattr(policy, "observe"):
        policy.observe(_rows(step.observations, step.host.valid))
    row = {
        "observations": step.observations,
        "next_observations": step.next_observations,
        "actions": scaled.flatten(1),
        "rewards": step.rewards,
        "terminated": step.terminated,
        "ended": step.ended,
        "valid": step.host.valid,
    }
    replay.add_batch(row if step.costs is None else {**row, "costs": step.costs})


def _rows(observations: Tensor, chosen: np.ndarray) -> Tensor:
    """Rows (n, …) where a mask (N,) on the host holds."""
    if chosen.all():
        return observations
    rows = torch.as_tensor(np.flatnonzero(chosen), device=observations.device)
    return observations.index_select(0, rows)


def _tell(
    model: Any,
    step: Transitions,
    callback: BaseCallback,
    noise: ActionNoise | None,
    log_interval: int | None,
) -> bool:
    """Count, log and tell the callback of a step; whether to go on."""
    model._update_current_progress_remaining(model.num_timesteps, model._total_timesteps)
    infos = list(step.finished.values())
    model._update_info_buffer(infos, np.ones(len(infos), dtype=bool))
    before = model._episode_num
    model._episode_num += len(infos)
    if noise is not None and infos:
        kwargs = {"indices": list(step.finished)} if model.n_envs > 1 else {}
        noise.reset(**kwargs)
    told = {"self": model, "transitions": step, "dones": step.host.ended, "infos": infos}
    callback.update_locals(told)
    if not callback.on_step():
        return False
    model._on_step()
    if log_interval and before // log_interval != model._episode_num // log_interval:
        model.dump_logs()
    return True
