"""Validity of goals: where achieved goals lie, by a one-class support vector machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from simenv.errors import ConfigurationError


class OneClassSVM:
    """One-class support vector machine with the kernel k(a, b) = exp(−γ |a − b|²).

    scikit-learn solves it (Schölkopf et al., "Estimating the support of a high-dimensional
    distribution", 2001); its decision function is evaluated here, in torch, so that it has a
    gradient and its state is three arrays.

    Args:
        nu: share of the points that may end up outside, in (0, 1].
        gamma: γ of the kernel [1/unit²], above 0.

    Attributes:
        support: support vectors (S, G).
        weights: their weights (S,), above 0; they sum up to ν times the number of points.
        offset: ρ, the kernel sum on the boundary.
    """

    def __init__(self, *, nu: float = 0.05, gamma: float = 10.0) -> None:
        if not 0.0 < nu <= 1.0:
            raise ConfigurationError(f"nu = {nu} must be in (0, 1]")
        if not gamma > 0.0:
            raise ConfigurationError(f"gamma = {gamma} must be above 0")
        self.nu, self.gamma = nu, gamma
        self.support = torch.zeros(0, 0, dtype=torch.float64)
        self.weights = torch.zeros(0, dtype=torch.float64)
        self.offset = torch.zeros((), dtype=torch.float64)

    @property
    def ready(self) -> bool:
        """Whether it has been fitted."""
        return len(self.weights) > 0

    def fit(self, points: np.ndarray) -> None:
        """Fit to points (P, G)."""
        from sklearn.svm import OneClassSVM as Solver

        found = Solver(kernel="rbf", nu=self.nu, gamma=self.gamma).fit(points)
        self.support = torch.from_numpy(np.array(found.support_vectors_, dtype=np.float64))
        self.weights = torch.from_numpy(np.array(found.dual_coef_[0], dtype=np.float64))
        self.offset = torch.tensor(float(-found.intercept_[0]), dtype=torch.float64)

    def decision(self, points: Tensor) -> Tensor:
        """Σᵢ wᵢ k(sᵢ, g) − ρ, (N,), of points (N, G): above 0 inside."""
        return torch.exp(self._log_sum(points)) - self.offset.to(points)

    def log_validity(self, points: Tensor) -> Tensor:
        """Log validity (N,) with p_valid = f/(f + ρ) and f the kernel sum Σᵢ wᵢ k(sᵢ, g).

        A half on the boundary, towards one inside. Far outside, where the decision function is
        flat, log f still falls with the squared distance, so that its gradient leads back.
        """
        return F.logsigmoid(self._log_sum(points) - torch.log(self.offset).to(points))

    def _log_sum(self, points: Tensor) -> Tensor:
        squares = torch.cdist(points, self.support.to(points)).square()
        return torch.logsumexp(torch.log(self.weights).to(points) - self.gamma * squares, dim=1)

    def get_state(self) -> dict[str, Any]:
        """Support vectors, weights and offset."""
        return {"support": self.support, "weights": self.weights, "offset": self.offset}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_state` gave."""
        self.support, self.weights, self.offset = (
            torch.as_tensor(state[name], dtype=torch.float64)
            for name in ("support", "weights", "offset")
        )
