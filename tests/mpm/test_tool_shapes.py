"""Tools: how large they are, where their origin is, and what is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError
from simenv.mpm import tools

TOOLS = {
    "rod": (tools.rod(0.1, 0.8), (-0.4, -0.1, -0.1), (0.4, 0.1, 0.1)),
    "rod 2-D": (tools.rod(0.1, 0.8, dim=2), (-0.4, -0.1), (0.4, 0.1)),
    "pin": (tools.pin(0.1, 0.8), (-0.1, -0.8, -0.1), (0.1, 0.0, 0.1)),
    "pin 2-D": (tools.pin(0.1, 0.8, dim=2), (-0.1, -0.8), (0.1, 0.0)),
    "plate": (tools.plate(0.4, 0.02, 0.3), (-0.2, -0.01, -0.15), (0.2, 0.01, 0.15)),
    "plate 2-D": (tools.plate(0.4, 0.02), (-0.2, -0.01), (0.2, 0.01)),
    "rolling pin": (tools.rolling_pin(0.1, 0.6, 0.03, 0.2), (-0.5, -0.1, -0.1), (0.5, 0.1, 0.1)),
    "scoop": (tools.scoop(0.4, 0.6, 0.2, 0.02), (0.0, -0.1, -0.2), (0.6, 0.1, 0.2)),
    "scoop 2-D": (tools.scoop(0.4, 0.6, 0.2, 0.02, dim=2), (0.0, -0.1), (0.6, 0.1)),
    "cup": (tools.cup(0.2, 0.6, 0.02), (-0.2, -0.3, -0.2), (0.2, 0.3, 0.2)),
    "cup 2-D": (tools.cup(0.2, 0.6, 0.02, dim=2), (-0.2, -0.3), (0.2, 0.3)),
    "comb": (tools.comb(4, 0.3, 0.1, 0.02), (-0.17, -0.3, -0.02), (0.17, 0.02, 0.02)),
    "comb 2-D": (tools.comb(4, 0.3, 0.1, 0.02, dim=2), (-0.17, -0.3), (0.17, 0.02)),
}


@pytest.mark.parametrize("name", TOOLS)
def test_extent_and_origin(name):
    """Each tool reaches from and to where its dimensions say, about its origin."""
    tool, lower, upper = TOOLS[name]
    np.testing.assert_allclose(tool.bounds, [lower, upper], atol=1e-12)


@pytest.mark.parametrize("name", TOOLS)
def test_tools_have_points_to_touch_with(name):
    """Every tool can meet walls and other bodies when it is let go."""
    tool = TOOLS[name][0]
    assert len(tool.contact_points()) > 0


@pytest.mark.parametrize("dim", [2, 3])
def test_cup_is_open_above(dim):
    """Wall and bottom are solid, the inside and the opening are not."""
    cup = tools.cup(0.2, 0.6, 0.02, dim=dim)
    solid = np.array([[0.19, 0.0, 0.0], [0.0, -0.29, 0.0], [-0.19, 0.29, 0.0], [-0.19, -0.29, 0.0]])
    hollow = np.array([[0.0, 0.0, 0.0], [0.0, 0.299, 0.0], [0.17, -0.27, 0.0], [0.0, 0.4, 0.0]])
    assert np.all(cup.sdf(solid[:, :dim]) < 0)
    assert np.all(cup.sdf(hollow[:, :dim]) > 0)


@pytest.mark.parametrize("dim", [2, 3])
def test_scoop_is_open_above_and_in_front(dim):
    """Bottom and back wall are solid; the inside, the front and the top are not."""
    scoop = tools.scoop(0.4, 0.6, 0.2, 0.02, dim=dim)
    solid = np.array([[0.01, 0.0, 0.0], [0.3, -0.09, 0.0], [0.59, -0.09, 0.0]])
    hollow = np.array([[0.3, 0.0, 0.0], [0.59, 0.0, 0.0], [0.3, 0.09, 0.0]])
    assert np.all(scoop.sdf(solid[:, :dim]) < 0)
    assert np.all(scoop.sdf(hollow[:, :dim]) > 0)


def test_scoop_has_two_sides():
    """In space the sides are closed."""
    scoop = tools.scoop(0.4, 0.6, 0.2, 0.02)
    assert np.all(scoop.sdf(np.array([[0.5, 0.05, 0.19], [0.5, 0.05, -0.19]])) < 0)


def test_volumes():
    """Volumes against closed forms."""
    cup = math.pi * (0.2**2 * 0.6 - 0.18**2 * 0.58)
    # The hollow, summed over a lattice, is known to about 3e-4.
    assert abs(tools.cup(0.2, 0.6, 0.02).volume - cup) <= 5e-4 * math.pi * 0.18**2 * 0.58
    flat = 0.4 * 0.02 + 2 * 0.02 * 0.58
    assert math.isclose(tools.cup(0.2, 0.6, 0.02, dim=2).volume, flat, rel_tol=1e-12)
    # Overlaps of boxes are exact where all faces of an overlap are on its bounds; the sides share
    # an L with bottom and back, of 0.02 · 0.02 in cross-section, summed to a percent.
    scoop = 0.4 * 0.6 * 0.2 - 0.36 * 0.58 * 0.18
    assert abs(tools.scoop(0.4, 0.6, 0.2, 0.02).volume - scoop) <= 0.01 * 2 * 0.02 * 0.02 * 0.8
    # The handle's part inside the roller is a cylinder; what sticks out, one with half a ball.
    pin = math.pi * (0.1**2 * 0.6 + 2 * 0.03**2 * (0.17 + 2 / 3 * 0.03))
    inside = math.pi * 0.03**2 * 0.6
    assert abs(tools.rolling_pin(0.1, 0.6, 0.03, 0.2).volume - pin) <= 1e-3 * inside


def test_comb_has_gaps():
    """Teeth are solid, the gaps between them are not."""
    comb = tools.comb(3, 0.3, 0.1, 0.02)
    teeth = np.array([[-0.1, -0.2, 0.0], [0.0, -0.2, 0.0], [0.1, -0.2, 0.0]])
    assert np.all(comb.sdf(teeth) < 0)
    np.testing.assert_allclose(comb.sdf(np.array([[-0.05, -0.2, 0.0]])), 0.03, atol=1e-12)


def test_rolling_pin_is_held_at_both_ends():
    """The handles are thinner than the roller and stick out of it."""
    pin = tools.rolling_pin(0.1, 0.6, 0.03, 0.2)
    assert np.all(pin.sdf(np.array([[0.45, 0.0, 0.0], [-0.45, 0.02, 0.0], [0.0, 0.09, 0.0]])) < 0)
    assert pin.sdf(np.array([0.45, 0.05, 0.0])) > 0


def test_tools_can_be_placed():
    """A tool moved and turned keeps its volume."""
    cup = tools.cup(0.2, 0.6, 0.02, dim=2)
    assert mpm.Placed(cup, (1.0, 2.0), 0.3).volume == cup.volume


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: tools.rod(-0.1, 1.0), "rod radius = -0.1"),
        (lambda: tools.rod(0.1, 0.2), "rod two radii = 0.2 .* less than length = 0.2"),
        (lambda: tools.rod(0.1, 0.5, dim=4), "rod dim = 4"),
        (lambda: tools.pin(0.1, math.nan), "pin length = nan"),
        (lambda: tools.plate(0.1, 0.0), "Box size = 0.0"),
        (lambda: tools.rolling_pin(0.1, 0.5, 0.1, 0.2), "handle_radius = 0.1 .* radius = 0.1"),
        (lambda: tools.rolling_pin(0.1, 0.5, 0.05, 0.02), "handle_radius = 0.05 .* handle_length"),
        (lambda: tools.scoop(0.1, 0.2, 0.3, 0.05), "two walls = 0.1 .* width = 0.1"),
        (lambda: tools.scoop(0.5, 0.2, 0.3, 0.2), "thickness = 0.2 .* depth = 0.2"),
        (lambda: tools.cup(0.1, 0.2, 0.1), "thickness = 0.1 .* radius = 0.1"),
        (lambda: tools.cup(0.1, 0.05, 0.06), "thickness = 0.06 .* height = 0.05"),
        (lambda: tools.cup(0.1, 0.2, 0.01, dim=1), "cup dim = 1"),
        (
            lambda: tools.comb(1, 0.3, 0.1, 0.02),
            "comb teeth = 1 must be at least 2; for one use pin",
        ),
        (lambda: tools.comb(2.5, 0.3, 0.1, 0.02), "comb teeth = 2.5"),
        (lambda: tools.comb(3, 0.3, 0.04, 0.02), "two radii = 0.04 .* spacing = 0.04"),
        (lambda: tools.comb(3, 0.02, 0.1, 0.02), "radius = 0.02 .* length = 0.02"),
    ],
)
def test_bad_tool_is_named(make, message):
    """Dimensions that do not fit together are refused with both values."""
    with pytest.raises(ConfigurationError, match=message):
        make()
