"""DictBuffer: Stable-Baselines3's replay of dictionaries with a state that can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from stable_baselines3.common.buffers import DictReplayBuffer

PARTS = ("observations", "next_observations")


class KeepsState:
    """`get_state` and `set_state` for replays of dictionaries (a mixin).

    The state is made of arrays and numbers, and holds the filled part of the ring alone.
    """

    arrays: ClassVar[tuple[str, ...]] = ("actions", "rewards", "dones", "timeouts")

    def get_state(self: Any) -> dict[str, Any]:
        """Everything needed to go on from here."""
        n = self.size()
        state: dict[str, Any] = {name: getattr(self, name)[:n].copy() for name in self.arrays}
        for part in PARTS:
            state[part] = {key: kept[:n].copy() for key, kept in getattr(self, part).items()}
        return state | {"pos": self.pos, "full": self.full}

    def set_state(self: Any, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.pos, self.full = state["pos"], state["full"]
        n = self.size()
        for name in self.arrays:
            getattr(self, name)[:n] = np.asarray(state[name])
        for part in PARTS:
            for key, kept in getattr(self, part).items():
                kept[:n] = np.asarray(state[part][key])


class DictBuffer(KeepsState, DictReplayBuffer):
    """Replay of dictionary observations, with the draws of `DictReplayBuffer`."""
