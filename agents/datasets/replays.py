"""The replay of a run's last checkpoint as episodes."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from gymnasium.spaces import Box

from agents import checkpoints
from agents.datasets.collection import Episode
from agents.runs import Run
from agents.training import read_checkpoint
from simenv.errors import DatasetError


def replay_episodes(run: Run, space: Box, *, newest: int | None, costs: bool) -> list[Episode]:
    """Episodes of a replay, in the order in which they began, cut where the replay cuts them.

    The ring's oldest row may lie within an episode, whose first steps are lost; the newest row
    ends those that were still running, as truncated.

    Args:
        run: a finished run.
        space: of the actions, which the replay keeps scaled to [-1, 1].
        newest: only so many of the newest transitions, rounded up to whole episodes; None: all.
        costs: the environment gives costs, so that the replay must have them.

    Raises:
        DatasetError: a replay of dictionaries, one without the costs, or one without transitions.
    """
    kept = read_checkpoint(run, partial(checkpoints.read, parts=("replay",)))["replay"]
    if "store" not in kept:
        raise DatasetError(
            f"{run.path} learnt from relabelled goals, whose replay holds no plain episodes; take "
            "another split, or the id without '-Goal'"
        )
    if costs and "costs" not in kept["store"]:
        raise DatasetError(
            f"the replay of {run.path} keeps no costs, since {run.config['command']} learns from "
            "rewards alone; take --algorithm saclag, or --policy RUN of a safe agent"
        )
    found = _episodes(kept, space)
    if not found:
        raise DatasetError(f"the replay of {run.path} holds no transition; train for longer")
    return found if newest is None else _newest(found, newest)


def _episodes(kept: Mapping[str, Any], space: Box) -> list[Episode]:
    order = _order(kept)
    store = {name: _array(values)[order] for name, values in kept["store"].items()}
    valid = np.asarray(kept["valid"])[order]
    spans = [
        (start, stop, env)
        for env in range(valid.shape[1])
        for start, stop in _spans(valid[:, env], store["ended"][:, env])
    ]
    return [_episode(store, *span, space) for span in sorted(spans)]


def _order(kept: Mapping[str, Any]) -> np.ndarray:
    """Rows of the ring from the oldest to the newest."""
    rows = len(kept["valid"])
    return (np.arange(rows) + (kept["pos"] if kept["full"] else 0)) % rows


def _spans(valid: np.ndarray, ended: np.ndarray) -> list[tuple[int, int]]:
    """Rows [start, stop) of an environment that belong together."""
    last = ended | ~valid
    cuts = [0, *(np.flatnonzero(last) + 1).tolist(), len(valid)]
    # A row that is not valid belongs to nothing; it ends what was before it.
    whole = [(a, b if valid[b - 1] else b - 1) for a, b in pairwise(cuts) if b > a]
    return [(a, b) for a, b in whole if b > a]


def _episode(store: Mapping[str, np.ndarray], a: int, b: int, env: int, space: Box) -> Episode:
    part = {name: values[a:b, env] for name, values in store.items()}
    low, high = np.float64(space.low), np.float64(space.high)
    shares = (np.float64(part["actions"]).reshape(-1, *space.shape) + 1) / 2
    terminated = bool(part["terminated"][-1])
    infos = {}
    if "costs" in part:
        infos["cost"] = np.concatenate([[0.0], part["costs"].astype(np.float64)])
    return Episode(
        observations=np.concatenate([part["observations"], part["next_observations"][-1:]]),
        actions=np.clip((low + (high - low) * shares).astype(space.dtype), space.low, space.high),
        rewards=part["rewards"].astype(np.float64),
        terminated=terminated,
        truncated=not terminated,
        infos=infos,
    )


def _newest(episodes: list[Episode], count: int) -> list[Episode]:
    chosen: list[Episode] = []
    for episode in reversed(episodes):
        if sum(map(len, chosen)) >= count:
            break
        chosen.insert(0, episode)
    return chosen


def _array(values: Any) -> np.ndarray:
    found: np.ndarray = values.numpy() if hasattr(values, "numpy") else np.asarray(values)
    return found
