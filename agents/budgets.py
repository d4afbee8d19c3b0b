"""Which ids of simenv have costs, and the budgets suggested for them. Imports nothing heavy."""

from __future__ import annotations

from typing import Any

from simenv.errors import ConfigurationError
from simenv.registry import TASKS


def suggested_limit(env: Any) -> float | None:
    """The budget that simenv suggests for one of its ids; None elsewhere.

    Raises:
        ConfigurationError: an id of simenv that has no costs.
    """
    if not isinstance(env, str) or env not in TASKS:
        return None
    if TASKS[env].variant != "safe":
        safe = [i for i, t in TASKS.items() if t.variant == "safe" and t.task == TASKS[env].task]
        raise ConfigurationError(f"{env} has no costs; take {' or '.join(safe) or 'a -Safe id'}")
    return TASKS[env].cost_limit
