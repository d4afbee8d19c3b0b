"""Anchors: states known from a dataset, to which a policy learnt from the data leads back.

Compositional conservatism with anchor-seeking (Song et al., arXiv:2404.04682).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agents.offline.data import Transitions
from agents.offline.dynamics import Dynamics, ReverseDynamics
from agents.offline.networks import Standardiser, mlp
from simenv.errors import ConfigurationError, TrainingError, require_count

KEPT, NOISE = 0.8, 0.1
"""Share of the dataset's action in a divergent rollout, and deviation of the noise beside it."""
CHUNK = 10_000
"""Rows that a model is asked about at a time."""
SMALLEST = 1e-12
"""Least distance of data from each other that others are measured by."""


class AnchorSeeker(nn.Module):
    """The policy π̃(s) = tanh(network(s)) that leads towards the data.

    Args:
        features: O.
        actions: A.
        widths: of the hidden layers, which have LayerNorm.

    Attributes:
        fitted: bool (), whether `fit` has been called.
    """

    fitted: Tensor

    def __init__(self, features: int, actions: int, widths: Sequence[int] = (100, 100)) -> None:
        super().__init__()
        self.normalizer = Standardiser(features)
        self.network = mlp(features, actions, widths, layer_norm=True)
        self.register_buffer("fitted", torch.tensor(False))

    def forward(self, observations: Tensor) -> Tensor:
        """Actions (B, A) in [-1, 1] for raw observations (B, O)."""
        return torch.tanh(self.network(self.normalizer(observations)))

    def fit(
        self,
        observations: Tensor,
        actions: Tensor,
        generator: torch.Generator,
        *,
        learning_rate: float = 1e-3,
        batch_size: int = 256,
        max_epochs: int = 50,
        patience: int = 5,
        improvement: float = 0.005,
        told: Callable[[int, float], object] | None = None,
    ) -> list[float]:
        """Minimise E‖π̃(s) − a‖² until it no longer falls; it learns no more afterwards.

        Args:
            observations: raw, (T, O).
            actions: (T, A).
            generator: of the order, on the device of the data.
            learning_rate: Adam's step size.
            batch_size: rows of a step.
            max_epochs: at most so many.
            patience: epochs in a row without an improvement, after which it ends.
            improvement: share of the least loss so far by which a loss must fall below it.
            told: called after every epoch with the epochs done and its loss; what it raises ends
                the fit unfinished.

        Returns:
            Mean loss of each epoch.

        Raises:
            TrainingError: the loss is not finite.
        """
        self.normalizer.fit(observations)
        optimizer = torch.optim.Adam(self.network.parameters(), learning_rate)
        losses, least, idle = list[float](), float("inf"), 0
        while idle < patience and len(losses) < max_epochs:
            order = torch.randperm(len(actions), generator=generator, device=actions.device)
            losses.append(self._epoch(optimizer, observations, actions, order.split(batch_size)))
            better = losses[-1] < (1.0 - improvement) * least
            least, idle = (losses[-1], 0) if better else (least, idle + 1)
            if told is not None:
                told(len(losses), losses[-1])
        self.requires_grad_(False)
        self.fitted.fill_(True)
        return losses

    def _epoch(
        self,
        optimizer: torch.optim.Optimizer,
        observations: Tensor,
        actions: Tensor,
        batches: Sequence[Tensor],
    ) -> float:
        total = actions.new_zeros(())
        for rows in batches:
            error = (self(observations[rows]) - actions[rows]).square().sum(dim=1)
            optimizer.zero_grad()
            error.mean().backward()
            optimizer.step()
            total += error.detach().sum()
        mean = float(total) / len(actions)
        if not mean < float("inf"):
            raise TrainingError(
                "the loss of the anchor-seeking policy is not finite; look for enormous "
                "observations in the dataset, or shorten reverse_length"
            )
        return mean


@torch.no_grad()
def divergent_rollouts(
    reverse: ReverseDynamics, data: Transitions, generator: torch.Generator, length: int = 5
) -> tuple[Tensor, Tensor]:
    """Walk away from the data, backwards in time.

    From every s' of the data an action u of the data, drawn once, is held: a = clip(0.8 u + noise),
    s ~ reverse(s', a), and so on from s. Played forwards, these actions lead to the data. The
    authors' repository, divergent_policy.py.

    Args:
        reverse: fitted.
        data: T transitions.
        generator: of the actions, on the device of the data; states are drawn from torch's global
            generator.
        length: H, steps.

    Returns:
        States (H·T, O), raw, and the actions (H·T, A) that lead back from them.
    """
    require_count("length", length)
    index = torch.randint(len(data), (len(data),), generator=generator, device=data.device)
    parts = zip(data.next_observations.split(CHUNK), data.actions[index].split(CHUNK), strict=True)
    found: list[tuple[Tensor, Tensor]] = []
    for state, held in parts:
        found.extend(walk_back(reverse, state, held, generator, length))
    states, actions = zip(*found, strict=True)
    return torch.cat(states), torch.cat(actions)


