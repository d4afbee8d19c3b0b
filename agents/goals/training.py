"""Goal-conditioned training put together: agent, hindsight replay and who chooses the goals."""

from __future__ import annotations

from typing import Any

from stable_baselines3.common.vec_env import VecEnv

from agents.actor_critic import ActorCritic
from agents.environments import make_vec
from agents.goals.feed import GoalFeed
from agents.goals.her import HerBuffer
from agents.goals.sampler import GoalBox, GoalSampler, UniformGoals
from agents.goals.svgg import SVGG
from simenv.errors import ConfigurationError

SAMPLERS: dict[str, type[UniformGoals] | type[SVGG]] = {"uniform": UniformGoals, "svgg": SVGG}
GOALS = ("task", *SAMPLERS)
"""Who chooses goals: the task itself, or a sampler of the whole box."""


def make_sampler(name: str, box: GoalBox, *, seed: int = 0, **options: Any) -> GoalSampler:
    """A sampler by name ("uniform" or "svgg"); `options` are its own.

    Raises:
        ConfigurationError: no such sampler, or an option outside its bounds.
    """
    if name not in SAMPLERS:
        raise ConfigurationError(f"goals {name!r} is not one of {GOALS}")
    return SAMPLERS[name](box, seed=seed, **options)


def make_goal_training(
    task_id: str,
    goals: str = "task",
    *,
    agent: type[ActorCritic] = ActorCritic,
    num_envs: int = 16,
    seed: int = 0,
    sampler: dict[str, Any] | None = None,
    env: VecEnv | None = None,
    policy_kwargs: dict[str, Any] | None = None,
    replay_buffer_kwargs: dict[str, Any] | None = None,
    **options: Any,
) -> tuple[ActorCritic, GoalFeed | None]:
    """A goal-conditioned agent with hindsight replay, and the callback that its `learn` needs.

    Args:
        task_id: a -Goal id.
        goals: "task" (the task draws them), "uniform" (anywhere in the box) or "svgg".
        agent: class of the agent.
        num_envs: environments stepped together.
        seed: of agent, environments and sampler.
        sampler: options of the sampler.
        env: environments of `task_id`; None: `num_envs` of its small size on the CPU.
        policy_kwargs: of the policy.
        replay_buffer_kwargs: of `HerBuffer` (`n_sampled_goal`, `goal_selection_strategy`).
        options: of the agent.

    Returns:
        The agent, and the callback to give to `learn`; None where the task draws the goals.

    Raises:
        ConfigurationError: no such way to choose goals, or a task whose goals no box describes.

    Example:
        >>> model, feed = make_goal_training("simenv/FingerReach2D-Goal-v0", "svgg", seed=0)
        >>> model.learn(20_000, callback=feed)
    """
    if goals not in GOALS:
        raise ConfigurationError(f"goals {goals!r} is not one of {GOALS}")
    env = make_vec(task_id, num_envs) if env is None else env
    feed = None
    if goals != "task":
        chooser = make_sampler(goals, GoalBox.of(task_id), seed=seed, **(sampler or {}))
        feed = GoalFeed(chooser, env)
    model = agent(
        "MultiInputPolicy",
        env,
        replay_buffer_class=HerBuffer,
        replay_buffer_kwargs=replay_buffer_kwargs,
        policy_kwargs={**goal_box(task_id), **(policy_kwargs or {})},
        seed=seed,
        **options,
    )
    return model, feed


def goal_box(task_id: str) -> dict[str, Any]:
    """The policy option that scales goals, where a box says how large they are."""
    try:
        box = GoalBox.of(task_id)
    except ConfigurationError:
        return {}
    return {"goal_box": [box.low.tolist(), box.high.tolist()]}
