"""Variants, kinds of observation and reset options: one mechanism for every task."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from stable_baselines3.her import HerReplayBuffer

from simenv.envs import Env, Functional, GoalEnv, SafetyTuple, Start, VectorEnv
from simenv.envs.sb3 import SB3VecEnv
from simenv.errors import ConfigurationError, ShapeError
from tests.envs.reach import REACH
from tests.envs.support import WALKER, single, vector

SAFE = "simenv/SoftWalker2D-Safe-v0"


def test_costs_of_the_safe_variant_add_up():
    """The safe id reports the cost of every step, named and in all; the plain id none."""
    env, plain = gymnasium.make(SAFE), gymnasium.make(WALKER)
    _, info = env.reset(seed=0)
    assert info["cost"] == 0.0
    assert info["costs"] == {"speed": 0.0, "tilt": 0.0}
    assert "cost" not in plain.reset(seed=0)[1]
    env.unwrapped._episodes.state.v[..., 0] += 1.0
    _, _, _, _, info = env.step(np.zeros(4, np.float32))
    assert info["costs"] == {"speed": 1.0, "tilt": 0.0}
    assert info["cost"] == sum(info["costs"].values())
    assert "cost" not in plain.step(np.zeros(4, np.float32))[4]


def test_safety_tuple():
    """The wrapper hands the cost out in its own place, and refuses an environment without one."""
    env = SafetyTuple(gymnasium.make(SAFE))
    env.reset(seed=0)
    outcome = env.step(np.zeros(4, np.float32))
    assert len(outcome) == 6
    assert outcome[2] == outcome[5]["cost"]
    plain = SafetyTuple(gymnasium.make(WALKER))
    plain.reset(seed=0)
    with pytest.raises(ConfigurationError, match="-Safe"):
        plain.step(np.zeros(4, np.float32))


def test_costs_reach_stable_baselines3():
    """Every environment's own info carries its own cost, and a finished one the last of them."""
    envs = SB3VecEnv(SAFE, 2, max_episode_steps=2)
    envs.seed(0)
    envs.reset()
    envs.envs._episodes.state.v[1, :, 0] += 1.0
    infos = envs.step(np.zeros((2, 4), np.float32))[3]
    assert [info["cost"] for info in infos] == [0.0, 1.0]
    assert infos[1]["costs"] == {"speed": 1.0, "tilt": 0.0}
    envs.envs._episodes.state.v[0, :, 0] += 1.0
    infos = envs.step(np.zeros((2, 4), np.float32))[3]
    assert infos[0]["cost"] == 1.0


def goal_env(**options):
    """The reaching task of the tests as a single goal environment."""
    return GoalEnv(REACH, variant="goal", **options)


def test_goal_variant_passes_the_check():
    """Dictionary observations lie in their space, and hold goal and achievement."""
    env = goal_env()
    check_env(env, skip_render_check=True)
    observation, _ = env.reset(seed=1)
    assert isinstance(env.observation_space, spaces.Dict)
    assert set(observation) == {"observation", "achieved_goal", "desired_goal"}
    np.testing.assert_allclose(observation["achieved_goal"], [0.5, 0.3], atol=1e-6)


@pytest.mark.parametrize("reward_type", ["sparse", "dense"])
def test_compute_reward_equals_the_step(reward_type):
    """`compute_reward` of the goals of a step is the step's reward; of a batch, one each."""
    env = goal_env(reward_type=reward_type)
    env.reset(seed=0)
    seen, reward, *_, info = env.step(np.ones(2, np.float32))
    again = env.compute_reward(seen["achieved_goal"], seen["desired_goal"], info)
    assert float(again) == pytest.approx(reward, abs=1e-6)
    goals = np.stack([seen["achieved_goal"]] * 3)
    wanted = goals + np.array([[0.0, 0.0], [0.04, 0.0], [0.0, 0.2]], np.float32)
    expected = {"sparse": [0.0, 0.0, -1.0], "dense": [0.0, -0.04, -0.2]}[reward_type]
    np.testing.assert_allclose(env.compute_reward(goals, wanted, {}), expected, atol=1e-6)


