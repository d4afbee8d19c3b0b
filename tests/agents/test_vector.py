"""Gymnasium vector environments as agents see them: the same transitions in every mode."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.environments import as_vec_env
from agents.transitions import EpisodeSums, Transitions
from agents.vector import GymnasiumVecEnv
from simenv.envs.vector import VectorEnv
from simenv.errors import ConfigurationError
from tests.agents.ladder import HORIZON, MODES, Ladder, ladders, policy
from tests.envs.reach import REACH

N, SEED, EACH = 3, 5, 60
FIELDS = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations")

every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)


def reference(seed: int) -> list[tuple]:
    """The first transitions of a single environment, reset by hand."""
    env, rows = Ladder(), []
    seen, _ = env.reset(seed=seed)
    while len(rows) < EACH:
        action = policy(seen[None])[0]
        after, reward, terminated, truncated, info = env.step(action)
        told = info["cost"], info["success"]
        rows.append((seen, action, np.float32(reward), terminated, truncated, after, *told))
        seen = env.reset()[0] if terminated or truncated else after
    return rows


def started(envs, seed: int = SEED) -> GymnasiumVecEnv:
    """The adapter after a reset with a seed."""
    env = GymnasiumVecEnv(envs)
    env.seed(seed)
    env.reset()
    return env


def advance(env: GymnasiumVecEnv):
    """A step of the scripted policy."""
    return env.advance(torch.as_tensor(policy(env.observations.numpy())))


def assert_same(one: Transitions, other: Transitions) -> None:
    """Two steps are equal to the last bit."""
    for name, found, right in zip(one._fields, one, other, strict=True):
        if name == "host":
            assert [mask.tolist() for mask in found] == [mask.tolist() for mask in right]
        else:
            assert torch.equal(found, right) if torch.is_tensor(right) else found == right


# ---------------------------------------------------------------------- transitions


@every_mode
def test_transitions_equal_those_of_single_environments(mode):
    """Every mode gives what single environments give: no transition lost, none across a reset."""
    env = started(ladders(N, mode))
    found: list[list[tuple]] = [[] for _ in range(N)]
    while min(map(len, found)) < EACH:
        step = advance(env)
        columns = [getattr(step, name) for name in (*FIELDS, "costs", "success")]
        for i in np.flatnonzero(step.valid.numpy()):
            found[i].append(tuple(column[i].numpy() for column in columns))
    for i, rows in enumerate(found):
        for row, expected in zip(rows, reference(SEED + i), strict=False):
            for value, right in zip(row, expected, strict=True):
                np.testing.assert_array_equal(value, right)


def test_script_has_every_kind_of_end():
    """The scripted episodes end by their rules, by time and by both, at different lengths."""
    rows = [row for i in range(N) for row in reference(SEED + i)]
    ends = {(bool(row[3]), bool(row[4])) for row in rows}
    assert ends == {(False, False), (True, False), (False, True), (True, True)}
    assert len({row[5][1] for row in rows if row[3]}) > 1
    assert {row[7] for row in rows if row[3]} == {True, False}


@every_mode
def test_restarting_rows_are_not_valid(mode):
    """Only NEXT_STEP has steps that are no transitions: those after an end of some, not all."""
    env = started(ladders(N, mode))
    before = torch.zeros(N, dtype=torch.bool)
    gaps = 0
    for _ in range(EACH):
        step = advance(env)
        ended = step.ended
        expected = before if mode == AutoresetMode.NEXT_STEP else torch.zeros_like(before)
        assert torch.equal(~step.valid, expected)
        assert not (ended & ~step.valid).any()
        gaps += int((~step.valid).sum())
        before = torch.zeros_like(ended) if ended.all() else ended
    assert (gaps > 0) == (mode == AutoresetMode.NEXT_STEP)


@every_mode
def test_statistics_of_episodes(mode):
    """Return, length, cost and success of every episode; episodes and cost in total."""
    env = started(ladders(N, mode))
    told: list[list[dict]] = [[] for _ in range(N)]
    cost = 0.0
    for _ in range(EACH):
        step = advance(env)
        cost += float(step.costs.sum())
        for i, about in step.finished.items():
            told[i].append(about)
    assert env.episodes == sum(map(len, told)) > 3 * N
    assert env.total_cost == cost
    for i, episodes in enumerate(told):
        for about, expected in zip(episodes, episodes_of(reference(SEED + i)), strict=False):
            assert about == expected


def episodes_of(rows: list[tuple]) -> list[dict]:
    """What is to be told of the episodes of a reference."""
    told, episode = [], {"r": 0.0, "l": 0, "c": 0.0}
    for _, _, reward, terminated, truncated, _, cost, success in rows:
        episode["r"] += float(reward)
        episode["l"] += 1
        episode["c"] += cost
        if terminated or truncated:
            late = truncated and not terminated
            told.append({"episode": episode, "is_success": success, "TimeLimit.truncated": late})
            episode = {"r": 0.0, "l": 0, "c": 0.0}
    return told


@every_mode
def test_observations_are_owned(mode):
    """An environment that reuses its arrays does not change transitions given before."""
    envs = gymnasium.vector.SyncVectorEnv([Ladder] * N, autoreset_mode=mode, copy=False)
    env = started(envs)
    step = advance(env)
    kept = step.observations.clone(), step.next_observations.clone()
    for _ in range(2 * HORIZON):
        advance(env)
    assert torch.equal(step.observations, kept[0])
    assert torch.equal(step.next_observations, kept[1])


@every_mode
def test_masks_on_the_host(mode):
    """What the host knows of a step is what the tensors say, with native environments too."""
    native = VectorEnv(REACH, N, autoreset_mode=mode, max_episode_steps=5, output="torch")
    for env in (started(ladders(N, mode)), started(native)):
        ends = 0
        for _ in range(3 * HORIZON):
            given = policy(env.observations.numpy()) if env.envs is not native else np.zeros((N, 2))
            step = env.advance(torch.as_tensor(given, dtype=torch.float32))
            assert step.host.ended.tolist() == step.ended.tolist()
            assert step.host.valid.tolist() == step.valid.tolist()
            assert list(step.finished) == np.flatnonzero(step.host.ended).tolist()
            ends += int(step.host.ended.sum())
        assert ends > N


class Flags(Ladder):
    """Tells its success, or cost, in one of the ways that Gymnasium has to gather as objects."""

    def __init__(self, given, late: bool) -> None:
        super().__init__()
        self.given, self.late = given, late

    def step(self, action):
        *rest, info = super().step(action)
        told = {**info, **self.given(info)}
        return *rest, told if self.steps > 1 or not self.late else {}


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP])
@pytest.mark.parametrize("late", [False, True])
def test_flags_that_gymnasium_keeps_as_objects(mode, late):
    """numpy's own booleans and entries of None are read as flags; None is no success."""
    for given, wins in (
        (lambda info: {"success": np.bool_(info["success"])}, True),
        (lambda info: {"success": None}, False),
    ):
        kinds = [lambda given=given: Flags(given, late), Ladder, Ladder]
        env = started(gymnasium.vector.SyncVectorEnv(kinds, autoreset_mode=mode))
        told = []
        for _ in range(EACH):
            step = advance(env)
            told += [step.finished[0]["is_success"]] if 0 in step.finished else []
        plain = [about["is_success"] for about in episodes_of(reference(SEED))]
        count = min(len(told), len(plain))
        assert told[:count] == (plain[:count] if wins else [False] * count)
        assert any(plain[:count])


