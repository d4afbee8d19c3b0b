"""The table of tasks, and their registration with Gymnasium. Imports neither torch nor Warp."""

from __future__ import annotations

from dataclasses import dataclass

import gymnasium

from simenv.errors import UnknownTaskError


@dataclass(frozen=True)
class TaskSpec:
    """One row of `simenv list`.

    Attributes:
        id: Gymnasium id.
        task: where the `Task` class lives, "module:Class".
        horizon: environment steps per episode.
        action: size of the action vector.
        observation: size of the observation vector.
        summary: one line on what is to be done.
    """

    id: str
    task: str
    horizon: int
    action: int
    observation: int
    summary: str


TASKS: dict[str, TaskSpec] = {
    spec.id: spec
    for spec in (
        TaskSpec(
            id="simenv/SoftWalker2D-v0",
            task="tasks.locomotion:SoftWalker2D",
            horizon=80,
            action=4,
            observation=30,
            summary="walk forward on four muscles: 0.3 m in 4 s",
        ),
    )
}


def find(task_id: str) -> TaskSpec:
    """The row of an id.

    Raises:
        UnknownTaskError: no such id.
    """
    if task_id not in TASKS:
        raise UnknownTaskError(task_id, TASKS)
    return TASKS[task_id]


def register_all() -> None:
    """Register every task's single and vector environment; safe to call again."""
    for spec in TASKS.values():
        if spec.id not in gymnasium.registry:
            gymnasium.register(
                id=spec.id,
                entry_point="simenv.envs.env:Env",
                vector_entry_point="simenv.envs.vector:VectorEnv",
                max_episode_steps=spec.horizon,
                kwargs={"task": spec.task},
            )
