"""A small task for the tests: push a tool to a goal beside a block of jelly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from simenv import mpm
from simenv.envs import Task
from simenv.mpm import Control, State

REACH = "tests.envs.reach:Reach"


class Reach(Task):
    """A ball of radius 0.1 m moves at up to 1 m/s; its centre is to meet the goal."""

    num_actions, num_observations, num_goals, horizon = 2, 4, 2, 10
    goal_tolerance = 0.05
    material_ranges = {"E": (0.5, 2.0)}

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        self.scene = mpm.Scene(size=(1.0, 1.0), cells=(10, 10), step=0.05)
        jelly = mpm.NeoHookean(E=1e3, nu=0.2, density=1e3)
        self.scene.add_body(mpm.Box((0.8, 0.1), (0.2, 0.2)), jelly, name="block")
        self.scene.add_tool(mpm.Sphere((0.5, 0.3), 0.1), softness=self.softness)

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        return rest

    def control(self, state: State, action: torch.Tensor) -> Control:
        return Control(tools=torch.nn.functional.pad(action, (0, 1))[:, None])

    def observe(self, state: State) -> torch.Tensor:
        return torch.cat([state.pose[:, 0, :2], state.twist[:, 0, :2]], dim=1)

    def reward(self, state: State, action: torch.Tensor, after: State) -> torch.Tensor:
        return -self.goal_distance(self.achieved_goal(after), self.desired_goal(after))

    def success(self, state: State) -> torch.Tensor:
        return -self.reward(state, state.x, state) < self.goal_tolerance

    def draw_goal(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(0.3, 0.7, 2)

    def middle_goal(self) -> np.ndarray:
        return np.array([0.5, 0.5])

    def achieved_goal(self, state: State) -> torch.Tensor:
        return state.pose[:, 0, :2]

    def picture(self, state: State, action: torch.Tensor | None) -> dict[str, Any]:
        from simenv.render import Camera2D

        return {
            "colors": np.full((state.x.shape[1], 3), 0.5),
            "radius": 0.02,
            "camera": Camera2D(center=(0.5, 0.5), height=1.0),
        }
