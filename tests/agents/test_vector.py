"""Gymnasium vector environments as agents see them: the same transitions in every mode."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode
from stable_baselines3 import SAC
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.noise import OrnsteinUhlenbeckActionNoise
from stable_baselines3.common.vec_env import DummyVecEnv

from agents.actor_critic import ActorCritic
from agents.environments import as_vec_env
from agents.replay import TensorReplayBuffer
from agents.transitions import EpisodeSums, Transitions
from agents.vector import GymnasiumVecEnv
from simenv.envs.vector import VectorEnv
from simenv.errors import ConfigurationError
from tests.agents.ladder import HORIZON, MODES, TOP, Ladder, ladders, policy
from tests.envs.reach import REACH

N, SEED, EACH = 3, 5, 60
FIELDS = ("observations", "actions", "rewards", "terminated", "truncated", "next_observations")

every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


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


def model_on(env, **options) -> ActorCritic:
    """A tiny agent."""
    options = {"learning_starts": 12, "batch_size": 8, "buffer_size": 400, **options}
    return ActorCritic("MlpPolicy", env, seed=SEED, policy_kwargs={"net_arch": [8]}, **options)


def weights(model) -> torch.Tensor:
    """All parameters, targets included."""
    return torch.cat([p.detach().flatten() for p in model.policy.parameters()])


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


@pytest.mark.parametrize(
    ("mode", "num_envs"),
    [(AutoresetMode.SAME_STEP, N), (AutoresetMode.DISABLED, N), (AutoresetMode.NEXT_STEP, 1)],
)
@pytest.mark.parametrize("variant", ["plain", "noise", "sde", "as many updates as steps"])
def test_training_equals_stable_baselines3(mode, num_envs, variant):
    """Collected in tensors, SAC is Stable-Baselines3's to the last bit: weights, replay, logs."""

    def options():
        # This noise remembers, so that it must be reset with the episode.
        noise = OrnsteinUhlenbeckActionNoise(np.zeros(1), 0.3 * np.ones(1))
        return {
            "plain": {},
            "noise": {"action_noise": noise},
            "sde": {"use_sde": True, "sde_sample_freq": 2, "train_freq": 3},
            "as many updates as steps": {"gradient_steps": -1, "train_freq": 2},
        }[variant]

    ours = model_on(ladders(num_envs, mode), **options()).learn(60)
    theirs = SAC(
        "MlpPolicy",
        as_vec_env(DummyVecEnv([Ladder] * num_envs)),
        seed=SEED,
        learning_starts=12,
        batch_size=8,
        buffer_size=400,
        device="cpu",
        policy_kwargs={"net_arch": [8]},
        **options(),
    ).learn(60)
    assert torch.equal(weights(ours), weights(theirs))
    assert ours.num_timesteps == theirs.num_timesteps
    assert ours._episode_num == theirs._episode_num
    assert ours._n_updates == theirs._n_updates > 0
    rows, kept = ours.replay_buffer.size(), theirs.replay_buffer
    assert rows == kept.size()
    for name in ("observations", "next_observations", "actions", "rewards"):
        found = ours.replay_buffer.store[name][:rows].numpy()
        np.testing.assert_array_equal(found, getattr(kept, name)[:rows])
    dones = kept.dones[:rows] * (1 - kept.timeouts[:rows])
    np.testing.assert_array_equal(ours.replay_buffer.store["terminated"][:rows].numpy(), dones)
    assert list(ours.ep_info_buffer) == list(theirs.ep_info_buffer)
    assert all({"r", "l", "c"} == set(about) for about in ours.ep_info_buffer)


def test_next_step_counts_and_keeps_transitions_alone():
    """In NEXT_STEP, restarts count neither as steps nor as transitions of the replay."""
    model = model_on(ladders(N, AutoresetMode.NEXT_STEP), learning_starts=200)
    model.learn(100)
    valid = model.replay_buffer.valid[: model.replay_buffer.size()]
    assert valid.sum() == model.num_timesteps >= 100
    assert not valid.all()
    after = model.replay_buffer.store["next_observations"][: len(valid)].numpy()[valid]
    before = model.replay_buffer.store["observations"][: len(valid)].numpy()[valid]
    assert (after[:, 0] == before[:, 0]).all()  # of the same episode
    assert (after[:, 1] == before[:, 1] + 1).all()  # one step later


