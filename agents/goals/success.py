"""Success predictor: how likely the present agent reaches a goal from where it starts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.goals.adam import get_adam_state, set_adam_state


class SuccessPredictor:
    """D_φ(g₀, g), a multilayer perceptron on initial achieved goal and desired goal.

    Trained by binary cross-entropy with Adam and weight decay (Castanet et al.,
    arXiv:2206.06719). It sees goals in units of their box.

    Args:
        num_goals: G.
        hidden: widths of the hidden layers.
        learning_rate: of Adam.
        weight_decay: of Adam; keeps D from running to 0 and 1 far from what it has seen.
        seed: of the initial weights; the global generator is left alone.
    """

    def __init__(
        self,
        num_goals: int,
        *,
        hidden: Sequence[int] = (64, 64),
        learning_rate: float = 1e-3,
        weight_decay: float = 1e-4,
        seed: int = 0,
    ) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            self.network = _perceptron([2 * num_goals, *hidden, 1])
        self.optimizer = torch.optim.Adam(
            self.network.parameters(), lr=learning_rate, weight_decay=weight_decay
        )

    def logits(self, initial: Tensor, desired: Tensor) -> Tensor:
        """Logit log D/(1 − D), (...), of initial achieved and desired goals (..., G)."""
        return self.network(torch.cat([initial, desired], dim=-1)).squeeze(-1)

    def __call__(self, initial: Tensor, desired: Tensor) -> Tensor:
        """Probability of success (...)."""
        return torch.sigmoid(self.logits(initial, desired))

    def fit(self, initial: Tensor, desired: Tensor, success: Tensor) -> float:
        """One gradient step on episodes: goals (B, G) twice, success (B,) as 0 or 1; the loss."""
        loss = F.binary_cross_entropy_with_logits(self.logits(initial, desired), success)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return float(loss.detach())

    def get_state(self) -> dict[str, Any]:
        """Weights and optimiser."""
        weights = {name: w.detach().clone() for name, w in self.network.state_dict().items()}
        return {"network": weights, "optimizer": get_adam_state(self.optimizer)}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        weights = {name: torch.as_tensor(np.asarray(w)) for name, w in state["network"].items()}
        self.network.load_state_dict(weights)
        set_adam_state(self.optimizer, state["optimizer"])


def _perceptron(widths: Sequence[int]) -> nn.Sequential:
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(widths):
        layers += [nn.Linear(a, b), nn.ReLU()]
    return nn.Sequential(*layers[:-1])
