"""The guardian: says which states and actions lie outside of what a dataset has seen."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor

from agents.offline.support import log_densities, log_density
from agents.train_options import check_range
from simenv.errors import ConfigurationError, require_count

BANDWIDTHS = tuple(0.02 * 10 ** (i / 8) for i in range(15))
"""Deviations of the kernel that are tried, in features that span [-1, 1]: 0.02 to 1.1."""
UNIFORM = 1_000
"""Points drawn from the whole box."""


class Fit(NamedTuple):
    """What a bandwidth makes of data.

    Attributes:
        bandwidth: of the kernel.
        threshold: of the log density.
        held_out: share of points held out that is flagged.
        uniform: share of uniform points that is flagged.
        likelihood: mean log density of the training points, each without itself.
    """

    bandwidth: float
    threshold: float
    held_out: float
    uniform: float
    likelihood: float


class Guardian:
    """A density of (s, a) by Gaussian kernels, and a threshold below which a pair is outside.

    ("Offline guarded safe reinforcement learning for medical treatment optimization strategies",
    arXiv:2505.16242, appendix G.3.) Features are scaled to [-1, 1] by the range of the training
    points. The density of a training point leaves out the point itself; with it, a narrow kernel
    would find every training point dense and every other one thin.

    Args:
        share: α, of the training points that are flagged.
        points: largest number of training points kept, at least 2; as many more at most are held
            out.
        bandwidth: deviation of the kernel; None: of `BANDWIDTHS` that flag at most 2 α of the
            points held out and at least 10 α of uniform ones, the one of the greatest likelihood.

    Attributes:
        fits: what each bandwidth made of the data.
        chosen: the one of them that is used; None until `fit`.
        sound: whether it met both bounds.

    Raises:
        ConfigurationError: a number outside its bounds.
    """

    def __init__(
        self, share: float = 0.05, points: int = 4_000, bandwidth: float | None = None
    ) -> None:
        check_range("guardian_share", share, above=0.0, at_most=0.1)
        require_count("guardian_points", points, least=2)
        if bandwidth is not None:
            check_range("guardian_bandwidth", bandwidth, above=0.0)
        self.share, self.points, self.bandwidth = share, points, bandwidth
        self.fits: list[Fit] = []
        self.chosen: Fit | None = None
        self.sound = False
        self.centres = self.low = self.width = torch.zeros(0)

    # ------------------------------------------------------------------ asking

    def flags(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Float (B, 1), one where a pair is outside of the data."""
        if self.chosen is None:
            raise ConfigurationError("the guardian has seen no data yet; call fit first")
        scaled = self._scaled(torch.cat([observations, actions], dim=1))
        density = log_density(scaled, self.centres, self.chosen.bandwidth)
        return (density < self.chosen.threshold)[:, None].to(observations.dtype)

    def _scaled(self, features: Tensor) -> Tensor:
        return 2.0 * (features - self.low) / self.width - 1.0

    # ------------------------------------------------------------------ fitting

    def fit(self, observations: Tensor, actions: Tensor, generator: torch.Generator) -> Fit:
        """Choose bandwidth and threshold.

        Args:
            observations: (T, O).
            actions: (T, A).
            generator: of the split and of uniform points, on the device of the data.

        Warns:
            RuntimeWarning: no bandwidth meets both bounds: the data fill their box, or differ
                so much that points held out look foreign.

        Raises:
            ConfigurationError: fewer than five rows.
        """
        size, device = len(observations), observations.device
        if size < 5:
            raise ConfigurationError(f"{size} transitions are too few for a guardian")
        order = torch.randperm(size, generator=generator, device=device)
        count = min(self.points, 4 * size // 5)
        # Chosen first and joined then: all rows joined would be the dataset once more.
        kept, rest = (
            torch.cat([observations[rows], actions[rows]], dim=1)
            for rows in (order[:count], order[count : 2 * count])
        )
        self.low, self.width = kept.amin(dim=0), (kept.amax(dim=0) - kept.amin(dim=0))
        # What never changes has no width.
        self.width = torch.where(self.width > 0, self.width, 2.0)
        self.centres = self._scaled(kept)
        noise = torch.rand(UNIFORM, kept.shape[1], generator=generator, device=device)
        self._measure(self._scaled(rest), 2.0 * noise - 1.0)
        return self._choose()

    def _measure(self, held_out: Tensor, uniform: Tensor) -> None:
        """Try the bandwidths on points held out and on uniform ones, scaled."""
        widths = BANDWIDTHS if self.bandwidth is None else (self.bandwidth,)
        own = log_densities(self.centres, self.centres, widths, leave_out=True)
        thresholds = own.quantile(self.share, dim=1)
        flagged, foreign = (
            (log_densities(points, self.centres, widths) < thresholds[:, None]).float().mean(dim=1)
            for points in (held_out, uniform)
        )
        columns = (thresholds, flagged, foreign, own.mean(dim=1))
        rows = zip(widths, *(column.tolist() for column in columns), strict=True)
        self.fits = [Fit(*row) for row in rows]

    def _choose(self) -> Fit:
        good = [fit for fit in self.fits if fit.held_out <= 2 * self.share]
        best = [fit for fit in good if fit.uniform >= 10 * self.share]
        self.sound = bool(best)
        if best:
            self.chosen = max(best, key=lambda fit: fit.likelihood)
            return self.chosen
        self.chosen = max(good or self.fits, key=lambda fit: fit.uniform - fit.held_out)
        warnings.warn(
            f"the guardian cannot tell these data from uniform states and actions: it flags "
            f"{self.chosen.uniform:.0%} of those, where {10 * self.share:.0%} are wanted, and "
            f"{self.chosen.held_out:.0%} of data held out, where {2 * self.share:.0%} are allowed; "
            "the data fill their box, or are too few (guardian_points)",
            RuntimeWarning,
            stacklevel=3,
        )
        return self.chosen

    # ------------------------------------------------------------------ state

    def get_state(self) -> dict[str, Any]:
        """Everything that `flags` needs, and what was measured."""
        return {
            "centres": self.centres.cpu(),
            "low": self.low.cpu(),
            "width": self.width.cpu(),
            "fits": [tuple(fit) for fit in self.fits],
            "chosen": None if self.chosen is None else tuple(self.chosen),
            "sound": self.sound,
        }

    def set_state(self, state: Mapping[str, Any], device: torch.device | str = "cpu") -> None:
        """Go on from what `get_state` gave."""
        for name in ("centres", "low", "width"):
            setattr(self, name, state[name].to(device, copy=True))
        self.fits = [Fit(*fit) for fit in state["fits"]]
        self.chosen = None if state["chosen"] is None else Fit(*state["chosen"])
        self.sound = bool(state["sound"])
