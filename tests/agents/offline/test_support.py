"""Kernel densities, and the share of points outside of the data."""

from __future__ import annotations

import math

import pytest
import torch

from agents.offline import support
from agents.offline.support import ROWS, log_densities, log_density, outside_share, scott
from simenv.errors import ConfigurationError, ShapeError


def by_hand(point, data, bandwidth: float) -> float:
    """log of the mean of the Gaussians, in plain arithmetic."""
    dim = len(point)
    scale = (bandwidth * math.sqrt(2 * math.pi)) ** dim
    squares = [sum((a - b) ** 2 for a, b in zip(point, x, strict=True)) for x in data]
    kernels = [math.exp(-square / (2 * bandwidth**2)) / scale for square in squares]
    return math.log(sum(kernels) / len(kernels))


@pytest.mark.parametrize("leave_out", [False, True])
def test_log_density(leave_out):
    """As by hand, at the last point of a second block of rows as well."""
    torch.manual_seed(0)
    data = torch.randn(ROWS + 7, 2, dtype=torch.float64)
    found = log_density(data, data, 0.3, leave_out=leave_out)
    rows = data.tolist()
    for i in (0, ROWS - 1, ROWS, ROWS + 6):
        others = rows[:i] + rows[i + 1 :] if leave_out else rows
        # Distances come from products of matrices, which loses some digits.
        assert found[i].item() == pytest.approx(by_hand(rows[i], others, 0.3), abs=1e-9)


def test_densities_by_several_bandwidths():
    """Each as by itself, narrow ones in float32 too: 1e-5 is some twenty roundings of it.

    Points lie far from the origin, 1e-3 from each other. Products in float32 would round squared
    distances by 1e-6, as large as they are.
    """
    torch.manual_seed(0)
    data = 3.0 + 1e-3 * torch.randn(40, 3)
    widths = [0.001, 0.002, 0.1]
    found = log_densities(data, data, widths, leave_out=True)
    rows = data.double().tolist()
    for h, row in zip(widths, found.tolist(), strict=True):
        exact = [by_hand(x, rows[:i] + rows[i + 1 :], h) for i, x in enumerate(rows)]
        assert row == pytest.approx(exact, rel=1e-5, abs=1e-5)
    assert log_densities(data[:0], data, widths).shape == (3, 0)


def test_densities_that_make_no_sense():
    """A datum cannot be left out at a point that is not its own, nor the only one at all."""
    data = torch.randn(4, 2)
    for other in (data[:3], torch.randn(5, 2)):
        with pytest.raises(ShapeError, match=r"points has shape .*expected \(4, 2\)"):
            log_density(other, data, 1.0, leave_out=True)
    with pytest.raises(ConfigurationError, match="1 data are too few for a density; it takes 2"):
        log_density(data[:1], data[:1], 1.0, leave_out=True)
    with pytest.raises(ConfigurationError, match="0 data are too few"):
        log_density(data, data[:0], 1.0)
    assert log_density(data, data[:1], 1.0).shape == (4,)


def test_memory_is_bounded(monkeypatch):
    """No more than `ROWS` rows of distances at a time."""
    sizes, real = [], support._squares
    monkeypatch.setattr(support, "_squares", lambda *x: sizes.append(len(x[0])) or real(*x))
    log_density(torch.zeros(2 * ROWS + 1, 1), torch.zeros(3, 1), 1.0)
    assert sizes == [ROWS, ROWS, 1]


def test_scotts_bandwidth():
    """10,000 points of four numbers: 10⁻⁴ᐟ⁸."""
    assert scott(torch.zeros(10_000, 4)) == pytest.approx(10**-0.5)


def test_outside_share():
    """5 % of the data themselves, all of what is far away, nothing of what is in the middle."""
    torch.manual_seed(0)
    data = torch.randn(400, 2)
    assert outside_share(data, data, leave_out=True) == pytest.approx(0.05, abs=1 / 400)
    assert outside_share(data, data, leave_out=True, quantile=0.5) == pytest.approx(
        0.5, abs=1 / 400
    )
    assert outside_share(data + 10, data) == 1.0
    assert outside_share(0.01 * data, data) == 0.0