def test_goals_are_drawn_given_or_left():
    """The target option draws a goal by the seed, sets it, or takes the middle one."""
    env = goal_env()
    drawn = env.reset(seed=4)[0]["desired_goal"]
    assert (env.reset(seed=4)[0]["desired_goal"] == drawn).all()
    assert (env.reset(seed=5)[0]["desired_goal"] != drawn).any()
    given = env.reset(seed=4, options={"target": [0.6, 0.4]})[0]["desired_goal"]
    np.testing.assert_allclose(given, [0.6, 0.4], rtol=1e-6)
    middle = env.reset(seed=4, options={"target": False})[0]["desired_goal"]
    np.testing.assert_allclose(middle, [0.5, 0.5], rtol=1e-6)


def test_plain_id_shows_the_goal_behind_its_features():
    """Without the goal variant the goal is the end of the vector."""
    env = Env(REACH)
    observation, _ = env.reset(seed=0, options={"target": [0.6, 0.4]})
    assert observation.shape == env.observation_space.shape == (6,)
    np.testing.assert_allclose(observation[-2:], [0.6, 0.4], rtol=1e-6)


@pytest.mark.parametrize("mode", ["NextStep", "SameStep"])
def test_vector_goal_environment_equals_singles(mode):
    """Native batches of dictionary observations equal Gymnasium's synchronous ones."""
    gymnasium.register(
        "tests/Reach-Goal-v0",
        entry_point="simenv.envs.env:GoalEnv",
        vector_entry_point="simenv.envs.vector:VectorEnv",
        max_episode_steps=3,
        kwargs={"task": REACH, "variant": "goal"},
    )
    try:
        native = gymnasium.make_vec("tests/Reach-Goal-v0", 3, autoreset_mode=mode)
        sync = gymnasium.make_vec(
            "tests/Reach-Goal-v0",
            3,
            vectorization_mode="sync",
            vector_kwargs={"autoreset_mode": mode},
        )
    finally:
        del gymnasium.registry["tests/Reach-Goal-v0"]
    mine, theirs = native.reset(seed=0)[0], sync.reset(seed=0)[0]
    for key in mine:
        np.testing.assert_allclose(mine[key], theirs[key], atol=1e-6)
    for action in np.random.default_rng(0).uniform(-1, 1, (7, 3, 2)).astype(np.float32):
        a, b = native.step(action), sync.step(action)
        for key in a[0]:
            np.testing.assert_allclose(a[0][key], b[0][key], atol=1e-5)
        np.testing.assert_allclose(a[1], b[1], atol=1e-5)
        np.testing.assert_array_equal(a[3], b[3])


def test_hindsight_replay_relabels():
    """Stable-Baselines3's hindsight buffer takes goals and rewards from the adapter."""
    envs = SB3VecEnv(REACH, 2, variant="goal", max_episode_steps=4)
    buffer = HerReplayBuffer(
        100, envs.observation_space, envs.action_space, envs, n_envs=2, copy_info_dict=False
    )
    envs.seed(0)
    seen = envs.reset()
    for _ in range(8):
        action = np.ones((2, 2), np.float32)
        after, reward, done, infos = envs.step(action)
        buffer.add(seen, after, action, reward, done, infos)
        seen = after
    batch = buffer.sample(64)
    reached = (batch.rewards == 0.0).float().mean()
    # Most goals are replaced by ones reached later on in the episode.
    assert float(reached) > 0.1


def test_particle_observation():
    """The particle observation shows places, speeds and tools, and stays in its space."""
    env = Env(REACH, obs="particles")
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    particles = env._episodes.functional.simulator.num_particles
    assert observation.shape == (4 * particles + 3 + 3 + 2,)
    x = env._episodes.state.x[0].numpy()
    np.testing.assert_allclose(
        observation[: 2 * particles].reshape(-1, 2), (x - 0.5) / 0.5, atol=1e-6
    )


