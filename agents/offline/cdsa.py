"""CDSA: any policy's actions, moved to where the data are denser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from agents.offline.adjusted import Adjusted, Tuning
from agents.offline.algorithm import OfflineAlgorithm
from agents.offline.data import Batch
from agents.offline.networks import DeterministicActor, Standardiser, mlp
from agents.offline.options import LEVELS
from agents.offline.scores import ScoreNetwork, denoising_loss
from agents.offline.support import log_density, outside_share, scott
from agents.randomness import forked_random
from agents.spaces import to_unit
from agents.train_options import check_range
from simenv.errors import ConfigurationError

HELD_OUT = 10
"""One episode in so many, or one part of the transitions, is held out."""
MOST = 2_000
"""Largest number of held-out transitions that densities are taken over."""
STEPS = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Step sizes among which `tune` chooses."""


class CDSA(OfflineAlgorithm):
    """Conservative denoising score-based adjustment of a policy's actions.

    After Liu, Yang & Li (arXiv:2406.07541), whose idea it is; how the parts are put together is a
    reconstruction (docs/agents/cdsa.md). It learns scores of the data, an inverse and a forward
    model, and no policy: `wrap` gives that of another one with its actions adjusted.

    Args:
        dataset: see `OfflineAlgorithm`; a tenth of it is held out.
        env: to evaluate the adjusted policy in; not used without a policy.
        policy: whose actions `predict` adjusts: the folder of a run of `simenv train`, or anything
            with `predict`, which is not saved; None: there is only `wrap`.
        action_step: η_a, 1 for one denoising step of the action; 0: none.
        state_step: η_s, 1 for the action that leads to the denoised next state instead of the next
            state; 0: none.
        tune: choose both steps at the end of the training, where there is a policy.
        sigma: σ at which scores are taken, in deviations of the data; within `LEVELS`, where they
            are learnt.
        options: everything else that `OfflineAlgorithm` takes.

    Attributes:
        action_step: as given, or as tuned.
        state_step: the same.

    Example:
        >>> model = CDSA("pendulum/medium-v0", policy="runs/pendulum-medium-v0-iql-0")
        >>> model.learn(10_000).predict(observation)
    """

    normalize_by_default: ClassVar[bool] = True
    unused: ClassVar[tuple[str, ...]] = ("gamma", "tau", "reward_scale", "reward_shift")

    def __init__(
        self,
        dataset: Any,
        env: Any = None,
        *,
        policy: Any = None,
        action_step: float = 0.5,
        state_step: float = 0.5,
        tune: bool = True,
        sigma: float = 0.2,
        **options: Any,
    ) -> None:
        check_range("action_step", action_step, at_least=0.0)
        check_range("state_step", state_step, at_least=0.0)
        check_range("sigma", sigma, at_least=LEVELS[0], at_most=LEVELS[1])
        self.action_step, self.state_step = action_step, state_step
        self.tunes, self.sigma = tune, sigma
        self._given_steps = (action_step, state_step)
        device = str(options.get("device", "cpu"))
        self._policy = _load(policy, device) if isinstance(policy, str | Path) else policy
        super().__init__(dataset, None if policy is None else env, **options)
        self._train_index, self._held_index = self._split()
        if policy is not None:
            self._require_alike(self._policy)

    def setup(self) -> None:
        """Scores of (s, a) and of s, the two models, and what scales actions and changes."""
        seen, acted, widths = self.num_features, self.num_actions, self.net_arch
        self.score = ScoreNetwork(seen + acted, widths).to(self.device)
        self.state_score = ScoreNetwork(seen, widths).to(self.device)
        self.inverse = DeterministicActor(2 * seen, acted, widths).to(self.device)
        self.dynamics = mlp(seen + acted, seen, widths).to(self.device)
        self.action_scale = Standardiser(acted).to(self.device)
        self.change_scale = Standardiser(seen).to(self.device)
        if len(self.dataset):
            data, scaled = self.dataset, self.normalizer
            self.action_scale.fit(data.actions)
            self.change_scale.fit(scaled(data.next_observations) - scaled(data.observations))
        self.optimizer = self.adam(self.score, self.state_score, self.inverse, self.dynamics)

    # ------------------------------------------------------------------ learning

    def learn(self, total_timesteps: int, *args: Any, **options: Any) -> Any:
        """Do so many updates more, then tune, if asked to; see `OfflineAlgorithm.learn`."""
        if self.tunes:
            # Evaluations on the way are those of a training that was never finished before.
            self.action_step, self.state_step = self._given_steps
        return super().learn(total_timesteps, *args, **options)

    def finish(self) -> None:
        """Choose the step sizes; say which, and note them beside the losses."""
        if self.tunes and self._policy is not None:
            found = self.tune(self._policy)
            print(found)
            self.losses |= asdict(found)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One step of all four networks, which have no parameter in common."""
        losses = self.all_losses(batch)
        self.descend(self.optimizer, "loss", torch.stack(list(losses.values())).sum())
        return {name: loss.detach() for name, loss in losses.items()}

    def all_losses(self, batch: Batch) -> dict[str, Tensor]:
        """Denoising losses of both scores, squared errors of both models."""
        seen, actions = batch.observations, batch.actions
        change = self.change_scale(batch.next_observations - seen)
        inverse = self.inverse(torch.cat([seen, change], dim=-1))
        return {
            "score_loss": denoising_loss(self.score, self.pairs(seen, actions)),
            "state_score_loss": denoising_loss(self.state_score, seen),
            "inverse_loss": (inverse - actions).square().mean(),
            "dynamics_loss": (self._change(seen, actions) - change).square().mean(),
        }

    def sample(self) -> Batch:
        """A batch of what is not held out."""
        return self.prepare(self.draw(self.batch_size, self._train_index))

    # ------------------------------------------------------------------ adjusting

    def pairs(self, observations: Tensor, actions: Tensor) -> Tensor:
        """(s, a) standardised, (B, O + A).

        Args:
            observations: (B, O), standardised.
            actions: (B, A), in [-1, 1].
        """
        return torch.cat([observations, self.action_scale(actions)], dim=-1)

    def next_states(self, observations: Tensor, actions: Tensor) -> Tensor:
        """Standardised states (B, O) that the forward model foresees; arguments as of `pairs`."""
        return observations + self.change_scale.inverse(self._change(observations, actions))

    def _change(self, observations: Tensor, actions: Tensor) -> Tensor:
        """What the forward model foresees of s' − s, standardised once more, (B, O)."""
        found: Tensor = self.dynamics(torch.cat([observations, actions], dim=-1))
        return found

    @torch.no_grad()
    def directions(self, observations: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """Changes (B, A) of actions at η_a = 1 and at η_s = 1; arguments as of `pairs`.

        x + σ² S(x, σ) is what x most likely was before noise σ came to it (Tweedie's formula), for
        the action here as for the next state there.
        """
        variance = self.sigma**2
        score = self.score(self.pairs(observations, actions), self.sigma)
        by_action = variance * self.action_scale.scale * score[:, self.num_features :]
        after = self.next_states(observations, actions)
        denoised = after + variance * self.state_score(after, self.sigma)
        there, here = (self._between(observations, state) for state in (denoised, after))
        return by_action, there - here

    def _between(self, observations: Tensor, after: Tensor) -> Tensor:
        """The action (B, A) that leads from one state to another."""
        change = self.change_scale(after - observations)
        found: Tensor = self.inverse(torch.cat([observations, change], dim=-1))
        return found

    def wrap(
        self, policy: Any, action_step: float | None = None, state_step: float | None = None
    ) -> Adjusted:
        """A policy with its actions adjusted.

        Args:
            policy: anything with `predict(observation, state, episode_start, deterministic)`.
            action_step: η_a; None: the agent's.
            state_step: η_s; None: the agent's.

        Raises:
            ConfigurationError: spaces that are not those of the data.
        """
        self._require_alike(policy)
        mine = (self.action_step, self.state_step)
        steps = [
            m if s is None else s for s, m in zip((action_step, state_step), mine, strict=True)
        ]
        return Adjusted(self, policy, *steps)

    def predict(
        self,
        observation: Any,
        state: Any = None,
        episode_start: Any = None,
        deterministic: bool = True,
    ) -> tuple[np.ndarray, Any]:
        """Adjusted actions of the policy that the agent was made with; see `Adjusted.predict`."""
        if self._policy is None:
            raise ConfigurationError(
                "CDSA adjusts the actions of another policy, and there is none: wrap(policy), or "
                "policy=RUN (--policy RUN) from the start"
            )
        adjusted = self.wrap(self._policy)
        return adjusted.predict(observation, state, episode_start, deterministic)

    # ------------------------------------------------------------------ tuning

    def tune(self, policy: Any, steps: Sequence[float] = STEPS) -> Tuning:
        """Choose the step sizes by densities of held-out data, and keep them.

        The density is that of (s, a) at held-out states, times that of the states which the forward
        model foresees. Of all pairs of steps those are taken which change actions least among those
        that make them as dense as the data's own; where none does, those of the highest density.

        Args:
            policy: anything with `predict`.
            steps: candidates, for both.
        """
        batch = self.held_out()
        held, given = self.prepare(batch), self._asked(policy, batch)
        by_action, by_state = self.directions(held.observations, given)
        pairs = [(by, to) for by in steps for to in steps]
        moved = [(given + by * by_action + to * by_state).clamp(-1.0, 1.0) for by, to in pairs]
        densities = [self._density(held, actions) for actions in moved]
        wanted = self._density(held, held.actions)
        distances = [float((actions - given).square().mean()) for actions in moved]
        best = least_enough(distances, densities, wanted)
        self.action_step, self.state_step = pairs[best]
        shares = (self._outside(held, actions) for actions in (moved[best], given))
        return Tuning(*pairs[best], densities[best], self._density(held, given), wanted, *shares)

    def held_out(self) -> Batch:
        """Transitions that nothing was learnt from, `MOST` of them at most, raw."""
        count = len(self._held_index)
        if count < 2:
            raise ConfigurationError(
                f"there are {count} held-out transitions, which says nothing of densities: load("
                f"…, dataset=…), and take one of at least {2 * HELD_OUT} transitions"
            )
        places = torch.linspace(0, count - 1, min(count, MOST), device=self.device).long()
        return self.dataset.at(self._held_index[places])

    def outside_share(self, policy: Any) -> float:
        """Share of a policy's actions at held-out states that lie outside of the data's support.

        That of the data's own actions is `agents.offline.support.OUTSIDE`.
        """
        batch = self.held_out()
        return self._outside(self.prepare(batch), self._asked(policy, batch))

    def _outside(self, held: Batch, actions: Tensor) -> float:
        data = self.pairs(held.observations, held.actions)
        return outside_share(self.pairs(held.observations, actions), data, leave_out=True)

    @torch.no_grad()
    def _density(self, held: Batch, actions: Tensor) -> float:
        """Mean of log p(s, a) + log p(s'), both from held-out data, each left out of its own."""
        data = self.pairs(held.observations, held.actions)
        points, after = (f(held.observations, actions) for f in (self.pairs, self.next_states))
        here = log_density(points, data, scott(data), leave_out=True)
        states = held.observations
        there = log_density(after, states, scott(states), leave_out=True)
        return float((here + there).mean())

    # ------------------------------------------------------------------ parts

    def _split(self) -> tuple[Tensor, Tensor]:
        """Indices of transitions to learn from and of held-out ones: whole episodes, if enough."""
        episodes = torch.unique(self.dataset.episodes, return_inverse=True)[1]
        place = torch.arange(len(episodes), device=self.device)
        enough = len(episodes) > 0 and int(episodes.max()) + 1 >= HELD_OUT
        parts = episodes if enough else place * HELD_OUT // max(len(episodes), 1)
        held = parts % HELD_OUT == HELD_OUT - 1
        return torch.nonzero(~held)[:, 0], torch.nonzero(held)[:, 0]

    def _asked(self, policy: Any, batch: Batch) -> Tensor:
        """What a policy does at the observations of a raw batch, (B, A) in [-1, 1]."""
        space = self.observation_space
        seen = batch.observations.cpu().numpy().reshape(-1, *space.shape).astype(space.dtype)
        return self.unit_actions(policy.predict(seen, deterministic=True)[0])

    def unit_actions(self, actions: Any) -> Tensor:
        """Actions (…) in the units of their space as (B, A) in [-1, 1]."""
        found = to_unit(actions, self.action_space).reshape(-1, self.num_actions)
        return torch.as_tensor(found, device=self.device)

    def _require_alike(self, policy: Any) -> None:
        for name in ("observation_space", "action_space"):
            theirs, mine = getattr(policy, name, None), getattr(self, name)
            if theirs is not None and theirs.shape != mine.shape:
                raise ConfigurationError(
                    f"policy has {name} {theirs}, the data have {mine}; take one of the same "
                    "environment"
                )

    def arguments(self) -> dict[str, Any]:
        """As of every agent; a policy that is no folder of a run cannot be made again."""
        found = super().arguments()
        policy = found.pop("policy", None)
        return found | ({"policy": str(policy)} if isinstance(policy, str | Path) else {})

    def get_extra_state(self) -> dict[str, Any]:
        """As of every agent, and the step sizes."""
        return {**super().get_extra_state(), "steps": [self.action_step, self.state_step]}

    def set_extra_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `get_extra_state` gave."""
        super().set_extra_state(state)
        self.action_step, self.state_step = state["steps"]


def least_enough(distances: Sequence[float], densities: Sequence[float], wanted: float) -> int:
    """Index of the least distance whose density is at least `wanted`, else of the most density."""
    indices = range(len(distances))
    enough = [i for i in indices if densities[i] >= wanted]
    if enough:
        return min(enough, key=distances.__getitem__)
    return max(indices, key=densities.__getitem__)


def _load(run: str | Path, device: str) -> Any:
    """The agent of a run, without a trace in the global random generators."""
    from agents.runs import Run
    from agents.training import load_agent

    with forked_random(0):
        return load_agent(Run(Path(run)), device)
