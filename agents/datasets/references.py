"""Returns that a normalised score of 0 and of 100 stand for, and who measured them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from agents.datasets.metadata import SCALE
from agents.datasets.names import read_metadata, work
from simenv.errors import DatasetError
from simenv.listing import load_scores
from simenv.registry import TASKS

if TYPE_CHECKING:
    from agents.runs import Run

COMMITTED = Path(__file__).resolve().parents[2] / "assets" / "reference_scores.json"
MEASURED = "references.json"
"""Of what was measured here, in the hidden folder beside the datasets, laid out as COMMITTED."""
EPISODES, SEED = 100, 5_000_000
"""Of a measurement; far from the seeds of training, evaluation and datasets."""
TOGETHER = 20
"""Of them, a divisor."""
BASELINE_EPISODES = 5
"""Behind each number of assets/scores.json."""


@dataclass(frozen=True)
class Reference:
    """Undiscounted returns, means over episodes.

    Attributes:
        random: of uniform actions.
        expert: of an expert, as an evaluation plays it; None: none has been measured.
        episodes: behind each of them.
        by: who the expert was, and where the numbers are from.
        run: digest of what the expert had learnt, where a run of this machine was measured.
    """

    random: float
    expert: float | None
    episodes: int
    by: str
    run: str | None = None

    @property
    def makes_scale(self) -> bool:
        """Whether an expert is known, and above chance."""
        return self.random < self.height

    @property
    def height(self) -> float:
        """The expert's return; −∞ where there is none."""
        return -np.inf if self.expert is None else self.expert

    def scores(self, returns: Any) -> Any:
        """Normalised scores of returns of any shape, where this `makes_scale`."""
        return 100.0 * (np.asarray(returns) - self.random) / (self.height - self.random)


def environment_key(task_id: str, size: str) -> str:
    """What references are kept under: the id with its version, and the size if it is not small."""
    return task_id if size == "small" or task_id not in TASKS else f"{task_id} {size}"


def known_reference(task_id: str, size: str = "small") -> Reference | None:
    """The reference of an environment: committed if there is one, else as measured here.

    assets/reference_scores.json comes first; then, for simenv's ids, random actions and baseline of
    assets/scores.json, whose rewards the safe variants share; then what was measured here.

    Raises:
        DatasetError: the file of what was measured here is damaged.
    """
    return _settled(task_id, size) or _measured(task_id, size)


def dataset_reference(metadata: Mapping[str, Any]) -> Reference | None:
    """The reference of a dataset: the first of these that makes a scale.

    What is known of its id and size, since an expert may have been measured after the dataset was
    made; what the dataset keeps; Minari's `ref_min_score` and `ref_max_score`, which are all that a
    foreign dataset has.

    Args:
        metadata: of the dataset.

    Raises:
        DatasetError: the metadata are damaged.
    """
    try:
        return next((found for found in _candidates(metadata) if found.makes_scale), None)
    except (KeyError, TypeError, ValueError) as error:
        raise DatasetError(
            f"the metadata of dataset {metadata.get('dataset_id')} hold no reference that can be "
            f"read: {error!r}; 'simenv dataset check' says what is wrong"
        ) from error


def reference(
    task_id: str,
    size: str,
    device: str,
    expert: Callable[[], Run] | None,
) -> Reference:
    """The reference of an environment; what is missing is measured and kept.

    What was measured here gives way to a better expert; what is committed does not. The run behind
    the kept numbers is not measured again.

    Args:
        task_id: a registered id.
        size: of a simenv task.
        device: of the environments.
        expert: gives the run whose agent is the expert; None: no expert is measured.

    Raises:
        DatasetError: the expert is no better than random actions; nothing is kept then.
    """
    if (settled := _settled(task_id, size)) is not None:
        return settled
    kept = _measured(task_id, size)
    if expert is None:
        return kept or _keep(task_id, size, _of_chance(task_id, size, device))
    from agents.datasets.experts import identity

    run = expert()
    if kept is not None and kept.run == identity(run):
        return kept
    found = measure(run, task_id, size, device, None if kept is None else kept.random)
    if kept is not None and found.height <= kept.height:
        return kept
    return _keep(task_id, size, replace(found, by=f"{found.by}, measured here"))


def measure(
    run: Run, task_id: str, size: str, device: str, random: float | None = None
) -> Reference:
    """Play a run's agent, acting deterministically, and random actions, EPISODES episodes each.

    Args:
        run: whose last checkpoint is the expert.
        task_id: a registered id.
        size: of a simenv task.
        device: of the environments.
        random: mean return of random actions, if it is known.

    Raises:
        DatasetError: the expert is no better than random actions.
    """
    from agents.datasets.experts import identity

    low = _of_chance(task_id, size, device).random if random is None else random
    high, name = _measure_run(run, task_id, size, device), run.config["command"]
    by = f"{name}, {run.checkpoints()[-1].name}, seed {run.config['seed']}"
    found = Reference(low, high, EPISODES, by, identity(run))
    if not found.makes_scale:
        raise DatasetError(
            f"the expert {run.path} returns {high:.4g} in {EPISODES} episodes of {task_id}, where "
            f"random actions return {low:.4g}; an expert must return more: train it longer "
            "(--expert-steps), or give a better one (--policy RUN)"
        )
    return found


