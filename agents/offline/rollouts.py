"""Steps in a model of the dynamics, kept and sampled on the device."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from agents.offline.data import Batch
from simenv.errors import ConfigurationError, expect_shape


class RolloutBuffer:
    """A ring of the last steps; room is made as it is needed.

    Args:
        capacity: steps kept.
        num_features: O.
        num_actions: A.
        device: where they live.

    Attributes:
        rows: float32 (steps, 2 O + A + 2), the columns of a `Batch` side by side.
    """

    def __init__(
        self, capacity: int, num_features: int, num_actions: int, device: torch.device | str = "cpu"
    ) -> None:
        self.capacity = capacity
        self.widths = [num_features, num_actions, 1, num_features, 1]
        self.rows = torch.empty(0, sum(self.widths), device=device)
        self.oldest = 0

    def __len__(self) -> int:
        return len(self.rows)

    def add(self, batch: Batch, keep: Tensor) -> None:
        """Keep the rows of a batch where `keep` (B,) says so, in place of the oldest."""
        rows = torch.cat(batch[:5], dim=1)[keep][-self.capacity :]
        room = min(self.capacity - len(self), len(rows))
        # Filled up once, the ring stays as it is, and nothing is allocated any more.
        if room:
            self.rows = torch.cat([self.rows, rows[:room]])
        rest = rows[room:]
        places = torch.arange(len(rest), device=rest.device) + self.oldest
        self.rows[places % self.capacity] = rest
        self.oldest = (self.oldest + len(rest)) % self.capacity

    def sample(self, count: int, generator: torch.Generator) -> Batch:
        """Steps drawn evenly, with replacement.

        Raises:
            ConfigurationError: there are none.
        """
        if not len(self):
            raise ConfigurationError(
                "no step in the model is finite; look at the dataset's observations, or fit the "
                "model longer (model_patience)"
            )
        device = self.rows.device
        chosen = torch.randint(len(self), (count,), generator=generator, device=device)
        return Batch(*self.rows[chosen].split(self.widths, dim=1))

    def get_state(self) -> dict[str, Any]:
        """The steps, and which of them is the oldest."""
        return {"rows": self.rows.cpu(), "oldest": self.oldest}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        rows = state["rows"]
        expect_shape("saved rollouts", rows.shape[1:], self.rows.shape[1:])
        self.rows, self.oldest = rows.to(self.rows.device, copy=True), int(state["oldest"])
