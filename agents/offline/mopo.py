"""MOPO: soft actor-critic in a model whose rewards are lowered where it is not sure."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from agents.offline.dynamics import Outcome
from agents.offline.model_based import ModelSAC
from agents.train_options import check_range


class MOPO(ModelSAC):
    """Model-based offline policy optimisation (Yu et al., arXiv:2005.13239).

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        penalty: λ, reward per unit of the model's deviation.
        options: everything else that `ModelSAC` takes.
    """

    def __init__(
        self, dataset: Any, env: Any = None, *, penalty: float = 0.5, **options: Any
    ) -> None:
        check_range("penalty", penalty, at_least=0.0)
        self.penalty = penalty
        super().__init__(dataset, env, **options)

    def model_rewards(self, found: Outcome) -> Tensor:
        """The reward r̂ − λ u(s, a) (eq. 11 of the paper), before scale and shift."""
        doubt = uncertainty(found)
        self.note(uncertainty=doubt, model_reward=found.rewards)
        return found.rewards - self.penalty * doubt


def uncertainty(found: Outcome) -> Tensor:
    """The doubt u(s, a) = maxᵢ ‖σᵢ(s, a)‖ over all members, σ of Δs and r, (B, 1)."""
    std = found.members.std[..., : found.observations.shape[1] + 1]
    return std.norm(dim=2).amax(dim=0)[:, None]
