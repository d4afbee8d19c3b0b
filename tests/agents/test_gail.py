"""GAIL: it does what the demonstration does, whatever the environment rewards."""

from __future__ import annotations

from contextlib import closing

import numpy as np
import pytest
import torch

import simenv
from agents.algorithms import ALGORITHMS
from agents.demonstrations import Demonstration, demonstrate
from agents.environments import make_vec
from agents.gail import GAIL
from agents.options import Resume
from agents.physics.ild import ILD
from agents.replay import Batch
from agents.training import load_agent, make_environment, resume, train
from simenv.errors import CheckpointError, ConfigurationError, DatasetError
from tests.agents.tiny import Bandit, regret, vector

TINY = {
    "learning_starts": 16,
    "batch_size": 16,
    "seed": 1,
    "policy_kwargs": {"net_arch": [8]},
    "discriminator_arch": (8,),
}
PENDULUM = "Pendulum-v1"


def shown(sign: float = 1.0, steps: int = 200) -> Demonstration:
    """Steps of a bandit with the actions sign · 0.8 z."""
    z = np.random.default_rng(0).uniform(-1, 1, (steps + 1, 1)).astype(np.float32)
    return Demonstration("bandit", "", 0, z, sign * 0.8 * z[:-1], np.zeros(steps, np.float32))


def pendulum(steps: int = 20) -> Demonstration:
    """Some steps with the spaces of the pendulum."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(steps + 1, 3)).astype(np.float32)
    acted = rng.uniform(-1, 1, (steps, 1)).astype(np.float32)
    return Demonstration(PENDULUM, "", 0, seen, acted, np.zeros(steps, np.float32))


def make(demonstration, **options) -> GAIL:
    """A tiny one in eight bandits."""
    return GAIL("MlpPolicy", vector(Bandit), demonstration=demonstration, **TINY | options)


# ------------------------------------------------------------------ learning


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_it_does_what_it_was_shown(sign):
    """Of two demonstrations it imitates its own, though the environment rewards the first.

    Random actions have a regret of 0.33 + 0.21 to either; the other demonstration's one of 0.85.
    """
    model = GAIL(
        "MlpPolicy",
        vector(Bandit),
        demonstration=shown(sign),
        learning_starts=200,
        batch_size=64,
        gradient_steps=4,
        learning_rate=3e-3,
        discriminator_learning_rate=3e-3,
        discriminator_arch=(32,),
        gradient_penalty=1.0,
        policy_kwargs={"net_arch": [32]},
        seed=0,
    ).learn(1_000)
    assert regret(model, Bandit(slope=sign * 0.8)) < 0.1
    assert regret(model, Bandit(slope=-sign * 0.8)) > 0.5


def rows(observations: torch.Tensor, actions: torch.Tensor) -> Batch:
    """A batch that the environment rewarded by −100."""
    flat = torch.zeros(len(actions), 1)
    return Batch(observations, actions, observations, flat + 1, flat - 100.0)


def test_the_reward_is_the_discriminators():
    """−log(1 − D), by hand; once D has learnt, more for the demonstration's steps than others."""
    model, demonstration = make(shown()), shown()
    theirs = rows(
        *(torch.as_tensor(a) for a in (demonstration.features[:-1], demonstration.actions))
    )
    others = theirs._replace(actions=-theirs.actions)
    steps = torch.cat([theirs.observations, theirs.actions], dim=1)
    share = torch.sigmoid(model.discriminator(steps))
    torch.testing.assert_close(model.rewards(theirs), -torch.log(1 - share))
    wrong = torch.cat([others.observations, others.actions], dim=1)
    optimizer = torch.optim.Adam(model.discriminator.parameters(), 1e-2)
    for _ in range(100):
        optimizer.zero_grad()
        model.discriminator_loss(wrong).backward()
        optimizer.step()
    with torch.no_grad():
        shown_reward, other_reward = (model.rewards(b).mean() for b in (theirs, others))
    assert float(shown_reward) > float(other_reward) + 0.2


def test_the_loss_by_hand():
    """−log D of the demonstration's, −log(1 − D) of one's own; no penalty where it has weight 0."""
    model = make(shown(), gradient_penalty=0.0)
    mine = torch.randn(16, 2)
    torch.manual_seed(3)
    found = model.discriminator_loss(mine)
    torch.manual_seed(3)
    theirs = model._steps[torch.randint(200, (16,))]
    first, second = (torch.sigmoid(model.discriminator(steps)) for steps in (theirs, mine))
    torch.testing.assert_close(found, -torch.log(first).mean() - torch.log(1 - second).mean())


def test_the_penalty_holds_the_slope_at_one():
    """Nothing for a slope of one in the units of the demonstration, four for one of three."""
    model = make(shown())
    unit = torch.tensor([[1.0, 0.0]])
    theirs, mine = torch.randn(4, 2), torch.randn(4, 2)
    for factor, expected in ((1.0, 0.0), (3.0, 4.0)):
        model.discriminator.network = torch.nn.Linear(2, 1)
        with torch.no_grad():
            model.discriminator.network.weight.copy_(factor * unit)
        assert float(model._penalty(theirs, mine).detach()) == pytest.approx(expected, abs=1e-5)


# ------------------------------------------------------------------ state


