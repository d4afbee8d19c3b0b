import subprocess
import sys

import numpy as np
import pytest
import torch
import warp as wp

from simenv.render import Camera, Camera2D, Ground, Splatter, diverging

RED, GREEN, WHITE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (1.0, 1.0, 1.0)
FLAT = Camera2D(center=(0.5, 0.5), height=1.0)
DEEP = Camera(eye=(0.3, 0.6, 2.0), target=(0.0, 0.2, 0.0), fov_degrees=40)


@pytest.fixture(scope="module")
def splatter():
    return Splatter(160, 120)


def is_red(picture):
    """Pixels at least half covered by red particles on a white background."""
    return (picture[..., 1] < 150) & (picture[..., 0] > 90)


def middle(mask):
    """Mean column and row of the true pixels' centres."""
    rows, columns = np.nonzero(mask)
    return columns.mean() + 0.5, rows.mean() + 0.5


def cloud(count=400, dim=3):
    return np.random.default_rng(0).uniform(-0.4, 0.4, (count, dim)) + 0.5


@pytest.mark.parametrize("point", [(0.5, 0.5), (0.13, 0.8), (1.02, 0.31)])
def test_flat_particle_is_where_the_camera_says(splatter, point):
    """The disc's centre lies within a pixel of the projection."""
    picture = splatter.render([point], colors=RED, radius=0.05, camera=FLAT, background=WHITE)
    expected = FLAT.project([point], width=160, height=120)[0]
    np.testing.assert_allclose(middle(is_red(picture)), expected, atol=0.5)


@pytest.mark.parametrize("point", [(0.0, 0.2, 0.0), (0.4, 0.5, 0.1), (-0.3, 0.0, -1.0)])
def test_deep_particle_is_where_the_camera_says(splatter, point):
    """The sphere's centre lies within a pixel of the projection."""
    picture = splatter.render([point], colors=RED, radius=0.05, camera=DEEP, background=WHITE)
    expected = DEEP.project([point], width=160, height=120)[0, :2]
    np.testing.assert_allclose(middle(is_red(picture)), expected, atol=1.0)


def test_flat_radius_in_pixels(splatter):
    """A disc of 0.1 m in a picture of 120 pixels for 1 m spans 24 pixels and fills a circle."""
    picture = splatter.render([(0.5, 0.5)], colors=RED, radius=0.1, camera=FLAT, background=WHITE)
    mask = is_red(picture)
    assert mask.any(axis=0).sum() == pytest.approx(24, abs=1)
    assert mask.any(axis=1).sum() == pytest.approx(24, abs=1)
    assert mask.sum() == pytest.approx(np.pi * 12**2, rel=0.03)


@pytest.mark.parametrize("distance", [0.5, 1.0, 4.0])
def test_deep_radius_in_pixels(splatter, distance):
    """A sphere on the axis covers a disc of radius r f / sqrt(z^2 - r^2) pixels."""
    camera = Camera(eye=(0, 0, distance), target=(0, 0, 0), fov_degrees=60)
    picture = splatter.render([(0, 0, 0)], colors=RED, radius=0.1, camera=camera, background=WHITE)
    focal = 60 / np.tan(np.radians(30))
    expected = 0.1 * focal / np.sqrt(distance**2 - 0.1**2)
    assert np.sqrt(is_red(picture).sum() / np.pi) == pytest.approx(expected, abs=0.5)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_nearer_sphere_hides_the_farther(splatter, order):
    """The nearer of two spheres on one line of sight is seen, in whatever order they come."""
    points = np.array([[0, 0, 0.5], [0, 0, -0.5]])[order]
    colors = np.array([RED, GREEN])[order]
    camera = Camera(eye=(0, 0, 2), target=(0, 0, 0))
    picture = splatter.render(points, colors=colors, radius=0.2, camera=camera, background=WHITE)
    red, green, _ = picture[60, 80].astype(int)
    assert red > green + 80


def test_intersecting_spheres_meet_halfway(splatter):
    """Of two equal spheres at one depth, each is seen on its own side."""
    points, colors = [[-0.1, 0, 0], [0.1, 0, 0]], [RED, GREEN]
    camera = Camera(eye=(0, 0, 2), target=(0, 0, 0))
    picture = splatter.render(points, colors=colors, radius=0.2, camera=camera, background=WHITE)
    left, right = picture[60, 77].astype(int), picture[60, 82].astype(int)
    assert left[0] > left[1] + 80
    assert right[1] > right[0] + 80


def test_borders_inside_a_pixel_are_mixed(splatter):
    """Where two discs meet in the middle of a pixel, the pixel has something of both colours."""
    half_pixel = 0.5 / 120
    points = [[0.4 + half_pixel, 0.5], [0.6 + half_pixel, 0.5]]
    picture = splatter.render(
        points, colors=[RED, GREEN], radius=0.2, camera=FLAT, background=WHITE
    ).astype(int)
    left, mixed, right = picture[60, 79:82, :2]
    np.testing.assert_allclose(mixed, (left + right) / 2, atol=8)
    assert left[0] - left[1] > 80
    assert right[1] - right[0] > 80


