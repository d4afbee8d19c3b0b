"""Evaluation: whole episodes on fixed seeds, all at once."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from gymnasium.spaces import Box
from stable_baselines3.common.vec_env import VecEnv
from torch import Tensor

from agents.controllers import Player, by_observation, load_controller
from agents.environments import make_vec
from agents.episodes import episode
from agents.options import Evaluate
from agents.randomness import forked_random
from agents.report import RANDOM, Entry, Report, Row, algorithm, cost_limit, searched
from agents.runs import Run, reset_options
from agents.trajopt.rollout import Controller
from simenv.envs.functional import Functional
from simenv.errors import ConfigurationError, RunError
from simenv.registry import TASKS

Actor = Callable[[Any], np.ndarray]
"""From observations of E environments, dictionaries included, to their actions (E, A)."""

LONGEST_EPISODE = 100_000
"""Steps [environment steps] after which an evaluation gives up on an episode."""


@dataclass(frozen=True)
class Score:
    """What E episodes came to.

    Attributes:
        returns: (E,), undiscounted.
        success: bool (E,), whether the task was done at any step.
        lengths: (E,) [steps].
        costs: (E,), undiscounted; None where the environment gives no cost.
    """

    returns: np.ndarray
    success: np.ndarray
    lengths: np.ndarray
    costs: np.ndarray | None = None

    def row(
        self, cost_limit: float | None = None, reference: tuple[float, float] | None = None
    ) -> dict[str, float]:
        """Means and standard deviations, the success rate and, with costs, the violation rate.

        Args:
            cost_limit: bound on the cost of an episode; an episode above it violates it.
            reference: returns that count as 0 and as 100 in the normalised `score`; None: no score.
        """
        row = {
            "return_mean": float(self.returns.mean()),
            "return_std": float(self.returns.std()),
            "success_rate": float(self.success.mean()),
            "length_mean": float(self.lengths.mean()),
        }
        if reference is not None:
            low, high = reference
            row["score"] = 100.0 * (row["return_mean"] - low) / (high - low)
        if self.costs is None:
            return row
        row |= {"cost_mean": float(self.costs.mean()), "cost_std": float(self.costs.std())}
        if cost_limit is not None:
            row["violation_rate"] = float((self.costs > cost_limit).mean())
        return row


# ------------------------------------------------------------------------------- episodes


@torch.no_grad()
def play_episodes(env: VecEnv, act: Actor, seed: int, *, max_steps: int = LONGEST_EPISODE) -> Score:
    """One whole episode per environment; environment i starts from seed + i.

    The environments are reset first and left somewhere inside an episode: use some that serve
    for nothing else. The global random generators are as before afterwards.

    Args:
        env: E environments (`agents.environments.make_vec`).
        act: observations -> actions (E, A).
        seed: of environment 0, and of what `act` draws from the global generators.
        max_steps: more than any episode has.

    Raises:
        ConfigurationError: an episode does not end within `max_steps`.
    """
    returns, costs = np.zeros(env.num_envs), np.zeros(env.num_envs)
    lengths = np.zeros(env.num_envs, dtype=int)
    success, alive = np.zeros(env.num_envs, dtype=bool), np.ones(env.num_envs, dtype=bool)
    with_costs = False
    with forked_random(seed):
        env.seed(seed)
        observations = env.reset()
        while alive.any():
            observations, rewards, dones, infos = env.step(act(observations))
            with_costs |= any("cost" in info for info in infos)
            returns += np.where(alive, rewards, 0.0)
            costs += np.where(alive, [info.get("cost", 0.0) for info in infos], 0.0)
            lengths += alive
            success |= alive & np.array([_succeeded(info) for info in infos])
            alive &= ~dones
            if alive.any() and lengths.max() >= max_steps:
                raise ConfigurationError(_endless(env, np.flatnonzero(alive), max_steps))
    return Score(returns, success, lengths, costs if with_costs else None)


def collect_episodes(env: VecEnv, act: Actor, episodes: int, seed: int) -> Score:
    """So many whole episodes, `env.num_envs` at a time; episode i starts from seed + i.

    Args:
        env: as `play_episodes` takes it.
        act: observations -> actions (E, A).
        episodes: at least 1.
        seed: of the first episode.
    """
    rounds = [play_episodes(env, act, seed + first) for first in range(0, episodes, env.num_envs)]

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(score, name) for score in rounds])[:episodes]

    costs = None if any(score.costs is None for score in rounds) else joined("costs")
    return Score(joined("returns"), joined("success"), joined("lengths"), costs)


def _endless(env: VecEnv, running: np.ndarray, steps: int) -> str:
    envs = getattr(env.unwrapped, "envs", env.unwrapped)
    name = envs[running[0]] if isinstance(envs, list) else type(envs).__name__
    return (
        f"episodes {running.tolist()} of {name} have not ended after {steps} steps; give the "
        "environment a time limit (gymnasium.make(id, max_episode_steps=…) or the TimeLimit "
        "wrapper), or raise max_steps"
    )


def _succeeded(info: dict[str, Any]) -> bool:
    return bool(info.get("success", False)) or bool(info.get("is_success", False))


def random_actor(env: VecEnv, seed: int) -> Actor:
    """Uniform actions within the bounds of the action space."""
    rng, space = np.random.default_rng(seed), cast(Box, env.action_space)

    def act(observations: Any) -> np.ndarray:
        return rng.uniform(space.low, space.high, (env.num_envs, *space.shape)).astype(space.dtype)

    return act


@torch.no_grad()
def play(functional: Functional, controller: Controller, seed: int) -> Score:
    """One episode per environment; environment i starts from seed + i."""
    return play_states(functional, by_observation(functional, controller), seed)[0]


@torch.no_grad()
def play_states(functional: Functional, controller: Player, seed: int) -> tuple[Score, Tensor]:
    """`play` for a controller of states; the score and the actions (N, T, A), in [-1, 1]."""
    actions = []
    success = torch.zeros(functional.num_envs, dtype=torch.bool, device=functional.device)
    alive, safe = ~success, functional.variant == "safe"
    sums = torch.zeros(3, functional.num_envs, dtype=torch.float64, device=functional.device)
    for _, state, action, after, reward in episode(functional, controller, seed):
        cost = functional.cost(state, action, after) if safe else torch.zeros_like(reward)
        sums += torch.where(alive, torch.stack([reward, cost, torch.ones_like(reward)]), 0.0)
        success |= alive & functional.success(after)
        alive &= ~functional.terminal(after)
        actions.append(action)
    returns, costs, lengths = sums.cpu().numpy()
    score = Score(returns, success.cpu().numpy(), lengths.astype(int), costs if safe else None)
    return score, torch.stack(actions, dim=1)


# ------------------------------------------------------------------------------- the command


def evaluate(options: Evaluate) -> Report:
    """Score the last state of every run, and random actions, on the same seeds.

    Writes evaluation.json into every run.

    Raises:
        RunError: no such run, or one without the checkpoint that is wanted.
    """
    runs = [Run(path) for path in dict.fromkeys(options.runs)]
    names, randoms = run_names(runs), dict[str, Row]()
    entries = [_entry(*pair, randoms, options) for pair in zip(runs, names, strict=True)]
    return Report(entries, randoms)


def _entry(run: Run, name: str, randoms: dict[str, Row], options: Evaluate) -> Entry:
    """Score one run; random actions only where they are not among `randoms` yet."""
    config, goal = run.config, _goal(run.config, options)
    task = _task(config, goal)
    if config["id"] is None:
        raise RunError(f"{run.path} has no environment to be evaluated in; train it with --id")
    low_high = config.get("reference")
    row = _score(run, options).row(cost_limit(config), low_high) | _train_cost(run)
    if task not in randoms:
        randoms[task] = _score_random(config, options).row(cost_limit(config))
    made = {"episodes": options.episodes, "seed": options.seed, "goals": options.goals}
    run.write_json("evaluation.json", made | {config["command"]: row, RANDOM: randoms[task]})
    # Runs from different datasets, or of different policies, are not runs of one algorithm.
    parts = (algorithm(config), searched(config), config.get("dataset"))
    command = ", ".join(filter(None, parts))
    return Entry(name, command, config["id"], config.get("size", "small"), row, goal)


def run_names(runs: list[Run]) -> list[str]:
    """Short names that tell runs apart: their commands, else their folders' names, else paths."""
    choices = (
        [run.config["command"] for run in runs],
        [run.path.name for run in runs],
        [str(run.path) for run in runs],
    )
    return next(c for c in choices if len({*c, RANDOM}) > len(runs) or c is choices[-1])


