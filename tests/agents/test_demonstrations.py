"""Demonstrations: recorded as played, kept whole, and refused where they do not belong."""

from __future__ import annotations

import zipfile
from dataclasses import replace

import imageio_ffmpeg
import numpy as np
import pytest
import torch
from gymnasium import spaces

import simenv
from agents.baselines import load_baseline, replaying
from agents.demonstrations import Demonstration, demonstrate, read_demonstration
from agents.offline.bc import BC
from agents.options import Record
from agents.recording import record
from agents.runs import Run
from simenv.envs.functional import Functional
from simenv.errors import DatasetError, RunError, SimenvError
from tests.agents.physics.systems import TwoMasses, driver

FINGER = "simenv/FingerReach2D-v0"


@pytest.fixture(scope="module")
def finger() -> Demonstration:
    """The baseline from the start of seed 2: 15 steps towards a goal."""
    functional = simenv.functional(FINGER)
    return demonstrate(functional, replaying(functional, load_baseline(FINGER), 2), 2, FINGER)


@pytest.fixture
def masses() -> Demonstration:
    """64 steps of two masses."""
    return demonstrate(TwoMasses(1), driver, 5, "masses")


def same(one: Demonstration, other: Demonstration) -> bool:
    """Everything equal, dtypes included."""
    words = [(d.task_id, d.size, d.seed) for d in (one, other)]
    mine, theirs = one.arrays(), other.arrays()
    return (
        words[0] == words[1]
        and mine.keys() == theirs.keys()
        and all(
            np.array_equal(mine[k], theirs[k]) and mine[k].dtype == theirs[k].dtype for k in mine
        )
    )


# ------------------------------------------------------------------ recording


def test_an_episode_is_kept_as_it_was_played(finger):
    """Actions and return are the baseline's, the goal the start's, features those of the states."""
    baseline, functional = load_baseline(FINGER), simenv.functional(FINGER)
    np.testing.assert_array_equal(finger.actions, baseline.actions[2])
    # Sums of 15 float32 rewards of order 0.1, in another order: 1e-6.
    assert finger.total == pytest.approx(baseline.returns[2], abs=1e-5)
    start = functional.initial(2)
    np.testing.assert_array_equal(finger.goal, start.context[0, :2].numpy())
    states = finger.trajectory()
    assert torch.equal(states.x[0], start.x[0])
    assert states.num_envs == len(finger) + 1 == 16
    np.testing.assert_array_equal(functional.task.features(states).numpy(), finger.features)


def test_the_start_and_the_actions_make_the_same_states_again(finger):
    """What is left out of the states follows from seed and actions."""
    functional = simenv.functional(FINGER)
    state = functional.initial(finger.seed)
    for action in torch.as_tensor(finger.actions):
        state = functional.transition(state, action[None])
    np.testing.assert_array_equal(state.x[0].numpy(), finger.states["x"][-1])


def test_an_episode_ends_where_the_task_does():
    """A terminal state is the last one."""
    system = TwoMasses(1)
    system.terminal = lambda state: state.time >= 7
    found = demonstrate(system, driver)
    assert len(found) == 7
    assert found.states["x"].shape == (8, 2, 2)


def test_a_step_that_breaks_is_no_demonstration():
    """It is said which."""
    system, broken = TwoMasses(1), torch.ones(1, dtype=torch.int32)
    step = system.transition
    system.transition = lambda state, action: (
        step(state, action).replace(fault=broken) if int(state.time) == 3 else step(state, action)
    )
    with pytest.raises(SimenvError, match="step 3 of the demonstration broke"):
        demonstrate(system, driver)


def test_record_writes_the_baseline_of_a_task(tmp_path, finger, monkeypatch):
    """Beside the video, of one and the same play; seeds that it was not made for are refused."""
    played, step = [], Functional.transition

    def transition(self, state, action, parameters=None):
        played.append(action)
        return step(self, state, action, parameters)

    monkeypatch.setattr(Functional, "transition", transition)
    found = record(Record(FINGER, demo=True, seed=2, width=32, out=tmp_path / "finger"))
    assert [path.name for path in found] == ["episode.gif", "episode.mp4", "demonstration.npz"]
    assert same(read_demonstration(found[-1]), finger)
    assert len(played) == len(finger)
    assert imageio_ffmpeg.count_frames_and_secs(str(found[1]))[0] == len(finger) + 1
    with pytest.raises(RunError, match="made for the seeds 0 to 4, not for seed 5"):
        record(Record(FINGER, demo=True, seed=5, out=tmp_path / "none"))
    assert not (tmp_path / "none").exists()


