"""What keeping and drawing transitions costs: Stable-Baselines3's replay and the one on tensors.

    python benchmarks/replay.py [--rounds N] [--n-steps N] [--device DEVICE]

Prints two tables. The first: milliseconds of keeping one step of N environments and of drawing a
batch of 256, and the ratios. Both replays hold the same 1,048,576 transitions of 64 numbers
observed and 16 done. They take turns within a round; times are process time on one thread of
torch, medians over rounds, the ratios too are taken within a round. `add` starts from arrays as
Stable-Baselines3's loop has them, `add_batch` from tensors as `agents.collection` has them. On an
accelerator it is wall time, with the device waited for.

The second: milliseconds of a vector step of collection, actor included, from environments that
cost nothing: in tensors, and in Stable-Baselines3's loop with its replay.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode
from stable_baselines3.common.buffers import NStepReplayBuffer, ReplayBuffer

from agents.actor_critic import ActorCritic
from agents.replay import TensorReplayBuffer

ENVS = (1, 64, 1024, 4096)
SIZE, SEEN, ACTIONS, BATCH = 2**20, 64, 16, 256
CALLS = {1: 2000, 64: 1000, 1024: 100, 4096: 40}
DRAWS = 100
Row = dict[str, Any]


def spaces_() -> tuple[spaces.Box, spaces.Box]:
    """Of observations and actions."""
    return spaces.Box(-np.inf, np.inf, (SEEN,)), spaces.Box(-1, 1, (ACTIONS,))


def step(num_envs: int) -> Row:
    """One step of all environments; every hundredth episode ends."""
    rng = np.random.default_rng(0)
    ended = rng.random(num_envs) < 0.01
    return {
        "observations": rng.normal(size=(num_envs, SEEN)).astype(np.float32),
        "next_observations": rng.normal(size=(num_envs, SEEN)).astype(np.float32),
        "actions": rng.uniform(-1, 1, (num_envs, ACTIONS)).astype(np.float32),
        "rewards": rng.normal(size=num_envs).astype(np.float32),
        "terminated": np.zeros(num_envs, dtype=bool),
        "ended": ended,
        "valid": np.ones(num_envs, dtype=bool),
        "infos": [{"TimeLimit.truncated": late} for late in ended.tolist()],
    }


def per_call(call: Callable[[], object], times: int, device: str) -> float:
    """Milliseconds of one call."""
    cuda = device != "cpu"
    clock = time.perf_counter if cuda else time.process_time
    began = clock()
    for _ in range(times):
        call()
    if cuda:
        torch.cuda.synchronize()
    return 1e3 * (clock() - began) / times


def cases(num_envs: int, n_steps: int, device: str) -> dict[str, tuple[Callable[[], Any], int]]:
    """What is timed, by name, and how often a round calls it; all replays are full."""
    row, several = step(num_envs), {} if n_steps == 1 else {"n_steps": n_steps, "gamma": 0.99}
    kind = ReplayBuffer if n_steps == 1 else NStepReplayBuffer
    theirs: Any = kind(SIZE, *spaces_(), device, num_envs, **several)
    ours = TensorReplayBuffer(SIZE, *spaces_(), device, num_envs, **several)
    given = [row[name] for name in ("observations", "next_observations", "actions", "rewards")]
    given += [row["ended"], row["infos"]]
    tensors = {k: torch.as_tensor(v).to(device) for k, v in row.items() if k != "infos"}
    fill(theirs, ours, row)
    calls = CALLS[num_envs]
    return {
        "add theirs": (lambda: theirs.add(*given), calls),
        "add": (lambda: ours.add(*given), calls),
        "add_batch": (lambda: ours.add_batch(tensors), calls),
        "sample theirs": (lambda: theirs.sample(BATCH), DRAWS),
        "sample": (lambda: ours.sample(BATCH), DRAWS),
    }


def fill(theirs: Any, ours: TensorReplayBuffer, row: Row) -> None:
    """The same step in all rows of both: every page of memory is touched."""
    for name in ("observations", "next_observations", "actions", "rewards"):
        getattr(theirs, name)[:] = row[name]
    theirs.dones[:] = theirs.timeouts[:] = row["ended"]
    for name, kept in ours.store.items():
        kept[:] = torch.as_tensor(row[name])
    ours.valid[:] = True
    theirs.full = ours.full = True


def measure(num_envs: int, rounds: int, n_steps: int, device: str) -> str:
    """A line of the table."""
    timed = cases(num_envs, n_steps, device)
    found: dict[str, list[float]] = {name: [] for name in timed}
    for turn in range(rounds + 1):
        for name, (call, times) in timed.items():
            spent = per_call(call, times, device)
            if turn:  # the first round warms up
                found[name].append(spent)
    times = " | ".join(f"{statistics.median(found[name]):.3f}" for name in timed)
    pairs = [("add theirs", "add"), ("add theirs", "add_batch"), ("sample theirs", "sample")]
    return f"| {num_envs:,} | {times} | " + " | ".join(ratio(found, *p) for p in pairs) + " |"


def ratio(found: dict[str, list[float]], theirs: str, ours: str) -> str:
    """Median and range of the ratios of the rounds."""
    each = sorted(t / o for t, o in zip(found[theirs], found[ours], strict=True))
    return f"{statistics.median(each):.2f} ({each[0]:.2f}–{each[-1]:.2f})"


class Free(gymnasium.vector.VectorEnv):
    """Always the same step: all that is timed is what the agent does around it."""

    metadata: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, num_envs: int) -> None:
        self.num_envs, self._row = num_envs, step(num_envs)
        self.single_observation_space, self.single_action_space = spaces_()
        ended, final = self._row["ended"], np.full(num_envs, None, dtype=object)
        for i in np.flatnonzero(ended):
            final[i] = self._row["next_observations"][i]
        self._info = {"final_obs": final, "_final_obs": ended, "final_info": {}}

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        return self._row["observations"], {}

    def step(self, actions: Any) -> Any:
        row = self._row
        seen, over = row["next_observations"], (row["terminated"], row["ended"])
        return seen, row["rewards"], *over, dict(self._info)


def collection(num_envs: int, rounds: int, device: str) -> str:
    """A line of the second table."""
    options: dict[str, Any] = {"gradient_steps": 0, "learning_starts": 0, "device": device}
    kinds = {"theirs": ReplayBuffer, "ours": TensorReplayBuffer}
    steps, found = max(10, CALLS[num_envs] // 10), {name: [] for name in kinds}
    for turn in range(rounds + 1):
        for name, kind in kinds.items():
            model = ActorCritic(
                "MlpPolicy",
                Free(num_envs),
                buffer_size=SIZE // 4,
                replay_buffer_class=kind,
                policy_kwargs={"net_arch": [64, 64]},
                **options,
            ).learn(num_envs, log_interval=None)
            go_on = {"log_interval": None, "reset_num_timesteps": False}
            learn = partial(model.learn, steps * num_envs, **go_on)
            spent = per_call(learn, 1, device) / steps
            if turn:
                found[name].append(spent)
    times = " | ".join(f"{statistics.median(found[name]):.2f}" for name in kinds)
    return f"| {num_envs:,} | {times} | {ratio(found, 'theirs', 'ours')} |"


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--n-steps", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print("| environments | SB3 add | add | add_batch | SB3 sample | sample ", end="")
    print("| SB3 / add | SB3 / add_batch | SB3 / sample |")
    print("| ---: |" + " ---: |" * 8)
    for num_envs in ENVS:
        print(measure(num_envs, options.rounds, options.n_steps, options.device), flush=True)
    print("\n| environments | SB3's loop | in tensors | ratio |")
    print("| ---: |" + " ---: |" * 3)
    for num_envs in ENVS:
        print(collection(num_envs, options.rounds, options.device), flush=True)


if __name__ == "__main__":
    main()
