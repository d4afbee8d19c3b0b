"""Whether the options of a command and the arguments of its class are the same."""

from __future__ import annotations

import inspect
from dataclasses import fields
from typing import Any

from agents.algorithms import ALGORITHMS


def assert_same_defaults(algorithm: str, options: Any, *other: str) -> None:
    """What is left out means the same in Python and on the command line, and nothing is missing.

    Args:
        algorithm: of the command.
        options: with nothing but what they need.
        other: arguments of the class that the command does not have.
    """
    row, known = ALGORITHMS[algorithm], {}
    for owner in reversed(row.load().__mro__):
        if "__init__" in vars(owner):
            known |= inspect.signature(owner.__init__).parameters
    for name, value in options.agent_arguments().items():
        if name not in ("dataset", "seed"):
            assert known[name].default == value, name
    assert {f.name for f in fields(options)} >= {
        n for n, p in known.items() if p.kind == p.KEYWORD_ONLY
    } - {"tensorboard_log", *other}
