"""OGSRL: a policy under cost budgets in a model, one of them on leaving the data."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, get_args

import torch
from torch import Tensor

from agents.horizon import find_horizon
from agents.offline.cpo import ConstrainedStep, Rollouts
from agents.offline.data import Batch
from agents.offline.guardian import Guardian
from agents.offline.model_based import CHUNK, ModelBased
from agents.offline.model_options import CloneFrom, Starts
from agents.offline.networks import Critics, GaussianActor
from agents.offline.options import LOG_STD
from agents.safe import discounted_budget
from agents.train_options import check_range
from simenv.errors import ConfigurationError, require_count, require_one_of

CHEAP = 0.1
"""Share of the episodes, those of least cost, that count as cheap even if they exceed the limit."""
CLONE_EPOCH = 200
"""Updates of cloning between two reports of how far it is."""
LEAST_STD = 0.05
"""Deviation of a cloned policy at least: the divergence of a step goes with its inverse square."""


class OGSRL(ModelBased):
    """Offline guarded safe reinforcement learning (arXiv:2505.16242), with CPO in a model.

    An update is one iteration: rollouts in the model, one step of constrained policy optimisation
    (arXiv:1705.10528), a few steps of the values. Constraints are on the mean discounted cost of
    the rollouts and on the mean discounted number of their steps outside of the data, which the
    `Guardian` tells.

    Args:
        dataset: see `OfflineAlgorithm`.
        env: see there.
        cost_limit: budget D of an episode's undiscounted cost; None: no such constraint.
        horizon: steps T of an episode, over which D is spent; None: the environment's own limit.
        guardian_limit: budget of the share of steps outside of the data.
        guardian_share: α, share of the data that counts as outside; see `Guardian`.
        guardian_points: see `Guardian`.
        guardian_bandwidth: see `Guardian`.
        rollouts: N per iteration.
        rollout_length: H, steps of each.
        starts: from "any" observation of the episodes that are cloned, or from the "first" ones of
            all episodes.
        clone_from: "any" episode of the dataset, or "cheap" ones, which keep `cost_limit` or are
            among the tenth of least cost.
        gae_lambda: λ of generalised advantage estimation (arXiv:1506.02438).
        max_kl: δ, trust region of a step.
        damping: added to the curvature of the divergence.
        search_steps: of a line search.
        value_epochs: passes over an iteration's states by which values are fitted.
        clone_steps: updates by which the policy is cloned from the data before the first
            iteration; 0: it starts untrained.
        initial_std: deviation of the policy at first; of a cloned one, the largest.
        learning_rate: Adam's step size of the values, and of cloning.
        net_arch: widths of the hidden layers.
        options: everything else that `ModelBased` takes.

    Attributes:
        budgets: what mean discounted costs of rollouts are held against, by name.
        guardian: fitted, as the model is, before the first update.

    Raises:
        ConfigurationError: a cost limit where the dataset has no costs, or no known horizon.
    """

    unused: ClassVar[tuple[str, ...]] = ("tau",)

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        cost_limit: float | None = None,
        horizon: int | None = None,
        guardian_limit: float = 0.05,
        guardian_share: float = 0.05,
        guardian_points: int = 4_000,
        guardian_bandwidth: float | None = None,
        rollouts: int = 256,
        rollout_length: int = 20,
        starts: Starts = "any",
        clone_from: CloneFrom = "any",
        gae_lambda: float = 0.95,
        max_kl: float = 0.01,
        damping: float = 0.1,
        search_steps: int = 30,
        value_epochs: int = 2,
        clone_steps: int = 2_000,
        initial_std: float = 0.6065,
        learning_rate: float = 1e-3,
        net_arch: Sequence[int] = (128, 128),
        **options: Any,
    ) -> None:
        for name, count in (("rollouts", rollouts), ("rollout_length", rollout_length)):
            require_count(name, count)
        for name, count in (("search_steps", search_steps), ("value_epochs", value_epochs)):
            require_count(name, count)
        if clone_steps:
            require_count("clone_steps", clone_steps)
        check_range("cost_limit", cost_limit or 0.0, at_least=0.0)
        check_range("guardian_limit", guardian_limit, at_least=0.0, at_most=1.0)
        check_range("gae_lambda", gae_lambda, at_least=0.0, at_most=1.0)
        check_range("max_kl", max_kl, above=0.0)
        check_range("damping", damping, at_least=0.0)
        low, high = (math.exp(bound) for bound in LOG_STD)
        check_range("initial_std", initial_std, at_least=low, at_most=high)
        require_one_of("starts", starts, get_args(Starts))
        require_one_of("clone_from", clone_from, get_args(CloneFrom))
        if clone_from == "cheap" and cost_limit is None:
            raise ConfigurationError("clone_from = 'cheap' needs a cost_limit, which tells what is")
        self.cost_limit, self.horizon, self.guardian_limit = cost_limit, horizon, guardian_limit
        self.num_rollouts, self.rollout_length = rollouts, rollout_length
        self.starts, self.clone_from = starts, clone_from
        self.gae_lambda, self.value_epochs = gae_lambda, value_epochs
        self._step_options: dict[str, Any] = {
            "max_kl": max_kl,
            "damping": damping,
            "search_steps": search_steps,
        }
        self.clone_steps, self.initial_std = clone_steps, initial_std
        self.guardian = Guardian(guardian_share, guardian_points, guardian_bandwidth)
        super().__init__(dataset, env, learning_rate=learning_rate, net_arch=net_arch, **options)

    # ------------------------------------------------------------------ set-up

    def setup(self) -> None:
        """Policy, values of reward and costs, model, and budgets."""
        costly = self.cost_limit is not None
        if not costly and self.dataset.costs is not None:
            warnings.warn(
                f"dataset {self.dataset.source.name} has costs, and without a cost_limit nothing "
                "keeps them low; give one",
                RuntimeWarning,
                stacklevel=2,
            )
        if costly and len(self.dataset) and self.dataset.costs is None:
            raise ConfigurationError(
                f"cost_limit = {self.cost_limit}, but dataset {self.dataset.source.name} has no "
                "costs; take one of a '-Safe' id, or cost_limit None and clone_from 'any'"
            )
        self.budgets = self._budgets()
        self._lost = torch.zeros((), device=self.device)
        self.actor = GaussianActor(self.num_features, self.num_actions, self.net_arch)
        with torch.no_grad():
            self.actor.log_std.add_(torch.tensor(self.initial_std).log())
        self.actor = self.actor.to(self.device)
        self.stepper = ConstrainedStep(self.actor, self.gamma, **self._step_options)
        self._limits = torch.tensor(list(self.budgets.values()), device=self.device)
        self.value = Critics(self.num_features, self.net_arch, 1).to(self.device)
        # What a rollout still costs depends on how much of it is left.
        count = len(self.budgets)
        self.cost_value = Critics(self.num_features + 1, self.net_arch, count).to(self.device)
        self.value_optimizer = self.adam(self.value, self.cost_value)
        self.setup_model(with_costs=costly)

    def _budgets(self) -> dict[str, float]:
        """Budgets of mean discounted costs over rollouts: each step may cost its share."""
        steps, gamma = self.rollout_length, self.gamma
        check_range("gamma", gamma, above=0.0)
        found = {"outside": discounted_budget(self.guardian_limit * steps, gamma, steps)}
        if self.cost_limit is None:
            return found
        if self.horizon is None and self.env is not None:
            self.horizon = find_horizon(self.env)
        if self.horizon is None:
            raise ConfigurationError("how long is an episode? give horizon, or an environment")
        require_count("horizon", self.horizon)
        each = self.cost_limit / self.horizon
        return {"cost": discounted_budget(each * steps, gamma, steps)} | found

    def arguments(self) -> dict[str, Any]:
        """Arguments of the constructor, with the horizon that was found."""
        return {**super().arguments(), "horizon": self.horizon}

    # ------------------------------------------------------------------ rollouts

    def sample(self) -> Batch:
        """Transitions of the dataset, as they are, from whose observations rollouts start."""
        self._prepare_model()
        return self.draw(self.num_rollouts, self._to_clone if self.starts == "any" else self._first)

    @cached_property
    def _first(self) -> Tensor:
        """Rows of the dataset that episodes begin with."""
        return torch.nonzero(self.dataset.initial)[:, 0]

    @cached_property
    def _to_clone(self) -> Tensor:
        """Rows that the policy is cloned from."""
        data = self.dataset
        if self.clone_from == "any" or data.costs is None or self.cost_limit is None:
            return torch.arange(len(data), device=self.device)
        _, episode = data.episodes.unique(return_inverse=True)
        costs = torch.zeros(int(episode.max()) + 1, device=self.device)
        costs.index_add_(0, episode, data.costs[:, 0])
        border = costs.quantile(CHEAP).clamp(min=self.cost_limit)
        return torch.nonzero((costs <= border)[episode])[:, 0]

    def _prepare_model(self) -> None:
        """Fit model and guardian, once."""
        if self.guardian.chosen is None:
            self.draw(1)  # says so where there is no dataset
            self.fit_model()
            data = self.dataset
            self.clone()
            self.teller("the guardian")
            # Last, since it is what says that all is done.
            self.guardian.fit(data.observations, data.actions, self._generator)

    def clone(self) -> None:
        """Bring the policy to the data: its mean to the actions, its deviation to their errors.

        An untrained policy leaves the data at once, and its first iterations only bring it back.
        """
        optimizer, told = self.adam(self.actor.network), self.teller("the clone of the data")
        for done in range(self.clone_steps):
            batch = self.prepare(self.draw(self.batch_size, self._to_clone))
            error = (self.actor(batch.observations) - batch.actions).square()
            loss = self.descend(optimizer, "clone_loss", error.mean())
            if done % CLONE_EPOCH == CLONE_EPOCH - 1:
                told(1 + done // CLONE_EPOCH, loss.item())
        if self.clone_steps:
            self._fit_std()

    @torch.no_grad()
    def _fit_std(self) -> None:
        squares = torch.zeros(self.num_actions, device=self.device)
        for rows in self._to_clone.split(CHUNK):
            batch = self.dataset.at(rows)
            errors = self.actor(self.encode(batch.observations)) - batch.actions
            squares += errors.square().sum(dim=0)
        std, largest = (squares / len(self._to_clone)).sqrt(), max(LEAST_STD, self.initial_std)
        self.actor.log_std.copy_(std.clamp(LEAST_STD, largest).log())

    @torch.no_grad()
    def roll_out(self, observations: Tensor) -> Rollouts:
        """Let the policy act in the model from observations (N, O) of the dataset."""
        alive, rows = torch.ones(len(observations), device=self.device), []
        for _ in range(self.rollout_length):
            seen = self.normalizer(observations)
            mean = self.actor(seen)
            actions = mean + self.actor.std() * torch.randn_like(mean)
            after, signals, ends, lost = self._step(observations, actions.clamp(-1.0, 1.0))
            rows.append((seen, actions, signals, alive, ends * alive, lost * alive))
            observations, alive = after, alive * (1 - ends)
        *columns, lost = (torch.stack(column) for column in zip(*rows, strict=True))
        columns[0] = torch.cat([columns[0], self.normalizer(observations)[None]])
        found = Rollouts(*columns)
        self._lost = lost.sum() / found.alive.sum()
        return found

    def _step(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, ...]:
        """A step in the model.

        Far from the data it may run off to infinity, and values of states that no data bound feed
        on one another: the data's box is as far as it goes. Where it gives no number at all, the
        rollout stays where it is and pays the worst of the data, step after step.

        Returns:
            Observations (N, O), signals (N, 1 + K), float ends (N,) and where it is lost (N,).
        """
        found = self.dynamics.sample(observations, actions)
        costs = [] if found.costs is None else [found.costs]
        told = torch.cat([found.observations, found.rewards, *costs], dim=1)
        lost = ~told.isfinite().all(dim=1, keepdim=True)
        rewards = self.reward_scale * found.rewards + self.reward_shift
        least, most = self._worst
        # Costs count or measure and are never below 0; a regression may be, and what it errs would
        # pay for steps that do cost. Data that have negative ones bound them by their least.
        costs = [torch.where(lost, most, cost.clamp(min=self._least_cost)) for cost in costs]
        outside = torch.where(lost, 1.0, self.guardian.flags(observations, actions))
        signals = torch.cat([torch.where(lost, least, rewards), *costs, outside], dim=1)
        after = torch.where(lost, observations, found.observations).clamp(*self._range)
        ends = torch.where(lost, 0.0, found.terminated)
        return after, signals, ends[:, 0], lost[:, 0].to(ends.dtype)

    @cached_property
    def _worst(self) -> tuple[Tensor, Tensor]:
        """Least reward (), transformed, and greatest cost () of the dataset."""
        least = (self.reward_scale * self.dataset.rewards + self.reward_shift).amin()
        costs = self.dataset.costs
        return least, torch.zeros_like(least) if costs is None else costs.amax()

    @cached_property
    def _least_cost(self) -> float:
        """The dataset's least cost, at most 0."""
        costs = self.dataset.costs
        return 0.0 if costs is None else min(0.0, costs.amin().item())

    @cached_property
    def _range(self) -> tuple[Tensor, Tensor]:
        """Least and greatest observations of the dataset, (O,) each."""
        return self.dataset.observations.amin(dim=0), self.dataset.observations.amax(dim=0)

    # ------------------------------------------------------------------ learning

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One iteration, from the observations of a raw batch."""
        found = self.roll_out(batch.observations)
        advantages, targets = self.advantages(found)
        sums = self.mean_sums(found)
        step = self.stepper(found, advantages, sums[1:] - self._limits)
        loss = self.fit_values(found, targets)
        names = dict(zip(("return", *self.budgets), sums, strict=True))
        limits = {f"{k}_budget": v for k, v in zip(self.budgets, self._limits, strict=True)}
        return step | names | limits | {"value_loss": loss, "lost_share": self._lost}

    def mean_sums(self, found: Rollouts) -> Tensor:
        """Mean discounted sums (1 + K,) of the rollouts' signals: J, and the Jₖ of the costs."""
        return (found.weights(self.gamma)[..., None] * found.signals).sum(dim=(0, 1))

    @torch.no_grad()
    def advantages(self, found: Rollouts) -> tuple[Tensor, Tensor]:
        """Generalised advantages and value targets (H, N, 1 + K), of all signals alike.

        The reward goes on after the rollout, so that its value there counts. Costs are held against
        budgets of the rollout's H steps and end with it: their advantages are slopes of the same
        sums as `mean_sums`.
        """
        values = self._values(found.observations)
        values[-1, :, 1:] = 0.0
        going = (1 - found.terminated)[..., None]
        errors = found.signals + self.gamma * going * values[1:] - values[:-1]
        rows, last = [], torch.zeros_like(errors[0])
        for error, on in zip(errors.flip(0), going.flip(0), strict=True):
            last = error + self.gamma * self.gae_lambda * on * last
            rows.append(last)
        advantages = torch.stack(rows[::-1])
        return advantages, advantages + values[:-1]

    def _values(self, observations: Tensor) -> Tensor:
        """Values (H + 1, N, 1 + K) of the observations (H + 1, N, O) of rollouts."""
        share = torch.linspace(0.0, 1.0, len(observations), device=self.device)
        place = share[:, None, None].expand(*observations.shape[:2], 1)
        found = self.cost_value(torch.cat([observations, place], dim=-1))
        return torch.cat([self.value(observations), found], dim=-1)

    def fit_values(self, found: Rollouts, targets: Tensor) -> Tensor:
        """Some passes of least squares over the rollouts; the last loss."""
        count, size = found.alive.shape[1], max(1, self.batch_size // len(found.alive))
        for _ in range(self.value_epochs):
            order = torch.randperm(count, generator=self._generator, device=self.device)
            for some in order.split(size):
                values = self._values(found.observations[:, some])[:-1]
                error = (values - targets[:, some]).square().sum(dim=-1)
                alive = found.alive[:, some]
                error = (alive * error).sum() / alive.sum()
                loss = self.descend(self.value_optimizer, "value_loss", error)
        return loss

    # ------------------------------------------------------------------ acting, state

    def act(self, observations: Tensor, deterministic: bool) -> Tensor:
        """The mean of π, or a draw."""
        return self.actor(observations) if deterministic else self.actor.sample(observations)

    def get_extra_state(self) -> dict[str, Any]:
        """With the guardian."""
        return {**super().get_extra_state(), "guardian": self.guardian.get_state()}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave."""
        super().set_extra_state(state)
        self.guardian.set_state(state["guardian"], self.device)
