"""Scenes: what they refuse, and the substep they choose."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simenv import mpm
from simenv.errors import ConfigurationError, UnstableTimeStepError
from simenv.mpm.scene import CHOSEN_COURANT, STABLE_COURANT
from tests.mpm import scenes

PLANE = {"size": (1.0, 1.0), "cells": (8, 8)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size": (1.0, 1.1)}, "cells must be cubes"),
        ({"cells": (8, 9)}, "cells must be cubes"),
        ({"size": (1.0,), "cells": (8,)}, "2 or 3 entries"),
        ({"cells": (8, 8, 8)}, "2 or 3 entries"),
        ({"size": (1.0, math.nan)}, "must be > 0"),
        ({"size": (-1.0, -1.0)}, "must be > 0"),
        ({"cells": (2, 2)}, "at least 4"),
        ({"cells": (8.7, 8.7)}, "cells"),
        ({"gravity": (0.0, -9.81, 0.0)}, "gravity"),
        ({"gravity": (0.0, math.nan)}, "gravity"),
        ({"step": 0.0}, "step = 0.0"),
        ({"step": math.nan}, "step = nan"),
        ({"substeps": 0}, "substeps = 0"),
        ({"walls": {"w-": mpm.Wall()}}, "no face.*w-"),
        ({"walls": {"z-": mpm.Wall()}}, "no face.*z-"),
    ],
)
def test_bad_domain_is_named(change, message):
    """A bad argument of the scene is refused with its name and value."""
    with pytest.raises(ConfigurationError, match=message):
        mpm.Scene(**{**PLANE, **change})


def test_cubic_cells_are_suggested():
    """The error over cells that are no cubes names a size that fits them."""
    with pytest.raises(ConfigurationError, match=r"\(1\.0, 0\.5\)"):
        mpm.Scene((1.0, 0.4), (8, 4))


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        (mpm.Box((0.1, 0.5), (0.3, 0.3)), {}, "outside the domain"),
        (mpm.Sphere((0.5, 0.95), 0.1), {}, "outside the domain"),
        (mpm.Sphere((0.5, 0.5, 0.5), 0.1), {}, "3-D, the scene 2-D"),
        (mpm.Sphere((0.5, 0.5), 0.1), {"name": "taken"}, "'taken' exists already"),
        (mpm.Sphere((0.5, 0.5), 0.1), {"particles_per_cell": 0.0}, "particles_per_cell = 0.0"),
        (mpm.Sphere((0.5, 0.5), 0.1), {"particles_per_cell": math.nan}, "particles_per_cell = nan"),
        (mpm.Sphere((0.5, 0.5), 0.1), {"velocity": (1.0, 2.0, 3.0)}, "velocity"),
        (mpm.Sphere((0.5, 0.5), 0.1), {"velocity": (math.nan, 0.0)}, "velocity"),
        (mpm.Sphere((0.5, 0.5), 0.1), {"spin": (0.0, 0.0, 1.0)}, "spin"),
    ],
)
def test_bad_body_is_named(shape, options, message):
    """A body that does not fit is refused, and the scene stays as it was."""
    scene = mpm.Scene(**PLANE)
    scene.add_body(mpm.Box((0.3, 0.3), (0.1, 0.1)), scenes.soft(), name="taken")
    with pytest.raises(ConfigurationError, match=message):
        scene.add_body(shape, scenes.soft(), **options)
    assert [body.name for body in scene.bodies] == ["taken"]


def test_body_may_touch_the_faces():
    """A body as large as the domain is accepted."""
    scene = mpm.Scene(**PLANE)
    body = scene.add_body(mpm.Box((0.5, 0.5), (1.0, 1.0)), scenes.soft())
    assert body.name == "body0"
    assert scene.num_particles == 4 * 64


def test_empty_scene_is_refused():
    """A scene without a body cannot be built, and says what to call."""
    with pytest.raises(ConfigurationError, match="add_body"):
        mpm.Scene(**PLANE).build()


def test_walls_by_face():
    """A face has the wall given for it, the default one otherwise."""
    floor, other = mpm.Wall("sticky"), mpm.Wall("slip")
    scene = mpm.Scene(**PLANE, walls={"y-": floor, "default": other})
    assert scene.walls == (other, other, floor, other)
    assert mpm.Scene(**PLANE).walls == (mpm.Wall("separating"),) * 4


@pytest.mark.parametrize("dim", [2, 3])
def test_initial_velocity_turns_about_the_centroid(dim):
    """A spin about z adds ω × r to the velocity, about the body's centre."""
    scene = mpm.Scene((1.0,) * dim, (8,) * dim)
    spin = (2.0,) if dim == 2 else (0.0, 0.0, 2.0)
    move = scenes.vector(dim, 0.1, 0.2, 0.3)
    shape = mpm.Box((0.4,) * dim, (0.25,) * dim)
    body = scene.add_body(shape, scenes.soft(), velocity=move, spin=spin)
    r = body.x - 0.4
    expected = np.tile(move, (len(r), 1))
    expected[:, 0] -= 2.0 * r[:, 1]
    expected[:, 1] += 2.0 * r[:, 0]
    np.testing.assert_allclose(body.initial_velocity, expected, atol=1e-12)


