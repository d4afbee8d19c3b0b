"""`simenv dataset make`: what each split is made of, and how it goes on after an interruption."""

from __future__ import annotations

import copy
import importlib.metadata
import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import gymnasium
from gymnasium.spaces import Dict
from tqdm import tqdm

import simenv
from agents.datasets.behaviours import (
    Behaviour,
    random_behaviour,
    require_bounded,
    trained_behaviour,
)
from agents.datasets.collection import LOG_PROB, Episode, make_envs, play
from agents.datasets.experts import describe, find_expert, half_way
from agents.datasets.names import dataset_name
from agents.datasets.references import Reference, reference
from agents.datasets.replays import replay_episodes
from agents.datasets.storage import Labelled, Workshop, publish, require_absent
from agents.interruption import Interruption
from agents.options import MakeDataset
from agents.runs import Run, require_id
from agents.training import one_thread
from simenv.errors import ConfigurationError
from simenv.registry import TASKS

FIRST_SEED, SEEDS_APART = 10_000_000, 1_000_000
"""Of the first episode, and between one --seed and the next: far from all other seeds."""
EPISODES_PER_CHUNK = 2
"""Times the number of environments."""
TRANSITIONS = 100_000
"""Of a dataset, unless said otherwise."""


@dataclass(frozen=True)
class Part:
    """Episodes of one behaviour.

    Attributes:
        name: of the behaviour, and of its chunks.
        transitions: how many at least; None: whatever a replay holds.
        run: whose agent acts; None: uniform actions.
        replay: the run's replay instead of its agent's actions.
    """

    name: str
    transitions: int | None
    run: Run | None = None
    replay: bool = False

    def describe(self) -> dict[str, Any]:
        """What metadata say about it."""
        about = {"transitions": self.transitions, "replay": self.replay}
        return about | {"run": None if self.run is None else describe(self.run)}


def make(options: MakeDataset) -> Path:
    """Make a dataset, or go on with making it; returns its folder.

    Trains the expert first where the split needs one. Whatever ends it, the same options go on from
    there, and lead to the same data.

    Raises:
        UnknownTaskError: no such id; nothing is written.
        DatasetError: there is a dataset of that name, or nothing to make one from.
        ConfigurationError: actions that are not a bounded Box, or a package that is missing.
        KeyboardInterrupt: after an interrupt or SIGTERM, between two steps.
    """
    require_id(options.id)
    name = dataset_name(options.id, options.split, options.size, options.version)
    require_absent(name)
    spec = _spec(options)
    with one_thread(), closing(_environments(options)) as envs:
        require_bounded(envs.single_action_space, options.id)
        _warn_of_dictionaries(envs.single_observation_space, options.id)
        parts, scores = _parts(options)
        request = _request(name, options, parts)
        with Workshop(name, request).open() as shop, Interruption() as interruption:
            maker = _Maker(options, envs, shop, interruption)
            sources = [(part, maker.chunks(part)) for part in parts]
            about = {"minari": _minari(options, parts, scores)}
            about["simenv"] = {**request, "reference": asdict(scores), "log_prob": LOG_PROB}
            folder = publish(name, spec, _all(sources), about, shop.path / "stage")
            shop.remove()
            interruption.raise_if_caught()
    return folder


# ------------------------------------------------------------------------------- what is made


def _parts(options: MakeDataset) -> tuple[list[Part], Reference]:
    """Behaviours of a split, their runs finished, and the reference of the environment."""
    count = options.transitions or TRANSITIONS
    if options.split == "random":
        return [Part("random", count)], _reference(options, None)
    expert = find_expert(options)
    scores = _reference(options, lambda: expert)
    if options.split == "expert":
        return [Part("expert", count, expert)], scores
    medium = half_way(expert, scores.random, progress_bar=options.progress_bar)
    if options.split == "medium":
        return [Part("medium", count, medium)], scores
    if options.split == "medium-replay":
        return [Part("replay", options.transitions, medium, replay=True)], scores
    half = math.ceil(count / 2)
    return [Part("medium", half, medium), Part("expert", half, expert)], scores


def _reference(options: MakeDataset, expert: Callable[[], Run] | None) -> Reference:
    return reference(options.id, options.size, options.device, expert)


def _request(name: str, options: MakeDataset, parts: list[Part]) -> dict[str, Any]:
    """Everything that the data depend on."""
    given = ("id", "split", "size", "seed", "num_envs", "device")
    return {
        "name": name,
        "version": simenv.__version__,
        **{key: getattr(options, key) for key in given},
        "parts": {part.name: part.describe() for part in parts},
    }


def _spec(options: MakeDataset) -> Any:
    """Gymnasium's description of the environment, from which Minari makes it again.

    Raises:
        ConfigurationError: the environment was registered with something that no file can hold.
    """
    spec = copy.deepcopy(gymnasium.spec(options.id))
    if options.id in TASKS:
        spec.kwargs["size"] = options.size
    try:
        spec.to_json()
    except (TypeError, ValueError) as error:
        raise ConfigurationError(
            f"{options.id} cannot be named in a file; register it with an entry point in words, "
            f"'module:Class', and plain arguments ({error})"
        ) from error
    return spec