def normalized_score(task_or_dataset: Any, returns: Any) -> Any:
    """100 (R − R_random) / (R_expert − R_random): 0 as good as chance, 100 as the expert.

    The definition of D4RL (Fu et al., arXiv:2004.07219, section 4), of undiscounted returns.

    Args:
        task_or_dataset: an environment's id, a dataset's name, or a `minari.MinariDataset`.
        returns: a number or an array of any shape.

    Returns:
        Scores, as a float or an array of the same shape.

    Raises:
        DatasetError: no reference is known; the message says how to get one.
    """
    found = _reference_of(task_or_dataset)
    if found is None or not found.makes_scale:
        raise DatasetError(
            f"no expert's return above that of random actions is known for {task_or_dataset}; "
            "'simenv dataset make ID --split expert' measures one"
        )
    scores = found.scores(returns)
    return float(scores) if np.ndim(returns) == 0 else scores


def _reference_of(task_or_dataset: Any) -> Reference | None:
    import gymnasium

    if not isinstance(task_or_dataset, str):
        return dataset_reference(task_or_dataset.storage.metadata)
    if task_or_dataset in TASKS or task_or_dataset in gymnasium.registry:
        return known_reference(task_or_dataset)
    return dataset_reference(read_metadata(task_or_dataset))


def _candidates(metadata: Mapping[str, Any]) -> Iterator[Reference]:
    if (own := metadata.get("simenv")) is not None:
        if (known := known_reference(own["id"], own["size"])) is not None:
            yield known
        yield Reference(**own["reference"])
    low, high = (metadata.get(name) for name in SCALE)
    if low is not None and high is not None:
        episodes = int(metadata.get("num_episodes_average_score") or 0)
        yield Reference(float(low), float(high), episodes, "the dataset")


def _settled(task_id: str, size: str) -> Reference | None:
    """What no measurement of this machine changes."""
    return _row(COMMITTED, environment_key(task_id, size)) or _from_baseline(task_id, size)


def _measured(task_id: str, size: str) -> Reference | None:
    return _row(work(MEASURED), environment_key(task_id, size))


def _row(file: Path, key: str) -> Reference | None:
    rows = _read(file)
    try:
        return Reference(**rows[key]) if key in rows else None
    except TypeError as error:
        raise DatasetError(f"{file}: the entry of {key} is damaged ({error}); remove it") from error


def _read(file: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(file.read_text())) if file.is_file() else {}
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"{file} is damaged ({error}); delete it, then returns are measured again"
        ) from error


def _from_baseline(task_id: str, size: str) -> Reference | None:
    spec = TASKS.get(task_id)
    # A goal variant's rewards are others, and the scores were measured on small tasks.
    if spec is None or spec.variant == "goal" or size != "small":
        return None
    rows = load_scores().get(spec.family)
    if rows is None:
        return None
    random, expert = (rows[name]["return_mean"] for name in ("random", "baseline"))
    by = f"assets/baselines/{spec.family}.npz, in assets/scores.json"
    return Reference(random, expert, BASELINE_EPISODES, by)


def _keep(task_id: str, size: str, found: Reference) -> Reference:
    from agents.runs import Run

    folder = work()
    folder.mkdir(parents=True, exist_ok=True)
    rows = _read(folder / MEASURED) | {environment_key(task_id, size): asdict(found)}
    Run(folder).write_json(MEASURED, dict(sorted(rows.items())))
    return found


def _of_chance(task_id: str, size: str, device: str) -> Reference:
    from agents.evaluation import random_actor

    random = _measure(task_id, size, device, random_actor)
    return Reference(random, None, EPISODES, "uniform actions alone")


def _measure_run(run: Run, task_id: str, size: str, device: str) -> float:
    from agents.training import load_agent

    agent = load_agent(run, device)

    def actor(env: Any, seed: int) -> Any:
        return lambda seen: agent.predict(seen, deterministic=True)[0]

    return _measure(task_id, size, device, actor)


def _measure(task_id: str, size: str, device: str, actor: Callable[[Any, int], Any]) -> float:
    """Mean return over EPISODES episodes, some at a time, of what `actor` (env, seed) makes."""
    from agents.environments import make_vec
    from agents.evaluation import play_episodes

    with closing(make_vec(task_id, TOGETHER, size=size, device=device)) as env:
        seeds = range(SEED, SEED + EPISODES, TOGETHER)
        scores = [play_episodes(env, actor(env, seed), seed) for seed in seeds]
    return float(np.mean([score.returns for score in scores]))
