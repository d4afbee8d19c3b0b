"""What the size of the grid and the order of particles cost, as ratios within one run.

    python benchmarks/grid.py [--rounds N]

First table: 4,913 particles (17³) of a neo-Hookean cube on grids of 32³ and 64³ cells of the same
size, one environment on one thread. Second table: particles in the order of a lattice, shuffled,
and shuffled but sorted by cell inside of the step, at three sizes. Times are of the processor,
medians over rounds in which the settings take turns.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import torch

from simenv import mpm

CELL = 1 / 32
"""Edge of a grid cell [m] in every scene."""

Step = Callable[[], None]


def cube(per_edge: int, cells: int, substeps: int, sort: bool = False) -> mpm.Simulator:
    """A cube of per_edge³ particles, two to a cell along each axis, in the middle of cells³."""
    middle, edge = (cells * CELL / 2,) * 3, (per_edge / 2 * CELL,) * 3
    scene = mpm.Scene((cells * CELL,) * 3, (cells,) * 3, step=substeps * 1e-4, substeps=substeps)
    scene.add_body(mpm.Box(middle, edge), mpm.NeoHookean(E=1e4, nu=0.2, density=1e3))
    return scene.build(threads=1, sort=sort)


def forward(sim: mpm.Simulator, state: mpm.State) -> Step:
    """A step without gradients."""

    def run() -> None:
        with torch.no_grad():
            sim.step(state)

    return run


def both(sim: mpm.Simulator, state: mpm.State) -> Step:
    """A step and its gradient."""

    def run() -> None:
        start = state.detach().requires_grad_()
        end = sim.step(start)
        (end.x.sum() + end.v.sum()).backward()

    return run


def medians(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Median seconds of each step; they take turns, after one run to warm up."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for k in range(rounds + 1):
        for name, step in steps.items():
            begin = time.process_time()
            step()
            if k > 0:
                times[name].append(time.process_time() - begin)
    return {name: statistics.median(values) for name, values in times.items()}


def grid_size(rounds: int) -> None:
    """Print the first table."""
    sims = {cells: cube(17, cells, substeps=20) for cells in (32, 64)}
    steps = {}
    for cells, sim in sims.items():
        steps[f"{cells}, forward"] = forward(sim, sim.initial_state())
        steps[f"{cells}, with gradient"] = both(sim, sim.initial_state())
    found = medians(steps, rounds)
    print("| 4,913 particles | 32³ [ms per substep] | 64³ | ratio |\n|---|---|---|---|")
    for kind in ("forward", "with gradient"):
        small, large = (found[f"{cells}, {kind}"] / 20 * 1e3 for cells in (32, 64))
        print(f"| {kind} | {small:.3f} | {large:.3f} | {large / small:.2f} |")


def particle_order(rounds: int) -> None:
    """Print the second table."""
    print("\n| particles | substeps | lattice [ns per particle-substep] | shuffled | sorted |")
    print("|---|---|---|---|---|")
    for per_edge, cells, substeps in ((20, 32, 40), (40, 48, 40), (80, 96, 40)):
        plain, ordered = (cube(per_edge, cells, substeps, sort) for sort in (False, True))
        lattice = plain.initial_state()
        mixed = shuffled(lattice)
        steps = {
            "lattice": forward(plain, lattice),
            "shuffled": forward(plain, mixed),
            "sorted": forward(ordered, mixed),
        }
        work = plain.num_particles * substeps
        row = [t / work * 1e9 for t in medians(steps, rounds).values()]
        print(f"| {per_edge**3:,} | {substeps} | " + " | ".join(f"{t:.1f}" for t in row) + " |")


def shuffled(state: mpm.State) -> mpm.State:
    """The same body with its particles in random order (seed 0)."""
    order = torch.randperm(state.x.shape[1], generator=torch.Generator().manual_seed(0))
    return state.replace(**{name: getattr(state, name)[:, order] for name in ("x", "v", "C", "F")})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    rounds = parser.parse_args().rounds
    grid_size(rounds)
    particle_order(rounds)
