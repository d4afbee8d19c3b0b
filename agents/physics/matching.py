"""What is matched of states, in which units, and how far a rollout is from a demonstration."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from agents.demonstrations import Demonstration
from simenv.envs.points import between, evenly
from simenv.errors import ConfigurationError, DatasetError
from simenv.mpm import State

MATCHES = ("statistics", "features", "particles")
"""What can be matched."""
PARTICLES = 32
"""Most particles that are matched."""
FLOOR = 0.1
"""Least deviation of a number, in root mean squares of those of its kind."""


# ------------------------------------------------------------------------------- what


def statistics(task: Any, state: State) -> list[Tensor]:
    """Of every body mean place, mean velocity and covariance of places; tools and rigid bodies.

    No particle has a place of its own in these, so that fluids may mix, and they do not grow with
    the number of particles.

    Returns:
        Kinds of numbers, (N, ·) each: [m], [m/s], [m²], pose and twist.
    """
    places, velocities, spreads = [], [], []
    upper = torch.triu_indices(*[state.x.shape[2]] * 2)
    for body in task.scene.bodies:
        own = task.simulator.particles(body.name)
        x = state.x[:, own]
        middle = x.mean(dim=1)
        apart = x - middle[:, None]
        spread = torch.einsum("npi,npj->nij", apart, apart) / x.shape[1]
        places.append(middle)
        velocities.append(state.v[:, own].mean(dim=1))
        spreads.append(spread[:, upper[0], upper[1]])
    kinds = [torch.cat(kind, dim=1) for kind in (places, velocities, spreads) if kind]
    return [*kinds, *_rigids(state)]


def particles(state: State) -> list[Tensor]:
    """Places [m] and velocities [m/s] of up to `PARTICLES` evenly spread particles; rigid bodies.

    For solids, whose particles keep their neighbours.
    """
    count = state.x.shape[1]
    chosen = evenly(count, min(count, PARTICLES)).to(state.x.device)
    kinds = [state.x[:, chosen].flatten(1), state.v[:, chosen].flatten(1)]
    return [*kinds, *_rigids(state)]


def _rigids(state: State) -> list[Tensor]:
    kinds = state.pose.flatten(1), state.twist.flatten(1)
    return [kind for kind in kinds if kind.shape[1]]


class Matching:
    """The numbers of a state that are matched, in deviations of a demonstration.

    Each is (number − mean) / deviation over the demonstration's states, so that metres and metres
    per second count alike; a number that hardly moves in the demonstration is measured by a tenth
    of what its kind does, so that its noise is not blown up.

    Args:
        kind: one of `MATCHES`.
        task: the task.
        demonstration: what is to be matched.
        like: a tensor of the device and type to work in.

    Attributes:
        target: (T, M), of the states after each step.

    Raises:
        ConfigurationError: an unknown kind.
        DatasetError: the demonstration has no states, and they are asked for, or they have other
            particles.
    """

    def __init__(self, kind: str, task: Any, demonstration: Demonstration, like: Tensor) -> None:
        if kind not in MATCHES:
            raise ConfigurationError(f"match = {kind!r} is not one of {MATCHES}")
        self.kind, self.task = kind, task
        shape = demonstration.states["x"].shape[1:] if demonstration.states else None
        if kind == "features":
            found = [torch.as_tensor(demonstration.features).to(like)]
        elif shape not in (None, like.shape[1:]):
            raise DatasetError(
                f"particles of the demonstration have the shape {shape}, those of the task "
                f"{tuple(like.shape[1:])}; record one of the same size"
            )
        else:
            found = self._kinds(demonstration.trajectory(like))
        self._mean = torch.cat([numbers.mean(dim=0) for numbers in found])
        self._deviation = torch.cat([deviations(numbers) for numbers in found])
        self.target = self._scaled(found)[1:]

    def __call__(self, state: State) -> Tensor:
        """(N, M)."""
        return self._scaled(self._kinds(state))

    def _kinds(self, state: State) -> list[Tensor]:
        if self.kind == "features":
            return [self.task.features(state)]
        return particles(state) if self.kind == "particles" else statistics(self.task, state)

    def _scaled(self, kinds: list[Tensor]) -> Tensor:
        return (torch.cat(kinds, dim=1) - self._mean) / self._deviation


def deviations(numbers: Tensor) -> Tensor:
    """Standard deviations (M,) over rows (T, M), at least `FLOOR` of their root mean square.

    One, where nothing moves at all.
    """
    found = numbers.std(dim=0, unbiased=False)
    usual = found.square().mean().sqrt()
    return found.clamp(min=float(FLOOR * usual)) if usual > 0 else torch.ones_like(found)


# ------------------------------------------------------------------------------- how far


def alpha_chamfer(
    found: Tensor, target: Tensor, counted: Tensor, kappa: float = 1.0, fade: float = 1.0
) -> Tensor:
    """Distance (N,) of rollouts to a demonstration, in whatever order states are passed.

    κ (1/T) Σₜ φᵀ⁻ᵗ minᵤ d(sₜ, eᵤ) + (1/T) Σᵤ φᵀ⁻ᵘ minₜ d(sₜ, eᵤ), with d(s, e) the root mean square
    of s − e (Chen et al., "Imitation learning via differentiable physics", arXiv:2206.04873). The
    first part alone would be content with a rollout that stays at the start. Which states are
    nearest is found without gradients: these flow through the distances alone.

    Args:
        found: s, (T, N, M).
        target: e, (T, M).
        counted: bool (T, N), states that count; a rollout that has none is at distance 0.
        kappa: κ.
        fade: φ.
    """
    states = found.transpose(0, 1)
    to_target, to_state = _nearest(states.detach(), target, counted.T)
    fading = _fading(len(target), fade, found)
    there = root_mean_square(states - target[to_target])
    mine = states.gather(1, to_state[..., None].expand(-1, -1, states.shape[2]))
    back = root_mean_square(mine - target)
    any_counted = counted.any(dim=0)
    return kappa * _mean(fading * there, counted.T) + (fading * back).mean(dim=1) * any_counted


def pointwise(
    found: Tensor, target: Tensor, counted: Tensor, kappa: float = 1.0, fade: float = 1.0
) -> Tensor:
    """κ (1/T) Σₜ φᵀ⁻ᵗ d(sₜ, eₜ), (N,): every state to that of the same step; as `alpha_chamfer`."""
    apart = root_mean_square(found.transpose(0, 1) - target)
    return kappa * _mean(_fading(len(target), fade, found) * apart, counted.T)


DISTANCES = {"chamfer": alpha_chamfer, "pointwise": pointwise}


def root_mean_square(difference: Tensor) -> Tensor:
    """Of (…, M); where all is zero, so is its slope."""
    norm: Tensor = torch.linalg.vector_norm(difference, dim=-1)
    return norm / math.sqrt(difference.shape[-1])


@torch.no_grad()
def _nearest(states: Tensor, target: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
    """Nearest target of each state and nearest state that counts of each target, (N, T) each."""
    apart = between(states, target.expand(len(states), -1, -1))
    return apart.argmin(dim=2), apart.masked_fill(~counted[:, :, None], torch.inf).argmin(dim=1)


def _fading(steps: int, fade: float, like: Tensor) -> Tensor:
    """φᵀ⁻ᵗ (T,), the last one 1."""
    return fade ** torch.arange(steps - 1, -1, -1).to(like)


def _mean(values: Tensor, counted: Tensor) -> Tensor:
    """Mean (N,) of (N, T) over the steps that count, 0 where none does."""
    kept = torch.where(counted, values, torch.zeros_like(values))
    return kept.sum(dim=1) / counted.sum(dim=1).clamp(min=1)
