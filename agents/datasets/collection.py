"""Whole episodes of a behaviour in vector environments, one for each of a list of seeds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium.vector import AutoresetMode

from agents.datasets.behaviours import Behaviour
from agents.environments import installed
from agents.randomness import forked_random
from simenv.registry import TASKS

KEPT = {"cost": "cost", "costs": "costs", "success": "success", "is_success": "success"}
"""Entries of an info that go into a dataset, and what they are called there."""
LOG_PROB = "action_log_prob"


@dataclass(frozen=True)
class Episode:
    """T steps from a reset to the end, or what is left of them.

    Attributes:
        observations: (T + 1, …), or a dictionary of such arrays.
        actions: (T, …), in the environment's own units.
        rewards: (T,).
        terminated: the task's own rules ended it at the last step.
        truncated: it was cut off after the last step, by the time limit or the end of a replay.
        infos: arrays (T + 1,) by name, nested; entry t + 1 belongs to step t, entry 0 is 0.
        seed: of its reset; None where it is not known.
    """

    observations: Any
    actions: np.ndarray
    rewards: np.ndarray
    terminated: bool
    truncated: bool
    infos: dict[str, Any] = field(default_factory=dict)
    seed: int | None = None

    def __len__(self) -> int:
        """T."""
        return len(self.rewards)


def make_envs(task_id: str, num_envs: int, size: str, device: str) -> Any:
    """N environments in autoreset mode DISABLED, so that every episode gets a seed of its own.

    Raises:
        ConfigurationError: a package that they need is not installed.
    """
    mode = AutoresetMode.DISABLED
    if task_id in TASKS:
        return gymnasium.make_vec(
            task_id, num_envs=num_envs, autoreset_mode=mode, size=size, device=device
        )
    with installed(task_id):
        return gymnasium.make_vec(
            task_id,
            num_envs=num_envs,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": mode},
        )


@torch.no_grad()
def play(
    envs: Any,
    behaviour: Behaviour,
    seeds: Sequence[int],
    *,
    each_step: Callable[[int], None] = lambda running: None,
) -> list[Episode]:
    """One whole episode per seed, in their order.

    An environment that has finished takes up the next seed. What the behaviour draws depends on
    the first seed alone; the global random generators are as before afterwards.

    Args:
        envs: from `make_envs`; they are reset first.
        behaviour: what chooses the actions.
        seeds: of the episodes' resets.
        each_step: called after every vector step with the number of episodes that it advanced;
            what it raises ends the collection.
    """
    rows: list[dict[str, Any]] = []
    table = _Table(envs.num_envs, seeds)
    with forked_random(seeds[0]):
        observations, _ = envs.reset(seed=table.seeds())
        while table.unfinished:
            actions, log_prob = behaviour(observations)
            after, rewards, terminated, truncated, info = envs.step(actions)
            rows.append(
                {
                    "observations": observations,
                    "actions": actions,
                    "rewards": rewards,
                    "after": after,
                    "flags": np.stack([terminated, truncated], axis=1),
                    "infos": kept(info) | ({} if log_prob is None else {LOG_PROB: log_prob}),
                }
            )
            ended = np.asarray(terminated | truncated, dtype=bool)
            observations, running = after, table.running
            if ended.any():
                table.finish(ended, rows)
                observations, _ = envs.reset(seed=table.seeds(), options={"reset_mask": ended})
            each_step(running)
    return table.episodes


class _Table:
    """Which environment plays which episode, since which row.

    Args:
        num_envs: N.
        seeds: of the episodes to be played.
    """

    def __init__(self, num_envs: int, seeds: Sequence[int]) -> None:
        self._waiting = list(range(len(seeds)))
        self._seeds, self._found = list(seeds), dict[int, Episode]()
        self._since = [0] * num_envs
        self._plays = [self._next() for _ in range(num_envs)]

    @property
    def unfinished(self) -> bool:
        return len(self._found) < len(self._seeds)

    @property
    def running(self) -> int:
        return sum(number is not None for number in self._plays)

    @property
    def episodes(self) -> list[Episode]:
        return [self._found[number] for number in range(len(self._seeds))]

    def seeds(self) -> list[int | None]:
        """Seed per environment; those that have nothing left to play start anyhow."""
        return [self._seeds[-1 if number is None else number] for number in self._plays]

    def finish(self, ended: np.ndarray, rows: list[dict[str, Any]]) -> None:
        """Take the episodes that ended with the last row out of the rows; go on to the next."""
        for i in np.flatnonzero(ended).tolist():
            if (number := self._plays[i]) is not None:
                self._found[number] = _cut(rows[self._since[i] :], i, self._seeds[number])
            self._since[i], self._plays[i] = len(rows), self._next()

    def _next(self) -> int | None:
        return self._waiting.pop(0) if self._waiting else None


def _cut(rows: list[dict[str, Any]], i: int, seed: int) -> Episode:
    """Environment i's part of some rows."""
    terminated, truncated = rows[-1]["flags"][i].tolist()
    seen = [*(_pick(row["observations"], i) for row in rows), _pick(rows[-1]["after"], i)]
    told = [_pick(row["infos"], i) for row in rows]
    return Episode(
        observations=_stack(seen),
        actions=np.stack([row["actions"][i] for row in rows]),
        rewards=np.array([row["rewards"][i] for row in rows], dtype=np.float64),
        terminated=terminated,
        truncated=truncated,
        # Nothing has been done yet at the reset, so that nothing has been spent or reached.
        infos=_stack([_zeros(told[0]), *told]),
        seed=seed,
    )


def kept(info: Mapping[str, Any]) -> dict[str, Any]:
    """Entries of a vector info that go into a dataset: arrays (N,), nested by name."""
    return {KEPT[name]: _numbers(info[name]) for name in KEPT if name in info}


def _numbers(values: Any) -> Any:
    if isinstance(values, Mapping):
        return {k: _numbers(v) for k, v in values.items() if not k.startswith("_")}
    values = np.asarray(values)
    return values.astype(bool) if values.dtype == object else values


def _pick(tree: Any, i: int) -> Any:
    return {k: _pick(v, i) for k, v in tree.items()} if isinstance(tree, Mapping) else tree[i]


def _zeros(tree: Any) -> Any:
    if isinstance(tree, Mapping):
        return {name: _zeros(value) for name, value in tree.items()}
    return np.zeros_like(tree)


def _stack(trees: list[Any]) -> Any:
    if isinstance(trees[0], Mapping):
        return {name: _stack([tree[name] for tree in trees]) for name in trees[0]}
    return np.stack(trees)
