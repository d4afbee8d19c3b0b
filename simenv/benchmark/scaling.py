"""How the cost grows with particles and environments, and what other choices cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from itertools import product
from typing import Any

import gymnasium
import numpy as np
import torch

import simenv
from simenv.benchmark.plan import PER_EDGE, WALKER, Plan, cores
from simenv.benchmark.probe import Probe, dense_cube
from simenv.benchmark.rounds import Rates, Spread, take_turns

Row = dict[str, Any]
PLANE = 90
"""Particles along an edge of the square: 8,100 in all."""
ENOUGH = 100_000
"""Particles times environments times steps of one measurement."""


def measure_scaling(plan: Plan) -> dict[str, list[Row]]:
    """The tables that the plan asks for, as rows by title."""
    tables = {"environments": environments(plan)}
    if plan.edges:
        tables["particles"] = particles(plan)
    if plan.variants:
        tables["variants"] = variants(plan)
    return tables


def environments(plan: Plan) -> list[Row]:
    """Walkers: environment steps per second, with all that surrounds the simulator and without."""
    walkers = [Walkers(n) for n in plan.envs]
    return _rows(
        [{"envs": w.num_envs, "particles": w.particles} for w in walkers],
        [partial(w.rates, plan.env_steps) for w in walkers],
        plan.scaling_rounds,
        "environments",
    )


def particles(plan: Plan) -> list[Row]:
    """One cube of ever more particles, eight per cell, on one thread."""
    probes = [Probe(dense_cube(n)) for n in plan.edges]
    return _rows(
        [{"particles": p.sim.num_particles, **_memory(p)} for p in probes],
        [partial(probe_rates, p) for p in probes],
        plan.scaling_rounds,
        "particles",
    )


def variants(plan: Plan) -> list[Row]:
    """Dimension, number format and threads; as many environments as CPUs."""
    choices = list(product((2, 3), ("float32", "float64"), sorted({1, cores()})))
    probes = [
        Probe(dense_cube(PLANE if dim == 2 else PER_EDGE, dim), cores(), threads, dtype)
        for dim, dtype, threads in choices
    ]
    return _rows(
        [
            {"dim": d, "dtype": t, "threads": n, "envs": cores(), **_memory(p)}
            for (d, t, n), p in zip(choices, probes, strict=True)
        ],
        [partial(probe_rates, p) for p in probes],
        plan.scaling_rounds,
        "variants",
    )


def probe_rates(probe: Probe) -> Rates:
    """Forward, backward and both [particle-substeps/s]."""
    steps = max(1, round(ENOUGH / (probe.sim.num_particles * probe.sim.num_envs)))
    backward, both = probe.backward(steps)
    return {"forward": probe.forward(steps), "backward": backward, "both": both}


class Walkers:
    """The walker task under the stopwatch: the vector environment and the bare simulator."""

    def __init__(self, num_envs: int) -> None:
        self.num_envs = num_envs
        self.venv = gymnasium.make_vec(WALKER, num_envs=num_envs)
        self.functional = simenv.functional(WALKER, num_envs=num_envs)
        self.particles = self.functional.simulator.num_particles
        self.actions = _actions(num_envs, self.functional.task.num_actions)
        self.venv.reset(seed=0)
        self.rates(1)

    def rates(self, steps: int) -> Rates:
        """Environment steps per second of both."""
        return {
            "vector": self._rate(self._step_vector, steps),
            "simulator": self._rate(self._step_simulator, steps),
        }

    def _rate(self, run: Callable[[int], None], steps: int) -> float:
        start = time.perf_counter()
        run(steps)
        return steps * self.num_envs / (time.perf_counter() - start)

    def _step_vector(self, steps: int) -> None:
        for k in range(steps):
            self.venv.step(self.actions[k % len(self.actions)])

    def _step_simulator(self, steps: int) -> None:
        state = self.functional.initial(seed=0)
        actions = torch.as_tensor(self.actions)
        with torch.no_grad():
            for k in range(steps):
                state = self.functional.transition(state, actions[k % len(actions)])


def _actions(num_envs: int, size: int) -> np.ndarray:
    """Random actions (16, N, A), drawn ahead of the clock."""
    drawn = np.random.default_rng(0).uniform(-1, 1, (16, num_envs, size))
    return drawn.astype(np.float32)


def _memory(probe: Probe) -> Row:
    return {"kept_bytes": probe.sim.kept_bytes, "allocated_bytes": probe.allocated()}


def _rows(
    heads: Sequence[Row], measures: Sequence[Callable[[], Rates]], rounds: int, title: str
) -> list[Row]:
    """Each row's description, with the median and range of its rates."""
    turns = [partial(_numbered, i, measure) for i, measure in enumerate(measures)]
    measured = take_turns(turns, rounds, title)
    return [{**head, **_spreads(measured, i)} for i, head in enumerate(heads)]


def _numbered(row: int, measure: Callable[[], Rates]) -> Rates:
    return {f"{row}/{name}": rate for name, rate in measure().items()}


def _spreads(measured: Sequence[Rates], row: int) -> dict[str, Spread]:
    mine = [name for name in measured[0] if name.split("/")[0] == str(row)]
    return {name.split("/")[1]: Spread.of([r[name] for r in measured]) for name in mine}
