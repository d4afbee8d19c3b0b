"""Free rigid bodies and tools as parts of a simulation: state, control, faults, bad input."""

from __future__ import annotations

import math

import pytest
import torch

from simenv import mpm
from simenv.errors import ConfigurationError, InvalidActionError, ShapeError
from simenv.mpm.transfer import BAD_COMMAND, NOT_A_NUMBER
from tests.mpm import scenes, solids


def _toolbox(dim: int, num_envs: int, dtype: str = "float64") -> mpm.Simulator:
    """A tool and a free body, apart from each other, with nothing to touch."""
    scene = solids.bare(dim)
    scene.add_tool(mpm.Sphere((0.3,) * dim, 0.1), name="tool")
    scene.add_rigid(mpm.Sphere((0.7,) * dim, 0.1), density=solids.DENSITY, name="free")
    return scene.build(num_envs, dtype=dtype, threads=1)


# ---------------------------------------------------------------------- state


@pytest.mark.parametrize("dim", [2, 3])
def test_start_can_replace_any_state(dim):
    """Environments put back to the start, impulses and all, as after the end of an episode."""
    sim = _toolbox(dim, 2)
    start = sim.initial_state()
    end = sim.step(start)
    assert start.impulse.shape == end.impulse.shape == start.twist.shape
    assert not start.impulse.any()
    mixed = start.where(torch.tensor([True, False]), end)
    for name, tensor in mixed.items():
        assert torch.equal(tensor[0], getattr(start, name)[0])
        assert torch.equal(tensor[1], getattr(end, name)[1])


# ---------------------------------------------------------------------- faults


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("dim", [2, 3])
def test_bad_command_keeps_the_last_good_state(dim, value):
    """A command that is no number undoes the step, twist included; others go on bitwise alike."""
    sim = _toolbox(dim, 2)
    start = sim.initial_state()
    good = solids.commanded(solids.twist(dim, (0.1, 0.2, 0.3), 1.0), num_envs=2)
    start = sim.step(start, good)
    bad = good.tools.clone()
    bad[1, 0, 1] = value
    clean, broken = sim.step(start, good), sim.step(start, mpm.Control(tools=bad))
    assert broken.failed.tolist() == [False, True]
    assert broken.fault.tolist() == [0, NOT_A_NUMBER | BAD_COMMAND]
    assert "tool command" in mpm.describe_fault(int(broken.fault[1]))
    for name, tensor in broken.items():
        if name not in ("fault", "impulse"):
            assert torch.equal(tensor[1], getattr(start, name)[1]), name
        assert torch.equal(tensor[0], getattr(clean, name)[0]), name
    assert not broken.impulse[1].any()


@pytest.mark.parametrize("dim", [2, 3])
def test_bad_command_has_no_gradient(dim):
    """Where the step was undone its command has no gradient, and the state's passes unchanged."""
    sim = _toolbox(dim, 2)
    start = sim.initial_state().requires_grad_()
    tools = solids.commanded(solids.twist(dim, (0.1, 0.2, 0.3)), num_envs=2).tools.clone()
    tools[1, 0, 0] = float("nan")
    tools.requires_grad_()
    end = sim.step(start, mpm.Control(tools=tools))
    (end.pose.sum() + 2 * end.twist.sum()).backward()
    assert not tools.grad[1].any()
    assert bool((tools.grad[0, 0, :dim] != 0).all())
    assert torch.equal(start.pose.grad[1], torch.ones_like(start.pose[1]))
    assert torch.equal(start.twist.grad[1], torch.full_like(start.twist[1], 2.0))


def test_bad_command_can_be_named():
    """`check_commands` names tool, environment, component and value of the first bad command."""
    sim = _toolbox(2, 3)
    tools = torch.zeros(3, 1, 3, dtype=torch.float64)
    sim.check_commands(mpm.Control(tools=tools))
    sim.check_commands(mpm.Control())
    tools[2, 0, 1] = math.inf
    with pytest.raises(InvalidActionError, match=r"'tool' of environment 2 .* inf as component 1"):
        sim.check_commands(mpm.Control(tools=tools))


