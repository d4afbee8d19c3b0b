"""Controllers of finished runs: from a run folder to a function of observations."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from agents.runs import Run
from agents.trajopt.policies import make_policy
from agents.trajopt.rollout import Controller
from simenv.envs.functional import Functional
from simenv.errors import RunError


def load_controller(run: Run, functional: Functional) -> Controller:
    """The controller that a run found, for the environments of `functional`.

    Raises:
        RunError: no such run or checkpoint, or it belongs to a task with other spaces.
    """
    command = run.config["command"]
    if command not in _LOADERS:
        raise RunError(f"{run.path} was made by {command!r}, which has no controller to load")
    return _LOADERS[command](run, functional)


def random_controller(functional: Functional, seed: int) -> Controller:
    """Uniform actions."""
    rng = np.random.default_rng(seed)
    shape = (functional.num_envs, functional.task.num_actions)

    def act(observation: Tensor, t: int) -> Tensor:
        return torch.as_tensor(rng.uniform(-1.0, 1.0, shape)).to(observation)

    return act


def _optimised(run: Run, functional: Functional) -> Controller:
    policy = make_policy(run.config["policy"], functional.task, sets=1)
    policy.load_state_dict(_matching(run, policy.state_dict()))
    return policy.to(functional.device)


def _sac(run: Run, functional: Functional) -> Controller:
    from agents.sac import load_policy

    policy = load_policy(functional.task, run.config["net_arch"])
    policy.load_state_dict(_matching(run, policy.state_dict()))

    def act(observation: Tensor, t: int) -> Tensor:
        action, _ = policy.predict(observation.cpu().numpy(), deterministic=True)
        return torch.as_tensor(action).to(observation)

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


_LOADERS: dict[str, Callable[[Run, Functional], Controller]] = {
    "optimise": _optimised,
    "sac": _sac,
}
