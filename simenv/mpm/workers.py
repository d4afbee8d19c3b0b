"""Replaying captured graphs: on threads of their own on the CPU, on torch's stream on a GPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any

import torch
import warp as wp

from simenv.mpm.device import torch_stream


def available_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class Workers:
    """Runs one graph per chunk and returns when all are done.

    CPU threads flush denormal numbers to zero. A body at rest or in free fall breeds numbers below
    1e-38 (products of rounding errors), which cost the processor a hundred times a normal
    operation. The flag is the thread's own: the caller's arithmetic stays as it is.

    Args:
        device: "cpu" or "cuda:N".
        count: graphs that run at once on the CPU.
    """

    def __init__(self, device: str, count: int) -> None:
        self.device, self.count = device, count
        self._pool: ThreadPoolExecutor | None = None
        self._owner = -1

    def run(self, graphs: Sequence[Any]) -> None:
        """Replay the graphs; an interrupt is raised only once none of them runs any more."""
        launch: Callable[[Any], None] = wp.capture_launch
        if self.device != "cpu":
            with torch_stream(self.device):
                launch(graphs[0])
            return
        pool = self._threads()
        _finish([pool.submit(launch, graph) for graph in graphs])

    def _threads(self) -> ThreadPoolExecutor:
        """The pool of this process: threads do not survive a fork."""
        if self._pool is None or self._owner != os.getpid():
            flush: Callable[..., object] = torch.set_flush_denormal
            self._pool = ThreadPoolExecutor(self.count, initializer=flush, initargs=(True,))
            self._owner = os.getpid()
        return self._pool


def _finish(jobs: Sequence[Future[None]]) -> None:
    """Wait for all jobs, whatever happens meanwhile: they write into shared buffers."""
    interrupt: KeyboardInterrupt | None = None
    while not all(job.done() for job in jobs):
        try:
            wait(jobs)
        except KeyboardInterrupt as error:
            interrupt = error
    if interrupt is not None:
        raise interrupt
    for job in jobs:
        job.result()