@every_mode
def test_only_truncation_bootstraps(mode, monkeypatch):
    """The target of a terminated transition is its reward; a truncated one has value behind it."""
    model = model_on(ladders(N, mode), learning_starts=200)
    model.learn(100)
    kept = model.replay_buffer
    ended, terminated = kept.store["ended"] & torch.as_tensor(kept.valid), kept.store["terminated"]
    rows, cols = np.argwhere(kept.valid).T
    monkeypatch.setattr(kept, "_avoid_gaps", lambda drawn: np.stack([rows, cols]))
    batch = kept._get_samples(rows)
    gap = (model.target(batch, torch.ones(1)) - batch.rewards)[:, 0]
    assert torch.equal(gap == 0, terminated[rows, cols] == 1)
    late = ended[rows, cols] & (terminated[rows, cols] == 0)
    assert late.any()
    assert (batch.next_observations[late, 3] <= TOP).all()
    assert (batch.next_observations[late, 1] == HORIZON).all()


class Listener(BaseCallback):
    """Notes what it hears, and stops after some steps."""

    def __init__(self, stop: int) -> None:
        super().__init__()
        self.stop, self.heard, self.rollouts = stop, [], 0

    def _on_rollout_start(self) -> None:
        self.rollouts += 1

    def _on_step(self) -> bool:
        self.heard.append((self.num_timesteps, int(self.model.replay_buffer.valid.sum())))
        self.dones = self.locals["dones"]
        assert torch.is_grad_enabled()  # a callback may train something of its own
        return self.n_calls < self.stop


def test_callbacks_hear_of_complete_steps():
    """A callback hears of every vector step after its transitions are kept, and can stop."""
    listener = Listener(stop=20)
    model = model_on(ladders(N, AutoresetMode.NEXT_STEP), learning_starts=200)
    model.learn(1000, callback=listener)
    assert len(listener.heard) == listener.rollouts == 20
    assert all(steps == kept for steps, kept in listener.heard)
    assert listener.dones.shape == (N,)
    assert model.num_timesteps == listener.heard[-1][0]


