"""Policies whose actions are adjusted, and how far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from agents.train_options import check_range

if TYPE_CHECKING:
    from agents.offline.cdsa import CDSA


@dataclass(frozen=True)
class Tuning:
    """What `CDSA.tune` chose, and why.

    Attributes:
        action_step: chosen η_a.
        state_step: chosen η_s.
        density: mean log density over held-out states with the steps chosen.
        density_policy: the same of the policy's own actions.
        density_data: the same of the data's actions.
        outside: share of actions outside of the data's support with the steps chosen.
        outside_policy: the same of the policy's own actions.
    """

    action_step: float
    state_step: float
    density: float
    density_policy: float
    density_data: float
    outside: float
    outside_policy: float

    def __str__(self) -> str:
        return (
            f"CDSA: action_step {self.action_step:g} and state_step {self.state_step:g} chosen; "
            f"mean log density {self.density_policy:.3f} → {self.density:.3f} (data "
            f"{self.density_data:.3f}), outside of the data "
            f"{self.outside_policy:.1%} → {self.outside:.1%}"
        )


class Adjusted:
    """A policy whose actions are adjusted.

    Args:
        model: what has learnt from the data.
        policy: anything with `predict`.
        action_step: η_a.
        state_step: η_s.
    """

    def __init__(self, model: CDSA, policy: Any, action_step: float, state_step: float) -> None:
        check_range("action_step", action_step, at_least=0.0)
        check_range("state_step", state_step, at_least=0.0)
        self.model, self.policy = model, policy
        self.action_step, self.state_step = action_step, state_step
        self.observation_space, self.action_space = model.observation_space, model.action_space

    @torch.no_grad()
    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """clip(a + η_a d_a + η_s d_s), and the policy's state.

        Arguments are handed on to the policy. With both steps 0 its actions come back untouched.
        """
        actions, after = self.policy.predict(observation, state, episode_start, deterministic)
        if not self.action_step and not self.state_step:
            return actions, after
        model, space = self.model, self.action_space
        seen = np.asarray(observation, np.float32).reshape(-1, model.num_features)
        rows = model.normalizer(torch.as_tensor(seen, device=model.device))
        by_action, by_state = model.directions(rows, model.unit_actions(actions))
        change = (self.action_step * by_action + self.state_step * by_state).cpu().numpy()
        half = 0.5 * (space.high.astype(np.float64) - space.low)
        moved = actions + half * change.reshape(np.shape(actions))
        return np.clip(moved, space.low, space.high).astype(actions.dtype), after
