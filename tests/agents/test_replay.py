"""The replay on the device: the draws of Stable-Baselines3's, and nothing across an end."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

from agents.replay import TensorReplayBuffer
from simenv.errors import ConfigurationError, ShapeError
from tests.agents.ladder import Ladder

ROWS, N, GAMMA = 20, 3, 0.9
SEEN, ACTIONS = spaces.Box(-1, 1, (2,)), spaces.Box(-1, 1, (2,))
WAY_IN = ("observations", "next_observations", "actions", "rewards", "ended")
RTOL = 1e-6  # sums of up to seven float32 numbers: a few times 6e-8


def buffer(**options) -> TensorReplayBuffer:
    """A small replay of N environments."""
    options = {"gamma": GAMMA, **options}
    return TensorReplayBuffer(ROWS * N, SEEN, ACTIONS, "cpu", N, **options)


def steps(count: int, *, seed: int = 0, gaps: bool = False) -> list[dict[str, np.ndarray]]:
    """Steps of N environments with ends of every kind; the observation tells row and column."""
    rng, resetting, made = np.random.default_rng(seed), np.zeros(N, dtype=bool), []
    for t in range(count):
        valid = ~resetting if gaps else np.ones(N, dtype=bool)
        terminated, truncated = (valid & (rng.random(N) < 0.2) for _ in range(2))
        place = np.stack([np.full(N, t), np.arange(N)], axis=1).astype(np.float32)
        made.append(
            {
                "observations": place,
                "next_observations": place + 0.5,
                "actions": rng.uniform(-1, 1, (N, 2)).astype(np.float32),
                "rewards": rng.normal(size=N).astype(np.float32),
                "costs": rng.random(N).astype(np.float32),
                "terminated": terminated,
                "truncated": truncated,
                "ended": terminated | truncated,
                "valid": valid,
            }
        )
        resetting = terminated | truncated
    return made


def infos(row) -> list[dict]:
    """What Stable-Baselines3's environments would say of a step."""
    late = row["truncated"] & ~row["terminated"]
    pairs = zip(late.tolist(), row["costs"].tolist(), strict=True)
    return [{"TimeLimit.truncated": is_late, "cost": cost} for is_late, cost in pairs]


def add(kept, row) -> None:
    """By Stable-Baselines3's way in."""
    kept.add(*(row[name] for name in WAY_IN), infos(row))


def same(batch, other) -> None:
    """Two batches are equal: copies to the last bit, sums but for rounding."""
    for name in ("observations", "actions", "next_observations", "dones"):
        assert torch.equal(getattr(batch, name), getattr(other, name)), name
    torch.testing.assert_close(batch.rewards, other.rewards, rtol=RTOL, atol=RTOL)
    assert (batch.discounts is None) == (other.discounts is None)
    if batch.discounts is not None:
        torch.testing.assert_close(batch.discounts, other.discounts, rtol=RTOL, atol=0)


@pytest.mark.parametrize("count", [1, 7, ROWS, ROWS + 1, 3 * ROWS - 1])
@pytest.mark.parametrize("n_steps", [1, 2, 5])
def test_draws_equal_stable_baselines3(count, n_steps):
    """The same seed gives the same batches, part filled, just full and after wrapping around."""
    ours = buffer(n_steps=n_steps)
    several = {} if n_steps == 1 else {"n_steps": n_steps, "gamma": GAMMA}
    kind = ReplayBuffer if n_steps == 1 else NStepReplayBuffer
    theirs = kind(ROWS * N, SEEN, ACTIONS, "cpu", N, **several)
    for row in steps(count):
        add(ours, row)
        add(theirs, row)
    for seed in range(3):
        batches = []
        for kept in (ours, theirs):
            np.random.seed(seed)  # noqa: NPY002
            batches.append(kept.sample(200))
        same(*batches)


def test_normalised_as_stable_baselines3_does():
    """Observations and rewards pass through `VecNormalize` alike, in sums over steps too."""
    env = VecNormalize(DummyVecEnv([Ladder]))
    env.observation_space = SEEN
    env.obs_rms.mean, env.obs_rms.var = np.array([3.0, 1.0]), np.array([4.0, 2.0])
    env.ret_rms.var = np.array(9.0)
    for n_steps in (1, 3):
        ours = buffer(n_steps=n_steps)
        theirs = (
            ReplayBuffer(ROWS * N, SEEN, ACTIONS, "cpu", N)
            if n_steps == 1
            else NStepReplayBuffer(ROWS * N, SEEN, ACTIONS, "cpu", N, n_steps=3, gamma=GAMMA)
        )
        for row in steps(ROWS - 3):
            add(ours, row)
            add(theirs, row)
        batches = []
        for kept in (ours, theirs):
            np.random.seed(1)  # noqa: NPY002
            batches.append(kept.sample(100, env=env))
        same(*batches)
        assert batches[0].rewards.abs().max() < 2.0  # they were divided by 3