# ------------------------------------------------------------------ the file


@pytest.mark.parametrize(("task_id", "words"), [("Pendulum-v1", "Pendulum-v1"), (None, "no env")])
def test_a_run_of_another_environment_is_not_drawn(task_id, words, tmp_path):
    """The error says how to see it."""
    run = Run(tmp_path / "run")
    run.path.mkdir()
    run.write_json("config.json", {"command": "iql", "id": task_id})
    with pytest.raises(RunError, match=rf"was trained for {words}.*RecordVideo"):
        record(Record(run.path))
    assert not (run.path / "video").exists()


def test_what_is_written_is_read(masses, finger, tmp_path):
    """With and without words and goals, and nothing is left beside it."""
    for demonstration in (masses, finger):
        path = demonstration.save(tmp_path / "deep" / "one.npz")
        assert same(read_demonstration(path), demonstration)
        assert [p.name for p in path.parent.iterdir()] == ["one.npz"]


def test_a_write_that_fails_leaves_the_old_file(masses, tmp_path, monkeypatch):
    """Whole or not at all."""
    path = masses.save(tmp_path / "one.npz")

    def full(file, **arrays):
        file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(OSError, match="disk full"):
        replace(masses, seed=6).save(path)
    monkeypatch.undo()
    assert same(read_demonstration(path), masses)
    assert [p.name for p in tmp_path.iterdir()] == ["one.npz"]


def rewritten(path, **changes):
    """The file with arrays exchanged, or left out where they are None."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files} | changes
    with path.open("wb") as stream:
        np.savez(stream, **{k: v for k, v in arrays.items() if v is not None})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"actions": None}, "it has no 'actions'"),
        ({"task_id": None}, "it has no 'task_id'"),
        ({"format": np.array(9)}, "format 9; this version reads format 1"),
        ({"x": None}, "states hold"),
        ({"more": np.zeros(3)}, "states hold"),
        ({"rewards": np.zeros(3)}, r"rewards have shape \(3,\), expected \(64,\)"),
        ({"features": np.zeros((64, 8))}, r"features have shape \(64, 8\), not \(65, O\)"),
        ({"v": np.zeros((3, 2, 2))}, "v has 3 rows, expected 65"),
        ({"actions": np.zeros((0, 4))}, "T >= 1"),
        ({"rewards": np.full(64, np.nan)}, "rewards must hold finite numbers"),
        ({"actions": np.full((64, 4), "a")}, "actions must hold finite numbers"),
        ({"actions": np.array([object()])}, "allow_pickle=False"),
        ({"actions": np.full((64, 4), 3.0, np.float32)}, r"actions must lie in \[-1, 1\]"),
        ({"seed": np.array(77)}, "it does not hold what its SHA-256 was made of"),
        ({"rewards": np.ones(64, np.float32)}, "it does not hold what its SHA-256 was made of"),
    ],
)
def test_damaged_contents_are_named(change, words, masses, tmp_path):
    """File and fault, and no object is ever unpickled."""
    path = masses.save(tmp_path / "one.npz")
    rewritten(path, **change)
    with pytest.raises(DatasetError, match=f"one.npz is damaged.*{words}"):
        read_demonstration(path)


def test_numbers_in_float64_are_taken(masses):
    """As float32, which networks want."""
    wide = replace(masses, features=masses.features.astype(np.float64))
    assert wide.features.dtype == np.float32
    assert same(wide, masses)


def test_sizes_are_told_apart(finger):
    """One of a small task says nothing of the full one's particles."""
    finger.require_size("small")
    with pytest.raises(DatasetError, match="has the size 'small', not 'full'"):
        finger.require_size("full")


def test_a_file_that_claims_to_be_encrypted(masses, tmp_path):
    """A flipped bit of the archive's directory is damage like any other."""
    path = masses.save(tmp_path / "one.npz")
    content = bytearray(path.read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(content))
    with pytest.raises(DatasetError, match=r"one.npz is damaged, or no demonstration"):
        read_demonstration(path)


