"""Speed of a pressure wave in a laterally confined bar."""

from __future__ import annotations

import math

import pytest
import torch

from simenv import mpm

E, NU, DENSITY, LENGTH = 1e5, 0.3, 1e3, 2.0
SPEED = math.sqrt(E * (1 - NU) / ((1 + NU) * (1 - 2 * NU)) / DENSITY)
START, WIDTH = 0.5, 0.08
"""Middle and width [m] of the first pulse, eight cells wide, where dispersion is slight."""


def _wave_speed(law: type[mpm.Material], dtype: str) -> float:
    """Speed [m/s] of the right-going half of a pulse of velocity over half the bar."""
    dx = 0.01
    slip = mpm.Wall("slip")
    time = 0.6 * LENGTH / SPEED
    scene = mpm.Scene(
        (LENGTH, 4 * dx),
        (round(LENGTH / dx), 4),
        step=time,
        substeps=math.ceil(time * SPEED / (0.3 * dx)),
        gravity=(0.0, 0.0),
        walls={"default": slip},
    )
    bar = mpm.Box((LENGTH / 2, 2 * dx), (LENGTH, 4 * dx))
    scene.add_body(bar, law(E=E, nu=NU, density=DENSITY))
    sim = scene.build(dtype=dtype)
    state = sim.initial_state()
    x = state.x[0, :, 0].double()
    v = torch.zeros_like(state.v)
    # A thousandth of the wave's speed: large strains play no part.
    v[0, :, 0] = 1e-3 * SPEED * torch.exp(-(((x - START) / WIDTH) ** 2))
    end = sim.step(state.replace(v=v))
    assert end.fault.tolist() == [0]
    # The left-going half, reflected, is still in the left part of the bar.
    energy = end.v[0, :, 0].double().square() * (x > LENGTH / 2)
    return (float((energy * x).sum() / energy.sum()) - START) / time


@pytest.mark.parametrize(
    ("law", "dtype"),
    [
        (mpm.NeoHookean, "float64"),
        (mpm.NeoHookean, "float32"),
        (mpm.FixedCorotated, "float64"),
    ],
)
def test_p_wave_speed(compare, law, dtype):
    """c = √((λ + 2μ)/ρ) to 3 %.

    Splines smooth strain and force by 1 − (k Δx)²/8 each while the mass is lumped, which slows a
    wave by (k Δx)²/8: 0.4 % at the pulse's k = √2/WIDTH.
    """
    compare("P-wave speed [m/s]", _wave_speed(law, dtype), SPEED, 0.03)
