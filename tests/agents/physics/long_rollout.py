"""A rollout of the small walker and its gradient, in a process that measures its own memory."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable

import torch
from torch import Tensor

import simenv
from agents.physics.episodes import Episodes
from agents.physics.shac import SHAC
from agents.physics.windows import Stage
from agents.schemes import Schemes
from agents.trajopt import rollout

STEPS = 2_000


def gain_of(way: str) -> Callable[[int], Tensor]:
    """What so many steps earn, as SHAC, ILD or trajectory optimisation roll out."""
    functional = simenv.functional("simenv/SoftWalker2D-v0", num_envs=1)
    model = SHAC(functional, net_arch=(8,), critic_arch=(8,), normalize=False, seed=0)

    def window(steps: int) -> Tensor:
        return Stage(functional).window(model.draw, steps).rewards.sum()

    def imitation(steps: int) -> Tensor:
        measure = lambda state: state.x.mean(dim=1)  # noqa: E731
        return Episodes(functional).play(model.draw, measure, steps).matched.sum()

    def optimisation(steps: int) -> Tensor:
        controller = lambda seen, t: model.draw(seen).actions  # noqa: E731
        start, whole = functional.initial(0), Schemes(window=0)
        return rollout(functional, controller, start, schemes=whole, steps=steps).rewards.sum()

    return {"window": window, "imitation": imitation, "optimisation": optimisation}[way]


def most() -> int:
    """Bytes that this process has held at most."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main(way: str) -> int:
    """Bytes that the long rollout and its gradient take on top of those of a short one."""
    gain = gain_of(way)
    gain(10).backward()
    before = most()
    gain(STEPS).backward()
    return most() - before


if __name__ == "__main__":
    torch.manual_seed(0)
    print(main(sys.argv[1]))