def test_goes_on_exactly(tmp_path):
    """From a checkpoint to the same bits, the discriminator's included."""

    def fresh() -> GAIL:
        options = TINY | {"discriminator_arch": (8,)}
        return GAIL("MlpPolicy", make_vec(PENDULUM, 2), demonstration=pendulum(), **options)

    whole = fresh().learn(60)
    half = fresh().learn(30)
    half.save_checkpoint(tmp_path / "half")
    other = fresh()
    other.load_checkpoint(tmp_path / "half")
    other.learn(30, reset_num_timesteps=False)
    for name in ("policy", "discriminator"):
        mine, theirs = (getattr(model, name).state_dict() for model in (whole, other))
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_save_and_load(tmp_path):
    """Same actions without an environment; going on needs the demonstration, and the same one."""
    model = make(shown()).learn(40)
    model.save(tmp_path / "model")
    loaded = GAIL.load(tmp_path / "model")
    seen = np.linspace(-1, 1, 5, dtype=np.float32)[:, None]
    assert np.array_equal(
        model.predict(seen, deterministic=True)[0], loaded.predict(seen, deterministic=True)[0]
    )
    with pytest.raises(ConfigurationError, match="pass demonstration="):
        GAIL.load(tmp_path / "model", env=vector(Bandit)).learn(40)
    with pytest.raises(CheckpointError, match="belongs to another demonstration"):
        GAIL.load(tmp_path / "model", env=vector(Bandit), demonstration=shown(-1.0))
    again = GAIL.load(tmp_path / "model", env=vector(Bandit), demonstration=shown())
    for key, value in model.discriminator.state_dict().items():
        assert torch.equal(again.discriminator.state_dict()[key], value)


def test_environments_pursue_the_goal_that_was_shown(tmp_path):
    """Else the discriminator would tell episodes apart by their goals alone."""
    task_id = "simenv/FingerReach2D-v0"
    functional = simenv.functional(task_id)
    still = torch.zeros(1, functional.task.num_actions)
    demonstration = demonstrate(functional, lambda state, t: still, 2, task_id)
    demo = demonstration.save(tmp_path / "demo.npz")
    options = ALGORITHMS["gail"].options(task_id, demo=demo)
    with closing(make_environment(options, 2)) as env:
        seen = env.reset()
    goal = demonstration.features[0, -len(demonstration.goal) :]
    np.testing.assert_allclose(seen[:, -len(goal) :], [goal, goal], rtol=1e-6)
    model = GAIL("MlpPolicy", task_id, demonstration=demonstration, num_envs=2, **TINY)
    seen = model.env.reset()
    np.testing.assert_allclose(seen[:, -len(goal) :], [goal, goal], rtol=1e-6)
    options = {"num_envs": 1, "net_arch": (8,), "task_options": {"size": "small"}}
    judge = ILD(task_id, task_id, demonstration=demonstration, **options).env
    np.testing.assert_allclose(judge.reset()[:, -len(goal) :], [goal], rtol=1e-6)


def test_a_run(tmp_path):
    """`train gail`: rows, the agent plays, and what is resumed is the same."""
    demo = pendulum().save(tmp_path / "demo.npz")
    tiny = {
        "demo": demo,
        "num_envs": 2,
        "net_arch": (8,),
        "discriminator_arch": (8,),
        "learning_starts": 8,
        "batch_size": 8,
        "gradient_steps": 1,
        "eval_every": 20,
        "eval_episodes": 1,
        "save_every": 20,
        "progress_bar": False,
    }
    kind = ALGORITHMS["gail"].options
    whole = train("gail", kind(PENDULUM, **tiny, steps=40, out=tmp_path / "whole"))
    assert whole.metrics()["step"] == [0, 20, 40]
    train("gail", kind(PENDULUM, **tiny, steps=20, out=tmp_path / "half"))
    other = resume(Resume(tmp_path / "half", steps=40, progress_bar=False))
    mine, theirs = (load_agent(run).discriminator.state_dict() for run in (whole, other))
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)
    with pytest.raises(ConfigurationError, match="--demo FILE"):
        train("gail", kind(PENDULUM, out=tmp_path / "none"))
    with pytest.raises(DatasetError, match="recorded in Pendulum-v1, not in simenv/Soft"):
        train("gail", kind("simenv/SoftWalker2D-v0", demo=demo, out=tmp_path / "none"))
    assert not (tmp_path / "none").exists()


# ------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("option", "error"),
    [
        ({"n_steps": 2}, "n_steps"),
        ({"munchausen": 0.9}, "munchausen"),
        ({"discriminator_arch": (0,)}, "discriminator_arch"),
        ({"discriminator_learning_rate": 0.0}, "discriminator_learning_rate"),
        ({"gradient_penalty": -1.0}, "gradient_penalty"),
    ],
)
def test_options_outside_their_bounds(option, error):
    """Each is refused by name, on the command line as well where it is an option there."""
    with pytest.raises(ConfigurationError, match=error):
        make(shown(), **option)
    if error.startswith(("discriminator", "gradient")):
        with pytest.raises(ConfigurationError, match=error):
            ALGORITHMS["gail"].options(PENDULUM, **option)


def test_what_does_not_belong_is_refused():
    """A demonstration with other spaces, and observations that are goals."""
    with pytest.raises(DatasetError, match="3 features and 1 actions, the environment 1 and 1"):
        make(pendulum())
    with pytest.raises(ConfigurationError, match="take the task's plain id"):
        GAIL("MultiInputPolicy", "simenv/FingerReach2D-Goal-v0", demonstration=None, **TINY)