def _goal(config: dict[str, Any], options: Evaluate) -> str:
    """The goal of all episodes, in words; empty where the task draws one for each."""
    target = reset_options(config, options.goals).get("target", ())
    return "goal " + " ".join(f"{number:.4g}" for number in target) if target else ""


def _task(config: dict[str, Any], goal: str) -> str:
    """What the scores of random actions depend on."""
    size = config.get("size", "small") if config["id"] in TASKS else None
    limit = cost_limit(config)
    costs = config.get("cost"), None if limit is None else f"limit {limit:g}"
    return ", ".join(filter(None, (config["id"], size, *costs, goal)))


def _device(config: dict[str, Any], options: Evaluate) -> str:
    return options.device or config.get("device", "cpu")


def _environments(config: dict[str, Any], options: Evaluate) -> VecEnv:
    start = reset_options(config, options.goals)
    return make_vec(
        config["id"],
        options.episodes,
        cost=config.get("cost"),
        size=config.get("size", "small"),
        device=_device(config, options),
        **({"reset_options": start} if start else {}),
    )


def _score(run: Run, options: Evaluate) -> Score:
    """Episodes of what a run found."""
    config = run.config
    if config["command"] == "optimise":
        functional = run.functional(num_envs=options.episodes, device=options.device)
        return play(functional, load_controller(run, functional), options.seed)
    from agents.training import load_agent

    agent = load_agent(run, _device(config, options))

    def act(observations: Any) -> np.ndarray:
        actions: np.ndarray = agent.predict(observations, deterministic=True)[0]
        return actions

    with closing(_environments(config, options)) as env:
        return play_episodes(env, act, options.seed)


def _score_random(config: dict[str, Any], options: Evaluate) -> Score:
    with closing(_environments(config, options)) as env:
        return play_episodes(env, random_actor(env, options.seed), options.seed)


def _train_cost(run: Run) -> dict[str, float]:
    """Cost of all steps of the training, where it was counted."""
    costs = run.metrics().get("train_cost") if (run.path / "metrics.csv").is_file() else None
    return {"train_cost": costs[-1]} if costs else {}
