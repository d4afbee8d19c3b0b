"""Baselines: action sequences that do each task, kept under assets/ and replayed by the tests."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from agents.archives import read_arrays
from agents.controllers import Player, load_player, random_controller
from agents.evaluation import play_states
from agents.files import replacing, write_json
from simenv.envs.functional import Functional
from simenv.errors import ConfigurationError, RunError
from simenv.listing import SCORES, load_scores
from simenv.registry import TASKS, find

FOLDER = Path(__file__).resolve().parents[1] / "assets" / "baselines"
SEEDS = range(5)
"""Start states that a baseline is made for: environment i of seed i."""


@dataclass(frozen=True)
class Baseline:
    """A sequence of actions for each of a few start states.

    Attributes:
        actions: (S, T, A), in [-1, 1]; sequence i belongs to the start of seed i.
        returns: (S,), undiscounted.
        success: bool (S,), whether the task was done at any step.
    """

    actions: np.ndarray
    returns: np.ndarray
    success: np.ndarray

    def save(self, task_id: str) -> Path:
        """Write assets/baselines/<family>.npz, whole or not at all."""
        path = path_of(task_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            np.savez_compressed(
                file, actions=self.actions, returns=self.returns, success=self.success
            )
        return path


def path_of(task_id: str) -> Path:
    """File of a task's baseline; its variants share it."""
    return FOLDER / f"{find(task_id).family}.npz"


def load_baseline(task_id: str) -> Baseline:
    """The saved baseline of a task.

    Raises:
        UnknownTaskError: no such id.
        RunError: no file, or a damaged one.
    """
    path = path_of(task_id)
    try:
        found = read_arrays(path)
        return Baseline(found["actions"], found["returns"], found["success"])
    except FileNotFoundError:
        raise RunError(f"{path} does not exist; make it with 'simenv baseline {task_id}'") from None
    except (ValueError, KeyError) as error:
        raise RunError(
            f"{path} is damaged ({error}); make it again with 'simenv baseline {task_id}'"
        ) from error


def play_out(functional: Functional, controller: Player) -> Baseline:
    """Run a controller of states, (state, t) -> action (N, A), on the seeds 0 to N - 1."""
    score, actions = play_states(functional, controller, seed=0)
    return Baseline(actions.float().cpu().numpy(), score.returns, score.success)


def by_script(functional: Functional) -> Any:
    """The controller written into the task.

    Raises:
        ConfigurationError: the task has none.
    """
    task = functional.task
    if task.script(functional.initial(0), 0) is None:
        raise ConfigurationError(
            f"{type(task).__name__} has no script; optimise first and pass its folder with --run"
        )
    return task.script


def replaying(functional: Functional, baseline: Baseline, seed: int = 0) -> Any:
    """The controller that repeats saved actions, from the start states of `seed` and those after.

    Raises:
        RunError: the baseline has no actions for so many seeds.
    """
    last = seed + functional.num_envs - 1
    if last >= len(baseline.actions):
        known = len(baseline.actions) - 1
        raise RunError(f"baselines are made for the seeds 0 to {known}, not for seed {last}")
    chosen = torch.as_tensor(baseline.actions[seed : last + 1])
    actions = chosen.to(functional.device, functional.simulator.dtype)

    def act(state: Any, t: int) -> Tensor:
        return actions[:, t]

    return act


def at_random(functional: Functional) -> Any:
    """Uniform actions, the same in every call."""
    draw = random_controller(functional, seed=0)

    def act(state: Any, t: int) -> Tensor:
        # It looks at nothing but the kind of tensor that it is given.
        return draw(state.x, t)

    return act


def make_baseline(task_id: str, run: Path | None = None, device: str = "cpu") -> Baseline:
    """Play a task's script, or the controller of a run, on every seed of `SEEDS`."""
    functional = Functional(task_id, num_envs=len(SEEDS), device=device)
    if run is None:
        return play_out(functional, by_script(functional))
    from agents.runs import Run

    return play_out(functional, load_player(Run(run), functional))


# ------------------------------------------------------------------------------- scores


def measure(task_id: str, device: str = "cpu") -> dict[str, dict[str, float]]:
    """Scores of random actions and of the saved baseline on the same seeds."""
    functional = Functional(task_id, num_envs=len(SEEDS), device=device)
    baseline = load_baseline(task_id)
    controllers = {"random": at_random(functional), "baseline": replaying(functional, baseline)}
    return {
        name: play_states(functional, controller, seed=0)[0].row()
        for name, controller in controllers.items()
    }


def save_scores(task_id: str, rows: dict[str, dict[str, float]]) -> None:
    """Write a family's scores into assets/scores.json, in the order of the table."""
    known = {**load_scores(), find(task_id).family: rows}
    families = dict.fromkeys(spec.family for spec in TASKS.values())
    ordered = {name: known[name] for name in families if name in known}
    write_json(SCORES, ordered, indent=1)
