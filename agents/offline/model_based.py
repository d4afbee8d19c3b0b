"""What offline agents share that learn in a model of the dynamics."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from agents.offline.algorithm import OfflineAlgorithm, follow_cosine
from agents.offline.data import Batch
from agents.offline.dynamics import Dynamics, Outcome
from agents.offline.rollouts import RolloutBuffer
from agents.offline.sac import OfflineSAC
from agents.offline.termination import resolve
from agents.train_options import check_range
from simenv.errors import require_count

CHUNK = 10_000
"""Rollouts side by side, which bounds the memory of an ensemble."""


class ModelBased(OfflineAlgorithm):
    """An agent with a model of the dynamics, fitted before its first update.

    The fit is part of the first call of `learn`. It is not saved half way: where it is broken off,
    the next call begins it again.

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        model_members: networks in the ensemble.
        model_elites: of which so many make predictions.
        model_widths: of their hidden layers.
        model_learning_rate: Adam's step size in the fit.
        model_batch_size: rows of a step of the fit.
        model_patience: epochs without improvement that end the fit.
        model_max_epochs: that end it in any case; None: no bound.
        termination: where episodes end in the model: "never", "learnt", a name in
            `agents.offline.termination.RULES`, or "auto", the rule of the dataset's environment,
            and where there is none, or its arguments change it, what the data say.
        options: everything else that the algorithm takes.

    Attributes:
        on_fit: called before what is fitted beforehand and after every epoch of it, with its name,
            the epochs done and the error, at first infinite; what it raises ends `learn`. None:
            nobody is told; `print` will do.
    """

    on_fit: Callable[[str, int, float], object] | None = None

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        model_members: int = 7,
        model_elites: int = 5,
        model_widths: Sequence[int] = (200, 200, 200, 200),
        model_learning_rate: float = 1e-3,
        model_batch_size: int = 256,
        model_patience: int = 5,
        model_max_epochs: int | None = None,
        termination: str = "auto",
        **options: Any,
    ) -> None:
        require_count("model_batch_size", model_batch_size)
        require_count("model_patience", model_patience)
        if model_max_epochs is not None:
            require_count("model_max_epochs", model_max_epochs)
        check_range("model_learning_rate", model_learning_rate, above=0.0)
        self._network: dict[str, Any] = {
            "members": model_members,
            "elites": model_elites,
            "widths": tuple(model_widths),
        }
        self._fit: dict[str, Any] = {
            "learning_rate": model_learning_rate,
            "batch_size": model_batch_size,
            "patience": model_patience,
            "max_epochs": model_max_epochs,
        }
        self.termination = termination
        super().__init__(dataset, env, **options)

    def setup_model(self, *, with_costs: bool = False) -> None:
        """Make the model, `dynamics`; where episodes end is settled here."""
        ends = bool((self.dataset.terminated > 0).any())
        source = self.dataset.source
        self.termination = resolve(self.termination, source.env_id, ends, source.env_options)
        self.dynamics = Dynamics(
            self.num_features,
            self.num_actions,
            with_costs=with_costs,
            termination=self.termination,
            **self._network,
        ).to(self.device)

    def fit_model(self) -> None:
        """Fit the model to the dataset, unless it has been."""
        if not self.dynamics.fitted:
            told = self.teller("the model")
            self.dynamics.fit(self.dataset, self._generator, **self._fit, told=told)

    def teller(self, what: str) -> Callable[[int, float], object]:
        """What a fit calls after every epoch, once `on_fit` knows that it begins."""
        tell = partial(self.on_fit or _ignore, what)
        tell(0, math.inf)
        return tell

    def raw(self, observations: Tensor) -> Tensor:
        """Observations as the dataset has them, from what `encode` made of them."""
        return self.normalizer.inverse(observations)

    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, with where episodes end as it was settled."""
        return {**super().arguments(), "termination": self.termination}


def _ignore(what: str, epochs: int, error: float) -> None:
    """Nobody is told of a fit."""


