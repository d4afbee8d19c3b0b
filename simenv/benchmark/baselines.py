"""Other engines, each in a process of its own that measures when it is asked to."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from simenv.benchmark.plan import PER_EDGE, SUBSTEPS, Plan
from simenv.errors import SimenvError

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
SHARES = {"atomic": 0.2, "private": 1.0}
"""How Taichi scatters, and the share of the substeps that it is given: the first takes long."""
HOW_TO_GET_TAICHI = (
    "make an environment of Python 3.9 to 3.13 for it "
    "(`python3.11 -m venv taichi && taichi/bin/pip install taichi==1.7.4`) "
    "and pass --taichi-python taichi/bin/python"
)


class BaselineError(SimenvError, RuntimeError):
    """A baseline does not start or has stopped; the message holds its last words."""


class Baseline:
    """A running script that prints one JSON object when ready and one per line it is sent.

    Args:
        name: what it is called in tables.
        command: the command line.

    Raises:
        BaselineError: it does not start, or fails before its first measurement.
    """

    def __init__(self, name: str, command: Sequence[str]) -> None:
        self.name = name
        try:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
        except OSError as error:
            raise BaselineError(f"{name} does not start: {error}") from error
        with ExitStack() as on_failure:
            on_failure.callback(self.close)
            self.first = self._read()
            on_failure.pop_all()

    def measure(self) -> dict[str, Any]:
        """Measure once."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError as error:
            raise BaselineError(f"{self.name} has stopped") from error
        return self._read()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()

    def _read(self) -> dict[str, Any]:
        """The next JSON object; lines of other kinds are passed over."""
        assert self._process.stdout is not None
        last = "no output"
        for line in self._process.stdout:
            if line.startswith("{"):
                result: dict[str, Any] = json.loads(line)
                if "error" in result:
                    raise BaselineError(f"{self.name}: {result['error']}")
                return result
            last = line.strip() or last
        raise BaselineError(f"{self.name} has stopped: {last}")


def taped_command() -> list[str]:
    """Command line of the taped Warp version, flushing denormals: the faster setting."""
    script = _script("taped_warp.py")
    words = f"--substeps {SUBSTEPS} --repeats 1 --flush-denormals --on-request"
    return [sys.executable, script, *_size(), *words.split()]


def taichi_command(python: str | None, scatter: str, envs: int, substeps: int) -> list[str]:
    """Command line of the Taichi version, on all CPUs.

    Raises:
        BaselineError: no interpreter is given, or the script is not there.
    """
    script = _script("taichi_mpm.py")
    if python is None:
        raise BaselineError(f"no interpreter with Taichi is given; {HOW_TO_GET_TAICHI}")
    words = f"--scatter {scatter} --envs {envs} --substeps {substeps} --on-request"
    return [python, script, *_size(), *words.split()]


def start_taped(stack: ExitStack, skipped: list[str]) -> Baseline | None:
    """The taped Warp version, or None and a line saying why."""
    try:
        baseline = Baseline("taped Warp", taped_command())
    except BaselineError as error:
        skipped.append(f"taped Warp left out: {error}")
        return None
    stack.callback(baseline.close)
    return baseline


def start_taichi(
    stack: ExitStack, skipped: list[str], python: str | None, counts: Sequence[int], plan: Plan
) -> dict[tuple[str, int], Baseline]:
    """Taichi by scatter and number of environments; empty, and a line saying why, without it."""
    running: dict[tuple[str, int], Baseline] = {}
    try:
        for envs in counts:
            for scatter, share in SHARES.items():
                steps = max(1, round(share * plan.steps))
                command = taichi_command(python, scatter, envs, steps * SUBSTEPS)
                baseline = Baseline(f"Taichi {scatter}", command)
                stack.callback(baseline.close)
                running[scatter, envs] = baseline
    except BaselineError as error:
        skipped.append(f"Taichi left out: {error}")
        return {}
    return running


def _script(name: str) -> str:
    path = SCRIPTS / name
    if not path.exists():
        raise BaselineError(
            f"{path} does not exist; the baselines are not installed with the package, "
            "run from a checkout of the repository"
        )
    return str(path)


def _size() -> list[str]:
    return ["--particles", str(PER_EDGE**3)]