def test_files_of_another_kind(masses, tmp_path):
    """Missing, empty, cut short, or something else."""
    path = masses.save(tmp_path / "one.npz")
    whole = path.read_bytes()
    for content in (b"", whole[:-40], b"something else"):
        path.write_bytes(content)
        with pytest.raises(DatasetError, match=r"one.npz is damaged, or no demonstration"):
            read_demonstration(path)
    np.save(path.with_name("two.npy"), np.zeros(3))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("note.txt", "hello")
    for name in ("one.npz", "two.npy"):
        with pytest.raises(DatasetError, match=f"{name} is damaged, or no demonstration"):
            read_demonstration(path.with_name(name))
    with pytest.raises(DatasetError, match="does not exist; record a demonstration with"):
        read_demonstration(tmp_path / "none.npz")


def test_what_is_no_archive_is_said_plainly(tmp_path):
    """Of a file nothing about pickles, which numpy would offer to load; of a folder which file."""
    (tmp_path / "one.npz").write_bytes(b"GIF89a")
    with pytest.raises(DatasetError, match=r"one.npz is damaged, .* \(it is no \.npz file\)"):
        read_demonstration(tmp_path / "one.npz")
    with pytest.raises(DatasetError, match=r"is a folder.*simenv record .* --demo.*npz"):
        read_demonstration(tmp_path)


def test_a_flipped_byte_is_seen(masses, tmp_path):
    """Wherever it lies in the packed numbers; elsewhere in the archive it may say nothing."""
    path = masses.save(tmp_path / "one.npz")
    whole, refused = path.read_bytes(), 0
    for place in range(50, len(whole), len(whole) // 20):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            found = read_demonstration(path)
        except DatasetError:
            refused += 1
        else:
            assert same(found, masses)
    assert refused > 10


# ------------------------------------------------------------------ whose it is


def test_another_task_or_other_spaces_are_refused(finger):
    """A variant of the task is the same task."""
    finger.require_task(FINGER)
    finger.require_task("simenv/FingerReach2D-Safe-v0")
    with pytest.raises(DatasetError, match="recorded in simenv/FingerReach2D-v0, not in simenv/S"):
        finger.require_task("simenv/SoftWalker2D-v0")
    with pytest.raises(DatasetError, match="not in Pendulum-v1"):
        finger.require_task("Pendulum-v1")
    box = spaces.Box(-1.0, 1.0, (3,), np.float32)
    with pytest.raises(DatasetError, match="has 14 features and 2 actions, the environment 3 and"):
        finger.require_spaces(box, box)


def test_the_digest_says_which_it_is(masses):
    """Equal arrays, equal digests; one number more or less, another."""
    rewards = masses.rewards.copy()
    assert replace(masses, rewards=rewards).digest() == masses.digest()
    rewards[3] += 1e-3
    assert replace(masses, rewards=rewards).digest() != masses.digest()


def test_without_states_there_is_no_trajectory(masses):
    """But everything else."""
    bare = replace(masses, states={})
    assert len(bare) == 64
    with pytest.raises(DatasetError, match="no states"):
        bare.trajectory()


# ------------------------------------------------------------------ cloning


def test_a_dataset_of_one_episode(finger):
    """Its transitions in order, cut off and not terminated at the end; `BC` clones them."""
    data = finger.transitions()
    assert torch.equal(data.observations, torch.as_tensor(finger.features[:-1]))
    assert torch.equal(data.next_observations, torch.as_tensor(finger.features[1:]))
    assert data.truncated.tolist() == [False] * 14 + [True]
    assert not data.terminated.any()
    assert data.episodes.unique().tolist() == [0]
    model = BC(data, FINGER, seed=0, batch_size=16, net_arch=(64,), learning_rate=1e-2).learn(150)
    acted, _ = model.predict(finger.features[:-1])
    # A tenth of what always playing the mean action would cost.
    spread = float(((finger.actions - finger.actions.mean(axis=0)) ** 2).mean())
    assert float(((acted - finger.actions) ** 2).mean()) < 0.1 * spread