class ModelSAC(ModelBased, OfflineSAC):
    """Soft actor-critic on short rollouts in the model: the base of `MOPO` and `MOBILE`.

    Every `rollout_every` updates the policy takes `rollout_length` steps in the model from
    `rollout_batch` observations of the dataset. Batches are of a few transitions of the dataset
    and, for the rest, of steps in the model.

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        rollout_every: updates between rollouts.
        rollout_batch: rollouts at a time.
        rollout_length: steps of each, unless it ends.
        rollout_retain: rollouts' worth of steps that are kept.
        real_ratio: share of a batch that comes from the dataset.
        cosine: the actor's step size falls along a cosine to 0 over the training.
        options: everything else that `ModelBased` and `OfflineSAC` take.

    Attributes:
        rollouts: the steps in the model, as the dataset has them: not standardised.
    """

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        rollout_every: int = 1_000,
        rollout_batch: int = 50_000,
        rollout_length: int = 5,
        rollout_retain: int = 5,
        real_ratio: float = 0.05,
        cosine: bool = True,
        **options: Any,
    ) -> None:
        counts = {
            "rollout_every": rollout_every,
            "rollout_batch": rollout_batch,
            "rollout_length": rollout_length,
            "rollout_retain": rollout_retain,
        }
        for name, count in counts.items():
            require_count(name, count)
        check_range("real_ratio", real_ratio, at_least=0.0, at_most=1.0)
        self.rollout_every, self.rollout_batch = rollout_every, rollout_batch
        self.rollout_length, self.rollout_retain = rollout_length, rollout_retain
        self.real_ratio, self.cosine = real_ratio, cosine
        self._notes: dict[str, list[Tensor]] = {}
        super().__init__(dataset, env, **options)

    def setup(self) -> None:
        """The networks of soft actor-critic, the model, and room for its steps."""
        OfflineSAC.setup(self)
        self.setup_model()
        self.rollouts = RolloutBuffer(
            self.rollout_batch * self.rollout_length * self.rollout_retain,
            self.num_features,
            self.num_actions,
            self.device,
        )

    # ------------------------------------------------------------------ batches

    @property
    def num_real(self) -> int:
        """Rows of a batch that are the dataset's; they come first."""
        return int(self.real_ratio * self.batch_size)

    def sample(self) -> Batch:
        """A batch of both kinds, after new rollouts where these are due."""
        real = self.draw(self.num_real)
        if self.num_real == self.batch_size:
            return self.prepare(real)
        if self.num_timesteps % self.rollout_every == 0:
            self.fit_model()
            self.roll_out()
        model = self.rollouts.sample(self.batch_size - self.num_real, self._generator)
        pairs = zip(real._replace(costs=None)[:5], model[:5], strict=True)
        return self.prepare(Batch(*(torch.cat(pair) for pair in pairs)))

    @torch.no_grad()
    def roll_out(self) -> None:
        """Let the policy take steps in the model, and keep those that are finite."""
        starts = self.draw(self.rollout_batch).observations
        for chunk in starts.split(CHUNK):
            observations = chunk
            for _ in range(self.rollout_length):
                observations = self._step(observations)

    def _step(self, observations: Tensor) -> Tensor:
        """A step of every rollout; the observations (B', O) of those that go on."""
        actions = self.act(self.encode(observations), deterministic=False)
        found = self.dynamics.sample(observations, actions)
        rewards = self.model_rewards(found)
        step = Batch(observations, actions, rewards, found.observations, found.terminated)
        whole = torch.isfinite(torch.cat(step[:5], dim=1)).all(dim=1)
        self.rollouts.add(step, whole)
        self.note(lost_share=(~whole).float())
        return found.observations[whole & (found.terminated[:, 0] == 0)]

    def note(self, **rows: Tensor) -> None:
        """Have the next update log the mean of all rows (B, …) noted until then, by name.

        What is not finite is left out.
        """
        for name, values in rows.items():
            known = values.masked_fill(~values.isfinite(), torch.nan)
            self._notes.setdefault(name, []).append(known)

    def model_rewards(self, found: Outcome) -> Tensor:
        """Rewards (B, 1) of steps in the model, as they are kept."""
        return found.rewards

    # ------------------------------------------------------------------ learning

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of critics, actor, temperature and targets."""
        found = super().update(batch)
        found |= {name: torch.cat(parts).nanmean() for name, parts in self._notes.items()}
        self._notes = {}
        return found

    def schedule(self, progress: float) -> None:
        """The actor's step size, η ½ (1 + cos π·progress)."""
        if self.cosine:
            follow_cosine(self.actor_optimizer, self.actor_learning_rate, progress)

    # ------------------------------------------------------------------ state

    def get_state(self) -> dict[str, Any]:
        """With the steps in the model."""
        return {**super().get_state(), "rollouts": self.rollouts.get_state()}

    def set_state(self, state: Mapping[str, Any], path: Any = "state") -> None:
        """Go on from what `get_state` gave."""
        super().set_state(state, path)
        self.rollouts.set_state(state["rollouts"])