# ---------------------------------------------------------------------- environments and threads

NUM_ENVS = 4


def _busy(dim: int) -> mpm.Scene:
    """Material on a floor with a tool and a free body on it, five substeps of a millisecond."""
    scene = solids.stage(dim, cells=10, substeps=5, gravity=solids.down(dim))
    v = scenes.vector
    scene.add_body(mpm.Box(v(dim, 0.5, 0.15, 0.5), v(dim, 0.6, 0.3, 0.3)), scenes.soft())
    scene.add_tool(mpm.Sphere(v(dim, 0.35, 0.38, 0.5), 0.1), name="tool", friction=0.3)
    box = mpm.Box(v(dim, 0.65, 0.39, 0.5), (0.2,) * dim)
    scene.add_rigid(box, density=300.0, name="free", friction=0.2)
    return scene


def _commands(dim: int) -> mpm.Control:
    twists = [solids.twist(dim, (0.2 * i, -0.3 * i, 0.1), float(i)) for i in range(NUM_ENVS)]
    return mpm.Control(tools=torch.stack(twists)[:, None])


def _rollout(
    sim: mpm.Simulator, control: mpm.Control, parameters=None
) -> tuple[mpm.State, dict[str, torch.Tensor]]:
    """Three steps, and the gradient of what comes out with respect to the start and commands."""
    start = sim.initial_state().requires_grad_()
    tools = control.tools.to(sim.dtype).clone().requires_grad_()
    state = start
    for _ in range(3):
        state = sim.step(state, mpm.Control(tools=tools), parameters)
    loss = (state.x**2).sum() + (state.pose**2).sum() + (state.impulse**2).sum()
    loss.backward()
    gradient = {"tools": tools.grad, "x": start.x.grad, "pose": start.pose.grad}
    return state.detach(), gradient


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [2, 3])
def test_threads_do_not_change_a_bit(dim, dtype):
    """Environments with different commands, on one thread or three: state and gradient agree."""
    runs = [
        _rollout(_busy(dim).build(NUM_ENVS, dtype=dtype, threads=threads), _commands(dim))
        for threads in (1, 3)
    ]
    for name, tensor in runs[0][0].items():
        assert torch.equal(tensor, getattr(runs[1][0], name)), name
    for name, gradient in runs[0][1].items():
        assert torch.equal(gradient, runs[1][1][name]), name
    assert bool((runs[0][0].impulse != 0).any(dim=2).all())


@pytest.mark.parametrize("dim", [2, 3])
def test_environments_are_apart(dim):
    """An environment of a batch does, to the last bit, what it does alone with its command."""
    control = _commands(dim)
    many, gradient = _rollout(_busy(dim).build(NUM_ENVS, dtype="float64"), control)
    alone = _busy(dim).build(1, dtype="float64")
    for i in range(NUM_ENVS):
        one, own = _rollout(alone, mpm.Control(tools=control.tools[i : i + 1]))
        for name, tensor in one.items():
            assert torch.equal(tensor[0], getattr(many, name)[i]), name
        for name, g in own.items():
            assert torch.equal(g[0], gradient[name][i]), name
    assert not torch.equal(many.x[0], many.x[1])


