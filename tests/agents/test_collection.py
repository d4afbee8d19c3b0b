"""Collecting transitions from Gymnasium vector environments, and learning from them."""

from __future__ import annotations

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
from simenv.envs.vector import VectorEnv
from simenv.errors import ConfigurationError
from tests.agents.ladder import HORIZON, MODES, TOP, Ladder, ladders
from tests.envs.reach import REACH

N, SEED = 3, 5

every_mode = pytest.mark.parametrize("mode", MODES, ids=lambda mode: mode.name)


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def model_on(env, **options) -> ActorCritic:
    """A tiny agent."""
    options = {"learning_starts": 12, "batch_size": 8, "buffer_size": 400, **options}
    return ActorCritic("MlpPolicy", env, seed=SEED, policy_kwargs={"net_arch": [8]}, **options)


def weights(model) -> torch.Tensor:
    """All parameters, targets included."""
    return torch.cat([p.detach().flatten() for p in model.policy.parameters()])


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


def test_whole_episodes_need_one_environment():
    """Collecting by the episode from several environments is refused, with the remedy."""
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
