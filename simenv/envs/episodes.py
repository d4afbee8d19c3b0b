"""Episodes: N running episodes of a task, without gradients. Shared by `Env` and `VectorEnv`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simenv.envs.functional import Functional
from simenv.envs.observers import Observation, each
from simenv.envs.start import Start
from simenv.errors import ConfigurationError, InvalidActionError, ShapeError, expect_shape
from simenv.mpm import State, describe_fault

GoalSource = Callable[[np.ndarray], np.ndarray]
"""Goals (n, G) for the environments of the given numbers (n,), which are about to restart."""

INVALID_ACTION = "non-finite action (step not taken)"


@dataclass(frozen=True)
class Outcome:
    """What one step gave, each (N,).

    Attributes:
        reward: reward of the step.
        terminated: the task's own end.
        broken: the step could not be taken (non-finite action or state); the state is unchanged.
        success: the task is done.
        clipped: how many components of the action lay outside [-1, 1].
        costs: safety costs by name; empty but in the safe variant.
        faults: plain words where something went wrong, else None.
    """

    reward: Tensor
    terminated: Tensor
    broken: Tensor
    success: Tensor
    clipped: Tensor
    costs: dict[str, Tensor]
    faults: list[str | None]


class Episodes:
    """Holds the states and random generators of N episodes.

    Attributes:
        goal_source: where goals come from when an episode starts that is to draw one; None: the
            task draws it. It keeps its own state, which `get_state` leaves out.
    """

    def __init__(self, functional: Functional) -> None:
        self.functional = functional
        n = functional.num_envs
        self.rngs: list[np.random.Generator] = [np.random.default_rng() for _ in range(n)]
        self.start = Start()
        self.goal_source: GoalSource | None = None
        self.state: State | None = None
        self.action: Tensor | None = None

    @property
    def num_envs(self) -> int:
        """N."""
        return self.functional.num_envs

    @property
    def num_goals(self) -> int:
        """G."""
        return self.functional.task.num_goals

    def set_goal_source(self, source: GoalSource | None) -> None:
        """Let `source` choose the goals of the episodes to come; None: the task does.

        Raises:
            ConfigurationError: the task has no goals.
        """
        if source is not None and not self.num_goals:
            name = type(self.functional.task).__name__
            raise ConfigurationError(f"{name} has no goals to choose; take a '-Goal' id")
        self.goal_source = source

    @torch.no_grad()
    def restart(self, mask: np.ndarray) -> None:
        """New start states where `mask` (N,) holds, each from its own generator."""
        chosen = np.flatnonzero(mask)
        if len(chosen) == 0:
            return
        rngs = [self.rngs[i] for i in chosen]
        fresh = self.functional.start(rngs, self.start, self._goals(chosen))
        if self.state is None:
            if len(chosen) < self.num_envs:
                raise ConfigurationError("the first reset must reset every environment")
            self.state, self.action = fresh, None
            return
        rows = torch.as_tensor(chosen, device=fresh.x.device)
        self.state = State(
            **{name: t.index_copy(0, rows, getattr(fresh, name)) for name, t in self.state.items()}
        )
        if self.action is not None:
            self.action = self.action.index_fill(0, rows, 0.0)

    def _goals(self, chosen: np.ndarray) -> np.ndarray | None:
        """Goals (n, G) for these environments, where a source is to choose them."""
        if self.goal_source is None or not self.start.draws_goal:
            return None
        goals = np.asarray(self.goal_source(chosen))
        expect_shape("goals of the source", goals.shape, (len(chosen), self.num_goals))
        return goals

    @torch.no_grad()
    def step(self, action: Tensor, strict: bool = False) -> Outcome:
        """Advance every episode; (N, A) actions, non-finite rows leave theirs as it is.

        Raises:
            InvalidActionError: with `strict`, a tool is commanded a velocity that is not finite.
        """
        assert self.state is not None
        bad = ~torch.isfinite(action).all(dim=1)
        clean = torch.where(bad[:, None], torch.zeros_like(action), action)
        before = self.state
        control = self.functional.control(before, clean)
        if strict:
            self.functional.simulator.check_commands(control)
        after = self.functional.advance(before, control)
        broken = bad | after.failed
        codes = torch.where(bad, torch.zeros_like(after.fault), after.fault)
        self.state = before.replace(fault=codes).where(bad, after) if bool(bad.any()) else after
        self.action = clean
        return Outcome(
            reward=self.functional.reward(before, clean, self.state),
            terminated=self.functional.terminal(self.state),
            broken=broken,
            success=self.functional.success(self.state),
            clipped=(clean.abs() > 1.0).sum(dim=1),
            costs=self._costs(before, clean),
            faults=_describe(codes, bad),
        )

    def get_state(self) -> dict[str, Any]:
        """Everything that the coming steps depend on: tensors, numbers and strings."""
        assert self.state is not None
        return {
            "state": dict(self.state.items()),
            "generators": [rng.bit_generator.state for rng in self.rngs],
            "start": self.start.plain(),
        }

    def set_state(self, saved: dict[str, Any]) -> None:
        """Go on from what `get_state` gave.

        Raises:
            ShapeError: it belongs to another number of environments, or another task.
        """
        rest = self.functional.initial(0)
        for name, tensor in rest.items():
            expect_shape(f"saved {name}", saved["state"][name].shape, tensor.shape)
        fields = {name: saved["state"][name].to(tensor) for name, tensor in rest.items()}
        self.state, self.action = State(**fields), None
        self.start = Start.of(saved["start"])
        for rng, state in zip(self.rngs, saved["generators"], strict=True):
            rng.bit_generator.state = state

    @property
    def safe(self) -> bool:
        """Whether costs are reported."""
        return self.functional.variant == "safe"

    def _costs(self, before: State, action: Tensor) -> dict[str, Tensor]:
        """Costs by name; nothing but in the safe variant."""
        if not self.safe:
            return {}
        assert self.state is not None
        return self.functional.costs(before, action, self.state)

    @torch.no_grad()
    def observe(self) -> Observation:
        """Observations of the present states, floats as float32, in memory of their own."""
        assert self.state is not None
        seen: Observation = each(_owned, self.functional.observation(self.state))
        return seen

    def parse(self, action: Any, single: bool = False) -> Tensor:
        """Actions (N, A), or with `single` one action (A,), as a batch on the device.

        Raises:
            ShapeError: wrong shape, or not numbers.
        """
        batch = (self.num_envs, self.functional.task.num_actions)
        expected = batch[1:] if single else batch
        try:
            tensor = torch.as_tensor(
                action if torch.is_tensor(action) else np.asarray(action, dtype=np.float64),
                dtype=self.functional.simulator.dtype,
                device=self.functional.device,
            ).detach()
        except (TypeError, ValueError) as error:
            raise ShapeError(f"action {action!r} is not an array of numbers: {error}") from error
        if tuple(tensor.shape) != expected:
            raise ShapeError(f"action has shape {tuple(tensor.shape)}, expected {expected}")
        return tensor.reshape(batch)


def _owned(seen: Tensor) -> Tensor:
    return seen.to(torch.float32 if seen.is_floating_point() else seen.dtype, copy=True)


def require_finite(action: Tensor) -> None:
    """Raise `InvalidActionError` naming the first non-finite component of one action (1, A)."""
    bad = torch.nonzero(~torch.isfinite(action[0]))
    if len(bad):
        i = int(bad[0])
        raise InvalidActionError(
            f"action[{i}] = {float(action[0, i])} is not finite; actions must lie in [-1, 1]"
        )


def _describe(codes: Tensor, bad: Tensor) -> list[str | None]:
    words: Sequence[str | None] = [None] * len(codes)
    if not bool((codes != 0).any() | bad.any()):
        return list(words)
    pairs = zip(codes.tolist(), bad.tolist(), strict=True)
    return [INVALID_ACTION if b else describe_fault(c) if c else None for c, b in pairs]
