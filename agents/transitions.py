"""Transitions of many environments as tensors, and the sums of their episodes."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor


class Masks(NamedTuple):
    """Which environments a step concerns, on the host.

    Attributes:
        ended: (N,) bool, as `Transitions.ended`.
        valid: (N,) bool, as `Transitions.valid`.
    """

    ended: np.ndarray
    valid: np.ndarray


class Transitions(NamedTuple):
    """One step of N environments, on the device.

    Attributes:
        observations: (N, …) before the step.
        actions: (N, …) as taken, in the environment's own units.
        rewards: (N,).
        terminated: (N,) bool, ended by the task's own rules.
        truncated: (N,) bool, cut off, by a time limit for instance.
        next_observations: (N, …) after the step, of the same episode even where it ended.
        valid: (N,) bool, False where the environment only restarted and ignored its action.
        costs: (N,) `info["cost"]`, 0 where one gave none; None as long as none ever did.
        success: (N,) bool, `info["success"]` or `info["is_success"]`; None without either.
        host: masks that would else be read back from the device.
        finished: what Stable-Baselines3 wants to know of every finished episode, by environment.
    """

    observations: Tensor
    actions: Tensor
    rewards: Tensor
    terminated: Tensor
    truncated: Tensor
    next_observations: Tensor
    valid: Tensor
    costs: Tensor | None
    success: Tensor | None
    host: Masks
    finished: dict[int, dict[str, Any]]

    @property
    def ended(self) -> Tensor:
        """(N,) bool, the episode is over, for whatever reason."""
        return self.terminated | self.truncated


class EpisodeSums:
    """Return, length and cost of the running episodes of N environments.

    Args:
        num_envs: N.
        device: where transitions lie.

    Attributes:
        total_cost: () cost of all steps so far.
        episodes: episodes finished so far.
        has_costs: whether the environments give costs.
    """

    def __init__(self, num_envs: int, device: torch.device) -> None:
        self.episodes, self.has_costs = 0, False
        self.total_cost = torch.zeros((), dtype=torch.float64, device=device)
        self._sums = torch.zeros((3, num_envs), dtype=torch.float64, device=device)

    def restart(self) -> None:
        """All episodes start anew."""
        self._sums[:] = 0.0

    def add(self, step: Transitions) -> dict[int, dict[str, Any]]:
        """Count a step.

        Returns:
            What there is to tell of each episode that it finished, by environment:
            `{"episode": {"r": return, "l": length, "c": cost}, "TimeLimit.truncated": whether by
            time alone, "is_success": …}`, cost and success only where there are any.
        """
        costs = torch.zeros_like(self._sums[2]) if step.costs is None else step.costs
        sums = torch.stack([step.rewards, torch.ones_like(step.rewards), costs]) * step.valid
        self._sums += sums
        self.total_cost += sums[2].sum()
        rows = np.flatnonzero(step.host.ended)
        if len(rows) == 0:
            return {}
        self.episodes += len(rows)
        chosen = torch.as_tensor(rows, device=sums.device)
        totals = self._sums[:, chosen].T.tolist()
        self._sums[:, chosen] = 0.0
        late = (step.truncated & ~step.terminated)[chosen].tolist()
        won = [None] * len(rows) if step.success is None else step.success[chosen].tolist()
        told = zip(rows.tolist(), totals, late, won, strict=True)
        return {i: self._tell(*about) for i, *about in told}

    def _tell(self, totals: list[float], late: bool, won: bool | None) -> dict[str, Any]:
        episode = {"r": totals[0], "l": int(totals[1])}
        if self.has_costs:
            episode["c"] = totals[2]
        about = {"episode": episode, "TimeLimit.truncated": late}
        return about if won is None else {**about, "is_success": won}

    def get_state(self) -> dict[str, Any]:
        """The sums so far."""
        return {
            "running": self._sums.clone(),
            "total_cost": float(self.total_cost),
            "episodes": self.episodes,
            "has_costs": self.has_costs,
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self._sums[:] = torch.as_tensor(state["running"])
        self.total_cost.fill_(state["total_cost"])
        self.episodes, self.has_costs = state["episodes"], state["has_costs"]
