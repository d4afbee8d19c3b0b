"""The command line: from `optimise` to `record`, and how it answers mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import imageio_ffmpeg
import pytest
from PIL import Image

import simenv
from agents import cli
from agents.algorithms import ALGORITHMS
from agents.controllers import load_controller
from agents.demonstrations import read_demonstration
from agents.evaluation import play, play_episodes
from agents.offline.options import TrainOffline
from agents.runs import Run, require_id
from agents.train_options import Train, preset, presets
from agents.training import EVALUATION_SEED, load_agent, make_environment, restore_options

WALKER = "simenv/SoftWalker2D-v0"
COLUMNS = {"return_mean", "return_std", "success_rate", "length_mean"}
HORIZON = simenv.TASKS[WALKER].horizon
SETS, SEED, WIDTH = 2, 5, 96


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """An empty working folder, shared by the commands of this module."""
    return tmp_path_factory.mktemp("work")


def simenv_command(folder: Path, line: str) -> int:
    """Run a command line in a folder; returns its exit code."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        return cli.main(line.split())


@pytest.fixture(scope="module")
def optimised(folder) -> Run:
    """Three iterations of `simenv optimise`."""
    line = f"optimise {WALKER} --iterations 3 --population {SETS} --seed {SEED}"
    assert simenv_command(folder, line) == 0
    return Run(folder / f"runs/SoftWalker2D-v0-optimise-{SEED}")


def train(folder: Path, out: str) -> Run:
    """A small run of SAC."""
    line = (
        f"train sac {WALKER} --steps 96 --num-envs 4 --learning-starts 32 --batch-size 16 "
        "--gradient-steps 1 --eval-every 48 --eval-episodes 2 --net-arch 8 8 --no-progress-bar "
        f"--out {out}"
    )
    assert simenv_command(folder, line) == 0
    return Run(folder / out)


@pytest.fixture(scope="module")
def trained(folder) -> Run:
    """A hundred steps of `simenv train sac`."""
    return train(folder, "sac")


def test_optimise_writes_a_run(optimised):
    """The run folder holds config, versions, a row per iteration, and the best parameters."""
    assert optimised.config["iterations"] == 3
    metrics = optimised.metrics()
    assert metrics["iteration"] == [0.0, 1.0, 2.0]
    assert metrics["return_best"] == sorted(metrics["return_best"])
    assert metrics["seconds"] == sorted(metrics["seconds"])
    assert {name: t.shape[0] for name, t in optimised.load("best").items()} == {
        "weight": 1,
        "bias": 1,
    }


def test_best_parameters_give_the_best_return(optimised):
    """The saved set, from the start that it was optimised on, scores what was reported."""
    functional = simenv.functional(WALKER)
    score = play(functional, load_controller(optimised, functional), SEED)
    best = optimised.metrics()["return_best"][-1]
    # Actions of one set instead of two round differently; 80 steps of contact amplify that.
    assert score.returns[0] == pytest.approx(best, rel=1e-2)


def test_evaluate(folder, optimised, capsys):
    """`evaluate` scores the run and random actions on the same seeds, and writes both."""
    line = f"evaluate {optimised.path} --episodes 3 --seed 7"
    assert simenv_command(folder, line) == 0
    table = capsys.readouterr().out
    report = json.loads((optimised.path / "evaluation.json").read_text())
    assert (report["episodes"], report["seed"]) == (3, 7)
    for name in ("optimise", "random"):
        assert report[name].keys() == COLUMNS
        assert f"{report[name]['return_mean']:.2f}" in table
    functional = simenv.functional(WALKER, num_envs=3)
    score = play(functional, load_controller(optimised, functional), 7)
    assert report["optimise"] == score.row()
    assert len(set(score.returns.tolist())) == 3


