"""Controllers of finished runs: from a run folder to a function of observations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agents.algorithms import ALGORITHMS
from agents.runs import Run
from agents.trajopt.policies import make_policy
from agents.trajopt.rollout import Controller
from simenv.envs.functional import Functional
from simenv.envs.observers import each
from simenv.errors import RunError
from simenv.mpm import State

Player = Callable[[State, int], Tensor]
"""(state of N environments, step of the episode) -> action (N, A)."""


def load_player(run: Run, functional: Functional) -> Player:
    """What a run found, as a controller of states, for the environments of `functional`.

    Raises:
        RunError: no such run or checkpoint, it belongs to a task with other spaces, or it was made
            by a command that leaves nothing to play.
    """
    command = run.config["command"]
    if command in ALGORITHMS:
        return _trained(run, functional)
    if command != "optimise":
        raise RunError(f"{run.path} was made by {command!r}, which has no controller to load")
    return by_observation(functional, load_controller(run, functional))


def by_observation(functional: Functional, controller: Controller) -> Player:
    """A controller of the task's features as one of states."""

    def act(state: State, t: int) -> Tensor:
        return controller(functional.task.features(state), t)

    return act


def load_controller(run: Run, functional: Functional) -> Controller:
    """The policy that `simenv optimise` found, a function of the task's features.

    Raises:
        RunError: no such run or checkpoint, or it belongs to a task with other spaces.
    """
    config = run.config
    policy = make_policy(config["policy"], functional.task, 1, knots=config.get("knots", 0))
    policy.load_state_dict(_matching(run, policy.state_dict()))
    return policy.to(functional.device)


def _trained(run: Run, functional: Functional) -> Player:
    from agents.training import load_agent

    agent = load_agent(run, functional.device)

    def act(state: State, t: int) -> Tensor:
        seen = each(lambda tensor: tensor.cpu().numpy(), functional.observation(state))
        action, _ = agent.predict(seen, deterministic=True)
        return torch.as_tensor(action).to(state.x)

    return act


def random_controller(functional: Functional, seed: int) -> Controller:
    """Uniform actions."""
    rng = np.random.default_rng(seed)
    shape = (functional.num_envs, functional.task.num_actions)

    def act(observation: Tensor, t: int) -> Tensor:
        return torch.as_tensor(rng.uniform(-1.0, 1.0, shape)).to(observation)

    return act


def _matching(run: Run, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """The run's best checkpoint, if its tensors have the wanted names and shapes."""
    found = run.load("best")
    differing = sorted(
        name
        for name in {*found, *wanted}
        if name not in found or name not in wanted or found[name].shape != wanted[name].shape
    )
    if differing:
        shapes = {n: (_shape(found, n), _shape(wanted, n)) for n in differing[:3]}
        raise RunError(
            f"checkpoint of {run.path} does not fit the task: (found, expected) = {shapes}"
        )
    return found


def _shape(tensors: dict[str, Tensor], name: str) -> tuple[int, ...] | None:
    return tuple(tensors[name].shape) if name in tensors else None
