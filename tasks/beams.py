"""What upright beams of muscles share that reach for a goal with their tip."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.mpm import Simulator, State
from tasks.muscles import MuscleTask

SUBSTITUTIONS = 12
"""Rounds in which a posture is solved for; each leaves at most half of the error."""


class ReachTask(MuscleTask):
    """An upright beam of muscles, stuck to the floor, whose tip is to come to rest at the goal.

    Muscles that act alike all along bend the beam to an arc of a circle, which leaves the base
    upright; its bend [rad] and length [m] say where the tip is. With the activations split into a
    part c common to all and parts b that bend towards each side, the beam at rest has

        bend = (k₁ + k₂ c) b,   lengthening = k₃ c + k₄ (c² + |b|²),

    `response` being k₁ to k₄, fitted to beams brought to rest with activations from a grid
    (`tests/tasks/test_reaching.py` repeats the measurement). Where |b|₁ + |c| ≤ 1 no muscle is
    asked for more than it has, and the tip can be held there.

    Attributes:
        base: where the beam's axis meets the floor [m].
        length: of the beam [m].
        tip_length: of its end that counts as the tip [m].
        pattern: (A, d − 1), how much each muscle contracts to bend towards each side.
        response: k₁ and k₂ [rad], k₃ and k₄ [m].
        goal_low: lower corner of the goals' box [m].
        goal_high: its upper corner [m].
        clearance: least distance of a reachable goal from the resting tip [m].
        arrival_speed: fastest tip [m/s] that has come to rest.
        obstacle: centre [m] of what the tip should keep out of.
        obstacle_radius: its radius [m].
        swing_steps: period of the beam's slowest swing [steps].
        unit: displacement that is observed as one [m].
    """

    base: ClassVar[tuple[float, ...]]
    length: ClassVar[float]
    tip_length: ClassVar[float]
    pattern: ClassVar[tuple[tuple[float, ...], ...]]
    response: ClassVar[tuple[float, float, float, float]]
    goal_low: ClassVar[tuple[float, ...]]
    goal_high: ClassVar[tuple[float, ...]]
    obstacle: ClassVar[tuple[float, ...]]
    swing_steps: ClassVar[int]
    clearance: ClassVar[float] = 0.08
    arrival_speed: ClassVar[float] = 0.2
    obstacle_radius: ClassVar[float] = 0.025
    unit: ClassVar[float] = 0.1
    cost_names: ClassVar[tuple[str, ...]] = ("obstacle",)
    goal_tolerance: ClassVar[float] = 0.02
    material_ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"E": (0.8, 1.25)}

    def stand(self, cells: tuple[int, ...], dx: float, substeps: int) -> mpm.Scene:
        """A domain of cells of `dx` [m], without gravity, whose floor holds what touches it.

        Wild swings squeeze jelly to under half its volume, which stiffens it: the substeps are
        half as many again as small strains would need.
        """
        return mpm.Scene(
            tuple(n * dx for n in cells),
            cells,
            gravity=[0.0] * len(cells),
            step=0.1,
            substeps=substeps,
            walls={"y-": mpm.Wall("sticky")},
        )

    def bind(self, simulator: Simulator) -> None:
        """Where the groups are at rest."""
        super().bind(simulator)
        self._rest = self.means(simulator.initial_state().x[:1])[0]

    def at_tip(self, rest: Tensor) -> Tensor:
        """Mask (P,) of the tip."""
        return rest[:, 1] > self.length - self.tip_length

    def tip(self, field: Tensor) -> Tensor:
        """Mean (N, d) over the tip, the last group, of a field (N, P, d)."""
        return (field * self._groups[-1][:, None]).sum(dim=1)

    def observe(self, state: State) -> Tensor:
        """Displacement and velocity of every group."""
        moved = (self.means(state.x) - self._rest) / self.unit
        return torch.cat([moved.flatten(1), self.means(state.v).flatten(1)], dim=1)

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Minus the distance of tip and goal, in lengths of the beam."""
        return -self._distance(after) / self.length

    def _distance(self, state: State) -> Tensor:
        return self.goal_distance(self.achieved_goal(state), self.desired_goal(state))

    def success(self, state: State) -> Tensor:
        """The tip is within the tolerance of the goal, and slow."""
        speed = torch.linalg.vector_norm(self.tip(state.v), dim=1)
        return (self._distance(state) < self.goal_tolerance) & (speed < self.arrival_speed)

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """How deep the tip is in the obstacle, as a share of its radius."""
        tip = self.tip(after.x)
        away = self.goal_distance(tip, tip.new_tensor(self.obstacle))
        return {"obstacle": torch.clamp(1.0 - away / self.obstacle_radius, min=0.0)}

    # ------------------------------------------------------------------ goals

    def bow(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Bend (N, d − 1) [rad] and length (N,) [m] of the arcs from the base to points (N, d)."""
        way = points - points.new_tensor(self.base)
        side = way[:, [0, *range(2, way.shape[1])]]
        aside = torch.linalg.vector_norm(side, dim=1)
        angle = 2.0 * torch.atan2(aside, way[:, 1])
        bend = side * (angle / torch.clamp(aside, min=1e-9))[:, None]
        chord = torch.linalg.vector_norm(way, dim=1)
        return bend, chord / torch.sinc(angle / (2.0 * math.pi))

    def posture(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Bending part (N, d − 1) and common part (N,) of the activations that hold the tip there.

        Solves the two relations by repeated substitution; a point out of reach ends beyond one.
        """
        bend, length = self.bow(points)
        longer = length - (self.length - self.tip_length / 2)
        bending, common = torch.zeros_like(bend), torch.zeros_like(length)
        k1, k2, k3, k4 = self.response
        for _ in range(SUBSTITUTIONS):
            square = common.square() + bending.square().sum(dim=1)
            common = torch.clamp((longer - k4 * square) / k3, -2.0, 2.0)
            # The floor keeps the sign of the stiffness where the common part is out of reach.
            stiffness = torch.clamp(k1 + k2 * common, min=0.1 * k1)
            bending = torch.clamp(bend / stiffness[:, None], -2.0, 2.0)
        return bending, common

    def holdable(self, points: Tensor) -> Tensor:
        """Whether muscles that act alike all along can hold the tip at points (N, d): bool (N,)."""
        bending, common = self.posture(points)
        return bending.abs().sum(dim=1) + common.abs() <= 1.0

    def draw_goal(self, rng: np.random.Generator, reachable: bool = True) -> np.ndarray:
        """A point (d,) of the goals' box [m], evenly distributed.

        Args:
            rng: generator to draw from.
            reachable: only points that can be held, `clearance` away from the resting tip; False
                takes every point of the box.
        """
        while True:
            goal = rng.uniform(self.goal_low, self.goal_high)
            if not reachable or self._worthwhile(torch.as_tensor(goal)[None]):
                return goal

    def _worthwhile(self, point: Tensor) -> bool:
        away = self.goal_distance(point, self._rest[-1].to(point))
        return bool(self.holdable(point) & (away >= self.clearance))

    def achieved_goal(self, state: State) -> Tensor:
        """Where the tip is, (N, d) [m]."""
        return self.tip(state.x)

    def goal_features(self, state: State) -> Tensor:
        """The goal relative to the resting tip, (N, d), in the unit of displacements."""
        return (self.desired_goal(state) - self._rest[-1]) / self.unit

    def script(self, state: State, t: int) -> Tensor:
        """Takes up the posture of the goal over one period of the swing, which cancels the swing.

        Nothing damps the beam, but what each part of the ramp excites a later part stills (Singer
        & Seering, J. Dyn. Sys. Meas. Control 1990, on shaped commands).
        """
        bending, common = self.posture(self.desired_goal(state))
        held = bending @ bending.new_tensor(self.pattern).T + common[:, None]
        return held * min(1.0, (t + 1) / self.swing_steps)