# ---------------------------------------------------------------------- substeps


def _stiff(E: float = 1e6, **options) -> mpm.Scene:
    scene = mpm.Scene(**PLANE, **options)
    scene.add_body(mpm.Box((0.5, 0.5), (0.25, 0.25)), scenes.soft(E=E))
    return scene


def test_unstable_substep_names_the_largest():
    """Too long a substep is refused; one of the length that the error carries is accepted."""
    with pytest.raises(UnstableTimeStepError, match="largest") as caught:
        _stiff(step=0.02, substeps=2).build()
    largest = caught.value.largest
    assert 0.0 < largest < 0.01
    assert _stiff(step=largest, substeps=1).build().substeps == 1
    assert _stiff(step=0.02, substeps=math.ceil(0.02 / largest)).build().substeps > 2


def test_unstable_substep_error_names_the_count():
    """The number of substeps that the error asks for is the smallest accepted."""
    with pytest.raises(UnstableTimeStepError) as caught:
        _ = _stiff(step=0.02, substeps=2).substeps
    needed = math.ceil(0.02 / caught.value.largest)
    assert f"substeps >= {needed}" in str(caught.value)
    assert _stiff(step=0.02, substeps=needed).substeps == needed
    with pytest.raises(UnstableTimeStepError):
        _ = _stiff(step=0.02, substeps=needed - 1).substeps


def test_unstable_substep_can_be_allowed():
    """`allow_unstable` takes the substep as it is."""
    assert _stiff(step=0.02, substeps=2, allow_unstable=True).build().scene.dt == 0.01


@pytest.mark.parametrize("E", [1e2, 1e4, 1e6])
@pytest.mark.parametrize("step", [1e-4, 1e-2, 0.1])
def test_chosen_substep_obeys_the_limit(E, step):
    """The scene's own choice is stable, and one substep less would be beyond the aim."""
    scene = _stiff(E=E, step=step)
    assert scene.dt <= scene.largest_dt * CHOSEN_COURANT / STABLE_COURANT * (1 + 1e-6)
    if scene.substeps > 1:
        longer = step / (scene.substeps - 1)
        assert longer > scene.largest_dt * CHOSEN_COURANT / STABLE_COURANT


def test_limit_of_waves():
    """Without motion the largest substep is 0.7 Δx / c, c the P-wave speed."""
    scene = _stiff(E=1e6, gravity=(0.0, 0.0))
    nu = scenes.NU
    c = math.sqrt(1e6 * (1 - nu) / ((1 + nu) * (1 - 2 * nu)) / scenes.DENSITY)
    assert math.isclose(scene.largest_dt, 0.7 * 0.125 / c, rel_tol=1e-6)


def test_limit_of_motion():
    """A body faster than its waves bounds the substep by a cell per substep."""
    scene = mpm.Scene(**PLANE, gravity=(0.0, 0.0))
    scene.add_body(mpm.Box((0.5, 0.5), (0.25, 0.25)), scenes.soft(), velocity=(100.0, 0.0))
    assert math.isclose(scene.largest_dt, 0.125 / 100.0, rel_tol=1e-6)


def test_muscle_shortens_the_substep():
    """The activation that a muscle may reach counts as stiffness."""
    active = scenes.block(2, scenes.muscle(scenes.soft(), 2))
    assert active.largest_dt < scenes.block(2, scenes.soft()).largest_dt


@pytest.mark.parametrize("dim", [2, 3])
def test_largest_substep_is_stable(dim):
    """At the largest substep a body full of short waves does not gain energy in 1,000 substeps.

    An unstable mode grows by a constant factor per substep and would show as NaN or as speeds
    beyond the first ones, which are random from particle to particle.
    """
    scene = scenes.block(dim, gravity=(0.0,) * dim)
    rebuilt = scenes.block(dim, gravity=(0.0,) * dim, step=1000 * scene.largest_dt, substeps=1000)
    sim = rebuilt.build(dtype="float64")
    state = scenes.stirred(sim.initial_state(), speed=0.02)
    state = state.replace(F=sim.initial_state().F)
    end = sim.step(state)
    assert end.fault.tolist() == [0]
    assert float(end.v.square().sum()) <= float(state.v.square().sum())
