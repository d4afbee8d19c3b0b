"""Training with a run folder: metrics, checkpoints, exact resume, an orderly end on a signal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv
from tqdm import tqdm

from agents import checkpoints
from agents.algorithms import ALGORITHMS
from agents.environments import make_vec
from agents.evaluation import play_episodes
from agents.goals.feed import GoalFeed
from agents.goals.training import make_goal_training
from agents.interruption import Interruption
from agents.learner import EVALUATION_SEED
from agents.offline.options import TrainOffline
from agents.options import Resume
from agents.physics.options import TrainFirstOrder
from agents.runs import Run
from agents.train_options import Train, TrainRun
from simenv.envs.start import Start
from simenv.errors import CheckpointError, ConfigurationError, RunError

Found = TypeVar("Found")
TASK = ("id", "size", "cost")
"""Options that say which environment it is."""


def train(algorithm: str, options: TrainRun) -> Run:
    """Train, writing metrics and checkpoints as it goes; returns the finished run.

    Raises:
        UnknownTaskError: no such id; nothing is written.
        DatasetError: no such dataset, or it cannot be learnt from; nothing is written.
        RunError: the run folder holds a run already.
        KeyboardInterrupt: after an interrupt or SIGTERM, once the step is finished and saved.
    """
    options = options.resolved()
    agent, feed = build(algorithm, options)
    run = Run.create(algorithm, options, options.seed, **_told(options))
    with run.locked():
        return _learn(run, agent, options, make_trainer(run, agent, options, feed))


def resume(options: Resume) -> Run:
    """Go on with a run as if it had never stopped, bit by bit on the CPU.

    Raises:
        RunError: no run, or one of another kind.
        CheckpointError: the newest checkpoint is damaged (the message offers the one before it) or
            belongs to another agent or environment.
    """
    run = Run(options.run)
    saved = restore_options(run)
    steps = saved.steps if options.steps is None else options.steps
    settings = replace(saved, steps=steps, progress_bar=options.progress_bar)
    agent, feed = build(run.config["command"], settings)
    trainer = make_trainer(run, agent, settings, feed)
    with run.locked():
        if options.checkpoint is None and not run.checkpoints():
            # Stopped before its first checkpoint: its options are all there is to go on from.
            run.forget_after(-1)
            return _learn(run, agent, settings, trainer)
        state = read_checkpoint(run, agent.load_checkpoint, options.checkpoint)
        trainer.set_state(state["trainer"])
        if steps <= agent.num_timesteps:
            done = agent.num_timesteps
            raise RunError(f"{run.path} is finished at step {done}; go on with more --steps")
        run.forget_after(agent.num_timesteps)
        return _learn(run, agent, settings, trainer)


def _told(options: TrainRun) -> dict[str, Any]:
    """How the episodes of a run start, where it is not as the task has it, for its config.json.

    A demonstration's file may be gone or another one when the run is evaluated.
    """
    chosen = options.environment_options().get("reset_options")
    return {"reset_options": Start.of(chosen).plain()} if chosen else {}


def build(algorithm: str, options: TrainRun) -> tuple[Any, GoalFeed | None]:
    """The untrained agent that the options describe, and what chooses its goals, if anything."""
    make = ALGORITHMS[algorithm].load()
    if isinstance(options, TrainOffline):
        from agents.offline.training import build_offline

        return build_offline(make, options), None
    if isinstance(options, TrainFirstOrder):
        from agents.physics.training import build_first_order

        return build_first_order(make, options), None
    assert isinstance(options, Train)
    arguments = options.agent_arguments()
    env = make_environment(options, options.num_envs)
    goals = getattr(options, "goals", "task")
    if isinstance(env.observation_space, spaces.Dict):
        return make_goal_training(options.id, goals, env=env, agent=make, **arguments)
    if goals != "task":
        raise ConfigurationError(f"{options.id} has no goals to choose; take a '-Goal' id")
    return make("MlpPolicy", env, **arguments), None


def make_trainer(run: Run, agent: Any, options: TrainRun, feed: GoalFeed | None) -> Trainer:
    """What evaluates and saves while the agent learns."""
    if isinstance(options, TrainOffline):
        from agents.offline.training import OfflineTrainer

        return OfflineTrainer(run, agent, options)
    if isinstance(options, TrainFirstOrder):
        from agents.physics.training import FirstOrderTrainer

        return FirstOrderTrainer(run, agent, options)
    return Trainer(run, agent, options, feed)


def make_environment(options: Any, num_envs: int) -> VecEnv:
    """Environments of a run."""
    return make_vec(
        options.id,
        num_envs,
        cost=options.cost,
        size=options.size,
        device=options.device,
        **options.environment_options(),
    )


def load_agent(run: Run, device: str | None = None) -> Any:
    """The agent of a run's last checkpoint, to predict with.

    Raises:
        RunError: the run is not one of `simenv train`.
        CheckpointError: no checkpoint, or a damaged one.
    """
    load = _algorithm(run).load().load
    return read_checkpoint(run, partial(load, device=device or run.config["device"]))


def restore_options(run: Run) -> TrainRun:
    """The options that a run was started with."""
    kind, config = _algorithm(run).options, run.config
    known = {f.name for f in fields(kind)}
    given = {k: v for k, v in config.items() if k in known}
    given |= {k: tuple(v) for k, v in given.items() if isinstance(v, list)}
    try:
        return kind(**given | {"out": Path(config["out"]) if config.get("out") else None})
    except (TypeError, AttributeError) as error:
        raise RunError(f"{run.path / 'config.json'} is damaged: {error}") from error


def read_checkpoint(run: Run, read: Callable[[Path], Found], name: str | None = None) -> Found:
    """What `read` makes of a run's checkpoint of that name, or of its newest.

    `read` holds the files against their digests, so that this does not, unless it failed.

    Raises:
        CheckpointError: there is none, or the newest is damaged; the message offers a whole one.
    """
    if name is not None:
        return read(run.path / "checkpoints" / name)
    found = run.checkpoints()
    if not found:
        raise CheckpointError(f"{run.path} has no checkpoint yet; start it again")
    try:
        return read(found[-1])
    except CheckpointError as error:
        if checkpoints.whole(found[-1]):
            raise
        intact = [folder.name for folder in found[:-1] if checkpoints.whole(folder)]
        offer = (
            f"go on from the one before: --checkpoint {intact[-1]}" if intact else "none is whole"
        )
        raise CheckpointError(f"checkpoint {found[-1]} is damaged; {offer}") from error


def _algorithm(run: Run) -> Any:
    command = run.config.get("command")
    if command not in ALGORITHMS:
        raise RunError(f"{run.path} was made by {command!r}, not by 'simenv train'")
    return ALGORITHMS[command]


def _learn(run: Run, agent: Any, options: TrainRun, trainer: Trainer) -> Run:
    agent.tensorboard_log = str(run.path / "tensorboard")
    with _saying_how_to_go_on(run), one_thread(), Interruption() as trainer.interruption:
        agent.learn(
            options.steps - agent.num_timesteps,
            callback=trainer if trainer.feed is None else [trainer.feed, trainer],
            progress_bar=options.progress_bar,
            tb_log_name=run.config["command"],
            **trainer.learning_arguments(),
        )
    return run


@contextmanager
def _saying_how_to_go_on(run: Run) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        tqdm.write(f"go on with: simenv train --resume {run.path}", file=sys.stderr)
        raise


@contextmanager
def one_thread() -> Iterator[None]:
    """Torch on one thread: small networks gain nothing from more, and the simulator has its own."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Trainer(BaseCallback):
    """Evaluates and saves between two vector steps, when everything hangs together."""

    def __init__(
        self, run: Run, agent: Any, options: TrainRun, feed: GoalFeed | None = None
    ) -> None:
        super().__init__()
        self.run, self.agent, self.options, self.feed = run, agent, options, feed
        self.interruption = Interruption()
        self._environment = self._evaluation_environment()
        self._next = {"evaluation": 0, "save": 0}
        self._seconds, self._began = 0.0, time.perf_counter()

    def _on_step(self) -> bool:
        return True

    def _on_rollout_start(self) -> None:
        if self._due("evaluation", self.options.eval_every):
            self.evaluate()
        if self._due("save", self.options.save_every) or self.interruption.signal:
            self.save()
        self.interruption.raise_if_caught()

    def _on_training_end(self) -> None:
        self.evaluate()
        # What was due here is done: a run that goes on with more steps must not repeat it.
        self._due("evaluation", self.options.eval_every)
        self._due("save", self.options.save_every)
        self.save()
        self.interruption.raise_if_caught()

    def _due(self, what: str, every: int) -> bool:
        if self.num_timesteps < self._next[what]:
            return False
        self._next[what] += every * (1 + (self.num_timesteps - self._next[what]) // every)
        return True

    def evaluate(self) -> None:
        """Score the present policy, deterministic where it can be, and log the row."""
        row = {} if self._environment is None else self._score(self._environment)
        for key, value in row.items():
            self.logger.record(f"eval/{key}", value)
        self.run.write_metrics(
            [{"step": self.num_timesteps, "seconds": self.seconds} | self._progress() | row]
        )

    def _score(self, environment: VecEnv) -> dict[str, float]:
        score = play_episodes(environment, self._act, EVALUATION_SEED)
        limit = getattr(self.options, "cost_limit", None)
        return score.row(limit, getattr(self.options, "reference", None))

    def learning_arguments(self) -> dict[str, Any]:
        """What the agent's `learn` is given beside the usual."""
        # A restored agent has an observation to go on from, even at step 0.
        return {"reset_num_timesteps": self.agent._last_obs is None}

    def save(self) -> None:
        """Write a checkpoint and remove the oldest beyond two."""
        folder = self.run.path / "checkpoints" / f"step-{self.num_timesteps:010d}"
        self.agent.save_checkpoint(folder, trainer=self.get_state())
        self.run.prune_checkpoints(keep=2)

    @property
    def seconds(self) -> float:
        """Time spent training, over all resumes [s]."""
        return self._seconds + time.perf_counter() - self._began

    def get_state(self) -> dict[str, Any]:
        """When evaluation and checkpoint are due next, the time so far, and who chooses goals."""
        goals = None if self.feed is None else self.feed.get_state()
        task = {name: getattr(self.options, name) for name in TASK}
        return {"next": dict(self._next), "seconds": self.seconds, "goals": goals, "task": task}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from what `get_state` gave.

        Raises:
            CheckpointError: it belongs to another environment.
        """
        for name, value in state["task"].items():
            if value != getattr(self.options, name):
                raise CheckpointError(
                    f"the checkpoint belongs to another environment: its {name} is {value!r}, "
                    f"here it is {getattr(self.options, name)!r}"
                )
        self._next, self._seconds = dict(state["next"]), state["seconds"]
        if self.feed is not None:
            self.feed.set_state(state["goals"])

    def _evaluation_environment(self) -> VecEnv | None:
        return make_environment(self.options, self.options.eval_episodes)

    def _act(self, observations: Any) -> np.ndarray:
        actions, _ = self.agent.predict(observations, deterministic=True)
        return actions

    def _progress(self) -> dict[str, float]:
        """What the training itself has seen."""
        env, finished = self.agent.env, [e["r"] for e in self.agent.ep_info_buffer]
        row = {
            "episodes": float(env.episodes),
            "train_return_mean": float(np.mean(finished)) if finished else float("nan"),
        }
        return row | ({"train_cost": env.total_cost} if env.has_costs else {})
