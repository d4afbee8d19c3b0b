"""A task of your own: push a ball of jelly across a table with a paddle (docs/own-task.md).

    python examples/own_task.py

registers the task with Gymnasium, checks it, and finds actions that do it by gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.utils.env_checker import check_env
from torch import Tensor

from agents.schemes import Schemes
from agents.trajopt import make_policy, optimise
from simenv import mpm
from simenv.envs import Functional, Task
from simenv.mpm import Control, State

PATH = f"{__name__ if __name__ != '__main__' else 'examples.own_task'}:PushJelly"
SPEED = 0.5
"""Speed of the paddle for an action of one [m/s]."""


class PushJelly(Task):
    """A paddle pushes a ball of jelly seen from above; its centre is to pass x = 0.7 m."""

    num_actions, num_observations, horizon = 2, 8, 40
    cost_names = ("hurry",)
    pose_range = (0.05, 0.1)
    material_ranges = {"E": (0.5, 2.0)}
    goal_line = 0.7

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        cells = 32 if size == "small" else 128
        self.scene = mpm.Scene((1.0, 1.0), (cells, cells), gravity=(0.0, 0.0), step=0.05)
        jelly = mpm.NeoHookean(E=5e3, nu=0.3, density=1e3)
        self.scene.add_body(mpm.Sphere((0.4, 0.5), 0.1), jelly, name="ball")
        self.scene.add_tool(
            mpm.Box((0.2, 0.5), (0.08, 0.3)), name="paddle", friction=0.3, softness=softness
        )

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """The ball starts up to 1 cm off."""
        offset = np.stack([rng.uniform(-0.01, 0.01, (1, 2)) for rng in rngs])
        return rest.replace(x=rest.x + torch.as_tensor(offset).to(rest.x))

    def control(self, state: State, action: Tensor) -> Control:
        """Velocity of the paddle; it does not turn."""
        return Control(tools=torch.nn.functional.pad(SPEED * action, (0, 1))[:, None])

    def observe(self, state: State) -> Tensor:
        """Place and velocity of ball and paddle."""
        ball, speed = state.x.mean(dim=1), state.v.mean(dim=1)
        return torch.cat([ball, speed, state.pose[:, 0, :2], state.twist[:, 0, :2]], dim=1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """How far the ball came, in centimetres."""
        return 100.0 * (after.x - state.x)[..., 0].mean(dim=1)

    def success(self, state: State) -> Tensor:
        """The ball's centre is beyond the line."""
        return state.x[..., 0].mean(dim=1) > self.goal_line

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """What the safe variant counts: a paddle faster than 0.4 m/s."""
        fast = torch.linalg.vector_norm(after.twist[:, 0, :2], dim=1) > 0.4
        return {"hurry": fast.to(after.x.dtype)}

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Seen from above."""
        from simenv.render import Camera2D

        return {
            "colors": np.tile(np.array([0.93, 0.79, 0.55]), (state.x.shape[1], 1)),
            "radius": 0.012,
            "camera": Camera2D(center=(0.5, 0.5), height=1.0),
        }


def register() -> None:
    """Give the task and its safe variant ids of their own."""
    for name, variant in (("PushJelly", {}), ("PushJelly-Safe", {"variant": "safe"})):
        gymnasium.register(
            f"mine/{name}-v0",
            entry_point="simenv.envs:Env",
            vector_entry_point="simenv.envs:VectorEnv",
            max_episode_steps=PushJelly.horizon,
            kwargs={"task": PATH, **variant},
        )


def main() -> None:
    """Check the environment, then do the task by gradients."""
    register()
    check_env(gymnasium.make("mine/PushJelly-v0").unwrapped, skip_render_check=True)
    functional = Functional(PATH, num_envs=4, softness=50.0)
    policy = make_policy("open-loop", functional.task, sets=4)
    found = optimise(functional, policy, iterations=15, schemes=Schemes(attraction=1.0))
    print(f"return {found.best_return:.1f} (the ball's way in cm), success {found.best_success}")


if __name__ == "__main__":
    main()
