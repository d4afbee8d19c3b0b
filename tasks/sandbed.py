"""A bed of sand and a hand-held tool: what the tasks on sand share."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from simenv import mpm
from simenv.envs.task import Task
from simenv.mpm import Control, Shape, Simulator, State
from tasks.handling import jitter

WIDTH, HEIGHT = 1.28, 0.64
"""Of the domain [m]."""
DEPTH = 0.1
"""Of the bed when it is level [m]."""
COLUMNS, EDGE = 64, 8
"""Columns whose heights are observed, and how many of them at either end are not worked."""
BINS = 16
"""Numbers of a height profile of the worked columns."""
RELIEF = 0.25 * DEPTH
"""Unit of heights in observations [m]."""
THICKNESS = 0.03
"""Of blades [m]: one and a half cells of the small size."""


class SandTask(Task):
    """Base of the tasks on a bed of sand: bed, tool, heights, costs.

    A subclass has its `tool`, says what remains to be done (`remaining`), and knows a `way`.

    Attributes:
        roughness: height [-] of the bed's waves at the start, over its depth.
        top_speed: velocity [m/s, m/s, rad/s] that an action of one commands.
        lowest: least x, y [m] and angle [rad] of the tool's origin.
        highest: greatest.
        knots: step, x, y and angle along the way of the tool that does the task.
        torque_limit: on the tool [N m] per metre across the plane.
        spill_limit: share [-] of the bed that may leave the worked columns.
    """

    num_actions: ClassVar[int] = 3
    num_observations: ClassVar[int] = COLUMNS + 6
    horizon: ClassVar[int] = 150
    cost_names: ClassVar[tuple[str, ...]] = ("torque", "spill")
    material_ranges: ClassVar[Mapping[str, tuple[float, float]]] = {"friction_angle": (0.8, 1.2)}

    roughness: ClassVar[float] = 0.05
    start_place: ClassVar[tuple[float, float]]
    top_speed: ClassVar[tuple[float, float, float]] = (0.5, 0.5, 3.0)
    lowest: ClassVar[tuple[float, float, float]]
    highest: ClassVar[tuple[float, float, float]]
    knots: ClassVar[tuple[tuple[float, float, float, float], ...]] = ()
    torque_limit: ClassVar[float]
    spill_limit: ClassVar[float] = 0.02

    def __init__(self, *, size: str = "small", softness: float = 0.0) -> None:
        super().__init__(size=size, softness=softness)
        scale = 1 if size == "small" else 4
        self.scene = mpm.Scene(
            size=(WIDTH, HEIGHT),
            cells=(64 * scale, 32 * scale),
            step=0.04,
            walls={"y-": mpm.Wall("sticky"), "default": mpm.Wall("separating")},
        )
        sand = mpm.DruckerPrager(E=4.0e4, nu=0.2, density=1.6e3, friction_angle=35.0)
        bed = mpm.Box((WIDTH / 2, DEPTH / 2), (WIDTH, DEPTH))
        self.scene.add_body(bed, sand, name="bed")
        self.scene.add_tool(
            self.tool(),
            name="tool",
            position=self.start_place,
            friction=0.3,
            softness=self.softness,
        )

    @abstractmethod
    def tool(self) -> Shape:
        """Shape of the tool; its origin is where it is held."""

    @abstractmethod
    def remaining(self, state: State) -> Tensor:
        """How much is left to do, (N,)."""

    def way(self, state: State) -> Tensor:
        """`knots` of every environment, (N, K, 4)."""
        return state.x.new_tensor(self.knots).expand(state.num_envs, -1, -1)

    def bind(self, simulator: Simulator) -> None:
        """Limits and the places of the columns as tensors."""
        super().bind(simulator)
        like: dict[str, Any] = {"dtype": simulator.dtype, "device": simulator.device}
        self._top_speed = torch.tensor(self.top_speed, **like)
        self._lowest = torch.tensor(self.lowest, **like)
        self._highest = torch.tensor(self.highest, **like)
        # One column more at either end, for what the kernel puts beyond the domain.
        self._columns = torch.arange(-1, COLUMNS + 1, **like) + 0.5

    # ------------------------------------------------------------------ the verbs

    def perturb(self, rest: State, rngs: Sequence[np.random.Generator]) -> State:
        """Waves on the bed, and particles displaced by up to 2 % of a cell."""
        moved = jitter(rest.x, rngs, 0.02 * self.scene.dx)
        waves = np.stack([self._draw_waves(rng) for rng in rngs])
        x = _waved(rest.x, torch.as_tensor(waves).to(rest.x)) + moved
        # The outermost particles may not leave the domain.
        high = torch.tensor([WIDTH, HEIGHT]).to(x)
        return rest.replace(x=torch.minimum(x.clamp(min=0.0), high))

    def _draw_waves(self, rng: np.random.Generator) -> np.ndarray:
        """Slopes of the squeeze of the bed along x, of waves of 5 and 7 half lengths."""
        return self.roughness * rng.choice([-1.0, 1.0], 2) * rng.uniform(0.6, 1.0, 2)

    def control(self, state: State, action: Tensor) -> Control:
        """Velocity of the tool, less what would take it out of its reach."""
        pose = state.pose[:, 0]
        wanted = pose + action * self._top_speed * self.scene.step
        kept = torch.minimum(torch.maximum(wanted, self._lowest), self._highest)
        return Control(tools=((kept - pose) / self.scene.step)[:, None])

    def heights(self, state: State) -> Tensor:
        """Heights [m] of the sand's columns, (N, 64): area of sand over width.

        Each particle's area is shared among three columns by the quadratic B-spline.
        """
        width = WIDTH / COLUMNS
        away = (state.x[:, :, :1] / width - self._columns).abs()
        share = torch.where(away < 0.5, 0.75 - away**2, 0.5 * (1.5 - away).clamp(min=0.0) ** 2).sum(
            dim=1
        )
        inner = share[:, 1:-1].clone()
        inner[:, 0] = inner[:, 0] + share[:, 0]
        inner[:, -1] = inner[:, -1] + share[:, -1]
        return inner * (self.scene.bodies[0].volume / width)

    def profile(self, state: State) -> Tensor:
        """Mean heights [m] of the worked columns, three by three, (N, 16)."""
        worked = self.heights(state)[:, EDGE : COLUMNS - EDGE]
        return worked.unflatten(1, (BINS, -1)).mean(dim=2)

    def observe(self, state: State) -> Tensor:
        """Heights, and the tool's pose and twist."""
        pose, twist = state.pose[:, 0], state.twist[:, 0]
        middle = torch.tensor([WIDTH / 2, DEPTH, 0.0]).to(pose)
        scale = torch.tensor([WIDTH / 2, DEPTH, 1.0]).to(pose)
        heights = (self.heights(state) - DEPTH) / RELIEF
        return torch.cat([heights, (pose - middle) / scale, twist / self._top_speed], dim=1)

    def outside(self, state: State) -> Tensor:
        """Share [-] of the bed beyond the worked columns, (N,)."""
        heights = self.heights(state)
        return 1.0 - heights[:, EDGE : COLUMNS - EDGE].sum(dim=1) / heights.sum(dim=1)

    def remember(self, state: State) -> Tensor:
        """What there is to do, and the share of the bed beyond the worked columns."""
        return torch.stack([self.remaining(state), self.outside(state)], dim=1)

    def left(self, state: State) -> Tensor:
        """Share [-] of the work that is left, (N,)."""
        return self.remaining(state) / self.remembered(state)[:, 0]

    def reward(self, state: State, action: Tensor, after: State) -> Tensor:
        """Minus the share that is left, minus 0.01 |a|²."""
        return -self.left(after) - 0.01 * (action * action).sum(dim=1)

    def success(self, state: State) -> Tensor:
        """At most a quarter is left."""
        return self.left(state) <= 0.25

    def costs(self, state: State, action: Tensor, after: State) -> dict[str, Tensor]:
        """Too much torque on the tool, and sand driven out of the worked columns."""
        torque = after.impulse[:, 0, 2].abs() / self.scene.step
        gone = self.outside(after) - self.remembered(after)[:, 1]
        flags = {"torque": torque > self.torque_limit, "spill": gone > self.spill_limit}
        return {name: flag.to(torque.dtype) for name, flag in flags.items()}

    def script(self, state: State, t: int) -> Tensor:
        """Follow `way`."""
        wanted = _between(self.way(state), t + 1)
        return (wanted - state.pose[:, 0]) / (self._top_speed * self.scene.step)

    def picture(self, state: State, action: Tensor | None) -> dict[str, Any]:
        """Sand in layers of two shades by its height at rest."""
        from simenv.render import Camera2D, Ground

        rest = self.simulator.initial_state().x[0, :, 1].cpu().numpy()
        dark = (np.floor(rest / DEPTH * 4) % 2)[:, None]
        colors = (1 - dark) * np.array([0.90, 0.76, 0.50]) + dark * np.array([0.80, 0.63, 0.38])
        return {
            "colors": colors,
            "radius": 0.62 * math.sqrt(self.scene.bodies[0].volume),
            "camera": Camera2D(center=(WIDTH / 2, 0.25), height=0.64),
            "ground": Ground(level=0.0, tile=0.08),
        }


