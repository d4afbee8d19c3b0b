"""Transitions in memory: scaling, ends, batches, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents.offline.data import Transitions, require_boxes, require_fit
from agents.spaces import from_unit, to_unit
from simenv.errors import DatasetError, ShapeError


def arrays(size: int = 6, **changes):
    """Transitions whose numbers say where they are from."""
    t = np.arange(float(size))
    given = {
        "observations": np.stack([t, -t], 1),
        "actions": np.linspace(-2.0, 2.0, size)[:, None],
        "rewards": 10.0 * t,
        "next_observations": np.stack([t + 1, -t - 1], 1),
        "terminated": t == 1,
        "truncated": t == 3,
        "action_space": spaces.Box(-2.0, 2.0, (1,), np.float32),
    }
    return Transitions.from_arrays(**given | changes)


def test_arrays_are_scaled_and_episodes_counted():
    """Actions come to [-1, 1]; a true end and a time limit both begin a new episode after them."""
    data = arrays()
    assert len(data) == 6
    torch.testing.assert_close(data.actions[:, 0], torch.linspace(-1.0, 1.0, 6))
    assert data.terminated[:, 0].tolist() == [0, 1, 0, 0, 0, 0]
    assert data.truncated.tolist() == [False, False, False, True, False, False]
    assert data.episodes.tolist() == [0, 0, 1, 1, 2, 2]
    assert data.initial.tolist() == [True, False, True, False, True, False]
    assert data.costs is None


class Elsewhere(torch.Tensor):
    """A tensor that numpy cannot take, as those on a GPU."""

    def __array__(self, *arguments, **options):
        raise TypeError("can't convert cuda:0 device type tensor to numpy")


def test_tensors_become_what_arrays_become():
    """Also those that numpy does not take: on another device, or with a gradient."""
    t = torch.arange(6.0, dtype=torch.float64)
    seen = torch.stack([t, -t], 1)
    given = {
        "observations": seen.clone().requires_grad_(),
        "actions": torch.linspace(-2.0, 2.0, 6, dtype=torch.float64)[:, None],
        "rewards": 10 * t,
        "next_observations": seen + torch.tensor([1.0, -1.0]),
        "terminated": t == 1,
        "truncated": t == 3,
        "costs": t,
    }
    data = arrays(**{name: values.as_subclass(Elsewhere) for name, values in given.items()})
    assert data.digest() == arrays(costs=np.arange(6.0)).digest()


def test_a_batch_keeps_rows_together():
    """What is drawn belongs to one transition each, in columns."""
    data = arrays(costs=np.arange(6.0))
    batch = data.sample(50, torch.Generator().manual_seed(0))
    row = batch.observations[:, :1]
    assert batch.rewards.shape == batch.terminated.shape == batch.costs.shape == (50, 1)
    torch.testing.assert_close(batch.rewards, 10 * row)
    torch.testing.assert_close(batch.next_observations[:, :1], row + 1)
    torch.testing.assert_close(batch.costs, row)
    torch.testing.assert_close(batch.terminated, (row == 1).float())
    assert set(row[:, 0].tolist()) == set(range(6))


def test_draws_depend_on_the_generator_alone():
    """The same generator draws the same rows, whatever the global one does."""
    data, first = arrays(), torch.Generator().manual_seed(3)
    one = data.sample(20, first)
    torch.rand(5)
    again = data.sample(20, torch.Generator().manual_seed(3))
    assert torch.equal(one.rewards, again.rewards)
    assert not torch.equal(one.rewards, data.sample(20, first).rewards)


def test_scaling_there_and_back():
    """`from_unit` undoes `to_unit` on a lopsided box; what lies outside is clipped."""
    space = spaces.Box(np.float32([-1.0, 2.0]), np.float32([3.0, 2.5]))
    actions = np.float32([[-1.0, 2.5], [1.0, 2.25], [9.0, 0.0]])
    unit = to_unit(actions, space)
    np.testing.assert_allclose(unit, [[-1, 1], [0, 0], [1, -1]])
    np.testing.assert_allclose(from_unit(unit, space), [[-1, 2.5], [1, 2.25], [3, 2]])


def test_the_digest_tells_contents_apart():
    """Equal data have equal digests; one changed reward changes it."""
    changed = arrays()
    changed.rewards[3] += 1
    assert arrays().digest() == arrays().digest() != changed.digest()


@pytest.mark.parametrize(
    ("changes", "error", "words"),
    [
        ({"rewards": np.full(6, np.nan)}, DatasetError, "rewards: row 0 is not finite"),
        ({"actions": np.full((6, 1), np.inf)}, DatasetError, "actions: row 0 is not finite"),
        ({"rewards": np.full(6, 1e300)}, DatasetError, "rewards: row 0 .*range of float32"),
        ({"costs": np.arange(5.0)}, ShapeError, "costs has shape"),
        ({"rewards": np.ones((6, 1))}, ShapeError, r"rewards has shape \(6, 1\)"),
        ({"terminated": np.zeros((6, 1))}, ShapeError, r"terminated has shape \(6, 1\)"),
        ({"truncated": np.zeros((6, 1))}, ShapeError, r"truncated has shape \(6, 1\)"),
        ({"actions": np.zeros((6, 3))}, ShapeError, r"actions has .*\(6, 3\), expected \(6, 1\)"),
        ({"next_observations": np.ones((6, 3))}, ShapeError, r"next_observations .*\(6, 3\)"),
        ({"next_observations": np.full((6, 2), np.inf)}, DatasetError, "next_observations"),
    ],
)
def test_bad_arrays_are_named(changes, error, words):
    """Numbers that are not finite and columns of other shapes are refused by name."""
    with pytest.raises(error, match=words):
        arrays(**changes)


def test_nothing_to_learn_from_is_refused():
    """No transitions at all."""
    with pytest.raises(DatasetError, match="is empty"):
        arrays(0)


@pytest.mark.parametrize(
    ("seen", "acts", "words"),
    [
        (spaces.Dict(a=spaces.Box(0, 1)), spaces.Box(-1, 1), "FlattenObservation"),
        (spaces.Discrete(3), spaces.Box(-1, 1), "a Box is needed"),
        (spaces.Box(0, 1), spaces.Discrete(3), "a bounded Box is needed"),
        (spaces.Box(0, 1), spaces.Box(-np.inf, np.inf), "a bounded Box is needed"),
        (spaces.Box(0, 1), spaces.Box(1, 1), "a bounded Box is needed"),
    ],
)
def test_spaces_that_cannot_be_learnt_from(seen, acts, words):
    """Dictionaries, discrete spaces and actions without bounds."""
    with pytest.raises(DatasetError, match=words):
        require_boxes("x-v0", seen, acts)


def test_arrays_need_bounded_actions():
    """Without bounds there is no scale."""
    with pytest.raises(DatasetError, match="a bounded Box is needed"):
        arrays(action_space=spaces.Box(-np.inf, np.inf, (1,)))


def test_foreign_environments():
    """Bounds of observations may differ; shapes and what an action means may not."""
    wide, narrow = spaces.Box(-9, 9, (2,)), spaces.Box(-1, 1, (2,))
    unit, double = spaces.Box(-1, 1, (1,)), spaces.Box(-2, 2, (1,))
    require_fit("x-v0", (wide, unit), (narrow, unit))
    for theirs in ((narrow, double), (spaces.Box(-1, 1, (3,)), unit), (narrow, narrow)):
        with pytest.raises(DatasetError, match="dataset x-v0 does not fit the environment"):
            require_fit("x-v0", (wide, unit), theirs)