@pytest.mark.parametrize(
    ("info", "name"),
    [
        ({"cost": np.zeros((N, 2)), "_cost": np.ones(N, dtype=bool)}, "cost"),
        ({"cost": 1.0}, "cost"),
        ({"cost": np.zeros(N), "_cost": np.ones(N + 1, dtype=bool)}, "_cost"),
    ],
)
def test_infos_of_another_shape_are_refused(info, name):
    """Numbers that do not belong to one environment each are not spread over all."""
    env = started(ladders(N, AutoresetMode.SAME_STEP))
    with pytest.raises(
        ConfigurationError, match=rf"info\['{name}'\] has shape .* expected \({N},\)"
    ):
        env._masked("cost", info)


def test_without_costs():
    """An environment without costs or success says so."""
    env = started(ladders(N, AutoresetMode.SAME_STEP, costs=False))
    for _ in range(2 * HORIZON):
        step = advance(env)
        assert step.costs is None
        assert step.success is None
        assert all("c" not in about["episode"] for about in step.finished.values())
    assert not env.has_costs


@every_mode
def test_worker_processes(mode):
    """Environments in processes of their own give the same transitions."""
    envs = gymnasium.vector.AsyncVectorEnv([Ladder] * 2, autoreset_mode=mode)
    there, here = started(envs), started(ladders(2, mode))
    for _ in range(3 * HORIZON):
        assert_same(advance(there), advance(here))
    there.close()


def test_reset_options_hold_for_later_resets():
    """Options given to a reset also start the episodes that DISABLED resets start later."""
    env = GymnasiumVecEnv(ladders(N, AutoresetMode.DISABLED))
    env.set_options({"shift": 2.0})
    env.reset()
    starts = [float(advance(env).observations[:, 2].min()) for _ in range(3 * HORIZON)]
    assert env.episodes > 0
    assert min(starts) >= 2.0


# ---------------------------------------------------------------------- training


# ---------------------------------------------------------------------- state


