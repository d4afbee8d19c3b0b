"""Returns that a normalised score of 0 and of 100 stand for, and who measured them."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

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
    """

    random: float
    expert: float | None
    episodes: int
    by: str


def environment_key(task_id: str, size: str) -> str:
    """What references are kept under: the id with its version, and the size if it is not small."""
    return task_id if size == "small" or task_id not in TASKS else f"{task_id} {size}"


def known_reference(task_id: str, size: str = "small") -> Reference | None:
    """The reference of an environment: committed if there is one, else as measured here.

    assets/reference_scores.json comes first; then, for simenv's ids, random actions and baseline of
    assets/scores.json, whose rewards the safe variants share.
    """
    key = environment_key(task_id, size)
    committed, measured = _read(COMMITTED), _read(work(MEASURED))
    if key in committed:
        return Reference(**committed[key])
    if (baseline := _from_baseline(task_id, size)) is not None:
        return baseline
    return Reference(**measured[key]) if key in measured else None


def reference(
    task_id: str,
    size: str,
    device: str,
    expert: Callable[[], Run] | None,
) -> Reference:
    """The reference of an environment; what is missing is measured and kept.

    Args:
        task_id: a registered id.
        size: of a simenv task.
        device: of the environments.
        expert: gives the run whose agent is the expert; None: no expert is measured.
    """
    found = known_reference(task_id, size)
    if found is None:
        random = _measure_random(task_id, size, device)
        found = _keep(task_id, size, Reference(random, None, EPISODES, "uniform actions alone"))
    if found.expert is None and expert is not None:
        run = expert()
        score, name = _measure_run(run, task_id, size, device), run.config["command"]
        by = f"{name}, {run.checkpoints()[-1].name}, seed {run.config['seed']}, measured here"
        found = _keep(task_id, size, Reference(found.random, score, EPISODES, by))
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
    if found is None or found.expert is None:
        raise DatasetError(
            f"no expert's return is known for {task_or_dataset}; 'simenv dataset make ID --split "
            "expert' measures one"
        )
    scores = 100.0 * (np.asarray(returns) - found.random) / (found.expert - found.random)
    return float(scores) if np.ndim(returns) == 0 else scores


def _reference_of(task_or_dataset: Any) -> Reference | None:
    import gymnasium

    if not isinstance(task_or_dataset, str):
        about = task_or_dataset.storage.metadata.get("simenv")
    elif task_or_dataset in TASKS or task_or_dataset in gymnasium.registry:
        return known_reference(task_or_dataset)
    else:
        about = read_metadata(task_or_dataset).get("simenv")
    if about is None:
        return None
    kept = Reference(**about["reference"])
    # An expert may have been measured since.
    return kept if kept.expert is not None else known_reference(about["id"], about["size"])


def _read(file: Path) -> dict[str, Any]:
    return json.loads(file.read_text()) if file.is_file() else {}


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


def _measure_random(task_id: str, size: str, device: str) -> float:
    from agents.evaluation import random_actor

    return _measure(task_id, size, device, random_actor)


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
