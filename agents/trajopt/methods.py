"""Samplers by name, and the settings that each one has."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from agents.trajopt.cbo import CBO
from agents.trajopt.cmaes import CMAES
from agents.trajopt.samplers import CEM, ICEM, MPPI, Sampler
from simenv.errors import ConfigurationError

SAMPLERS: dict[str, type[Sampler]] = {
    "cem": CEM,
    "icem": ICEM,
    "mppi": MPPI,
    "cmaes": CMAES,
    "cbo": CBO,
}


def make_sampler(
    name: str, shape: tuple[int, int], settings: Mapping[str, Any], **bounds: Any
) -> Sampler:
    """A sampler of tables.

    Args:
        name: a key of `SAMPLERS`.
        shape: of a table, (R, A).
        settings: of this kind of sampler, such as `population` or `elites`.
        bounds: what every `Sampler` takes.

    Raises:
        ConfigurationError: a setting that it does not have, or outside its bounds.
    """
    make = SAMPLERS[name]
    known = settings_of(make)
    if unknown := sorted(settings.keys() - known):
        raise ConfigurationError(f"{name} has no setting {unknown}; it has {sorted(known)}")
    rows, actions = shape
    return make(rows, actions, **settings, **bounds)


def settings_of(make: type[Sampler]) -> set[str]:
    """Names of what a kind of sampler can be told beside what all can."""
    own = [c for c in make.__mro__ if issubclass(c, Sampler) and c is not Sampler]
    found = {
        parameter.name
        for kind in own
        for parameter in inspect.signature(kind).parameters.values()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    return found - set(inspect.signature(Sampler).parameters)