def test_record(folder, optimised, capsys):
    """`record` writes a GIF and an MP4 of the whole episode, start included, at 20 per second."""
    assert simenv_command(folder, f"record {optimised.path} --width {WIDTH}") == 0
    gif, mp4 = (optimised.path / "video" / f"episode.{suffix}" for suffix in ("gif", "mp4"))
    assert capsys.readouterr().out.splitlines() == [f"wrote {gif}", f"wrote {mp4}"]
    frames, seconds = imageio_ffmpeg.count_frames_and_secs(str(mp4))
    assert frames == HORIZON + 1
    assert seconds == pytest.approx((HORIZON + 1) / 20, abs=0.05)
    with Image.open(gif) as picture:
        assert picture.size == (WIDTH, WIDTH // 2)
        durations = []
        for i in range(picture.n_frames):
            picture.seek(i)
            durations.append(picture.info["duration"])
    # A frame equal to the one before only lengthens it: time counts the frames.
    assert sum(durations) == (HORIZON + 1) * 50


def test_record_a_demonstration(folder, optimised):
    """`record --demo` keeps the episode that it draws, as `train ild` wants it."""
    assert simenv_command(folder, f"record {optimised.path} --demo --seed 7 --width {WIDTH}") == 0
    found = read_demonstration(optimised.path / "demonstration.npz")
    assert (found.task_id, found.seed, len(found)) == (WALKER, 7, HORIZON)
    functional = simenv.functional(WALKER)
    score = play(functional, load_controller(optimised, functional), 7)
    # Sums of 80 float32 rewards of order one, in another order.
    assert found.total == pytest.approx(float(score.returns[0]), abs=1e-3)


def test_train_writes_a_run(trained):
    """`train sac` evaluates as often as asked and keeps its last checkpoints."""
    metrics = trained.metrics()
    assert metrics["step"] == [0.0, 48.0, 96.0]
    assert metrics["episodes"] == [0.0, 0.0, 0.0]
    assert [folder.name for folder in trained.checkpoints()] == [
        "step-0000000000",
        "step-0000000096",
    ]
    assert list((trained.path / "tensorboard").rglob("events.*"))


def test_trained_networks_give_the_last_return(trained):
    """The saved agent, on the evaluation's own seeds, scores exactly what was reported."""
    agent, environment = load_agent(trained), make_environment(restore_options(trained), 2)

    def act(observations):
        return agent.predict(observations, deterministic=True)[0]

    score = play_episodes(environment, act, EVALUATION_SEED)
    assert score.row()["return_mean"] == trained.metrics()["return_mean"][-1]


@pytest.mark.parametrize(
    ("config", "verbs"),
    [
        ({"id": WALKER}, ["evaluate", "record"]),
        ({"id": WALKER, "policy": "gait", "receding": 0}, ["evaluate", "record"]),
        ({"id": WALKER, "policy": "plan"}, ["plot", "record"]),
        ({"id": WALKER, "policy": "plan", "receding": 3}, ["plot", "record"]),
        ({"id": "Pendulum-v1"}, ["evaluate", "plot"]),
        ({"id": None}, []),
    ],
)
def test_what_comes_next(config, verbs, tmp_path, capsys):
    """A run is recorded where simenv draws its environment, and played where it has one.

    Plans are of one start: fresh ones say nothing of them.
    """
    run = Run(tmp_path)
    run.write_json("config.json", config)
    cli._finished(run)
    _, *rest = capsys.readouterr().out.splitlines()
    assert rest == ["next: " + "; ".join(f"simenv {v} {tmp_path}" for v in verbs)] * bool(verbs)


def test_presets_fill_in_and_flags_win(tmp_path):
    """The id's preset stands where no flag says otherwise."""
    line = "train sac Pendulum-v1 --steps 8 --eval-episodes 1 --no-progress-bar --seed 2"
    assert simenv_command(tmp_path, line) == 0
    config = Run(tmp_path / "runs/Pendulum-v1-sac-2").config
    stated = preset("sac", "Pendulum-v1")
    assert (config["gamma"], config["num_envs"]) == (stated["gamma"], stated["num_envs"])
    assert (config["steps"], config["eval_episodes"]) == (8, 1)
    assert stated["steps"] != 8


def test_presets_hold_wherever_the_id_stands(tmp_path):
    """Flags before the id do not lose its preset."""
    line = "train sac --steps 8 --eval-episodes 1 --no-progress-bar Pendulum-v1"
    assert simenv_command(tmp_path, line) == 0
    config = Run(tmp_path / "runs/Pendulum-v1-sac-0").config
    assert (config["steps"], config["num_envs"]) == (8, preset("sac", "Pendulum-v1")["num_envs"])


def test_presets_are_options():
    """Every preset is for a known id, and names options that its algorithm has."""
    for algorithm, tables in presets().items():
        for task_id in tables:
            kind, given = ALGORITHMS[algorithm].options, {"id": task_id}
            given |= {"dataset": "some-v0"} if issubclass(kind, TrainOffline) else {}
            assert kind(**given, **preset(algorithm, task_id)) != kind(**given)
            require_id(task_id)


def test_every_algorithm_takes_its_options():
    """Each option of an algorithm is an argument of its class, of its policy, or of the run."""
    for row in (row for row in ALGORITHMS.values() if issubclass(row.options, Train)):
        options = row.options("simenv/SoftWalker2D-Safe-v0")
        agent = row.load()("MlpPolicy", make_environment(options, 1), **options.agent_arguments())
        assert agent.about()["agent"] == row.load().__name__


# ------------------------------------------------------------------------------- mistakes


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("optimize simenv/X", ["unknown verb 'optimize'", "did you mean 'optimise'?"]),
        ("zzz", ["unknown verb 'zzz'", "choose from list, optimise"]),
        ("train", ["needs an algorithm", "sac"]),
        ("train --steps 3", ["needs an algorithm", "sac"]),
        ("train sca simenv/X", ["unknown algorithm 'sca'", "did you mean 'sac'?"]),
        ("list everything", ["takes no arguments", "everything"]),
        ("optimise simenv/SoftWalker-v0", ["unknown task id", f"did you mean {WALKER}"]),
        ("train sac simenv/SoftWalker-v0", ["unknown task id", f"did you mean {WALKER}"]),
        ("optimise Pendulum-v1", ["'Pendulum-v1' is an environment of another package"]),
        ("identify Pendulum-v1", ["'Pendulum-v1' is an environment of another package"]),
        ("identify MaterialID-Mud", ["unknown task id 'MaterialID-Mud'", "MaterialID-Sand"]),
        ("evaluate nowhere", ["nowhere is no run folder"]),
        ("plot nowhere", ["nowhere is no run folder"]),
        ("record nowhere", ["nowhere is no run folder"]),
    ],
)
def test_mistakes_are_answered(tmp_path, capsys, line, words):
    """A mistake ends with code 2, one line on stderr that helps, and nothing written."""
    assert simenv_command(tmp_path, line) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("simenv: ")
    assert captured.err.count("\n") == 1
    assert all(word in captured.err for word in words)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (f"optimise {WALKER} --iteration 3", ["--iteration", "--iterations"]),
        (f"optimise {WALKER} --iterations three", ["--iterations", "three"]),
        (f"optimise {WALKER} --policy trot", ["trot", "gait"]),
        ("optimise", ["Task id", "required"]),
        (f"train sac {WALKER} --num-env 3", ["--num-env", "--num-envs"]),
        ("evaluate", ["'simenv evaluate'", "at least one run folder"]),
        ("plot", ["'simenv plot'", "at least one run folder"]),
    ],
)
def test_flags_are_answered(tmp_path, capsys, line, words):
    """A wrong flag or value ends with code 2, names itself and what was meant."""
    with pytest.raises(SystemExit) as caught:
        simenv_command(tmp_path, line)
    assert caught.value.code == 2
    message = capsys.readouterr().err
    assert all(word in message for word in words)
    assert not list(tmp_path.iterdir())


def test_a_run_is_not_overwritten(folder, optimised, capsys):
    """`--out` with a folder that holds a run is refused."""
    line = f"optimise {WALKER} --iterations 1 --out {optimised.path}"
    assert simenv_command(folder, line) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert optimised.config["iterations"] == 3


def test_usage(capsys):
    """No arguments print the usage and fail; asking for help prints it and does not."""
    assert cli.main([]) == 2
    assert cli.main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(shown.count(f"\n  {verb} ") == 2 for verb in cli.VERBS)


@pytest.mark.parametrize("line", ["optimise --help", "train sac --help", "record --help"])
def test_help_of_a_verb(tmp_path, capsys, line):
    """`--help` of a verb lists its options and succeeds."""
    with pytest.raises(SystemExit) as caught:
        simenv_command(tmp_path, line)
    assert caught.value.code in (0, None)
    assert "--seed" in capsys.readouterr().out


def test_interrupt(monkeypatch, capsys):
    """Ctrl-C ends with code 130 and one word, not a traceback."""

    def interrupted(words):
        raise KeyboardInterrupt

    monkeypatch.setitem(cli.VERBS, "list", interrupted)
    assert cli.main(["list"]) == 130
    assert capsys.readouterr().err == "simenv: interrupted\n"