@torch.no_grad()
def walk_back(
    reverse: ReverseDynamics, state: Tensor, held: Tensor, generator: torch.Generator, length: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """States (B, O) and actions (B, A) of a walk backwards in time, nearest first.

    From `state` (B, O) on, with actions near those that are `held` (B, A); for the rest see
    `divergent_rollouts`.
    """
    for _ in range(length):
        noise = torch.randn(held.shape, generator=generator, device=held.device)
        action = (KEPT * held + NOISE * noise).clamp(-1.0, 1.0)
        state = reverse.sample(state, action)
        yield state, action


@torch.no_grad()
def seek(dynamics: Dynamics, seeker: AnchorSeeker, observations: Tensor, steps: int) -> Tensor:
    """Anchors (B, O) of raw observations (B, O): where π̃ has led after some steps of the model.

    The model's mean over its elites, without a draw.
    """
    for _ in range(steps):
        observations = dynamics.mean(observations, seeker(observations)).observations
    return observations


@torch.no_grad()
def round_trip(dynamics: Dynamics, reverse: ReverseDynamics, data: Transitions) -> float:
    """Squared error of a step and its reversal, as a share of the mean square of a step.

    In units of the deviation of each feature of the data. Far below 1 where both models are right.
    """
    scale = data.observations.std(dim=0).clamp(min=1e-6)
    error = step = 0.0
    parts = (data.observations, data.next_observations, data.actions)
    for before, after, action in zip(*(x.split(CHUNK) for x in parts), strict=True):
        back = reverse.mean(dynamics.mean(before, action).observations, action)
        error += float(((back - before) / scale).square().sum())
        step += float(((after - before) / scale).square().sum())
    return error / max(step, 1e-12)


# ------------------------------------------------------------------ how near it is to the data


def closeness(model: Any, observations: Any, rows: int = 2_000) -> dict[str, float]:
    """How far states are from the data, and how far their anchors and differences are.

    Each is the mean distance to the nearest of the dataset's, in units of what the dataset's own
    have to their nearest other one, with features in units of their deviation: 1 is as near as data
    are to data. That anchors and differences be near, where states are not, is what the paper's
    abstract seeks; how to measure it is a choice of this module.

    Args:
        model: a COCOA with its dataset, trained.
        observations: raw states (N, …), such as `visited` gives them.
        rows: of the dataset that are held against, evenly spread; and of the observations.

    Returns:
        "state", "anchor" and "difference".

    Raises:
        ConfigurationError: the model was loaded without its dataset.
    """
    if not len(model.dataset):
        raise ConfigurationError("there is no dataset to be near to: load(…, dataset=…)")
    mine = _spread(model.dataset.observations, rows)
    theirs = torch.as_tensor(observations, dtype=mine.dtype, device=mine.device)
    theirs = _spread(theirs.reshape(-1, mine.shape[1]), rows)
    kinds = zip(_kinds(model, mine).items(), _kinds(model, theirs).values(), strict=True)
    return {name: _distance(known, found) for (name, known), found in kinds}


def visited(model: Any, episodes: int = 10, seed: int = 1_000_000) -> Tensor:
    """Raw observations (N, O) that a policy meets in whole episodes in its environment.

    Raises:
        ConfigurationError: there is no environment.
    """
    from agents.evaluation import collect_episodes

    if model.env is None:
        raise ConfigurationError("there is no environment to visit states of: pass env=…")
    seen = []

    def act(observations: Any) -> Any:
        rows = torch.as_tensor(observations, dtype=torch.float32).clone()
        seen.append(rows.reshape(len(rows), -1))
        return model.predict(observations)[0]

    collect_episodes(model.env, act, episodes, seed)
    return torch.cat(seen)


def _kinds(model: Any, observations: Tensor) -> dict[str, Tensor]:
    difference, anchor = model.encode(observations).chunk(2, dim=-1)
    return {
        "state": model.normalizer(observations),
        "anchor": anchor,
        "difference": difference,
    }


def _distance(known: Tensor, found: Tensor) -> float:
    """Mean distance of rows (N, O) to the nearest known one, against theirs among each other."""
    scale = known.std(dim=0).clamp(min=1e-6)
    among = torch.cdist(known / scale, known / scale)
    among.fill_diagonal_(float("inf"))
    own = float(among.min(dim=1).values.mean())
    far = float(torch.cdist(found / scale, known / scale).min(dim=1).values.mean())
    # All in one place, as the differences of anchor_steps = 0 are: as near as data to data.
    return 1.0 if far == own else far / max(own, SMALLEST)


def _spread(rows: Tensor, count: int) -> Tensor:
    """At most so many rows, evenly spread."""
    places = torch.linspace(0, len(rows) - 1, min(count, len(rows)), device=rows.device)
    return rows[places.round().long()]
