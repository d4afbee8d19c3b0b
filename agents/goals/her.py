"""HerBuffer: Stable-Baselines3's hindsight replay with a state that can be saved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from stable_baselines3.her import HerReplayBuffer

from agents.dictionaries import KeepsState
from simenv.errors import ConfigurationError


class HerBuffer(KeepsState, HerReplayBuffer):
    """Hindsight experience replay (Andrychowicz et al., arXiv:1707.01495).

    The same draws as `HerReplayBuffer`; `get_state` and `set_state` let training be resumed
    exactly. The state is made of arrays and numbers, and holds the filled part of the ring alone.

    Raises:
        ConfigurationError: `copy_info_dict`, since infos are no arrays; simenv's rewards need none.
    """

    arrays: ClassVar[tuple[str, ...]] = (*KeepsState.arrays, "ep_start", "ep_length")

    def __init__(self, *args: Any, copy_info_dict: bool = False, **kwargs: Any) -> None:
        if copy_info_dict:
            raise ConfigurationError("copy_info_dict = True is not offered; leave it at False")
        super().__init__(*args, **kwargs)

    def get_state(self) -> dict[str, Any]:
        """Everything needed to go on from here."""
        return super().get_state() | {"current_start": self._current_ep_start.copy()}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        super().set_state(state)
        # Rows beyond the filled part may stem from what this buffer held before.
        self.ep_length[self.size() :] = 0
        self._current_ep_start = np.array(state["current_start"])