def test_ground_hides_what_lies_under_it(splatter):
    """A sphere under the floor is not seen from above; without the floor it is."""
    options = {"colors": RED, "radius": 0.05, "camera": DEEP, "background": WHITE}
    under = [(0.0, -0.1, 0.0)]
    assert not is_red(splatter.render(under, ground=Ground(level=0.0), **options)).any()
    assert is_red(splatter.render(under, **options)).any()


def test_ground_lies_under_its_level(splatter):
    """In two dimensions the floor fills the picture below its level and nothing above."""
    bare = splatter.render(np.zeros((0, 2)), colors=RED, radius=0.1, camera=FLAT)
    floor = splatter.render(
        np.zeros((0, 2)), colors=RED, radius=0.1, camera=FLAT, ground=Ground(level=0.25)
    )
    changed = (bare != floor).any(axis=(1, 2))
    assert not changed[:88].any()
    assert changed[92:].all()


def test_bounds_are_outlined(splatter):
    """The four sides of the domain are darker than the picture beside them."""
    bounds = ((0.25, 0.25), (0.75, 0.75))
    plain = splatter.render(np.zeros((0, 2)), colors=RED, radius=0.1, camera=FLAT)
    lined = splatter.render(np.zeros((0, 2)), colors=RED, radius=0.1, camera=FLAT, bounds=bounds)
    darker = (lined.astype(int) - plain).sum(axis=2) < -20
    assert darker[60, [49, 50]].any()
    assert darker[60, [109, 110]].any()
    assert darker[[29, 30], 80].any()
    assert darker[[89, 90], 80].any()
    assert not darker[60, 55:105].any()


def test_body_casts_a_shadow_under_itself(splatter):
    """The ground below a hovering sphere is darker than without it, far away it is equal."""
    options = {"colors": RED, "radius": 0.05, "camera": DEEP, "ground": Ground(level=0.0)}
    empty = splatter.render(np.zeros((0, 3)), **options).astype(int)
    picture = splatter.render([(0.0, 0.1, 0.0)], **options).astype(int)
    darker = (picture - empty).sum(axis=2) < -30
    assert (darker & ~is_red(picture)).sum() > 10
    np.testing.assert_array_equal(picture[100:, :20], empty[100:, :20])


def test_spheres_are_shaded_from_above(splatter):
    """The upper part of a sphere is brighter than its lower part."""
    camera = Camera(eye=(0, 0, 2), target=(0, 0, 0))
    picture = splatter.render([(0, 0, 0)], colors=RED, radius=0.3, camera=camera).astype(int)
    assert picture[45, 80, 0] > picture[75, 80, 0] + 30


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e30, 1e300])
@pytest.mark.parametrize("camera", [FLAT, DEEP])
def test_particles_without_a_place_are_left_out(splatter, bad, camera):
    """NaN, infinite and absurdly distant coordinates change no pixel, at either end of the list."""
    dim = 2 if camera is FLAT else 3
    points = cloud(50, dim)
    wrong = np.full((dim, dim), 0.5)
    np.fill_diagonal(wrong, bad)
    options = {"colors": RED, "radius": 0.02, "camera": camera, "ground": Ground(level=0.1)}
    expected = splatter.render(points, **options)
    np.testing.assert_array_equal(splatter.render(np.vstack([points, wrong]), **options), expected)
    np.testing.assert_array_equal(splatter.render(np.vstack([wrong, points]), **options), expected)


def test_particles_out_of_view_are_left_out(splatter):
    """Behind, beside and around the camera nothing is drawn, whatever the size."""
    empty = splatter.render(np.zeros((0, 3)), colors=RED, radius=1.0, camera=DEEP)
    points = [[0.3, 0.6, 4.0], [50.0, 0.2, 0.0], [0.3, 0.6, 2.1], [0.6, 0.8, 1.9]]
    picture = splatter.render(points, colors=RED, radius=[0.5, 1.0, 0.3, 0.3], camera=DEEP)
    np.testing.assert_array_equal(picture, empty)


def test_spheres_larger_than_the_picture_fill_it(splatter):
    """A sphere that covers the whole view leaves no background and breaks nothing."""
    picture = splatter.render([(0.5, 0.5)], colors=RED, radius=3.0, camera=FLAT, background=WHITE)
    assert is_red(picture).all()


def test_no_particles_gives_the_background(splatter):
    """Without particles and floor the picture runs from the upper to the lower colour."""
    picture = splatter.render(
        np.zeros((0, 3)), colors=np.zeros((0, 3)), radius=1.0, camera=DEEP, background=(RED, GREEN)
    )
    assert picture.shape == (120, 160, 3)
    assert picture.dtype == np.uint8
    np.testing.assert_array_equal(picture[0, 0], [254, 1, 0])
    np.testing.assert_array_equal(picture[-1, -1], [1, 254, 0])


