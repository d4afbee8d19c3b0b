"""Agents that learn from datasets alone, on sets of Pendulum-v1 of known quality.

    python benchmarks/offline_pendulum.py [--sets medium mixed] [--agents iql bc] [--seeds 0 1 2]

Every set has 100 episodes of 200 steps by a scripted expert that shapes the energy and then holds
the pole, or by worse versions of it. Scores are normalised: 0 is the return of uniform actions
(−1217), 100 that of the expert (−143). A run's figure is the mean of its last five evaluations of
20 episodes. Sets, run folders and curves go to --out; a second call goes on where one was stopped.
"""

from __future__ import annotations

import argparse
import os
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

TASK = "Pendulum-v1"
REFERENCE = (-1217.0, -143.0)
"""Returns of uniform actions and of the expert."""
EPISODES, STEPS = 100, 200
LAST = 5
"""Evaluations that count."""
SETS = {
    "medium": (0.6, 0.6),
    "medium-expert": (0.6, 0.0),
    "mixed": (0.6, 1.0),
    "random": (1.0, 1.0),
}
"""Share of uniform actions in the even and in the odd episodes."""
AGENTS = ("bc", "td3bc", "iql")


def expert(observation: np.ndarray) -> float:
    """Torque: towards the energy of the upright pole, and near the top what holds it there.

    The energy ω²/6 + 5 cos θ [J] of Gymnasium's pole (1 kg, 1 m, 10 m/s²) is 5 at rest on top.
    """
    cosine, sine, speed = observation
    if cosine > 0.9:
        return -15.0 * np.arctan2(sine, cosine) - 4.0 * speed
    missing = 5.0 - (speed**2 / 6.0 + 5.0 * cosine)
    return 3.0 * missing * (1.0 if speed >= 0 else -1.0)


def play(env: Any, seed: int, random_share: float) -> dict[str, np.ndarray]:
    """One episode, in which a share of the actions is uniform."""
    rng = np.random.default_rng(seed)
    seen, actions, rewards = [env.reset(seed=seed)[0]], [], []
    for _ in range(STEPS):
        torque = rng.uniform(-2.0, 2.0) if rng.random() < random_share else expert(seen[-1])
        actions.append(np.clip(np.float32([torque]), -2.0, 2.0))
        observation, reward, *_ = env.step(actions[-1])
        seen.append(observation)
        rewards.append(reward)
    ends = np.arange(STEPS) == STEPS - 1
    return {
        "observations": np.stack(seen),
        "actions": np.stack(actions),
        "rewards": np.array(rewards),
        "terminations": np.zeros(STEPS, bool),
        "truncations": ends,
        "infos": {},
    }


def make_set(name: str) -> str:
    """Write a set, unless it is there; its name. Prints what its behaviour scores."""
    import minari
    from minari.data_collector import EpisodeBuffer

    dataset, (low, high) = f"pendulum/{name}-v0", REFERENCE
    if (Path(os.environ["MINARI_DATASETS_PATH"]) / dataset).exists():
        return dataset
    env = gymnasium.make(TASK)
    episodes = [play(env, seed, SETS[name][seed % 2]) for seed in range(EPISODES)]
    found = float(np.mean([episode["rewards"].sum() for episode in episodes]))
    print(f"{name}: behaviour scores {100 * (found - low) / (high - low):.0f}", flush=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        minari.create_dataset_from_buffers(
            dataset,
            [EpisodeBuffer(id=None, **episode) for episode in episodes],
            env=TASK,
            algorithm_name=f"energy shaping, uniform actions by episode: {SETS[name]}",
            ref_min_score=low,
            ref_max_score=high,
        )
    return dataset


def score(agent: str, dataset: str, seed: int, out: Path) -> float:
    """Train, or read what was trained before; the run's figure."""
    from agents.algorithms import ALGORITHMS
    from agents.options import Resume
    from agents.runs import Run
    from agents.train_options import preset
    from agents.training import resume, train

    folder = out / f"{dataset.replace('/', '-')}-{agent}-{seed}"
    chosen = preset(agent, TASK) | {"dataset": dataset, "seed": seed, "progress_bar": False}
    # The scripted expert's, whatever else is known of the environment.
    chosen["reference"] = REFERENCE
    if not (folder / "config.json").exists():
        train(agent, ALGORITHMS[agent].options(**chosen, out=folder))
    elif Run(folder).metrics()["step"][-1] < chosen["steps"]:
        resume(Resume(folder, progress_bar=False))
    return float(np.mean(Run(folder).metrics()["score"][-LAST:]))


def rows(options: argparse.Namespace) -> Iterator[str]:
    """A table, line by line."""
    yield "| data | " + " | ".join(options.agents) + " |"
    yield "|---|" + "---|" * len(options.agents)
    for name in options.sets:
        dataset, cells = make_set(name), []
        for agent in options.agents:
            found = [score(agent, dataset, seed, options.out) for seed in options.seeds]
            cells.append(f"{np.mean(found):.1f} [{min(found):.1f}, {max(found):.1f}]")
        yield f"| {name} | " + " | ".join(cells) + " |"


def main(words: Sequence[str] | None = None) -> None:
    """Print the table: mean over seeds, and the worst and the best seed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--agents", nargs="+", default=list(AGENTS))
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)))
    parser.add_argument("--out", type=Path, default=Path("runs/offline_pendulum"))
    options = parser.parse_args(words)
    root = options.out / "datasets"
    root.mkdir(parents=True, exist_ok=True)
    os.environ["MINARI_DATASETS_PATH"] = str(root.resolve())
    for line in rows(options):
        print(line, flush=True)


if __name__ == "__main__":
    main()
