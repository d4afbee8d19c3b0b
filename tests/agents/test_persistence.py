"""Saving and loading agents: what they are comes back, what does not belong is refused."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from gymnasium import spaces

from agents import CAL, FLAC, SACPID, ActorCritic, SACLag, checkpoints
from agents.environments import make_vec
from agents.spaces import describe_space, same, space_from
from simenv.errors import CheckpointError, ConfigurationError

TINY = {"learning_starts": 20, "batch_size": 8, "buffer_size": 100, "seed": 1}
ARCH = {"net_arch": [8]}
AGENTS = {
    "ActorCritic": (ActorCritic, {"policy_kwargs": ARCH, "gamma": 0.9}),
    "switches": (ActorCritic, {"policy_kwargs": {**ARCH, "simba": True}, "ent_coef": 0.1}),
    "FLAC": (FLAC, {"policy_kwargs": ARCH, "flow_steps": 2}),
    "CAL": (CAL, {"policy_kwargs": ARCH, "cost_limit": 30.0, "cost_critics": 2}),
    "SACLag": (SACLag, {"policy_kwargs": ARCH, "cost_limit": 30.0}),
}


@pytest.fixture(params=AGENTS)
def agent(request):
    """An agent of every kind after some updates."""
    kind, options = AGENTS[request.param]
    env = make_vec("Pendulum-v1", 1, cost="effort")
    return kind("MlpPolicy", env, **TINY, **options).learn(40)


def state_of(agent):
    """Networks, optimisers and multipliers."""
    return agent._parameters()


def test_round_trip(agent, tmp_path):
    """Without an environment it predicts the same; with one it goes on learning from the same."""
    agent.save(tmp_path / "model")
    alone = type(agent).load(tmp_path / "model")
    again = type(agent).load(tmp_path / "model", env=make_vec("Pendulum-v1", 1, cost="effort"))
    seen = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    for loaded in (alone, again):
        assert same(flat(state_of(loaded)), flat(state_of(agent)))
        assert loaded.gamma == agent.gamma
        actions = []
        for model in (agent, loaded):
            torch.manual_seed(3)  # a flow draws even when it is asked for its best
            actions.append(model.predict(seen, deterministic=True)[0])
        assert np.array_equal(*actions)
    with pytest.raises(ConfigurationError, match="loaded without an environment"):
        alone.learn(10)
    before = flat(state_of(again))
    again.learn(40)
    assert not same(flat(state_of(again)), before)


def flat(state):
    """Tensors as arrays, so that `same` compares them; independent of later updates."""
    if isinstance(state, dict):
        return {key: flat(value) for key, value in state.items()}
    if torch.is_tensor(state):
        return state.detach().numpy().copy()
    return [flat(v) for v in state] if isinstance(state, (list, tuple)) else state


def test_another_class_is_refused(agent, tmp_path):
    """Loading with another class names the right one."""
    agent.save(tmp_path / "model")
    other = SACLag if type(agent) is not SACLag else CAL
    with pytest.raises(CheckpointError, match=f"holds a {type(agent).__name__}"):
        other.load(tmp_path / "model")


def test_another_environment_is_refused(tmp_path):
    """An environment with other spaces is refused with both spaces."""
    ActorCritic("MlpPolicy", "Pendulum-v1", policy_kwargs=ARCH, **TINY).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"another environment.*\(3,\).*here.*\(2,\)"):
        ActorCritic.load(tmp_path / "model", env="MountainCarContinuous-v0")


@pytest.mark.parametrize(
    "change",
    [
        {"agent": 3},
        {"arguments": None},
        {"arguments": {"policy": "os.system"}},
        {"arguments": {"policy": "MlpPolicy", "replay": "rm"}},
        {"arguments": {"policy": "MlpPolicy", "policy_kwargs": {"net_arch": "x"}}},
        {"observation": {"kind": "Box"}},
    ],
)
def test_nonsense_is_refused(tmp_path, change):
    """A folder that is in order but describes no agent is refused as such."""
    agent = ActorCritic("MlpPolicy", "Pendulum-v1", policy_kwargs=ARCH, **TINY)
    about = {**agent.about(), **change}
    state = {"about": about, "parameters": state_of(agent), "extra": {}}
    checkpoints.write(tmp_path / "model", state)
    with pytest.raises(CheckpointError, match=r"does not fit|holds a 3"):
        ActorCritic.load(tmp_path / "model")


def test_saving_again_replaces(tmp_path):
    """The second save to a folder is what is loaded."""
    agent = ActorCritic("MlpPolicy", "Pendulum-v1", policy_kwargs=ARCH, **TINY)
    agent.save(tmp_path / "model")
    agent.learn(40).save(tmp_path / "model")
    assert same(flat(state_of(ActorCritic.load(tmp_path / "model"))), flat(state_of(agent)))


def test_a_saved_agent_is_no_checkpoint(tmp_path):
    """Going on from what `save` wrote is refused: it has no replay."""
    agent = ActorCritic("MlpPolicy", "Pendulum-v1", policy_kwargs=ARCH, **TINY)
    agent.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="does not fit this agent: 'replay'"):
        agent.load_checkpoint(tmp_path / "model")


def test_a_multiplier_outside_of_torch_is_kept(tmp_path):
    """What SACPID's controller has come to is saved and loaded."""
    env = make_vec("Pendulum-v1", 1, cost="effort")
    agent = SACPID("MlpPolicy", env, cost_limit=1.0, policy_kwargs=ARCH, **TINY)
    agent.controller.step(9.0)
    assert float(agent.multiplier) > 0.0
    agent.save(tmp_path / "model")
    assert float(SACPID.load(tmp_path / "model").multiplier) == float(agent.multiplier)


