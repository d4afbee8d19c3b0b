"""Small scenes shared by the tests.

Warp compiles every (dimension, precision, law) once, so the tests draw on few combinations.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from simenv import mpm

E, NU, DENSITY = 1e4, 0.3, 1e3
"""Elastic constants [Pa], [-], [kg/m³] of every body that does not say otherwise."""

MUSCLES = 2
BODIES = ("soft", "corotated", "soft muscle", "corotated muscle")


def soft(**changes: float) -> mpm.NeoHookean:
    """The usual neo-Hookean law."""
    return mpm.NeoHookean(**{"E": E, "nu": NU, "density": DENSITY, **changes})


def corotated() -> mpm.FixedCorotated:
    """The usual fixed corotated law."""
    return mpm.FixedCorotated(E=E, nu=NU, density=DENSITY)


def muscle(elastic: mpm.Material, dim: int, index: int = 0) -> mpm.Muscle:
    """A muscle along a slanted fibre."""
    return mpm.Muscle(elastic, fibre=(1.0, 2.0, -1.0)[:dim], index=index, max_activation=E)


def laws(dim: int) -> tuple[mpm.Material, ...]:
    """Every law, passive and as a muscle, in the order of `BODIES`."""
    passive = soft(), corotated()
    return (*passive, *(muscle(law, dim, i) for i, law in enumerate(passive)))


def vector(dim: int, x: float, y: float, z: float = 0.0) -> tuple[float, ...]:
    """The first `dim` of three components."""
    return (x, y, z)[:dim]


def block(dim: int = 2, law: mpm.Material | None = None, **options: Any) -> mpm.Scene:
    """One cube of 0.25 m in the middle of a cubic metre, 5 substeps of 1 ms per step."""
    options = {"step": 5e-3, "substeps": 5, **options}
    scene = mpm.Scene((1.0,) * dim, (8,) * dim, **options)
    scene.add_body(mpm.Box((0.5,) * dim, (0.25,) * dim), law or soft(), name="block")
    return scene


def menagerie(dim: int, substeps: int, wall: mpm.Wall) -> mpm.Scene:
    """A body of every law, two on the floor and two on top of them; substeps of 1 ms."""
    cells = 16 if dim == 2 else 10
    scene = mpm.Scene(
        (1.0,) * dim,
        (cells,) * dim,
        step=substeps * 1e-3,
        substeps=substeps,
        walls={"default": wall},
    )
    places = [(0.3, 0.1), (0.6, 0.1), (0.3, 0.3), (0.6, 0.3)]
    for name, law, (x, y) in zip(BODIES, laws(dim), places, strict=True):
        shape = mpm.Box(vector(dim, x, y, 0.5), (0.2,) * dim)
        scene.add_body(shape, law, name=name)
    return scene


def same(a: Any, b: Any) -> bool:
    """Whether two states agree bitwise in x, v, C, F."""
    return all(torch.equal(getattr(a, name), getattr(b, name)) for name in "xvCF")


def stirred(state: mpm.State, speed: float = 0.3) -> mpm.State:
    """The state with random velocities, affine velocities and deformations added."""
    return state.replace(
        v=state.v + speed * torch.randn_like(state.v),
        C=state.C + torch.randn_like(state.C),
        F=state.F + 0.05 * torch.randn_like(state.F),
    )


def rotation(dim: int, dtype: torch.dtype = torch.float64) -> Tensor:
    """A random proper rotation matrix."""
    q, _ = torch.linalg.qr(torch.randn(dim, dim, dtype=dtype))
    q[:, 0] *= torch.sign(torch.linalg.det(q))
    return q
