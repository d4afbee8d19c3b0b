"""Models of the dynamics of a dataset: forwards with reward, cost and end, or backwards in time."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from agents.offline.data import Transitions
from agents.offline.ensemble import GaussianEnsemble, Members
from agents.offline.termination import LEARNT, NEVER, RULES


class Outcome(NamedTuple):
    """What a model says of B steps.

    Attributes:
        observations: (B, O), after the step.
        rewards: (B, 1).
        terminated: float (B, 1), one where the episode ends.
        costs: (B, 1), expected ones; None where the model predicts none.
        members: what each member said, of Δs, r and, where there is one, the cost.
    """

    observations: Tensor
    rewards: Tensor
    terminated: Tensor
    costs: Tensor | None
    members: Members


class Dynamics(nn.Module):
    """T̂(s, a): the change of the observation, the reward and, if asked, the cost.

    Observations are the dataset's own, not standardised; actions are in [-1, 1]. Predictions are
    those of a `GaussianEnsemble`.

    Args:
        num_features: O.
        num_actions: A.
        with_costs: predict costs.
        termination: "never", "learnt", or a name in `agents.offline.termination.RULES`; what is
            learnt is a logistic output of the ensemble, an end where it says more than one half.
        options: of `GaussianEnsemble`.
    """

    def __init__(
        self,
        num_features: int,
        num_actions: int,
        *,
        with_costs: bool = False,
        termination: str = NEVER,
        **options: Any,
    ) -> None:
        super().__init__()
        self.num_features, self.with_costs = num_features, with_costs
        self.termination = termination
        self.ensemble = GaussianEnsemble(
            num_features + num_actions,
            num_features + 1 + with_costs,
            flags=int(termination == LEARNT),
            **options,
        )

    def fit(self, data: Transitions, generator: torch.Generator, **options: Any) -> int:
        """Fit all of it to a dataset; epochs done.

        Args:
            data: with costs, where these are to be predicted.
            generator: on the device of the data.
            options: of `GaussianEnsemble.fit`.
        """
        columns = [data.next_observations - data.observations, data.rewards]
        if self.with_costs:
            assert data.costs is not None
            columns.append(data.costs)
        flags = data.terminated if self.termination == LEARNT else None
        inputs = torch.cat([data.observations, data.actions], dim=1)
        return self.ensemble.fit(
            inputs, torch.cat(columns, dim=1), generator, flags=flags, **options
        )

    @property
    def fitted(self) -> bool:
        """Whether `fit` has been called."""
        return self.ensemble.fitted

    def members(self, observations: Tensor, actions: Tensor) -> Members:
        """Of each member, (E, B, O + 1 or O + 2): Δs, r and the cost."""
        return self.ensemble(torch.cat([observations, actions], dim=-1))

    def mean(self, observations: Tensor, actions: Tensor) -> Outcome:
        """The mean over the elites, without a draw."""
        found = self.members(observations, actions)
        return self._outcome(observations, self.ensemble.average(found), found)

    @torch.no_grad()
    def sample(self, observations: Tensor, actions: Tensor) -> Outcome:
        """A draw of all but the costs, each row from an elite of its own.

        Args:
            observations: (B, O).
            actions: (B, A).
        """
        found = self.members(observations, actions)
        return self._outcome(observations, self.ensemble.draw(found), found)

    def next_observations(self, observations: Tensor, found: Members) -> Tensor:
        """Observations (elites, B, O) after the step, a draw from every elite's prediction."""
        chosen, o = self.ensemble.elite, self.num_features
        mean, std = found.mean[chosen, :, :o], found.std[chosen, :, :o]
        return observations + mean + std * torch.randn_like(mean)

    def _outcome(self, observations: Tensor, values: Tensor, found: Members) -> Outcome:
        o = self.num_features
        after = observations + values[:, :o]
        ends = self._ends(after, found)[:, None].to(values.dtype)
        # Not drawn: budgets hold expectations, and noise that is cut off at 0 would cost.
        costs = self.ensemble.average(found)[:, o + 1 :] if self.with_costs else None
        return Outcome(after, values[:, o : o + 1], ends, costs, found)

    def _ends(self, after: Tensor, found: Members) -> Tensor:
        if self.termination in RULES:
            return RULES[self.termination](after)
        if self.termination == LEARNT:
            return self.ensemble.probabilities(found)[:, 0] > 0.5
        return torch.zeros(len(after), dtype=torch.bool, device=after.device)


class ReverseDynamics(nn.Module):
    """The step back: (s', a) to s.

    Args:
        num_features: O.
        num_actions: A.
        options: of `GaussianEnsemble`.
    """

    def __init__(self, num_features: int, num_actions: int, **options: Any) -> None:
        super().__init__()
        self.ensemble = GaussianEnsemble(num_features + num_actions, num_features, **options)

    def fit(self, data: Transitions, generator: torch.Generator, **options: Any) -> int:
        """Fit s − s' by (s', a) to a dataset; epochs done. Options of `GaussianEnsemble.fit`."""
        inputs = torch.cat([data.next_observations, data.actions], dim=1)
        targets = data.observations - data.next_observations
        return self.ensemble.fit(inputs, targets, generator, **options)

    @property
    def fitted(self) -> bool:
        """Whether `fit` has been called."""
        return self.ensemble.fitted

    def mean(self, next_observations: Tensor, actions: Tensor) -> Tensor:
        """The observations (B, O) before the step, the mean over the elites."""
        inputs = torch.cat([next_observations, actions], dim=-1)
        return next_observations + self.ensemble.mean(inputs)

    @torch.no_grad()
    def sample(self, next_observations: Tensor, actions: Tensor) -> Tensor:
        """A draw of them, each row from an elite of its own."""
        inputs = torch.cat([next_observations, actions], dim=-1)
        return next_observations + self.ensemble.sample(inputs)
