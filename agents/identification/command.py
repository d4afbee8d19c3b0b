"""`simenv identify`: parameters of a material from a trajectory, as a run folder."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Any

from tqdm import tqdm

import simenv
from agents.identification.methods import METHODS, Result, identify
from agents.identification.problem import Problem, starting_values
from agents.identification.search import Row
from agents.options import Identify
from agents.runs import Run
from agents.train_options import check_range
from simenv.listing import aligned
from simenv.registry import find_problem

HEADERS = ("parameter", "found", "truth", "error")


def run_identify(options: Identify) -> tuple[Run, str]:
    """Search as the options say.

    metrics.csv has a row for every batch of trajectories (`Search.history`) with `seconds`,
    result.json what was found.

    Returns:
        The finished run, and a table of what was found.

    Raises:
        UnknownTaskError: no such problem; the message suggests the nearest ones.
        ConfigurationError: an option outside its bounds; nothing is written.
        SimenvError: no trajectory had a finite error.
    """
    population = options.population or METHODS[options.method].population
    options = replace(options, id=find_problem(options.id).id, population=population)
    for name, value in _settings(options).items():
        check_range(name, value, above=0.0)
    problem = simenv.identification(
        options.id,
        num_envs=1 if METHODS[options.method].by_gradient else population,
        **{name: getattr(options, name) for name in ("size", "steps", "segment", "device")},
    )
    run = Run.create(options.method, options, options.seed, find_problem, command="identify")
    result = _search(problem, options, run)
    found = asdict(result)
    del found["history"]  # it is in metrics.csv
    run.write_json("result.json", found)
    return run, _table(problem, result)


def _search(problem: Problem, options: Identify, run: Run) -> Result:
    """Search with a bar, and with a row of metrics per iteration."""
    began = time.perf_counter()
    with tqdm(total=options.iterations, desc=options.method, unit="it") as bar:

        def report(row: Row) -> None:
            run.write_metrics([{**row, "seconds": time.perf_counter() - began}])
            bar.set_postfix(error=f"{row['best_error']:.2e} m²")
            bar.update()

        return identify(
            problem,
            options.method,
            iterations=options.iterations,
            start=starting_values(problem, options.start, options.seed),
            seed=options.seed,
            report=report,
            **_settings(options),
        )


def _settings(options: Identify) -> dict[str, float]:
    """What was given; the rest is as `identify` has it."""
    given = {name: getattr(options, name) for name in ("learning_rate", "initial_std")}
    return {name: value for name, value in given.items() if value is not None}


def _table(problem: Any, result: Result) -> str:
    rows = []
    for parameter in problem.parameters:
        figures = result.values[parameter.name], parameter.truth
        cells = [f"{parameter.name} [{parameter.unit}]", *(f"{v:,.6g}" for v in figures)]
        cells.append(f"{100 * result.relative[parameter.name]:+.2f} %")
        rows.append(dict(zip(HEADERS, cells, strict=True)))
    return aligned(HEADERS, rows, set(HEADERS[1:]))
