"""HerBuffer: Stable-Baselines3's hindsight replay with a state that can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from stable_baselines3.her import HerReplayBuffer

from simenv.errors import ConfigurationError

PARTS = ("observations", "next_observations")
ARRAYS = ("actions", "rewards", "dones", "timeouts", "ep_start", "ep_length")


class HerBuffer(HerReplayBuffer):
    """Hindsight experience replay (Andrychowicz et al., arXiv:1707.01495).

    The same draws as `HerReplayBuffer`; `get_state` and `set_state` let training be resumed
    exactly. The state is made of arrays and numbers, and holds the filled part of the ring alone.

    Raises:
        ConfigurationError: `copy_info_dict`, since infos are no arrays; simenv's rewards need none.
    """

    def __init__(self, *args: Any, copy_info_dict: bool = False, **kwargs: Any) -> None:
        if copy_info_dict:
            raise ConfigurationError("copy_info_dict = True is not offered; leave it at False")
        super().__init__(*args, **kwargs)

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        n = self.size()
        state: dict[str, Any] = {name: getattr(self, name)[:n].copy() for name in ARRAYS}
        for part in PARTS:
            state[part] = {key: kept[:n].copy() for key, kept in getattr(self, part).items()}
        current = self._current_ep_start.copy()
        return state | {"current_start": current, "pos": self.pos, "full": self.full}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.pos, self.full = state["pos"], state["full"]
        n = self.size()
        for name in ARRAYS:
            getattr(self, name)[:n] = np.asarray(state[name])
        for part in PARTS:
            for key, kept in getattr(self, part).items():
                kept[:n] = np.asarray(state[part][key])
        # Rows beyond the filled part may stem from what this buffer held before.
        self.ep_length[n:] = 0
        self._current_ep_start = np.array(state["current_start"])
