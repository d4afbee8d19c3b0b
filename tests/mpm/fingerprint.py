"""Prints a hash of every bit of a rollout and of its gradient (run by `test_determinism`)."""

from __future__ import annotations

import hashlib
import sys

from tests.mpm.problem import STATE, Problem, simulator


def fingerprint(threads: int) -> str:
    """SHA-256 of the end state and the gradient of a problem with contact, in 2-D and 3-D."""
    digest = hashlib.sha256()
    for dim in (2, 3):
        problem = Problem(simulator(dim, "friction", 10, "float32", threads), moving=True, steps=3)
        end, gradient = problem.end(problem.inputs), problem.gradient()
        for tensor in (*(getattr(end, name) for name in STATE), *gradient.values()):
            digest.update(tensor.numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    print(fingerprint(int(sys.argv[1])))