def test_what_cannot_be_saved_is_asked_for(tmp_path):
    """A step size that is a function is left out of the file, and needed to load it."""
    agent = ActorCritic(
        "MlpPolicy", "Pendulum-v1", learning_rate=lambda left: left, policy_kwargs=ARCH, **TINY
    )
    agent.save(tmp_path / "model")
    with pytest.raises(CheckpointError, match=r"could not keep \['learning_rate'\]"):
        ActorCritic.load(tmp_path / "model")
    loaded = ActorCritic.load(tmp_path / "model", learning_rate=lambda left: left)
    assert same(flat(state_of(loaded)), flat(state_of(agent)))
    other = ActorCritic.load(tmp_path / "model", learning_rate=1e-3)
    assert other.critic.optimizer.param_groups[0]["lr"] == 1e-3


class Passing(ActorCritic):
    """An algorithm that passes everything on."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Renaming(ActorCritic):
    """An algorithm with an option of its own, and a name of its own for the rest."""

    def __init__(self, policy, env, *, mine=1, **rest):
        self.mine = mine
        super().__init__(policy, env, gamma=0.5, **rest)


@pytest.mark.parametrize("kind", [Passing, Renaming])
def test_subclasses(tmp_path, kind):
    """However a subclass passes its arguments on, it is loaded as it was made."""
    own = {"mine": 4} if kind is Renaming else {"gamma": 0.5}
    agent = kind("MlpPolicy", "Pendulum-v1", tau=0.1, policy_kwargs=ARCH, **own, **TINY)
    agent.save(tmp_path / "model")
    loaded = kind.load(tmp_path / "model", env="Pendulum-v1")
    assert (loaded.gamma, loaded.tau, getattr(loaded, "mine", None)) == (0.5, 0.1, own.get("mine"))
    assert loaded.replay_buffer.buffer_size == 100
    assert copy.copy(agent).tau == 0.1


def test_nothing_to_go_on_from():
    """A checkpoint before any learning is refused: there is no state yet."""
    agent = ActorCritic("MlpPolicy", "Pendulum-v1", policy_kwargs=ARCH, **TINY)
    with pytest.raises(ConfigurationError, match="call learn first"):
        agent.get_state()


def test_pickles_are_not_offered(tmp_path):
    """The ways of Stable-Baselines3 that read or write a pickle name those that do not."""
    agent = ActorCritic("MlpPolicy", "Pendulum-v1", policy_kwargs=ARCH, **TINY)
    trap = tmp_path / "trap.pkl"
    trap.write_bytes(b"cos\nsystem\n(S'touch trapped'\ntR.")
    for call in (agent.load_replay_buffer, agent.save_replay_buffer, agent.set_parameters):
        with pytest.raises(ConfigurationError, match=r"folder"):
            call(trap)
    agent.set_parameters(agent.get_parameters())


def test_arguments_are_noted_as_given():
    """What Stable-Baselines3 writes into a dictionary of options is not what is saved."""
    given = {"net_arch": [8]}
    agent = ActorCritic("MlpPolicy", "Pendulum-v1", policy_kwargs=given, **TINY)
    assert agent.arguments()["policy_kwargs"] == {"net_arch": [8]}
    assert agent.about()["arguments"]["seed"] == 1
    assert "env" not in agent.about()["arguments"]


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1.0, 2.0, (3,), np.float32),
        spaces.Box(np.array([-np.inf, 0.0]), np.array([1.0, np.inf]), dtype=np.float64),
        spaces.Box(0, 255, (4, 5, 3), np.uint8),
        spaces.Discrete(4, start=2),
        spaces.Dict({"b": spaces.Box(-1.0, 1.0, (1,)), "a": spaces.Discrete(2)}),
    ],
)
def test_spaces_round_trip(space):
    """A described space comes back equal, and differs from another."""
    assert space_from(describe_space(space)) == space
    assert not same(describe_space(space), describe_space(spaces.Box(-1.0, 1.0, (3,))))


def test_other_spaces_are_refused():
    """A space that cannot be described says so."""
    with pytest.raises(ConfigurationError, match="cannot be saved"):
        describe_space(spaces.MultiBinary(3))
