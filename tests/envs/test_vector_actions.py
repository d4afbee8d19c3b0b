"""The native vector environment: bad actions, clipping, and torch instead of numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from simenv.errors import ShapeError
from tests.envs.support import (
    FACES,
    assert_same_state,
    random_actions,
    set_velocity,
    state_of,
    vector,
)

N = 3
OTHERS = [0, 2]


@pytest.fixture(scope="module", params=FACES)
def pair(request):
    """Two equal vector environments: one is disturbed, the other tells what should be."""
    return vector(request.param, N), vector(request.param, N)


@pytest.fixture
def actions(pair):
    """Four steps' actions."""
    for env in pair:
        env.reset(seed=0)
    return random_actions(pair[0].action_space, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_non_finite_action_ends_that_episode_alone(pair, actions, value):
    """The environment is truncated and named, keeps its state, and the others notice nothing."""
    env, clean = pair
    env.step(actions[0])
    clean.step(actions[0])
    before, bad = state_of(env), actions[1].copy()
    bad[1, -1] = value
    got, expected = env.step(bad), clean.step(actions[1])
    for a, b in zip(got[:4], expected[:4], strict=True):
        np.testing.assert_array_equal(a[OTHERS], b[OTHERS])
    assert_same_state(state_of(env), state_of(clean), rows=OTHERS)
    assert got[3].tolist() == [False, True, False]
    assert got[4]["_fault"].tolist() == [False, True, False]
    assert "non-finite action" in got[4]["fault"][1]
    assert torch.equal(state_of(env).x[1], before.x[1])
    assert np.isfinite(got[0]).all()
    assert np.isfinite(got[1]).all()


def test_life_after_a_fault(pair, actions):
    """The next step starts a new episode there, whatever the action, and the fault is gone."""
    env, clean = pair
    bad = actions[0].copy()
    bad[1] = np.nan
    env.step(bad)
    clean.step(actions[0])
    bad = actions[1].copy()
    bad[1] = np.nan  # ignored: this step resets
    got, expected = env.step(bad), clean.step(actions[1])
    assert not got[3].any()
    assert "fault" not in got[4]
    assert state_of(env).time.tolist() == [2, 0, 2]
    np.testing.assert_array_equal(got[0][OTHERS], expected[0][OTHERS])
    got, expected = env.step(actions[2]), clean.step(actions[2])
    assert "fault" not in got[4]
    np.testing.assert_array_equal(got[0][OTHERS], expected[0][OTHERS])


def test_broken_state_ends_that_episode_alone(pair, actions):
    """A simulation that breaks is undone and truncated; the others notice nothing."""
    env, clean = pair
    set_velocity(env, 1, 1e30)  # its square overflows float32
    before = state_of(env)
    got, expected = env.step(actions[0]), clean.step(actions[0])
    for a, b in zip(got[:4], expected[:4], strict=True):
        np.testing.assert_array_equal(a[OTHERS], b[OTHERS])
    assert_same_state(state_of(env), state_of(clean), rows=OTHERS)
    assert got[3].tolist() == got[4]["_fault"].tolist() == [False, True, False]
    assert "non-finite state" in got[4]["fault"][1]
    assert torch.equal(state_of(env).x[1], before.x[1])
    assert torch.equal(state_of(env).F[1], before.F[1])
    # The step that resets it is no second fault.
    got, expected = env.step(actions[1]), clean.step(actions[1])
    assert "fault" not in got[4]
    np.testing.assert_array_equal(got[0][OTHERS], expected[0][OTHERS])


@pytest.mark.parametrize("kind", ["one", "few", "many", "short", "flat"])
def test_wrong_shape_is_named(pair, actions, kind):
    """Actions of the wrong shape are refused with expected and actual, and nothing changes."""
    env, _ = pair
    a = actions.shape[-1]
    shape = {"one": (a,), "few": (N - 1, a), "many": (N + 1, a), "short": (N, a - 1)}.get(
        kind, (N * a,)
    )
    before = state_of(env)
    with pytest.raises(ShapeError) as caught:
        env.step(np.zeros(shape))
    assert f"shape {shape}, expected {(N, a)}" in str(caught.value)
    assert_same_state(state_of(env), before)


def test_ragged_actions_are_refused(pair, actions):
    """Rows of different lengths are no array of numbers."""
    with pytest.raises(ShapeError, match="not an array of numbers"):
        pair[0].step([[0.0], [0.0, 1.0], [0.0]])


def test_float64_is_cast(pair, actions):
    """float64 actions do what their float32 values do."""
    env, clean = pair
    got, expected = env.step(actions[0].astype(np.float64)), clean.step(actions[0])
    for a, b in zip(got[:4], expected[:4], strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype


def test_out_of_range_is_clipped_and_counted(pair, actions):
    """Components outside [-1, 1] act as the bound does, and are counted per environment."""
    env, clean = pair
    wild = actions[0].copy()
    wild[0], wild[2, 0] = -5.0, 1.0001
    got, expected = env.step(wild), clean.step(np.clip(wild, -1.0, 1.0))
    assert got[4]["clipped"].tolist() == [wild.shape[1], 0, 1]
    assert expected[4]["clipped"].tolist() == [0, 0, 0]
    for a, b in zip(got[:2], expected[:2], strict=True):
        np.testing.assert_array_equal(a, b)


# ------------------------------------------------------------------------------- output="torch"


@pytest.fixture(scope="module", params=["NextStep", "SameStep"])
def torch_pair(request):
    """A numpy and a torch environment whose episodes last two steps."""
    options = {"max_episode_steps": 2, "autoreset_mode": request.param}
    return [vector(FACES[0], N, output=kind, **options) for kind in ("numpy", "torch")]


def test_torch_equals_numpy(torch_pair):
    """Torch output holds the numbers of numpy output, as tensors of float32 and bool."""
    plain, env = torch_pair
    expected, got = plain.reset(seed=0)[0], env.reset(seed=0)[0]
    assert torch.is_tensor(got)
    np.testing.assert_array_equal(got.numpy(), expected)
    for action in random_actions(plain.action_space, 4):
        expected, got = plain.step(action), env.step(torch.as_tensor(action))
        assert all(torch.is_tensor(value) for value in got[:4])
        assert [v.dtype for v in got[:4]] == [torch.float32] * 2 + [torch.bool] * 2
        assert not any(value.requires_grad for value in got[:4])
        for a, b in zip(got[:4], expected[:4], strict=True):
            np.testing.assert_array_equal(a.numpy(), b)
        np.testing.assert_array_equal(got[4]["success"], expected[4]["success"])
        for a, b in zip(*(o[4].get("final_obs", ()) for o in (got, expected)), strict=True):
            assert torch.is_tensor(a)
            np.testing.assert_array_equal(a.numpy(), b)


@pytest.mark.parametrize("kind", [0, 1], ids=["numpy", "torch"])
def test_outputs_are_kept(torch_pair, kind):
    """What was given out stays as it was, however many steps follow."""
    env = torch_pair[kind]
    copy = (np.copy, torch.clone)[kind]
    given = [env.reset(seed=0)[0]]
    kept = [copy(given[0])]
    for action in random_actions(env.action_space, 5):
        step = env.step(action)
        given += step[:4]
        kept += [copy(value) for value in step[:4]]
    for a, b in zip(given, kept, strict=True):
        np.testing.assert_array_equal(a, b)
    observations = [np.asarray(value) for value in given[:1] + given[1::4]]
    for a, b in itertools.pairwise(observations):
        assert not np.shares_memory(a, b)


def test_caller_may_reuse_tensors(torch_pair):
    """The environment neither writes into actions, nor is touched by writes into observations."""
    env = torch_pair[1]
    env.reset(seed=0)
    action = torch.full(env.action_space.shape, 0.5)
    for _ in range(4):  # past the end of an episode
        observation = env.step(action)[0]
        before = state_of(env)
        observation.fill_(7.0)
        assert_same_state(state_of(env), before)
        assert torch.equal(action, torch.full_like(action, 0.5))