def _minari(options: MakeDataset, parts: list[Part], scores: Reference) -> dict[str, Any]:
    """Arguments of `minari.create_dataset_from_buffers`."""
    about = {
        "algorithm_name": " + ".join(_behaviour_name(part) for part in parts),
        "author": "simenv",
        "description": f"{options.split} actions in {options.id}, by simenv {simenv.__version__}",
        "requirements": _requirements(options.id),
    }
    if scores.expert is None:
        return about
    scale = {"ref_min_score": scores.random, "ref_max_score": scores.expert}
    return about | scale | {"num_episodes_average_score": scores.episodes}


def _warn_of_dictionaries(space: Any, task_id: str) -> None:
    """Before hours are spent on data that nothing here learns from."""
    if isinstance(space, Dict):
        warnings.warn(
            f"observations of {task_id} are dictionaries, from which no agent of 'simenv train "
            "--dataset' learns; the dataset is for readers of your own",
            RuntimeWarning,
            stacklevel=3,
        )


def _requirements(task_id: str) -> list[str]:
    """What the environment's physics depend on, as pip takes it."""
    if task_id in TASKS:
        return [f"simenv=={simenv.__version__}"]
    names = ["gymnasium"]
    if "mujoco" in str(gymnasium.spec(task_id).entry_point):
        names.append("mujoco")
    return [f"{name}=={importlib.metadata.version(name)}" for name in names]


def _behaviour_name(part: Part) -> str:
    if part.run is None:
        return "uniform random actions"
    step = int(part.run.checkpoints()[-1].name[5:])
    verb = "replay of" if part.replay else "sampled actions of"
    return f"{verb} {part.run.config['command']} at step {step}"


# ------------------------------------------------------------------------------- collection


def _environments(options: MakeDataset) -> Any:
    """As many as can be busy."""
    horizon = gymnasium.spec(options.id).max_episode_steps or 1
    wanted = math.ceil((options.transitions or TRANSITIONS) / horizon)
    return make_envs(options.id, min(options.num_envs, wanted), options.size, options.device)


class _Maker:
    """Collects the chunks of a dataset that are not there yet, in order."""

    def __init__(
        self,
        options: MakeDataset,
        envs: Any,
        shop: Workshop,
        interruption: Interruption,
    ) -> None:
        self.options, self.envs, self.shop = options, envs, shop
        self.interruption = interruption
        self._acts: dict[str, Behaviour] = {}

    def chunks(self, part: Part) -> Iterator[list[Episode]]:
        """Episodes of a part: whole ones, and as many as give its transitions."""
        if part.replay:
            assert part.run is not None
            yield self._replay(part)
            return
        wanted = part.transitions or 0
        missing, number = wanted, 0
        with self._bar(part) as bar:
            while missing > 0:
                episodes = _first(self._chunk(part, number, bar), missing)
                missing, number = missing - sum(map(len, episodes)), number + 1
                bar.update(wanted - max(missing, 0) - bar.n)
                yield episodes

    def _chunk(self, part: Part, number: int, bar: Any) -> list[Episode]:
        kept = self.shop.chunk(part.name, number)
        if kept is not None:
            self.interruption.raise_if_caught()
            return kept
        size = EPISODES_PER_CHUNK * self.envs.num_envs
        first = FIRST_SEED + SEEDS_APART * self.options.seed + number * size

        def advanced(running: int) -> None:
            self.interruption.raise_if_caught()
            bar.update(min(running, bar.total - bar.n))

        seeds, act = range(first, first + size), self._behaviour(part)
        episodes = play(self.envs, act, seeds, each_step=advanced)
        self.shop.keep(part.name, number, episodes)
        return episodes

    def _behaviour(self, part: Part) -> Behaviour:
        if part.name not in self._acts:
            space, run = self.envs.single_action_space, part.run
            self._acts[part.name] = (
                random_behaviour(space)
                if run is None
                else trained_behaviour(run, space, self.options.device)
            )
        return self._acts[part.name]

    def _replay(self, part: Part) -> list[Episode]:
        assert part.run is not None
        space = self.envs.single_action_space
        costs = self.options.id in TASKS and TASKS[self.options.id].variant == "safe"
        return replay_episodes(part.run, space, newest=part.transitions, costs=costs)

    def _bar(self, part: Part) -> Any:
        off = not self.options.progress_bar
        return tqdm(total=part.transitions, desc=part.name, unit=" transitions", disable=off)


def _all(sources: list[tuple[Part, Iterator[list[Episode]]]]) -> Iterator[Labelled]:
    for part, chunks in sources:
        for episodes in chunks:
            yield part.name, episodes


def _first(episodes: list[Episode], transitions: int) -> list[Episode]:
    """The first episodes that have so many transitions together."""
    chosen: list[Episode] = []
    for episode in episodes:
        if sum(map(len, chosen)) >= transitions:
            break
        chosen.append(episode)
    return chosen
