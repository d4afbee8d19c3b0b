"""The command line: from `optimise` to `record`, and how it answers mistakes."""

from __future__ import annotations

import json
from pathlib import Path

import imageio_ffmpeg
import pytest
import torch
from agents.sac import EVALUATION_SEED
from PIL import Image

import simenv
from agents import cli
from agents.controllers import load_controller
from agents.evaluation import play
from agents.runs import Run

WALKER = "simenv/SoftWalker2D-v0"
COLUMNS = {"return_mean", "return_std", "success_rate", "length_mean"}
HORIZON = simenv.TASKS[WALKER].horizon
STARTS, SEED, WIDTH = 2, 5, 96


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
    line = f"optimise {WALKER} --iterations 3 --starts {STARTS} --seed {SEED}"
    assert simenv_command(folder, line) == 0
    return Run(folder / f"runs/SoftWalker2D-v0-optimise-{SEED}")


def train(folder: Path, out: str) -> Run:
    """A small run of SAC, which sets torch to one thread; set it back."""
    line = (
        f"train sac {WALKER} --steps 96 --num-envs 4 --learning-starts 32 --batch-size 16 "
        "--gradient-steps 1 --eval-every 48 --eval-episodes 2 --net-arch 8 8 --no-progress-bar "
        f"--out {out}"
    )
    threads = torch.get_num_threads()
    assert simenv_command(folder, line) == 0
    torch.set_num_threads(threads)
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
    functional = simenv.functional(WALKER, num_envs=STARTS)
    score = play(functional, load_controller(optimised, functional), SEED)
    best = optimised.metrics()["return_best"][-1]
    # Actions of one set instead of two round differently; 80 steps of contact amplify that.
    assert min(abs(score.returns - best)) < 1e-2 * abs(best)


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


def test_train_writes_a_run(trained):
    """`train sac` evaluates as often as asked, and keeps the last and the best networks."""
    metrics = trained.metrics()
    assert metrics["step"] == [4.0, 48.0, 96.0]
    assert {p.stem for p in (trained.path / "checkpoints").iterdir()} == {"best", "last"}
    assert list((trained.path / "tensorboard").rglob("events.*"))
    best, last = trained.load("best"), trained.load("last")
    assert best.keys() == last.keys()


def test_trained_networks_give_the_best_return(trained):
    """The saved actor, on the evaluation's own seeds, scores exactly what was reported."""
    functional = simenv.functional(WALKER, num_envs=2)
    score = play(functional, load_controller(trained, functional), EVALUATION_SEED)
    assert score.row()["return_mean"] == max(trained.metrics()["return_mean"])


def test_train_is_repeatable(folder, trained):
    """The same seed trains the same networks, to the last bit."""
    again = train(folder, "again")
    assert {**again.config, "out": None} == {**trained.config, "out": None}
    first, second = trained.load("last"), again.load("last")
    assert all(torch.equal(first[name], second[name]) for name in first)


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
        ("evaluate nowhere", ["nowhere is no run folder"]),
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
        ("evaluate", ["Run folder", "required"]),
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
