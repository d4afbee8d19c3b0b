"""Replay on the device: transitions of many environments as torch tensors, costs included."""
# ruff: noqa: NPY002 (draws come from numpy's global generator, as Stable-Baselines3's do)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import BaseBuffer
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

from simenv.errors import ConfigurationError, expect_shape, require_count


class Batch(NamedTuple):
    """B transitions, in the order of Stable-Baselines3's `ReplayBufferSamples`.

    Attributes:
        observations: (B, …).
        actions: (B, A), scaled to [-1, 1].
        next_observations: (B, …), n steps later.
        dones: (B, 1), one where the episode ended by its own rules, not by a time limit.
        rewards: (B, 1), summed over the n steps with their discounts.
        discounts: (B, 1), γ to the number of steps summed; None for n = 1.
        costs: (B, 1), summed as the rewards are; None where none are kept.
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

    A sum over n steps stops at the end of an episode and at the newest row, whatever lies behind
    that in the ring; `discounts` then says how many steps it has.

    Args:
        buffer_size: transitions kept, over all environments.
        observation_space: a Box.
        action_space: a Box.
        device: where the tensors live.
        n_envs: N.
        optimize_memory_usage: not offered; there for the interface.
        n_steps: rewards summed per sample.
        gamma: discount of that sum.
        with_costs: keep `info["cost"]`.

    Attributes:
        store: the ring's tensors by name, each (rows, N, …).
        valid: (rows, N), where a transition is kept; on the host, where samples are drawn.

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
                "agents.dictionaries.DictBuffer or agents.goals.her.HerBuffer"
            )
        if optimize_memory_usage:
            raise ConfigurationError("optimize_memory_usage is not offered; leave it at False")
        for name, count in (("buffer_size", buffer_size), ("n_envs", n_envs), ("n_steps", n_steps)):
            require_count(name, count)
        super().__init__(buffer_size, observation_space, action_space, device, n_envs)
        self.buffer_size = max(buffer_size // n_envs, 1)
        self.n_steps, self.gamma, self.with_costs = n_steps, gamma, with_costs
        self.store = self._empty(observation_space)
        self.valid = np.zeros((self.buffer_size, n_envs), dtype=bool)

    def _empty(self, space: spaces.Box) -> dict[str, Tensor]:
        shape = (self.buffer_size, self.n_envs)
        kept = kept_dtype(space)
        kinds: dict[str, tuple[tuple[int, ...], torch.dtype]] = {
            "observations": ((*shape, *space.shape), kept),
            "next_observations": ((*shape, *space.shape), kept),
            "actions": ((*shape, self.action_dim), torch.float32),
            "rewards": (shape, torch.float32),
            "terminated": (shape, torch.float32),
            "ended": (shape, torch.bool),
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
            "terminated": np.asarray(done, dtype=bool) & ~timeout,
            "ended": done,
            "valid": np.ones(self.n_envs, dtype=bool),
        }
        if self.with_costs:
            row["costs"] = np.array([_cost(info) for info in infos])
        self.add_batch(row)

    def add_batch(self, row: Mapping[str, Any]) -> None:
        """Keep one step of every environment: arrays or tensors (N, …).

        They go by the names of `store` and "valid". Where `valid` is False (the action of an
        environment that was restarting), the row takes its place in the ring and is never drawn.

        Raises:
            ConfigurationError: costs are kept, but the row has none.
        """
        if self.with_costs and "costs" not in row:
            raise ConfigurationError(NO_COST)
        for name, kept in self.store.items():
            if kept.is_cpu:  # numpy assigns in a tenth of the time that torch takes
                kept.numpy()[self.pos] = _array(row[name])
            else:
                kept[self.pos].copy_(torch.as_tensor(row[name]))
        self.valid[self.pos] = _array(row["valid"])
        self.pos += 1
        if self.pos == self.buffer_size:
            self.full, self.pos = True, 0

    # ------------------------------------------------------------------ out

    def sample(self, batch_size: int, env: VecNormalize | None = None) -> Batch:
        """Transitions drawn evenly, with replacement.

        Raises:
            ConfigurationError: there are none yet.
        """
        if self.size() == 0:
            raise ConfigurationError(EMPTY)
        return cast(Batch, super().sample(batch_size, env))

    def sample_newest(self, batch_size: int, count: int, env: VecNormalize | None = None) -> Batch:
        """Transitions drawn evenly, with replacement, from about the newest `count`.

        Raises:
            ConfigurationError: there are none yet.
        """
        if self.size() == 0:
            raise ConfigurationError(EMPTY)
        steps = min(max(count // self.n_envs, 1), self.size())
        back = np.random.randint(1, steps + 1, batch_size)
        return self._get_samples((self.pos - back) % self.buffer_size, env)

    def _get_samples(  # type: ignore[override]  # a Batch has one field more
        self, batch_inds: np.ndarray, env: VecNormalize | None = None
    ) -> Batch:
        drawn = np.stack([batch_inds, np.random.randint(0, self.n_envs, len(batch_inds))])
        rows, cols = torch.as_tensor(self._avoid_gaps(drawn), device=self.device)
        first, summed = rows * self.n_envs + cols, self.n_steps > 1
        places, count = self._window(rows, cols) if summed else (first[:, None], None)
        last = first if count is None else places.gather(1, count[:, None] - 1)[:, 0]
        costs = self._sum(self._at("costs", places), count) if self.with_costs else None
        return Batch(
            observations=self._seen(self._at("observations", first), env),
            actions=self._at("actions", first),
            next_observations=self._seen(self._at("next_observations", last), env),
            dones=self._at("terminated", last)[:, None],
            rewards=self._sum(self._scaled(self._at("rewards", places), env), count),
            discounts=None if count is None else torch.pow(self.gamma, count.float())[:, None],
            costs=costs,
        )

    def _at(self, name: str, places: Tensor) -> Tensor:
        """What is kept at places (…), numbered row by row."""
        # Several times as fast as indexing by rows and columns.
        found = self.store[name].flatten(0, 1).index_select(0, places.flatten())
        return found.reshape(*places.shape, *found.shape[1:])

    def _avoid_gaps(self, drawn: np.ndarray) -> np.ndarray:
        """Draw (row, environment) again, evenly, wherever no transition is kept; (2, B)."""
        while len(gaps := np.flatnonzero(~self.valid[drawn[0], drawn[1]])):
            if not self.valid[: self.size()].any():
                raise ConfigurationError(EMPTY)
            drawn[0, gaps] = np.random.randint(0, self.size(), len(gaps))
            drawn[1, gaps] = np.random.randint(0, self.n_envs, len(gaps))
        return drawn

    def _window(self, rows: Tensor, cols: Tensor) -> tuple[Tensor, Tensor]:
        """Places (B, n) from each sample on, and how many of them (B,) belong to its sum."""
        ahead = (rows[:, None] + torch.arange(self.n_steps, device=self.device)) % self.buffer_size
        places = ahead * self.n_envs + cols[:, None]
        # The newest step has no successor yet, whatever lies behind it in the ring.
        ends = self._at("ended", places) | (ahead == (self.pos - 1) % self.buffer_size)
        ends[:, -1] = True
        return places, ends.int().argmax(dim=1) + 1

    def _sum(self, values: Tensor, count: Tensor | None) -> Tensor:
        """Discounted sums (B, 1) of the first `count` of n values (B, n)."""
        if count is None:
            return values
        steps = torch.arange(self.n_steps, device=self.device)
        weights = torch.pow(self.gamma, steps.float()) * (steps < count[:, None])
        return (values * weights).sum(dim=1, keepdim=True)

    def _seen(self, seen: Tensor, env: VecNormalize | None) -> Tensor:
        if env is None:
            return seen
        return torch.as_tensor(env.normalize_obs(seen.cpu().numpy())).to(seen)

    def _scaled(self, rewards: Tensor, env: VecNormalize | None) -> Tensor:
        if env is None:
            return rewards
        return torch.as_tensor(env.normalize_reward(rewards.cpu().numpy())).to(rewards)

    # ------------------------------------------------------------------ state

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on from here: the filled part of the ring, copied to the host."""
        # A copy on the device could exceed its memory.
        n = self.size()
        filled = {name: kept[:n].to("cpu", copy=True) for name, kept in self.store.items()}
        valid = self.valid[:n].copy()
        return {"store": filled, "valid": valid, "pos": self.pos, "full": self.full}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave.

        Raises:
            ConfigurationError: it kept other things, costs for instance.
            ShapeError: it belongs to another size, number of environments or kind of space.
        """
        saved, size = state["store"], self.buffer_size if state["full"] else state["pos"]
        if saved.keys() != self.store.keys():
            raise ConfigurationError(
                f"the saved replay holds {sorted(saved)}, this one {sorted(self.store)}; make it "
                "with the same with_costs"
            )
        for name, kept in self.store.items():
            expect_shape(f"saved {name}", saved[name].shape, (size, *kept.shape[1:]))
        self.pos, self.full = int(state["pos"]), bool(state["full"])
        for name, kept in self.store.items():
            kept[:size] = torch.as_tensor(saved[name]).to(kept)
        self.valid[:size] = np.asarray(state["valid"])


def kept_dtype(space: spaces.Box) -> torch.dtype:
    """What observations are kept as: bytes of pictures, float32 of all else."""
    return torch.uint8 if space.dtype == np.uint8 else torch.float32


def _array(values: Any) -> np.ndarray:
    return values.cpu().numpy() if torch.is_tensor(values) else np.asarray(values)


EMPTY = "the replay holds no transition yet; collect some first"
NO_COST = (
    "the environment gives no info['cost']; take a '-Safe' id, or name a cost "
    "(agents.environments.make_vec(id, cost='effort'))"
)


def _cost(info: Mapping[str, Any]) -> float:
    if "cost" not in info:
        raise ConfigurationError(NO_COST)
    return float(info["cost"])