@every_mode
def test_state_round_trip(mode):
    """A fresh adapter goes on from a saved state exactly, without a reset."""
    one = started(VectorEnv(REACH, N, autoreset_mode=mode, max_episode_steps=5, output="torch"))
    inner = one.envs.get_state()
    one.envs.set_state({**inner, "elapsed": np.array([0, 1, 3])})
    actions = torch.rand(30, N, 2, generator=torch.Generator().manual_seed(0)) * 2 - 1
    for action in actions[:11]:
        one.advance(action)
    state = one.get_state()
    assert state["resetting"].any() == (mode == AutoresetMode.NEXT_STEP)
    other = GymnasiumVecEnv(
        VectorEnv(REACH, N, autoreset_mode=mode, max_episode_steps=5, output="torch")
    )
    first = [one.advance(action) for action in actions[11:]]
    other.set_state(state)
    for step, action in zip(first, actions[11:], strict=True):
        assert_same(other.advance(action), step)
    assert (other.episodes, other.total_cost) == (one.episodes, one.total_cost)


def test_sums_of_episodes_round_trip():
    """Sums of running episodes and the total cost go into the state; a reset clears the former."""
    env = started(ladders(N, AutoresetMode.SAME_STEP))
    for _ in range(HORIZON + 1):
        advance(env)
    other = EpisodeSums(N, env.device)
    other.set_state(env.sums.get_state())
    assert other.total_cost == env.total_cost > 0
    assert (other.episodes, other.has_costs) == (env.episodes, True)
    assert torch.equal(other.get_state()["running"], env.sums.get_state()["running"])
    assert env.sums.get_state()["running"].any()
    env.reset()
    assert not env.sums.get_state()["running"].any()


def test_state_needs_environments_that_have_one():
    """Gymnasium's own vectors cannot save theirs, and the message says what to use instead."""
    env = started(ladders(N, AutoresetMode.SAME_STEP))
    with pytest.raises(ConfigurationError, match=r"SyncVectorEnv cannot save its state.*simenv"):
        env.get_state()
    with pytest.raises(ConfigurationError, match="cannot save its state"):
        env.set_state({})


# ---------------------------------------------------------------------- Stable-Baselines3's face


@pytest.mark.parametrize("mode", [AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
def test_steps_as_stable_baselines3_wants_them(mode):
    """`reset` and `step` equal those of Stable-Baselines3's own vector environment."""
    ours, theirs = GymnasiumVecEnv(ladders(N, mode)), as_vec_env(DummyVecEnv([Ladder] * N))
    for env in (ours, theirs):
        env.seed(SEED)
    seen = ours.reset()
    np.testing.assert_array_equal(seen, theirs.reset())
    for _ in range(3 * HORIZON):
        actions = policy(seen)
        (seen, reward, done, infos), right = ours.step(actions), theirs.step(actions)
        for found, expected in zip((seen, reward, done), right[:3], strict=True):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype
        for info, expected in zip(infos, right[3], strict=True):
            assert info.get("episode") == expected.get("episode")
            assert info["cost"] == expected["cost"]
            assert ("terminal_observation" in info) == ("terminal_observation" in expected)
            if "terminal_observation" in info:
                last = info["terminal_observation"], expected["terminal_observation"]
                np.testing.assert_array_equal(*last)
                assert info["TimeLimit.truncated"] == expected["TimeLimit.truncated"]
    assert ours.episodes == theirs.episodes > 0
    assert ours.total_cost == pytest.approx(theirs.total_cost, rel=1e-12)


def test_attributes_and_methods_of_the_environments():
    """Attributes and methods reach the single environments, or the native vector they share."""
    env = GymnasiumVecEnv(ladders(N, AutoresetMode.SAME_STEP))
    assert env.get_attr("costs", indices=[0, 2]) == [True, True]
    env.set_attr("costs", False)
    assert env.get_attr("costs") == [False] * N
    assert len(env.env_method("reset", seed=1)) == N
    native = GymnasiumVecEnv(VectorEnv(REACH, 2))
    assert native.get_attr("max_episode_steps") == [10, 10]
    assert native.env_is_wrapped(gymnasium.Wrapper) == [False, False]


# ---------------------------------------------------------------------- errors


class Modeless(gymnasium.vector.VectorEnv):
    """Says nothing of its autoreset mode."""

    metadata: dict = {}
    single_observation_space, single_action_space = Ladder.observation_space, Ladder.action_space


def test_errors():
    """What cannot work is refused, with the remedy."""
    with pytest.raises(ConfigurationError, match="autoreset_mode"):
        GymnasiumVecEnv(Modeless())
    with pytest.raises(ConfigurationError, match="is not a Box"):
        GymnasiumVecEnv(gymnasium.make_vec("CartPole-v1", num_envs=2))
    env = started(ladders(N, AutoresetMode.NEXT_STEP))
    with pytest.raises(ConfigurationError, match="SAME_STEP or DISABLED"):
        env.step(np.zeros((N, 1)))
    env._options[0] = {"shift": 1.0}
    with pytest.raises(ConfigurationError, match="set them all alike"):
        env.reset()
