"""Free fall: symplectic Euler has a closed form, which a body in the air must follow exactly."""

from __future__ import annotations

import pytest

from simenv import mpm

G, V0, SUBSTEPS, DT = 9.81, 0.3, 1000, 5e-4


def _fall(dim: int, dtype: str) -> float:
    """How far [m] the centre of a soft cube has moved after 1,000 substeps."""
    scene = mpm.Scene((2.0,) * dim, (16,) * dim, step=SUBSTEPS * DT, substeps=SUBSTEPS)
    centre, speed = (1.0, 1.6, 1.0)[:dim], (0.5, V0, 0.0)[:dim]
    cube = mpm.Box(centre, (0.4,) * dim)
    scene.add_body(cube, mpm.NeoHookean(E=1e4, nu=0.3, density=1e3), velocity=speed)
    sim = scene.build(dtype=dtype)
    start = sim.initial_state()
    end = sim.step(start)
    assert end.fault.tolist() == [0]
    return float((end.x.double() - start.x.double())[..., 1].mean())


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("dim", [2, 3])
def test_free_fall(compare, dim, dtype):
    """y_n = y_0 + n Δt v_0 − ½ g Δt² n (n + 1), n = 1,000.

    In single precision each of the 1,000 additions to y = 1.6 m rounds by up to 6e-8 m; if they
    scatter, √1000 · 6e-8 = 2e-6 m remain of a fall of 1.08 m, within the 1e-5 asked for. In double
    precision the same argument gives 1e-14.
    """
    n = SUBSTEPS
    expected = n * DT * V0 - 0.5 * G * DT**2 * n * (n + 1)
    tolerance = {"float64": 1e-12, "float32": 1e-5}[dtype]
    compare(f"free fall, {n} substeps, {dtype} [m]", _fall(dim, dtype), expected, tolerance)
