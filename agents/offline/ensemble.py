"""An ensemble of networks that each predict a normal distribution, fitted side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from agents.train_options import check_range
from simenv.errors import ConfigurationError, TrainingError, expect_shape, require_count

DECAYS = (2.5e-5, 5e-5, 7.5e-5, 7.5e-5, 1e-4)
"""Weight decay of each of five layers (Janner et al., arXiv:1906.08253, and yihaosun1124/
OfflineRL-Kit, run_example/run_mopo.py)."""

LOG_VARIANCE = (-10.0, 0.5)
"""Where the learnt bounds of the logarithm of the variance of standardised targets start."""
BOUND_WEIGHT = 0.01
"""Of the bounds in the loss."""


class Members(NamedTuple):
    """What every member predicts.

    Attributes:
        mean: (E, B, D), in the units of the targets.
        std: (E, B, D).
        logits: (E, B, F), log odds of the flags.
    """

    mean: Tensor
    std: Tensor
    logits: Tensor


class GaussianEnsemble(nn.Module):
    """E multilayer perceptrons that predict N(μ(x), σ(x)²) (Chua et al., arXiv:1805.12114).

    Inputs and targets are standardised inside; what goes in and comes out has their own units.
    Members differ by their weights and by a resample of the data each. The best of them on data
    held out, the elites, make predictions.

    Args:
        inputs: I.
        outputs: D.
        flags: F, further targets that are 0 or 1, predicted by logistic regression.
        members: E.
        elites: how many of them make predictions.
        widths: of the hidden layers; their activation is x · sigmoid(x).
        weight_decays: λ of λ/2 ‖W‖² in the loss, one for each layer; None: `DECAYS`, stretched over
            the layers where there are not five.

    Attributes:
        elite: int64 (elites,), their numbers, the best one first.
        holdout: (E,), mean squared error of each member on data held out, in units of the variance
            of the targets, plus the log loss of the flags; infinite until `fit` has ended.

    Raises:
        ConfigurationError: more elites than members, or another number of decays than layers.
    """

    elite: Tensor
    holdout: Tensor
    input_mean: Tensor
    input_std: Tensor
    target_mean: Tensor
    target_std: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        flags: int = 0,
        members: int = 7,
        elites: int = 5,
        widths: Sequence[int] = (200, 200, 200, 200),
        weight_decays: Sequence[float] | None = None,
    ) -> None:
        super().__init__()
        for name, count in (("members", members), ("elites", elites)):
            require_count(name, count)
        if elites > members:
            raise ConfigurationError(f"elites = {elites} must be at most members = {members}")
        if not widths or min(widths) < 1:
            raise ConfigurationError(f"widths = {widths} must name layers of at least 1")
        self.inputs, self.outputs, self.flags, self.members = inputs, outputs, flags, members
        self.weight_decays = _decays(weight_decays, len(widths) + 1)
        self.weights, self.biases = nn.ParameterList(), nn.ParameterList()
        for before, after in pairwise([inputs, *widths, 2 * outputs + flags]):
            std = 0.5 / math.sqrt(before)
            weight = torch.empty(members, before, after)
            self.weights.append(nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std))
            self.biases.append(torch.zeros(members, 1, after))
        self.low = nn.Parameter(torch.full((outputs,), LOG_VARIANCE[0]))
        self.high = nn.Parameter(torch.full((outputs,), LOG_VARIANCE[1]))
        for name, width in (("input", inputs), ("target", outputs)):
            self.register_buffer(f"{name}_mean", torch.zeros(width))
            self.register_buffer(f"{name}_std", torch.ones(width))
        self.register_buffer("elite", torch.arange(elites))
        self.register_buffer("holdout", torch.full((members,), math.inf))

    # ------------------------------------------------------------------ predictions

    @property
    def fitted(self) -> bool:
        """Whether `fit` has come to its end."""
        return bool(torch.isfinite(self.holdout).all())

    def forward(self, inputs: Tensor) -> Members:
        """What every member predicts of inputs (B, I)."""
        scaled = (inputs - self.input_mean) / self.input_std
        mean, log_variance, logits = self._scaled(scaled.expand(self.members, *scaled.shape))
        std = self.target_std * (0.5 * log_variance).exp()
        return Members(self.target_mean + self.target_std * mean, std, logits)

    def mean(self, inputs: Tensor) -> Tensor:
        """The mean over the elites' means, (B, D)."""
        return self.average(self(inputs))

    def sample(self, inputs: Tensor) -> Tensor:
        """A draw (B, D), each row from an elite of its own."""
        return self.draw(self(inputs))

    def average(self, found: Members) -> Tensor:
        """`mean` of predictions made already."""
        return found.mean[self.elite].mean(dim=0)

    def draw(self, found: Members) -> Tensor:
        """`sample` of predictions made already, from torch's global generator."""
        rows = torch.arange(found.mean.shape[1], device=self.elite.device)
        chosen = self.elite[torch.randint(len(self.elite), rows.shape, device=rows.device)]
        mean, std = found.mean[chosen, rows], found.std[chosen, rows]
        return mean + std * torch.randn_like(mean)

    def probabilities(self, found: Members) -> Tensor:
        """Probabilities (B, F) of the flags, the mean over the elites."""
        return found.logits[self.elite].sigmoid().mean(dim=0)

    def _scaled(self, inputs: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean, log variance and log odds (E, B, …) of standardised inputs (E, B, I)."""
        hidden, last = inputs, len(self.weights) - 1
        for layer, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            hidden = torch.baddbmm(bias, hidden, weight)
            hidden = F.silu(hidden) if layer < last else hidden
        mean, wish, logits = hidden.split([self.outputs, self.outputs, self.flags], dim=-1)
        wish = self.high - F.softplus(self.high - wish)
        return mean, self.low + F.softplus(wish - self.low), logits

    # ------------------------------------------------------------------ fitting

    def fit(
        self,
        inputs: Tensor,
        targets: Tensor,
        generator: torch.Generator,
        *,
        flags: Tensor | None = None,
        learning_rate: float = 1e-3,
        batch_size: int = 256,
        patience: int = 5,
        improvement: float = 0.01,
        holdout: float = 0.2,
        max_holdout: int = 1000,
        max_epochs: int | None = None,
        told: Callable[[int, float], object] | None = None,
    ) -> int:
        """Maximise the likelihood of targets until no member improves on data held out.

        Every member ends with the weights that were best for it.

        Args:
            inputs: (T, I).
            targets: (T, D).
            generator: of the split, the resamples and the order, on the device of the data.
            flags: (T, F), zeros and ones; needed where F is not 0.
            learning_rate: Adam's step size.
            batch_size: rows of a step, for each member.
            patience: epochs in a row in which no member improved, after which it ends.
            improvement: share of its error by which a member must improve.
            holdout: share of the rows that is held out.
            max_holdout: largest number of them.
            max_epochs: end after so many in any case; None: no bound.
            told: called after every epoch with the epochs done and the mean of the members' least
                errors on data held out; what it raises ends the fit unfinished.

        Returns:
            Epochs done.

        Raises:
            ConfigurationError: fewer than two rows, or a number outside its bounds.
            TrainingError: the error is not finite.
        """
        for name, count in (("batch_size", batch_size), ("patience", patience)):
            require_count(name, count)
        if max_epochs is not None:
            require_count("max_epochs", max_epochs)
        check_range("learning_rate", learning_rate, above=0.0)
        check_range("improvement", improvement, at_least=0.0, below=1.0)
        check_range("holdout", holdout, above=0.0, below=1.0)
        data = self._standardised(inputs, targets, flags)
        order = torch.randperm(len(inputs), generator=generator, device=inputs.device)
        held = max(1, min(int(holdout * len(inputs)), max_holdout))
        seen, rest = order[held:], order[:held]
        shape = (self.members, len(seen))
        rows = seen[torch.randint(len(seen), shape, generator=generator, device=inputs.device)]
        optimizer, best = torch.optim.Adam(self.parameters(), learning_rate), self._copies()
        # What is broken off is not fitted, even where it was before: `_settle` writes the errors.
        self.holdout.fill_(math.inf)
        errors = self.holdout.clone()
        epochs = idle = 0
        while idle < patience and (max_epochs is None or epochs < max_epochs):
            for batch in _shuffled(rows, batch_size, generator):
                optimizer.zero_grad()
                self._loss(*(column[batch] for column in data)).backward()
                optimizer.step()
            found = self._errors(data, rest)
            # Not by a quotient: the first measurement is held against infinity.
            better = found < (1.0 - improvement) * errors
            errors = torch.where(better, found, errors)
            for kept, now in zip(best, self._copies(), strict=True):
                kept[better] = now[better]
            epochs, idle = epochs + 1, 0 if better.any() else idle + 1
            if told is not None:
                told(epochs, errors.mean().item())
        self._settle(best, errors)
        return epochs

    def _standardised(
        self, inputs: Tensor, targets: Tensor, flags: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Take the statistics; the data in their units."""
        if len(inputs) < 2:
            raise ConfigurationError(f"{len(inputs)} rows are too few to fit a model; at least 2")
        flags = inputs.new_zeros(len(inputs), 0) if flags is None else flags
        expect_shape("inputs", inputs.shape, (len(inputs), self.inputs))
        expect_shape("targets", targets.shape, (len(inputs), self.outputs))
        expect_shape("flags", flags.shape, (len(inputs), self.flags))
        for name, values in (("input", inputs), ("target", targets)):
            std, mean = torch.std_mean(values, dim=0, correction=0)
            getattr(self, f"{name}_mean").copy_(mean)
            # What never changes has no scale.
            getattr(self, f"{name}_std").copy_(torch.where(std > 1e-6, std, 1.0))
        return (
            (inputs - self.input_mean) / self.input_std,
            (targets - self.target_mean) / self.target_std,
            flags,
        )

    def _loss(self, inputs: Tensor, targets: Tensor, flags: Tensor) -> Tensor:
        """Negative log likelihood, summed over the members, with decay and bounds.

        Batches are (E, B, …). As in Chua et al., section A.1, means over the targets.
        """
        mean, log_variance, logits = self._scaled(inputs)
        fit = (mean - targets).square() * (-log_variance).exp() + log_variance
        loss = fit.mean(dim=(1, 2)).sum() + BOUND_WEIGHT * (self.high - self.low).sum()
        for decay, weight in zip(self.weight_decays, self.weights, strict=True):
            loss = loss + 0.5 * decay * weight.square().sum()
        return loss + _log_loss(logits, flags).sum()

    @torch.no_grad()
    def _errors(self, data: Sequence[Tensor], rest: Tensor) -> Tensor:
        """Errors (E,) of the members on rows held out, as `holdout` has them."""
        inputs, targets, flags = (
            column[rest].expand(self.members, *column[rest].shape) for column in data
        )
        mean, _, logits = self._scaled(inputs)
        error = (mean - targets).square().mean(dim=(1, 2)) + _log_loss(logits, flags)
        if not torch.isfinite(error).all():
            raise TrainingError(
                "the error of the model on data held out is not finite; lower its learning rate, "
                "or look for enormous observations and rewards in the dataset"
            )
        return error

    def _copies(self) -> list[Tensor]:
        """What belongs to one member alone, (E, …)."""
        return [p.detach().clone() for p in (*self.weights, *self.biases)]

    @torch.no_grad()
    def _settle(self, best: Sequence[Tensor], errors: Tensor) -> None:
        """Take the best weights, and choose the elites by their errors."""
        for parameter, kept in zip((*self.weights, *self.biases), best, strict=True):
            parameter.copy_(kept)
        self.holdout.copy_(errors)
        self.elite.copy_(errors.argsort(stable=True)[: len(self.elite)])


def _log_loss(logits: Tensor, flags: Tensor) -> Tensor:
    """Mean log loss (E,) of flags (E, B, F); 0 where there are none."""
    if not flags.shape[-1]:
        return logits.new_zeros(len(logits))
    return F.binary_cross_entropy_with_logits(logits, flags, reduction="none").mean(dim=(1, 2))


def _shuffled(rows: Tensor, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Rows (E, T) in batches (E, B), each member's in an order of its own."""
    noise = torch.rand(rows.shape, generator=generator, device=rows.device)
    return iter(rows.gather(1, noise.argsort(dim=1)).split(size, dim=1))


def _decays(given: Sequence[float] | None, layers: int) -> tuple[float, ...]:
    if given is None:
        places = np.linspace(0, len(DECAYS) - 1, layers)
        return tuple(np.interp(places, range(len(DECAYS)), DECAYS).tolist())
    if len(given) != layers or min(given) < 0:
        raise ConfigurationError(
            f"weight_decays = {given} must be {layers} numbers of at least 0, one for each layer"
        )
    return tuple(cast(Any, given))