def test_logs_every_few_episodes():
    """Logs are written whenever so many more episodes are over, with their means."""
    model = model_on(ladders(N, AutoresetMode.NEXT_STEP), learning_starts=200)
    model.set_logger(Logger(None, []))
    dumped: list[tuple[int, float, dict]] = []

    def dump(step: int) -> None:
        mean = np.mean([about["r"] for about in model.ep_info_buffer])
        dumped.append((step, mean, dict(model.logger.name_to_value)))

    model.logger.dump = dump
    model.learn(100, log_interval=5)
    fives = [values["time/episodes"] // 5 for _, _, values in dumped]
    assert fives == list(range(1, model._episode_num // 5 + 1))
    assert len(fives) >= 4
    for step, mean, values in dumped:
        assert values["time/total_timesteps"] == step
        assert values["rollout/ep_rew_mean"] == mean
        assert 0 <= values["rollout/success_rate"] <= 1


def test_policies_see_every_collected_observation_once():
    """A policy that keeps statistics is given all observations acted on, and no others."""
    model = model_on(ladders(N, AutoresetMode.NEXT_STEP), learning_starts=200)
    seen: list[torch.Tensor] = []
    model.policy.observe = seen.append
    model.learn(60)
    kept, valid = (
        model.replay_buffer.store["observations"],
        torch.as_tensor(model.replay_buffer.valid),
    )
    assert torch.equal(torch.cat(seen), kept[valid])


def test_policies_see_the_tensors_themselves():
    """Where all rows count, what a policy is shown is no copy of the transitions."""
    model = model_on(ladders(N, AutoresetMode.SAME_STEP), learning_starts=200)
    seen: list[torch.Tensor] = []
    model.policy.observe = seen.append
    listener = Listener(stop=2)
    model.learn(60, callback=listener)
    assert seen[-1] is listener.locals["transitions"].observations


def test_warm_up_is_uniform_within_bounds():
    """Random actions fill the action space's bounds, and the replay keeps them in [-1, 1]."""
    model = model_on(ladders(8, AutoresetMode.SAME_STEP), learning_starts=400, buffer_size=400)
    model.learn(400)
    actions = model.replay_buffer.store["actions"].flatten()
    assert len(actions) == 400
    assert actions.abs().max() <= 1
    # A median of 400 uniform draws has the standard error 2 sqrt(0.25 / 400) = 0.05.
    for share, quartile in ((0.25, -0.5), (0.5, 0.0), (0.75, 0.5)):
        assert abs(float(actions.quantile(share)) - quartile) < 5 * 0.05
    climbs = (
        model.replay_buffer.store["next_observations"] - model.replay_buffer.store["observations"]
    )
    taken = climbs[..., 3].flatten()
    # Taken as kept, but for rounding of positions up to 8.
    torch.testing.assert_close(taken, 2 * actions + 1, rtol=0, atol=1e-5)


@every_mode
def test_trains_on_simulated_environments(mode):
    """300 steps of SAC on the native vector environment, out of step with each other."""
    envs = VectorEnv(REACH, 4, autoreset_mode=mode, output="torch", max_episode_steps=7)
    model = model_on(envs, learning_starts=50)
    model._setup_learn(1)
    state = envs.get_state()
    envs.set_state({**state, "elapsed": np.array([0, 2, 4, 6])})
    model.learn(300, reset_num_timesteps=False)
    before = weights(model_on(VectorEnv(REACH, 4, autoreset_mode=mode)))
    assert model.num_timesteps >= 300
    assert model.env.episodes >= 300 // 7 - 4
    assert torch.isfinite(weights(model)).all()
    assert not torch.equal(weights(model), before)
    kept = model.replay_buffer
    valid = torch.as_tensor(kept.valid)
    jump = (kept.store["next_observations"] - kept.store["observations"])[valid][:, :2]
    assert jump.abs().max() <= 0.05 + 1e-4  # 1 m/s for 0.05 s; a reset moves the tool farther


def test_numpy_and_torch_train_alike():
    """Torch in and out changes nothing but the way of the numbers."""
    one, other = (
        weights(model_on(VectorEnv(REACH, 2, output=output)).learn(60))
        for output in ("numpy", "torch")
    )
    assert torch.equal(one, other)


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


@every_mode
def test_resumes_from_a_checkpoint(mode, tmp_path):
    """Training broken off and resumed from a checkpoint equals the uninterrupted run."""

    def fresh() -> ActorCritic:
        envs = VectorEnv(REACH, N, autoreset_mode=mode, output="torch", max_episode_steps=5)
        return model_on(envs)

    def learn(model: ActorCritic, until: int) -> ActorCritic:
        return model.learn(until - model.num_timesteps, reset_num_timesteps=False)

    one = fresh()
    one._setup_learn(1)
    one.env.envs.set_state({**one.env.envs.get_state(), "elapsed": np.array([0, 1, 3])})
    while one.env.episodes < 7:
        learn(one, one.num_timesteps + 1)
    # An episode has just ended: in NEXT_STEP, its environment is yet to restart.
    assert one.env.get_state()["resetting"].any() == (mode == AutoresetMode.NEXT_STEP)
    one.save_checkpoint(tmp_path / "point")
    other = fresh()
    other.load_checkpoint(tmp_path / "point")
    other = learn(other, 90)
    again, _ = weights(other), one.load_checkpoint(tmp_path / "point")
    assert torch.equal(again, weights(learn(one, 90)))
    assert other.num_timesteps == one.num_timesteps
    assert other.env.episodes == one.env.episodes > 8


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
    with pytest.raises(ConfigurationError, match="needs num_envs = 1, not 3"):
        model_on(ladders(N, AutoresetMode.SAME_STEP), train_freq=(1, "episode")).learn(10)


def test_costs_are_demanded_where_they_are_kept():
    """A replay that keeps costs refuses an environment that gives none."""
    model = model_on(
        ladders(N, AutoresetMode.SAME_STEP, costs=False), replay_buffer_kwargs={"with_costs": True}
    )
    with pytest.raises(ConfigurationError, match="gives no info"):
        model.learn(10)


def test_other_replays_take_the_usual_way():
    """With Stable-Baselines3's own replay, collection is Stable-Baselines3's, steps included."""
    mode = AutoresetMode.SAME_STEP
    theirs = model_on(ladders(N, mode), replay_buffer_class=ReplayBuffer).learn(60)
    ours = model_on(ladders(N, mode)).learn(60)
    assert isinstance(ours.replay_buffer, TensorReplayBuffer)
    assert isinstance(theirs.replay_buffer, ReplayBuffer)
    assert torch.equal(weights(ours), weights(theirs))
