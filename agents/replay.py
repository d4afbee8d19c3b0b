"""Replay on the device: transitions of many environments as torch tensors, costs included."""
# ruff: noqa: NPY002 (draws come from numpy's global generator, as Stable-Baselines3's do)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from simenv.errors import ConfigurationError


class Batch(NamedTuple):
    """B transitions, in the order of Stable-Baselines3's `ReplayBufferSamples`.

    Attributes:
        observations: (B, …).
        actions: (B, A), scaled to [-1, 1].
        next_observations: (B, …), n steps later.
        dones: (B, 1), one where the episode ended by its own rules, not by a time limit.
        rewards: (B, 1), summed over the n steps with their discounts.
        discounts: (B, 1), γ to the number of steps summed; None for n = 1.
        costs: (B, 1) of the first step; None where none are kept.
    """

    observations: Tensor
    actions: Tensor
    next_observations: Tensor
    dones: Tensor
    rewards: Tensor
    discounts: Tensor | None = None
    costs: Tensor | None = None


class TensorReplayBuffer(BaseBuffer):
    """Ring of the last transitions of N environments, kept and sampled on the device.

    Same interface as Stable-Baselines3's `ReplayBuffer`, and the same draws from numpy's global
    generator, so that the same seed gives the same batches. `add` takes what Stable-Baselines3
    gives; `add_batch` takes tensors, without a detour through numpy.

    Args:
        buffer_size: transitions kept, over all environments.
        observation_space: a Box.
        action_space: a Box.
        device: where the tensors live.
        n_envs: N.
        optimize_memory_usage: not offered; there for the interface.
        n_steps: rewards summed per sample; the sum stops at the end of an episode.
        gamma: discount of that sum.
        with_costs: keep `info["cost"]`.

    Raises:
        ConfigurationError: an observation space that is no Box, or a count below one.
    """

    def __init__(
        self,
        buffer_size: int,
        observation_space: spaces.Space[Any],
        action_space: spaces.Space[Any],
        device: torch.device | str = "cpu",
        n_envs: int = 1,
        optimize_memory_usage: bool = False,
        *,
        n_steps: int = 1,
        gamma: float = 0.99,
        with_costs: bool = False,
    ) -> None:
        if not isinstance(observation_space, spaces.Box):
            raise ConfigurationError(
                f"observation space {observation_space} is not a Box; for dictionaries use "
                "stable_baselines3.her.HerReplayBuffer or DictReplayBuffer"
            )
        if optimize_memory_usage:
            raise ConfigurationError("optimize_memory_usage is not offered; leave it at False")
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.n_steps, self.gamma, self.with_costs = n_steps, gamma, with_costs
        self.store = self._empty(observation_space)
        self._gaps = False

    def _empty(self, space: spaces.Box) -> dict[str, Tensor]:
        shape = (self.buffer_size, self.n_envs)
        kept = torch.uint8 if space.dtype == np.uint8 else torch.float32
        kinds: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "observations": ((*shape, *space.shape), kept),
            "next_observations": ((*shape, *space.shape), kept),
            "actions": ((*shape, self.action_dim), torch.float32),
            "rewards": (shape, torch.float32),
            "terminated": (shape, torch.float32),
            "ended": (shape, torch.bool),
            "valid": (shape, torch.bool),
        }
        if self.with_costs:
            kinds["costs"] = (shape, torch.float32)
        return {k: torch.zeros(s, dtype=d, device=self.device) for k, (s, d) in kinds.items()}

    # ------------------------------------------------------------------ in

    def add(
        self,
        obs: np.ndarray,
        next_obs: np.ndarray,
        action: np.ndarray,
        reward: np.ndarray,
        done: np.ndarray,
        infos: Sequence[Mapping[str, Any]],
    ) -> None:
        """Keep one step of every environment, as Stable-Baselines3 hands it over.

        Raises:
            ConfigurationError: costs are kept, but the environment gives none.
        """
        timeout = np.array([info.get("TimeLimit.truncated", False) for info in infos])
        row: dict[str, Any] = {
            "observations": obs,
            "next_observations": next_obs,
            "actions": np.reshape(action, (self.n_envs, self.action_dim)),
            "rewards": reward,
            "terminated": np.asarray(done) & ~timeout,
            "ended": done,
            "valid": np.ones(self.n_envs, dtype=bool),
        }
        if self.with_costs:
            row["costs"] = [_cost(info) for info in infos]
        self.add_batch({name: torch.as_tensor(np.asarray(v)) for name, v in row.items()})

    def add_batch(self, row: Mapping[str, Tensor]) -> None:
        """Keep one step of every environment, by the names of `store`, each (N, …).

        Rows where `valid` is False (the action of an environment that was resetting) take their
        place in the ring and are never sampled.
        """
        for name, kept in self.store.items():
            kept[self.pos] = row[name].to(kept)
        self._gaps |= not bool(row["valid"].all())
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full, self.pos = True, 0

    # ------------------------------------------------------------------ out

    def _get_samples(  # type: ignore[override]  # a Batch has one field more
        self, batch_inds: np.ndarray, env: VecNormalize | None = None
    ) -> Batch:
        columns = np.random.randint(0, high=self.n_envs, size=(len(batch_inds),))
        rows, cols = torch.as_tensor(batch_inds), torch.as_tensor(columns)
        rows, cols = self._avoid_gaps(rows.to(self.device), cols.to(self.device))
        last, rewards, discounts = self._sum(rows, cols, env)
        return Batch(
            observations=self._seen("observations", rows, cols, env),
            actions=self.store["actions"][rows, cols],
            next_observations=self._seen("next_observations", last, cols, env),
            dones=self.store["terminated"][last, cols, None],
            rewards=rewards,
            discounts=discounts,
            costs=self.store["costs"][rows, cols, None] if self.with_costs else None,
        )

    def _avoid_gaps(self, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor]:
        """Draw again, among the same rows, wherever no transition is kept."""
        while self._gaps and bool((bad := ~self.store["valid"][rows, cols]).any()):
            count = int(bad.sum())
            drawn = (
                np.random.randint(0, self.size(), count),
                np.random.randint(0, self.n_envs, count),
            )
            rows[bad], cols[bad] = (torch.as_tensor(d).to(rows) for d in drawn)
        return rows, cols

    def _sum(
        self, rows: Tensor, cols: Tensor, env: VecNormalize | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Row of the last of up to n steps, their discounted rewards and γ to their number."""
        if self.n_steps == 1:
            return rows, self._scaled(self.store["rewards"][rows, cols, None], env), None
        steps = torch.arange(self.n_steps, device=rows.device)
        ahead = (rows[:, None] + steps) % self.buffer_size
        # The newest step has no successor yet, whatever lies behind it in the ring.
        newest = (self.pos - 1) % self.buffer_size
        ends = self.store["ended"][ahead, cols[:, None]] | (ahead == newest)
        count = torch.where(ends.any(dim=1), ends.int().argmax(dim=1), self.n_steps - 1)
        weights = self.gamma**steps * (steps <= count[:, None])
        rewards = self._scaled(self.store["rewards"][ahead, cols[:, None]], env)
        discounts = (self.gamma ** (count + 1)).to(rewards)[:, None]
        last = (rows + count) % self.buffer_size
        return last, (rewards * weights).sum(dim=1, keepdim=True), discounts

    def _seen(self, name: str, rows: Tensor, cols: Tensor, env: VecNormalize | None) -> Tensor:
        seen = self.store[name][rows, cols]
        if env is None:
            return seen
        return torch.as_tensor(env.normalize_obs(seen.cpu().numpy())).to(seen)

    def _scaled(self, rewards: Tensor, env: VecNormalize | None) -> Tensor:
        if env is None:
            return rewards
        return torch.as_tensor(env.normalize_reward(rewards.cpu().numpy())).to(rewards)

    # ------------------------------------------------------------------ state

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on from here; only the filled part of the ring."""
        filled = {name: kept[: self.size()] for name, kept in self.store.items()}
        return {"store": filled, "pos": self.pos, "full": self.full, "gaps": self._gaps}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.pos, self.full, self._gaps = state["pos"], state["full"], state["gaps"]
        for name, kept in self.store.items():
            kept[: self.size()] = torch.as_tensor(state["store"][name]).to(kept)


def _cost(info: Mapping[str, Any]) -> float:
    if "cost" not in info:
        raise ConfigurationError(
            "the environment gives no info['cost']; take a '-Safe' id, or name a cost "
            "(agents.environments.make_vec(id, cost='effort'))"
        )
    return float(info["cost"])