def test_both_ways_in_keep_the_same():
    """`add` with infos and `add_batch` with tensors fill the replay alike."""
    one, other = buffer(with_costs=True), buffer(with_costs=True)
    for row in steps(ROWS + 4):
        add(one, row)
        other.add_batch({name: torch.as_tensor(value) for name, value in row.items()})
    for name, kept in one.store.items():
        assert torch.equal(kept, other.store[name]), name
    assert np.array_equal(one.valid, other.valid)
    assert (one.pos, one.full) == (other.pos, other.full) == (4, True)


@pytest.mark.parametrize("count", [9, ROWS, 2 * ROWS + 7])
@pytest.mark.parametrize("n_steps", [1, 3, 7, 2 * ROWS])
def test_sums_against_brute_force(count, n_steps):
    """Rewards, costs, discounts, ends and next observations, stepped through one by one."""
    kept = buffer(n_steps=n_steps, with_costs=True)
    made = steps(count, gaps=True)
    for row in made:
        kept.add_batch(row)
    first = max(0, count - ROWS)
    np.random.seed(0)  # noqa: NPY002
    batch = kept.sample(2000)
    expected = {
        (t, i): brute_force(made, t, i, n_steps)
        for t in range(first, count)
        for i in range(N)
        if made[t]["valid"][i]
    }
    places = [tuple(place) for place in batch.observations.int().tolist()]
    # 2000 draws from at most 60 places: one is missed with a probability of 60 exp(-33).
    assert set(places) == set(expected)
    found = torch.cat([batch.rewards, batch.costs, batch.dones, batch.next_observations], dim=1)
    right = torch.tensor([expected[place][:5] for place in places])
    torch.testing.assert_close(found, right, rtol=RTOL, atol=RTOL)
    if n_steps > 1:
        discounts = torch.tensor([[expected[place][5]] for place in places])
        torch.testing.assert_close(batch.discounts, discounts, rtol=RTOL, atol=0)


def brute_force(made, t: int, i: int, n_steps: int) -> tuple[float, ...]:
    """Reward, cost, done, next observation and discount of what begins at step t."""
    reward = cost = 0.0
    for k in range(n_steps):
        row = made[t + k]
        assert row["valid"][i]
        reward += GAMMA**k * float(row["rewards"][i])
        cost += GAMMA**k * float(row["costs"][i])
        if row["ended"][i] or t + k == len(made) - 1:
            break
    done, after = float(row["terminated"][i]), row["next_observations"][i]
    return reward, cost, done, float(after[0]), float(after[1]), GAMMA ** (k + 1)


def test_gaps_are_never_drawn_and_the_rest_evenly():
    """Rows without a transition are never drawn; all others are, equally often."""
    kept = buffer()
    for row in steps(ROWS, gaps=True):
        kept.add_batch(row)
    assert 0 < kept.valid.sum() < kept.valid.size
    np.random.seed(0)  # noqa: NPY002
    places = kept.sample(100_000).observations.int().numpy()
    counts = np.zeros((ROWS, N))
    np.add.at(counts, tuple(places.T), 1)
    assert counts[~kept.valid].sum() == 0
    mean = 100_000 / kept.valid.sum()
    # Binomial counts: standard deviation below sqrt(mean); five of them for some fifty places.
    assert np.abs(counts[kept.valid] - mean).max() < 5 * np.sqrt(mean)


