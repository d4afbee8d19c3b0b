"""GoalFeatures: what the networks of a goal-conditioned agent see of a goal."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor
from torch import Tensor

from agents.goals.sampler import GoalBox


class GoalFeatures(BaseFeaturesExtractor):
    """The observation, the goal relative to the middle of its box, and the way that is left.

    Goals are observed in their own unit, a fraction of a metre, say, and a tolerance is smaller
    still; networks learn faster from numbers of order one.

    Args:
        observation_space: with the keys "observation", "achieved_goal" and "desired_goal".
        goal_box: lower and upper corner of the goals; a goal is divided by half the shortest edge.
    """

    def __init__(self, observation_space: spaces.Dict, goal_box: Sequence[Sequence[float]]) -> None:
        box = GoalBox(*map(np.asarray, goal_box))
        own = int(np.prod(observation_space["observation"].shape or (1,)))
        super().__init__(observation_space, own + 2 * box.num_goals)
        middle = torch.as_tensor((box.low + box.high) / 2, dtype=torch.float32)
        self.middle: Tensor
        self.register_buffer("middle", middle, persistent=False)
        self.unit = float((box.high - box.low).min() / 2)

    def forward(self, seen: dict[str, Tensor]) -> Tensor:
        """Features (N, O + 2G)."""
        desired, achieved = seen["desired_goal"], seen["achieved_goal"]
        places = [(desired - self.middle) / self.unit, (desired - achieved) / self.unit]
        return torch.cat([seen["observation"].flatten(1), *places], dim=1)