@pytest.mark.parametrize("dim", [2, 3])
def test_sorting_keeps_contact(dim):
    """With particles in the order of their cells contact and its gradient agree to rounding."""
    runs = [
        _rollout(_busy(dim).build(NUM_ENVS, dtype="float64", sort=sort), _commands(dim))
        for sort in (False, True)
    ]
    for name in ("x", "pose", "impulse"):
        torch.testing.assert_close(
            getattr(runs[0][0], name), getattr(runs[1][0], name), rtol=1e-10, atol=1e-10
        )
    for name, gradient in runs[0][1].items():
        torch.testing.assert_close(gradient, runs[1][1][name], rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("dim", [2, 3])
def test_override_equals_another_scene(dim):
    """Friction and density of one environment do what a scene with these values does."""
    parameters = {
        "tool": {"friction": torch.tensor([0.3, 0.9, 0.3, 0.3])},
        "free": {"density": torch.tensor([300.0, 300.0, 900.0, 300.0])},
    }
    control = mpm.Control(tools=_commands(dim).tools[3:].expand(NUM_ENVS, -1, -1))
    start = _busy(dim).build(NUM_ENVS, dtype="float64")
    many, _gradient = _rollout(start, control, parameters)
    for i, changes in enumerate(({}, {"tool": 0.9}, {"free": 900.0})):
        scene = _busy(dim)
        scene.rigids.clear()
        v = scenes.vector
        tool = mpm.Sphere(v(dim, 0.35, 0.38, 0.5), 0.1)
        scene.add_tool(tool, name="tool", friction=changes.get("tool", 0.3))
        box = mpm.Box(v(dim, 0.65, 0.39, 0.5), (0.2,) * dim)
        scene.add_rigid(box, density=changes.get("free", 300.0), name="free", friction=0.2)
        sim = scene.build(1, dtype="float64")
        one, _gradient = _rollout(sim, mpm.Control(tools=control.tools[:1]))
        for name in ("x", "pose", "impulse"):
            # Overrides arrive in single precision here.
            torch.testing.assert_close(
                getattr(one, name)[0], getattr(many, name)[i], rtol=1e-6, atol=1e-6
            )
    assert not torch.equal(many.pose[0], many.pose[2])
    assert torch.equal(many.x[0], many.x[3])


def test_fast_bodies_shorten_the_substep():
    """A body that flies or spins fast gets substeps in which no point of it passes a cell."""

    def steps(**motion) -> int:
        scene = mpm.Scene((1.0, 1.0), (8, 8), step=0.1, gravity=(0.0, 0.0))
        scene.add_body(mpm.Box((0.1, 0.1), (0.1, 0.1)), scenes.soft(E=1.0), count=1)
        scene.add_rigid(mpm.Sphere((0.5, 0.5), 0.1), density=1e3, **motion)
        return scene.substeps

    assert steps(velocity=(0.0, 40.0)) == pytest.approx(0.1 * 40.0 / 0.125 / (0.5 / 0.7), abs=1)
    assert steps(spin=400.0) == steps(velocity=(0.0, 40.0)) > steps()


# ---------------------------------------------------------------------- bad input


def _add(method: str, dim: int = 3, **changes):
    """Adds a ball with one argument changed."""
    arguments = {"shape": mpm.Sphere((0.5,) * dim, 0.1), **changes}
    if method == "add_rigid":
        arguments = {"density": 1e3, **arguments}
    scene = solids.bare(dim)
    scene.add_tool(mpm.Sphere((0.2,) * dim, 0.1), name="taken")
    return getattr(scene, method)(arguments.pop("shape"), **arguments)


@pytest.mark.parametrize(
    ("method", "changes", "message"),
    [
        (
            "add_tool",
            {"shape": mpm.Sphere((3.0, 0.5, 0.5), 0.1)},
            r"3\.0.*outside the domain.*move",
        ),
        ("add_rigid", {"shape": mpm.Sphere((3.0, 0.5, 0.5), 0.1)}, r"2\.1 m beyond.*along x.*move"),
        ("add_tool", {"orientation": (0.0, 0.0, 0.0, 0.0)}, r"zero quaternion; use \(0, 0, 0, 1\)"),
        ("add_tool", {"orientation": (0.0, math.nan, 0.0, 1.0)}, "orientation.*4 finite"),
        ("add_tool", {"orientation": 0.3}, "orientation = 0.3 .* 4 finite"),
        ("add_tool", {"position": (0.5, 0.5)}, "position .* 3 finite"),
        ("add_tool", {"softness": -1.0}, r"softness = -1\.0 .*>= 0"),
        ("add_tool", {"softness": math.nan}, "softness = nan"),
        ("add_tool", {"friction": -0.1}, r"friction -0\.1 .*>= 0"),
        ("add_tool", {"mode": "slip", "friction": 0.3}, "no effect on a 'slip'"),
        ("add_tool", {"mode": "slimy"}, "'slimy' is not one of"),
        ("add_tool", {"name": "taken"}, "'taken' exists already; choose another"),
        ("add_rigid", {"name": "mote"}, "'mote' exists already; choose another"),
        ("add_rigid", {"density": -5.0}, r"density = -5\.0 .*> 0"),
        ("add_rigid", {"density": math.inf}, "density = inf"),
        ("add_rigid", {"velocity": (0.0, math.inf, 0.0)}, "velocity .* finite"),
        ("add_rigid", {"spin": 1.0}, "spin = 1.0 .* 3 finite"),
        ("add_rigid", {"shape": mpm.HalfSpace((0, 0, 0), (0, 1, 0))}, "infinite.*can be a tool"),
        ("add_rigid", {"shape": mpm.Sphere((0.5, 0.5), 0.1)}, "2-D, the scene 3-D"),
        (
            "add_tool",
            {"shape": mpm.Union(mpm.HalfSpace((0, 0, 0), (0, 1, 0)), mpm.Sphere((1, 1, 1), 1.0))},
            "infinite in part.*tools of their own",
        ),
    ],
)
def test_bad_description_is_named(method, changes, message):
    """Value, bound and remedy of whatever is wrong about a tool or a body."""
    with pytest.raises(ConfigurationError, match=message):
        _add(method, **changes)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"tool": {"density": 1.0}}, r"separating tool, has no parameter \['density'\].*friction"),
        ({"free": {"mass": 1.0}}, r"no parameter \['mass'\].*density.*friction"),
        ({"sticky": {"friction": 0.3}}, "a sticky tool, has no parameter"),
        ({"fee": {"density": 1.0}}, "no body 'fee'; bodies are .*free.*tool"),
        ({"free": {"density": -1.0}}, r"'density' of 'free' is -1\.0; .* > 0"),
        ({"tool": {"friction": math.nan}}, "'friction' of 'tool' is nan; .* >= 0"),
    ],
)
def test_bad_override_is_named(parameters, message):
    """Overrides of what a body does not have, or outside its bounds."""
    scene = solids.bare(2)
    scene.add_tool(mpm.Sphere((0.3,) * 2, 0.1), name="tool")
    scene.add_tool(mpm.Sphere((0.3,) * 2, 0.1), name="sticky", mode="sticky")
    scene.add_rigid(mpm.Sphere((0.7,) * 2, 0.1), density=1e3, name="free")
    sim = scene.build(2)
    tensors = {
        body: {name: torch.tensor(value) for name, value in values.items()}
        for body, values in parameters.items()
    }
    with pytest.raises(ConfigurationError, match=message):
        sim.step(sim.initial_state(), parameters=tensors)
    with pytest.raises(ShapeError, match="friction"):
        sim.step(sim.initial_state(), parameters={"tool": {"friction": torch.zeros(3)}})


def test_commands_must_fit():
    """Commands for tools that are not there, or of another shape."""
    sim = _toolbox(2, 2)
    with pytest.raises(ShapeError, match=r"control\.tools.*\(2, 2, 3\).*\(2, 1, 3\)"):
        sim.step(sim.initial_state(), mpm.Control(tools=torch.zeros(2, 2, 3)))
    none = solids.bare(2).build(2)
    with pytest.raises(ConfigurationError, match=r"no.*add_tool"):
        none.step(none.initial_state(), mpm.Control(tools=torch.zeros(2, 1, 3)))
