"""The code in docs/materials.md runs as it stands."""

from __future__ import annotations

import re
import runpy
from pathlib import Path

import pytest
import torch

from simenv import mpm
from tests.mpm.materials import laws

PAGE = Path(__file__).parents[3] / "docs" / "materials.md"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> dict:
    """What the page's code defines, run from a file: Warp reads the source of kernels."""
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
    path = tmp_path_factory.mktemp("page") / "materials_page.py"
    path.write_text("\n\n".join(blocks), encoding="utf-8")
    return runpy.run_path(str(path))


def test_every_block_runs(page):
    """All blocks in a row, their assertions included."""
    assert {"DampedRubber", "CrushableFoam", "learnt"} <= set(page)


def test_page_lists_every_law_and_parameter():
    """The table leaves out no law that the package offers and no parameter of any."""
    text = PAGE.read_text(encoding="utf-8")
    for law in laws.PASSIVE.values():
        assert f"`{type(law).__name__}`" in text
        assert all(f"`{name}`" in text for name in law.bounds), type(law)
    assert "`Muscle`" in text


@pytest.mark.parametrize("dim", [2, 3])
def test_foam_of_the_page(page, dim):
    """Pressure never exceeds the crush strength; τ and its gradient are right at F = c I too."""
    foam = page["CrushableFoam"](E=1e4, nu=0.1, density=100.0, crush=500.0)
    F = torch.cat([0.9 * torch.eye(dim, dtype=torch.float64)[None], laws.deformations(dim)])
    _F, tau, _m = laws.answer(foam, F)
    pressure = -laws.trace(tau) / dim
    assert float(pressure.max()) == pytest.approx(500.0, rel=1e-12)

    def scaled(F):
        return laws.answer(foam, F)[1] / 1e4

    assert torch.autograd.gradcheck(scaled, F[:4].clone().requires_grad_(), atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("dim", [2, 3])
def test_rubber_of_the_page(page, dim):
    """The elastic part is the built-in law's, the viscous one 2 η J sym C."""
    rubber = page["DampedRubber"](laws.E, laws.NU, laws.DENSITY, loss=3.0)
    F = laws.deformations(dim)
    C = torch.randn_like(F)
    viscous = 3.0 * torch.linalg.det(F)[:, None, None] * (C + C.mT)
    expected = laws.answer(mpm.NeoHookean(laws.E, laws.NU, laws.DENSITY), F)[1] + viscous
    torch.testing.assert_close(laws.answer(rubber, F, C)[1], expected, rtol=1e-10, atol=1e-8)