@pytest.mark.parametrize("count", [2, ROWS - 1, 2 * ROWS + 3])
def test_the_newest_alone(count):
    """Draws among the newest reach back as far as asked, across the ring's seam, and no further."""
    kept = buffer()
    for row in steps(count):
        kept.add_batch(row)
    np.random.seed(0)  # noqa: NPY002
    for wanted in (1, 3 * N, 100 * N):
        times = kept.sample_newest(2000, wanted).observations[:, 0].unique().tolist()
        reach = min(max(wanted // N, 1), count, ROWS)
        assert times == [float(t) for t in range(count - reach, count)]


def test_wrapping_around_forgets_the_oldest():
    """A full ring holds the newest rows alone, gaps included."""
    kept = buffer()
    for row in steps(2 * ROWS + 3, gaps=True):
        kept.add_batch(row)
    np.random.seed(0)  # noqa: NPY002
    times = kept.sample(5000).observations[:, 0]
    assert times.min() >= ROWS + 3
    assert times.max() == 2 * ROWS + 2
    for row in steps(ROWS):
        kept.add_batch(row)
    assert kept.valid.all()


@pytest.mark.parametrize("count", [7, ROWS + 5])
def test_state_round_trip(count):
    """A fresh replay goes on from a saved state alike, whatever happened to the first since."""
    one = buffer(n_steps=3, with_costs=True)
    made = steps(count + 10, gaps=True)
    for row in made[:count]:
        one.add_batch(row)
    state, right = one.get_state(), drawn(one)
    other = buffer(n_steps=3, with_costs=True)
    for row in steps(ROWS, seed=1):
        one.add_batch(row)  # changes nothing that was saved
        other.add_batch(row)  # to be forgotten
    other.set_state(state)
    assert other.size() == min(count, ROWS)
    same(drawn(other), right)
    one.set_state(state)
    for row in made[count:]:
        one.add_batch(row)
        other.add_batch(row)
    same(drawn(other), drawn(one))
    assert torch.equal(drawn(other).costs, drawn(one).costs)


def drawn(kept: TensorReplayBuffer):
    """A batch by a seed of its own."""
    np.random.seed(0)  # noqa: NPY002
    return kept.sample(300)


def test_pictures_stay_bytes():
    """Observations of bytes are kept and given as bytes."""
    space = spaces.Box(0, 255, (3, 4, 4), np.uint8)
    kept = TensorReplayBuffer(8, space, ACTIONS, "cpu", 1)
    picture = np.full((1, 3, 4, 4), 200, np.uint8)
    kept.add(picture, picture, np.zeros((1, 2)), np.zeros(1), np.zeros(1), [{}])
    assert kept.sample(2).observations.dtype == torch.uint8


def test_reset_forgets():
    """After `reset` nothing is left to draw."""
    kept = buffer()
    for row in steps(4):
        kept.add_batch(row)
    kept.reset()
    with pytest.raises(ConfigurationError, match="no transition yet"):
        kept.sample(1)
    kept.add_batch(steps(1)[0] | {"valid": np.zeros(N, dtype=bool)})
    with pytest.raises(ConfigurationError, match="no transition yet"):
        kept.sample(1)


def test_the_newest_of_nothing():
    """An empty replay has no newest transitions."""
    with pytest.raises(ConfigurationError, match="no transition"):
        buffer().sample_newest(1, 1)


def test_errors():
    """Bad options, an empty replay, missing costs and strange states are refused by name."""
    with pytest.raises(ConfigurationError, match=r"not a Box.*DictBuffer"):
        TensorReplayBuffer(8, spaces.Dict({"a": SEEN}), ACTIONS)
    with pytest.raises(ConfigurationError, match="n_steps = 0"):
        buffer(n_steps=0)
    with pytest.raises(ConfigurationError, match="optimize_memory_usage"):
        buffer(optimize_memory_usage=True)
    with pytest.raises(ConfigurationError, match="no transition yet"):
        buffer().sample(1)
    gap = steps(1)[0] | {"valid": np.zeros(N, dtype=bool)}
    kept = buffer()
    kept.add_batch(gap)
    with pytest.raises(ConfigurationError, match="no transition yet"):
        kept.sample(1)
    row = steps(1)[0]
    costly = buffer(with_costs=True)
    with pytest.raises(ConfigurationError, match=r"gives no info\['cost'\]"):
        costly.add_batch({name: value for name, value in row.items() if name != "costs"})
    silent = [row[name] for name in WAY_IN]
    with pytest.raises(ConfigurationError, match=r"gives no info\['cost'\]"):
        costly.add(*silent, [{}] * N)
    with pytest.raises(ConfigurationError, match="with_costs"):
        buffer(with_costs=True).set_state(kept.get_state())
    full = buffer()
    for row in steps(ROWS):
        full.add_batch(row)
    larger = TensorReplayBuffer(2 * ROWS * N, SEEN, ACTIONS, "cpu", N)
    with pytest.raises(ShapeError, match="saved observations"):
        larger.set_state(full.get_state())
    assert larger.size() == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_saved_state_takes_no_memory_of_the_device():
    """The state of a replay on a GPU is made of tensors on the host."""
    box = spaces.Box(-1.0, 1.0, (2,), np.float32)
    buffer = TensorReplayBuffer(8, box, box, "cuda:0")
    buffer.add(*(np.zeros((1, 2)),) * 3, np.zeros(1), np.zeros(1), [{}])
    assert all(kept.is_cpu for kept in buffer.get_state()["store"].values())
