"""What a goal sampler remembers: recent episodes, and where goals have been achieved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from simenv.errors import require_count


class Ring:
    """The latest rows of a growing table of float32.

    Args:
        size: rows kept.
        width: numbers per row.

    Attributes:
        total: rows added so far.
    """

    def __init__(self, size: int, width: int) -> None:
        self.rows = np.zeros((size, width), dtype=np.float32)
        self.total = 0

    def __len__(self) -> int:
        return min(self.total, len(self.rows))

    def add(self, rows: np.ndarray) -> None:
        """Keep rows (n, width)."""
        places = (self.total + np.arange(len(rows))) % len(self.rows)
        self.rows[places] = rows
        self.total += len(rows)

    def draw(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Rows (count, width) at random, with replacement."""
        return self.rows[rng.integers(len(self), size=count)]

    def get_state(self) -> dict[str, Any]:
        """The filled part."""
        return {"rows": self.rows[: len(self)].copy(), "total": self.total}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.total = state["total"]
        self.rows[: len(self)] = np.asarray(state["rows"])


class Memory:
    """Recent episodes, and achieved goals of the latest steps.

    Args:
        num_goals: G.
        recent_episodes: episodes kept.
        kept_goals: achieved goals kept.
    """

    def __init__(self, num_goals: int, recent_episodes: int, kept_goals: int) -> None:
        require_count("recent_episodes", recent_episodes)
        require_count("kept_goals", kept_goals)
        self._episodes = Ring(recent_episodes, 2 * num_goals + 1)
        self._goals = Ring(kept_goals, num_goals)
        self._width = num_goals

    @property
    def num_episodes(self) -> int:
        """Episodes in the memory."""
        return len(self._episodes)

    @property
    def num_goals(self) -> int:
        """Achieved goals in the memory."""
        return len(self._goals)

    def add(
        self, initial: np.ndarray, desired: np.ndarray, achieved: np.ndarray, success: bool
    ) -> None:
        """Keep an episode: initial and desired goal (G,), achieved goals (T, G)."""
        self._episodes.add(np.concatenate([initial, desired, [float(success)]])[None])
        self._goals.add(achieved)

    def draw_episodes(
        self, rng: np.random.Generator, count: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Initial and desired goals (count, G) and successes (count,) of episodes at random."""
        rows = self._episodes.draw(rng, count)
        return rows[:, : self._width], rows[:, self._width : -1], rows[:, -1]

    def draw_goals(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Achieved goals (count, G) at random: every step counts alike, so long episodes more."""
        return self._goals.draw(rng, count)

    def mean_initial(self) -> np.ndarray:
        """Mean initial achieved goal (G,) of the episodes."""
        return self._episodes.rows[: self.num_episodes, : self._width].mean(axis=0)

    def get_state(self) -> dict[str, Any]:
        """Both tables."""
        return {"episodes": self._episodes.get_state(), "goals": self._goals.get_state()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self._episodes.set_state(state["episodes"])
        self._goals.set_state(state["goals"])