def test_particle_observation_has_gradients():
    """Gradients flow through the particle observation."""
    func = Functional(WALKER, obs="particles")
    state = func.initial(seed=0).requires_grad_()
    func.observation(state).sum().backward()
    # 200 of 448 particles are shown.
    assert int((state.x.grad != 0).any(dim=-1).sum()) == 200


def test_pixel_observation():
    """The pixel observation is the picture that `render` would draw, in small."""
    env = single(WALKER, obs="pixels")
    check_env(env, skip_render_check=True)
    observation, _ = env.reset(seed=0)
    assert observation.shape == (64, 128, 3)
    assert observation.dtype == np.uint8
    assert observation.std() > 5
    batch = vector(WALKER, 2, obs="pixels")
    frames, _ = batch.reset(seed=0)
    assert frames.shape == (2, 64, 128, 3)
    np.testing.assert_array_equal(frames[0], observation)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"poze": True}, ConfigurationError, "unknown reset option 'poze'; did you mean 'pose'"),
        ({"pose": 0.3}, ConfigurationError, "pose = 0.3 must be True or False"),
        ({"pose": True}, ConfigurationError, "has no pose_range"),
        ({"material": 2.0}, ConfigurationError, "material = 2.0 must be True, False or a mapping"),
        ({"material": {"nu": 1.1}}, ConfigurationError, r"no parameter \['nu'\]; it may name"),
        ({"material": {"E": -1.0}}, ConfigurationError, "'E' = -1.0 must be > 0"),
        ({"target": [1.0]}, ShapeError, "must hold 2 finite numbers"),
        ({"target": [1.0, np.nan]}, ShapeError, "must hold 2 finite numbers"),
    ],
)
def test_wrong_reset_option_is_named(options, error, words):
    """A wrong reset option is refused with what would do, and the episode goes on."""
    env = goal_env()
    env.reset(seed=0)
    with pytest.raises(error, match=words):
        env.reset(options=options)
    env.step(np.zeros(2, np.float32))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"obs": "smell"}, "obs 'smell' is not one of"),
        ({"variant": "fast"}, "variant 'fast' is not one of"),
        ({"variant": "goal"}, "SoftWalker2D has no goals"),
        ({"reward_type": "rich"}, "reward_type 'rich' is not one of"),
    ],
)
def test_wrong_face_is_named(options, words):
    """Faces that a task does not have are refused."""
    with pytest.raises(ConfigurationError, match=words):
        single(WALKER, **options)


def test_reset_options_of_the_constructor_hold_for_every_reset():
    """Options given when making serve resets without options, automatic ones too."""
    fixed = {"target": [0.6, 0.4]}
    envs = VectorEnv(
        REACH,
        2,
        variant="goal",
        max_episode_steps=1,
        reset_options=fixed,
        autoreset_mode="SameStep",
    )
    envs.reset(seed=0)
    for _ in range(2):
        seen = envs.step(np.zeros((2, 2), np.float32))[0]
        np.testing.assert_allclose(seen["desired_goal"], [[0.6, 0.4]] * 2, rtol=1e-6)
    envs.reset(seed=0, options={"target": [0.4, 0.4]})
    np.testing.assert_allclose(
        envs.step(np.zeros((2, 2), np.float32))[0]["desired_goal"], [[0.4, 0.4]] * 2, rtol=1e-6
    )


def test_parameters_given_by_hand_win_over_drawn_ones():
    """`transition` merges what the start drew with what the caller gives."""
    func = Functional(WALKER, dtype="float64")
    state = func.initial(seed=0, start=Start(material={"E": 0.7}))
    action = torch.zeros(1, 4, dtype=torch.float64)
    names = [body.name for body in func.task.scene.bodies]
    given = {name: {"E": torch.tensor(4.0e4, dtype=torch.float64)} for name in names}
    by_hand = func.transition(state, action, parameters=given)
    plain = func.transition(func.initial(seed=0), action)
    assert torch.equal(by_hand.x, plain.x)
