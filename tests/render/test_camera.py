import numpy as np
import pytest

from simenv.render import Camera, Camera2D


def test_flat_camera_maps_its_window_onto_the_picture():
    """The centre falls in the middle, and the visible height fills the picture's height."""
    camera = Camera2D(center=(1.0, 2.0), height=4.0)
    points = [[1.0, 2.0], [1.0, 4.0], [3.0, 2.0]]
    pixels = camera.project(points, width=300, height=200)
    np.testing.assert_allclose(pixels, [[150, 100], [150, 0], [250, 100]])


def test_perspective_camera_follows_the_pinhole_formula():
    """At 90 degrees, half a metre off the axis at two metres is a quarter of the half height."""
    camera = Camera(eye=(0, 0, 2), target=(0, 0, 0), fov_degrees=90)
    pixels = camera.project([[0, 0, 0], [0.5, 0, 0], [0, 0.5, 1]], width=300, height=200)
    np.testing.assert_allclose(pixels, [[150, 100, 2], [175, 100, 2], [150, 50, 1]])


def test_perspective_camera_keeps_up_upwards_from_any_side():
    """A point above the target appears above the middle, whichever way the camera looks."""
    for eye in ([3, 1, 0], [0, 2, -3], [-2, 0.5, 2]):
        column, row, _ = Camera(eye=eye, target=(0, 0, 0)).project(
            [[0, 0.1, 0]], width=100, height=100
        )[0]
        assert column == pytest.approx(50)
        assert row < 50


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"eye": (0, 0), "target": (1, 0, 0)}, r"eye must be 3 finite numbers, got \(0, 0\)"),
        ({"eye": (0, 0, np.nan), "target": (1, 0, 0)}, "eye must be 3 finite numbers"),
        ({"eye": (1, 0, 0), "target": (1, 0, 0)}, "eye and target must differ"),
        ({"eye": (0, 1, 0), "target": (0, 0, 0)}, "must not be parallel to the line of sight"),
        ({"eye": (1, 0, 0), "target": (0, 0, 0), "up": (0, 0, 0)}, "must not be parallel"),
        ({"eye": (1, 0, 0), "target": (0, 0, 0), "fov_degrees": 180}, "got 180"),
    ],
)
def test_camera_refuses_what_cannot_be_seen_through(arguments, message):
    """Each impossible camera is refused with the value at fault."""
    with pytest.raises(ValueError, match=message):
        Camera(**arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"center": (0, 0, 0), "height": 1.0}, "center must be 2 finite numbers"),
        ({"center": (0, 0), "height": 0.0}, "height must be positive and finite"),
        ({"center": (0, 0), "height": np.inf}, "height must be positive and finite"),
    ],
)
def test_flat_camera_refuses_an_impossible_window(arguments, message):
    """Each impossible window is refused with the value at fault."""
    with pytest.raises(ValueError, match=message):
        Camera2D(**arguments)


def test_project_names_the_shape_it_got():
    """Points of the wrong dimension are refused."""
    with pytest.raises(ValueError, match=r"shape \(P, 3\), got \(4, 2\)"):
        Camera(eye=(1, 0, 0), target=(0, 0, 0)).project(np.zeros((4, 2)), width=8, height=8)
