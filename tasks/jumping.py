"""Soft robots that jump."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from simenv.mpm import State
from tasks.gaits import TwoLegged


class SoftJumper(TwoLegged):
    """A soft body on two thick legs hops along on its muscles.

    ## Description

    A 2-D hopper with the muscles of ChainQueen's walker (Hu et al., ICRA 2019): a torso of 0.3 m by
    0.1 m on legs 0.15 m long and 0.1 m thick, jelly of E = 100 kPa and 1000 kg/m³, Coulomb friction
    0.8. Each leg is two upright strips. To leave the ground it has to shorten its legs, extend them
    at once, and do so in time with its own bouncing.

    ## Action space

    | number | action | unit of one |
    |---|---|---|
    | 0 | activation of the rear leg's rear strip; positive contracts | 12 kPa |
    | 1 | of the rear leg's front strip | 12 kPa |
    | 2 | of the front leg's rear strip | 12 kPa |
    | 3 | of the front leg's front strip | 12 kPa |

    ## Observation space

    Seven groups, ordered as the walker's: four strips, then three parts of the torso.

    | numbers | observation | unit of one |
    |---|---|---|
    | 0–6 | x of each group's centre, from the torso's | 0.25 m |
    | 7–13 | height of each group's centre | 0.25 m |
    | 14–20 | its velocity along x | 1 m/s |
    | 21–27 | its velocity along y | 1 m/s |
    | 28–29 | sine and cosine of a phase of ten steps | – |

    ## Reward

    10 v + 30 Δz − 0.001 |a|² per step, with v the velocity along x [m/s] and Δz the height [m] of
    the centre of mass at the end of the step, the latter counted from the start. The task is done
    when Δz is 0.1 m; standing on legs at full stretch gives an eighth of that. Speed pays more than
    height: a gallop may earn twice what jumps earn and never do the task.

    ## Costs

    `landing`: what the ground gives the body per mass, while it comes down, in excess of 0.5 m/s in
    a step [m/s].

    ## Start

    Rest, each particle displaced by up to 2 % of a cell and the body thrown at up to 0.02 m/s along
    each axis. Reset options: `pose` moves it along x by up to 0.1 m, `material` multiplies E by 0.7
    to 1.4.

    ## Episode end

    After 80 steps of 0.05 s; falling over does not end it.

    ## Arguments

    `size`: "small" (384 particles, 120 × 40 cells) or "full" (6,144 particles, 480 × 160).

    ## Version history

    v0: first version.
    """

    horizon: ClassVar[int] = 80

    max_activation: ClassVar[float] = 1.2e4
    goal: ClassVar[float] = 0.1
    torso: ClassVar[tuple[float, float]] = (0.3, 0.1)
    leg: ClassVar[tuple[float, float]] = (0.1, 0.15)
    cost_names: ClassVar[tuple[str, ...]] = ("landing",)
    landing_limit: ClassVar[float] = 0.5
    crouch_steps: ClassVar[int] = 4

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        self.scene = self.ground((3.0, 1.0), (120 * scale, 40 * scale), 75 * scale)
        self.add_walker(E=1.0e5)

    def remember(self, state: State) -> Tensor:
        """Height of the centre of mass at the start [m]."""
        return state.x[:, :, 1].mean(dim=1, keepdim=True)

    def rise(self, state: State) -> Tensor:
        """How much higher the centre of mass is than at the start [m], (N,)."""
        return (state.x[:, :, 1] - self.remembered(state)).mean(dim=1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """10 v_x + 30 Δz − 0.001 |a|²."""
        return (
            10.0 * after.v[:, :, 0].mean(dim=1)
            + 30.0 * self.rise(after)
            - 0.001 * action.square().sum(dim=1)
        )

    def success(self, state: State) -> Tensor:
        """The centre of mass is 0.1 m higher than at the start."""
        return self.rise(state) >= self.goal

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """The ground's impulse on a body that comes down."""
        before, later = (s.v[:, :, 1].mean(dim=1) for s in (state, after))
        push = later - before - float(self.scene.gravity[1]) * self.scene.step
        hit = torch.clamp(push - self.landing_limit, min=0.0)
        return {"landing": torch.where(before < 0.0, hit, torch.zeros_like(hit))}

    def script(self, state: State, t: int) -> Tensor:
        """Hops once per phase: a crouch of four steps, then legs at full stretch."""
        crouching = t % self.phase_steps < self.crouch_steps
        return torch.full_like(state.x[:, :1, 0], 1.0 if crouching else -1.0).expand(-1, 4)
