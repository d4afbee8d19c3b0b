"""A slug of fluid that its weight drives between two sticky walls.

The slug is longer than wide and free at both ends, so that in its middle no pressure gradient acts
and the flow is that between infinite plates.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from simenv import mpm
from simenv.validation.measure import follow
from simenv.validation.outcome import Array

WIDTH, DENSITY, VISCOSITY, PULL = 0.2, 1e3, 50.0, 1.0
"""h [m], ρ [kg/m³], η [Pa s], g_x [m/s²]."""
TIME = WIDTH**2 / (math.pi**2 * VISCOSITY / DENSITY)
"""Time constant [s] with which the slowest mode of a Newtonian start-up dies away."""
SHARE = 0.25
"""Part of the width to either side of the slug's middle over which velocities are averaged."""


@dataclass(frozen=True)
class Channel:
    """Discretisation of the channel.

    Attributes:
        cells: over the width.
        number: η Δt/(ρ Δx²) of the substep, with the law's largest viscosity.
        largest: that viscosity over `VISCOSITY` [-].
        length: of the slug, in widths.
        times: how many time constants are run.
    """

    cells: int = 16
    number: float = 0.1
    largest: float = 1.0
    length: int = 3
    times: float = 6.0

    @property
    def dx(self) -> float:
        """Cell size [m]."""
        return WIDTH / self.cells

    @property
    def dt(self) -> float:
        """Substep [s]."""
        return self.number * self.dx**2 * DENSITY / (self.largest * VISCOSITY)

    @property
    def bulk_modulus(self) -> float:
        """Such that sound crosses half a cell in a substep [Pa]."""
        return DENSITY * (0.5 * self.dx / self.dt) ** 2

    @property
    def heights(self) -> Array:
        """Middles of the layers of cells [m]."""
        return np.asarray((np.arange(self.cells) + 0.5) * self.dx, dtype=np.float64)

    def flow(self, law: mpm.Material, samples: int = 60) -> tuple[Array, Array]:
        """Times (samples + 1,) [s], and the layers' velocities (samples + 1, cells) [m/s]."""
        sim = self._scene(law, self.times * TIME / samples).build()
        _, profiles = follow(sim, sim.initial_state(), samples, self._profile())
        return np.linspace(0.0, self.times * TIME, samples + 1), profiles

    def _profile(self) -> Callable[[mpm.State], Array]:
        def profile(state: mpm.State) -> Array:
            x, v = (t[0].double().numpy() for t in (state.x, state.v))
            middle = (x[:, 0].min() + x[:, 0].max()) / 2
            near = np.abs(x[:, 0] - middle) < SHARE * WIDTH
            layer = np.clip(x[near, 1] / self.dx, 0, self.cells - 1).astype(int)
            count = np.bincount(layer, minlength=self.cells)
            return np.asarray(np.bincount(layer, v[near, 0], self.cells) / count)

        return profile

    def _scene(self, law: mpm.Material, step: float) -> mpm.Scene:
        long = (self.length + 2) * self.cells
        scene = mpm.Scene(
            (long * self.dx, WIDTH),
            (long, self.cells),
            gravity=(PULL, 0.0),
            step=step,
            substeps=math.ceil(step / self.dt),
            walls={"default": mpm.Wall("sticky")},
        )
        size = self.length * WIDTH, WIDTH
        scene.add_body(mpm.Box((long * self.dx / 2, WIDTH / 2), size), law)
        return scene


def centre(profile: Array) -> Array:
    """Velocity [m/s] of the two middle layers, of one profile or of each in turn."""
    half = profile.shape[-1] // 2
    return np.asarray(profile[..., half - 1 : half + 1].mean(axis=-1))
