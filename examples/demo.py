"""The main job in one go: a gait by gradients, SAC on the same task, both against random actions.

Run by `make demo`. Writes into runs/demo (or runs/demo-2, …): gait.gif, curves.png, table.md and
the two run folders.
"""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path

from agents.evaluation import evaluate
from agents.optimise import run_optimise
from agents.optimise_options import Optimise
from agents.options import Evaluate, Record
from agents.plots import Curve, learning_curves
from agents.recording import record
from agents.report import table
from agents.runs import Run, fresh_folder
from agents.train_options import TrainSAC, preset
from agents.training import train

TASK = "simenv/SoftWalker2D-v0"
EPISODES = 16


def main() -> None:
    """Optimise, train, evaluate, draw."""
    began = time.perf_counter()
    folder = fresh_folder("demo")
    print(f"1/4  gait by gradients through the simulator ({TASK})")
    gait = run_optimise(Optimise(id=TASK, out=folder / "optimise"))
    print("2/4  soft actor-critic on the native vector environment")
    budget = {"steps": 20_000, "eval_every": 2_000}
    sac = train("sac", TrainSAC(TASK, **preset("sac", TASK) | budget, out=folder / "sac"))
    print(f"3/4  {EPISODES} episodes each on fresh seeds, beside random actions")
    scores = score(gait, sac)
    (folder / "table.md").write_text(markdown(scores))
    print(table(scores))
    print("4/4  pictures")
    draw(folder, gait, sac, scores["random"]["return_mean"])
    shutil.copy(record(Record(gait.path))[0], folder / "gait.gif")
    minutes = (time.perf_counter() - began) / 60
    print(f"done in {minutes:.1f} minutes. See {folder}/gait.gif, curves.png and table.md;")
    print(f"the runs are {gait.path} and {sac.path} (tensorboard --logdir {sac.path})")


def score(gait: Run, sac: Run) -> dict[str, dict[str, float]]:
    """Returns and success rates of both runs and of random actions, on the same seeds."""
    return evaluate(Evaluate((gait.path, sac.path), episodes=EPISODES)).rows


def markdown(scores: dict[str, dict[str, float]]) -> str:
    """The table of scores for people."""
    lines = [
        "| controller | return (mean ± std) | success |",
        "|---|---|---|",
    ]
    for name, row in scores.items():
        result = f"{row['return_mean']:.1f} ± {row['return_std']:.1f}"
        lines.append(f"| {name} | {result} | {row['success_rate']:.0%} |")
    return "\n".join(lines) + "\n"


def draw(folder: Path, gait: Run, sac: Run, baseline: float) -> None:
    """Both learning curves against simulated environment steps."""
    found, learned = gait.metrics(), sac.metrics()
    curves = [
        Curve("gradients, best so far", found["step"], found["return_best"]),
        Curve("SAC, evaluation mean", learned["step"], learned["return_mean"]),
    ]
    learning_curves(folder / "curves.png", curves, baseline=baseline, title=TASK)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("interrupted; what was done is below runs/")
