"""The task of the guide "write your own task": it runs, has every face, and can be done."""

from __future__ import annotations

import gymnasium
import pytest
import torch

from examples import own_task
from simenv.envs import Env, Functional, Start

PATH = "examples.own_task:PushJelly"


@pytest.fixture
def registered():
    """The example's ids, for the length of a test."""
    own_task.register()
    yield
    for name in [name for name in gymnasium.registry if name.startswith("mine/")]:
        del gymnasium.registry[name]


def test_main_does_the_task(registered, monkeypatch, capsys):
    """The example passes Gymnasium's check and pushes the ball beyond the line."""
    monkeypatch.setattr(own_task, "register", lambda: None)
    own_task.main()
    assert "success True" in capsys.readouterr().out


def test_ids(registered):
    """The safe id reports costs."""
    env = gymnasium.make("mine/PushJelly-Safe-v0")
    env.reset(seed=0)
    *_, info = env.step(torch.ones(2).numpy())
    assert info["costs"] == {"hurry": 1.0}


def test_reset_options():
    """The ball moves by up to its range, and softer jelly is another step."""
    functional = Functional(PATH)
    plain, moved = functional.initial(1), functional.initial(1, Start(pose=True))
    offset = (moved.x - plain.x).mean(dim=1)[0]
    assert 0 < abs(float(offset[0])) <= 0.05
    assert 0 < abs(float(offset[1])) <= 0.1


def test_guide_names_what_the_example_has():
    """The guide's snippet runs."""
    assert Env(PATH, render_mode="rgb_array").reset(seed=0)[0].shape == (8,)