def _waved(x: Tensor, slopes: Tensor) -> Tensor:
    """Places (N, P, 2) on a bed squeezed along x by sine waves, and stretched upwards as much.

    u = Σ_k s_k/q_k sin(q_k x), q_k = k π/W for k = 5, 7: no sand crosses the ends, areas stay, and
    a column of depth h becomes h/(1 + u').
    """
    q = torch.tensor([5.0, 7.0]).to(x) * (math.pi / WIDTH)
    angle = x[:, :, :1] * q
    moved = (torch.sin(angle) * (slopes / q)[:, None]).sum(dim=2)
    squeeze = 1.0 + (torch.cos(angle) * slopes[:, None]).sum(dim=2)
    return torch.stack([x[:, :, 0] + moved, x[:, :, 1] / squeeze], dim=2)


def _between(knots: Tensor, t: float) -> Tensor:
    """Point (N, 3) of ways (N, K, 4) at step t, linear between knots."""
    times = knots[:, :, 0].contiguous()
    last = knots.shape[1] - 1
    after = torch.searchsorted(times, torch.full_like(times[:, :1], t)).clamp(1, last)
    rows = torch.arange(len(knots), device=knots.device)[:, None]
    a, b = knots[rows, after - 1][:, 0], knots[rows, after][:, 0]
    share = ((t - a[:, :1]) / (b[:, :1] - a[:, :1])).clamp(0.0, 1.0)
    return (a + share * (b - a))[:, 1:]
