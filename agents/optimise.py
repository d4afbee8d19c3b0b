"""`simenv optimise`: a gait by gradients through the simulator, as a run folder."""

from __future__ import annotations

import time

from tqdm import tqdm

from agents.options import Optimise
from agents.runs import Run
from agents.trajopt import check_options, check_schemes, make_policy, optimise
from simenv.envs.functional import Functional


def run_optimise(options: Optimise) -> Run:
    """Optimise as the options say; returns the finished run."""
    check_options(iterations=options.iterations, learning_rate=options.learning_rate)
    functional = Functional(
        options.id,
        num_envs=options.starts,
        size=options.size,
        softness=options.schemes.softness,
        device=options.device,
    )
    check_schemes(options.schemes, functional.task)
    policy = make_policy(options.policy, functional.task, options.starts, options.seed)
    run = Run.create("optimise", options, options.seed)
    began = time.perf_counter()
    with tqdm(total=options.iterations, desc="optimise", unit="it") as bar:

        def report(row: dict[str, float]) -> None:
            run.write_metrics([{**row, "seconds": time.perf_counter() - began}])
            bar.set_postfix(best=f"{row['return_best']:.1f}", success=bool(row["success_best"]))
            bar.update()

        optimise(
            functional,
            policy.to(functional.device),
            iterations=options.iterations,
            learning_rate=options.learning_rate,
            schemes=options.schemes,
            seed=options.seed,
            report=report,
            save=lambda best: run.save("best", best),
        )
    return run
