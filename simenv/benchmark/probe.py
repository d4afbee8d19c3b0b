"""A simulator under the stopwatch."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from simenv import mpm
from simenv.benchmark.plan import CELLS, EDGE, PER_EDGE, SUBSTEPS
from simenv.mpm import State


def spinning_cube(per_edge: int = PER_EDGE, dim: int = 3, cell: float = 1 / CELLS) -> mpm.Scene:
    """A soft cube (square) that spins and falls in a domain of 1 m or a little more.

    Args:
        per_edge: particles along an edge.
        dim: 2 or 3.
        cell: grid spacing [m].
    """
    cells = math.ceil(round(1 / cell, 6))
    scene = mpm.Scene([cells * cell] * dim, [cells] * dim, step=SUBSTEPS * 1e-4, substeps=SUBSTEPS)
    scene.add_body(
        mpm.Box([0.5] * dim, [EDGE] * dim),
        mpm.NeoHookean(E=1e3, nu=0.2, density=1e3),
        particles_per_cell=(per_edge * cell / EDGE) ** dim,
        spin=(2.0, 3.0, 4.0) if dim == 3 else (2.0,),
    )
    return scene


def dense_cube(per_edge: int, dim: int = 3) -> mpm.Scene:
    """The cube with two particles per cell and axis, whatever their number."""
    return spinning_cube(per_edge, dim, cell=2 * EDGE / per_edge)


class Probe:
    """Times a simulator from outside, always from the scene's start.

    Rates are particle-substeps per second. An environment runs on one thread, and so does torch
    unless there are more.

    Args:
        scene: what to simulate.
        envs: number of environments.
        threads: CPU threads.
        dtype: "float32" or "float64".
    """

    def __init__(
        self, scene: mpm.Scene, envs: int = 1, threads: int = 1, dtype: str = "float32"
    ) -> None:
        self.threads = threads
        self.sim = scene.build(envs, dtype=dtype, threads=threads)
        self.backward(1)  # compiles, captures and warms up

    def work(self, steps: int) -> float:
        """Particle-substeps in a number of environment steps."""
        sim = self.sim
        return float(steps * sim.substeps * sim.num_envs * sim.num_particles)

    def forward(self, steps: int) -> float:
        """Rate of stepping without gradients."""
        with torch_threads(self.threads), torch.no_grad():
            state = self.sim.initial_state()
            start = time.perf_counter()
            for _ in range(steps):
                state = self.sim.step(state)
            return self.work(steps) / (time.perf_counter() - start)

    def backward(self, steps: int) -> tuple[float, float]:
        """Rates of backward alone, and of forward and backward together."""
        with torch_threads(self.threads):
            state = self.sim.initial_state()
            seconds = [0.0, 0.0]
            for _ in range(steps):
                state, forward, backward = self._differentiate(state)
                seconds = [seconds[0] + backward, seconds[1] + forward + backward]
            return self.work(steps) / seconds[0], self.work(steps) / seconds[1]

    def _differentiate(self, state: State) -> tuple[State, float, float]:
        """One step and the gradient of its loss: the next state and the seconds of both."""
        state = state.detach().requires_grad_()
        start = time.perf_counter()
        after = self.sim.step(state)
        loss = mean_square(after)
        middle = time.perf_counter()
        loss.backward()
        return after.detach(), middle - start, time.perf_counter() - middle

    def figures(self, steps: int) -> dict[str, Any]:
        """What the baselines report too after the same number of substeps."""
        with torch.no_grad():
            state = self.sim.initial_state()
            for _ in range(steps):
                state = self.sim.step(state)
        return {
            "mean_height": float(state.x[..., 1].mean()),
            "corner": state.x[0, 0].tolist(),
        }

    def velocity_gradient(self) -> list[float]:
        """Gradient of one step's loss by the corner's velocity, times the number of particles."""
        state = self.sim.initial_state().requires_grad_()
        mean_square(self.sim.step(state)).backward()
        assert state.v.grad is not None
        gradient: list[float] = (state.v.grad[0, 0] * self.sim.num_particles).tolist()
        return gradient

    def allocated(self) -> float:
        """Bytes of all buffers, per particle and kept substep."""
        return tensor_bytes(self.sim) / self.work(1)


def mean_square(state: State) -> torch.Tensor:
    """Mean square distance of the particles from the origin, summed over environments [m²]."""
    return state.x.square().sum() / state.x.shape[1]


@contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """Let torch's own arithmetic use this many threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def tensor_bytes(thing: object) -> int:
    """Bytes of the distinct tensors that an object holds, Warp arrays over torch memory included.

    Looks into attributes, sequences and mappings of simenv's own objects.
    """
    storages: dict[int, int] = {}
    seen: set[int] = set()
    waiting = [thing]
    while waiting:
        item = waiting.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            storage = item.untyped_storage()
            storages[storage.data_ptr()] = storage.nbytes()
        else:
            waiting.extend(_parts(item))
    return sum(storages.values())


def _parts(item: Any) -> list[Any]:
    if isinstance(item, (list, tuple)):
        return list(item)
    if isinstance(item, dict):
        return list(item.values())
    if type(item).__module__.startswith("simenv."):
        return list(vars(item).values()) if hasattr(item, "__dict__") else []
    kept = getattr(item, "_tensor", None)  # a Warp array over a torch tensor
    return [] if kept is None else [kept]
