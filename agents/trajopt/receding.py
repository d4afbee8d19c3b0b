"""Receding horizon: at every step a search for a plan, of which the first action is taken."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from agents.trajopt.samplers import Sampler
from agents.trajopt.trials import Trials
from simenv.errors import ConfigurationError, require_count
from simenv.mpm import State


def search(
    sampler: Sampler, trials: Trials, state: State, iterations: int, steps: int | None = None
) -> None:
    """Improve a sampler's plan from a state (one environment) so many times.

    Args:
        sampler: of plans.
        trials: of them.
        state: where they begin.
        iterations: populations that are tried.
        steps: of a trial; None: as `trials` has it.
    """
    require_count("iterations", iterations)
    for _ in range(iterations):
        sampler.tell(-trials(state, sampler.ask(), steps).gains)


class Receding:
    """A controller of one environment that searches before every step, from where it last ended.

    Args:
        make: a fresh sampler, at the beginning of every episode; its plans are as long as the
            horizon that is looked ahead.
        trials: of plans of that length, from states of the same task.
        iterations: of each search.

    Raises:
        ConfigurationError: plans that are shorter than the trials, or no iterations.
    """

    def __init__(self, make: Callable[[], Sampler], trials: Trials, iterations: int) -> None:
        require_count("iterations", iterations)
        self.make, self.trials, self.iterations = make, trials, iterations
        self.sampler = make()
        if self.sampler.shape[0] < trials.steps:
            raise ConfigurationError(
                f"plans of {self.sampler.shape[0]} steps for trials of {trials.steps}: give the "
                f"trials steps={self.sampler.shape[0]}, or the sampler longer plans"
            )

    @torch.no_grad()
    def __call__(self, state: State, t: int) -> Tensor:
        """Action (1, A) in a state (one environment) at step t of the episode."""
        if t == 0:
            self.sampler = self.make()
        else:
            self.sampler.shift()
        # Nothing counts beyond the end of the episode.
        left = self.trials.functional.task.horizon - t
        search(self.sampler, self.trials, state, self.iterations, min(self.trials.steps, left))
        return self.sampler.plan[:1].clamp(self.sampler.low, self.sampler.high)