@pytest.mark.parametrize("camera", [FLAT, DEEP])
def test_pictures_are_bitwise_reproducible(splatter, camera):
    """The same scene gives the same bytes, also from a fresh splatter, also after another scene."""
    points = cloud(dim=2 if camera is FLAT else 3)
    options = {"radius": 0.03, "camera": camera, "ground": Ground(level=0.1)}
    colors = diverging(np.linspace(-1, 1, len(points)))
    first = splatter.render(points, colors=colors, **options)
    splatter.render(points[:7] + 0.1, colors=RED, **options)
    second = splatter.render(points, colors=colors, **options)
    fresh = Splatter(160, 120).render(points, colors=colors, **options)
    np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(first, fresh)


def test_pictures_do_not_share_memory(splatter):
    """A picture in the user's hands survives the next one."""
    first = splatter.render(cloud(dim=2), colors=RED, radius=0.03, camera=FLAT)
    kept = first.copy()
    splatter.render(np.zeros((0, 2)), colors=RED, radius=0.03, camera=FLAT)
    np.testing.assert_array_equal(first, kept)


def test_kinds_of_input_agree(splatter):
    """NumPy, torch with gradients, lists, bytes and floats, one value and many: one picture."""
    points = cloud(30, 2).astype(np.float32)
    options = {"camera": FLAT}
    expected = splatter.render(points, colors=(255, 0, 51), radius=0.03, **options)
    tensor = torch.tensor(points, dtype=torch.float64, requires_grad=True)
    many = np.tile(np.array([255, 0, 51], np.uint8), (30, 1))
    radii = torch.full((30,), 0.03)
    for picture in (
        splatter.render(tensor, colors=many, radius=radii, **options),
        splatter.render(points.tolist(), colors=[1.0, 0.0, 0.2], radius=[0.03] * 30, **options),
    ):
        np.testing.assert_array_equal(picture, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"positions": np.zeros((4, 3))}, r"shape \(P, 2\) for this camera, got \(4, 3\)"),
        ({"positions": np.zeros(4)}, r"shape \(P, 2\) for this camera, got \(4,\)"),
        ({"camera": DEEP}, r"shape \(P, 3\) for this camera, got \(4, 2\)"),
        ({"colors": np.zeros((3, 3))}, r"colors must have shape \(4, 3\) or \(3,\), got \(3, 3\)"),
        ({"colors": (0.1, 0.2)}, "colors must have a last axis of length 3"),
        ({"colors": (0.1, 0.2, 1.5)}, r"colors of type float64 must lie in \[0, 1.0\]"),
        ({"colors": (0, 0, 256)}, r"must lie in \[0, 255\]"),
        ({"colors": (0.1, 0.2, np.nan)}, "colors of type float64 must lie in"),
        ({"radius": np.ones(3)}, r"radius must have shape \(4,\) or be a number, got \(3,\)"),
        ({"radius": 0.0}, "radius must be positive and finite"),
        ({"radius": np.nan}, "radius must be positive and finite"),
        ({"background": np.zeros((3, 3))}, r"one or two colours, got shape \(3, 3\)"),
        ({"bounds": ((0, 0, 0), (1, 1, 1))}, "two corners of 2 finite numbers"),
    ],
)
def test_wrong_arguments_are_named(splatter, changes, message):
    """Each wrong argument is refused with what was expected and what came."""
    arguments = {"positions": np.zeros((4, 2)), "colors": RED, "radius": 0.1, "camera": FLAT}
    arguments.update(changes)
    with pytest.raises(ValueError, match=message):
        splatter.render(arguments.pop("positions"), **arguments)


def test_wrong_construction_is_named(splatter):
    """Sizes, floors and cameras of the wrong kind are refused."""
    with pytest.raises(ValueError, match="height must be a positive integer"):
        Splatter(10, 0)
    with pytest.raises(ValueError, match="width must be a positive integer"):
        Splatter(10.5, 10)
    with pytest.raises(ValueError, match="tile must be positive"):
        Ground(tile=0.0)
    with pytest.raises(ValueError, match="level must be finite"):
        Ground(level=np.nan)
    with pytest.raises(TypeError, match="got str"):
        splatter.render(np.zeros((1, 2)), colors=RED, radius=1.0, camera="front")


def test_importing_the_package_does_not_load_warp():
    """Commands that only need names of this package stay quick."""
    code = "import sys, simenv.render; sys.exit('warp' in sys.modules or 'torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(not wp.is_cuda_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("camera", [FLAT, DEEP])
def test_gpu_pictures_match_the_cpu_and_repeat(splatter, camera):
    """The GPU draws what the CPU draws up to rounding, and the same bytes every time."""
    points = cloud(dim=2 if camera is FLAT else 3)
    options = {"colors": RED, "radius": 0.03, "camera": camera, "ground": Ground(level=0.1)}
    on_gpu = Splatter(160, 120, device="cuda:0")
    pictures = [on_gpu.render(points, **options) for _ in range(3)]
    np.testing.assert_array_equal(pictures[0], pictures[1])
    np.testing.assert_array_equal(pictures[0], pictures[2])
    difference = np.abs(pictures[0].astype(int) - splatter.render(points, **options))
    assert (difference > 3).mean() < 0.005
