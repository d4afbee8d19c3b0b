"""The same bits on every run, in every process and with any number of threads."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.mpm.fingerprint import fingerprint

ROOT = Path(__file__).resolve().parents[2]


def _spawn(threads: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.mpm.fingerprint", str(threads)]
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    return subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)


def test_repeated_run_is_bitwise_equal():
    """The same simulator run twice gives the same bits, forward and backward."""
    assert fingerprint(2) == fingerprint(2)


def test_threads_do_not_change_a_bit():
    """One thread or two: the same states and the same gradients."""
    assert fingerprint(1) == fingerprint(2)


def test_fresh_processes_agree():
    """Two new processes, one of them with a single thread, print this process's hash."""
    runs = [_spawn(threads) for threads in (1, 2)]
    hashes = [run.communicate(timeout=300)[0].split()[-1] for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert hashes == [fingerprint(2)] * 2
