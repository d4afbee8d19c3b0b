"""What a search asks of a problem, and where it starts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, Protocol, get_args

import torch
from torch import Tensor

from simenv.errors import require_one_of

Start = Literal["below", "above", "random"]
FACTOR = 5.0
"""How far from the truth searches start."""


class Sought(Protocol):
    """A parameter that is to be found."""

    @property
    def name(self) -> str:
        """What it is called."""

    @property
    def truth(self) -> float:
        """What is to be found."""


class Problem(Protocol):
    """What a search asks of a problem, such as `tasks.identification.IdentificationProblem`."""

    @property
    def parameters(self) -> Sequence[Sought]:
        """What is sought, K of them."""

    @property
    def steps(self) -> int:
        """Environment steps of a trajectory."""

    @property
    def num_envs(self) -> int:
        """Sets of parameters N that are tried at a time."""

    @property
    def truth(self) -> Tensor:
        """True values (K,)."""

    @property
    def start(self) -> Tensor:
        """Values (K,) to start from."""

    @property
    def bounds(self) -> Tensor:
        """Least and greatest values, (2, K)."""

    def to_logs(self, values: Tensor) -> Tensor:
        """Logarithms (..., K) of values."""

    def from_logs(self, logs: Tensor) -> Tensor:
        """Values (..., K) of logarithms, kept within the bounds."""

    def error(self, values: Tensor) -> Tensor:
        """Error of values (K,), or errors (N,) of (N, K); differentiable."""


def starting_values(problem: Problem, start: str, seed: int = 0) -> Tensor:
    """Values (K,) to start from, all within the problem's bounds.

    Args:
        problem: what is to be identified.
        start: "below": the problem's own, a fifth of the truth; "above": five times the truth, or
            the upper bound; "random": between the two, evenly in the logarithm.
        seed: of the random ones.

    Raises:
        ConfigurationError: another word.
    """
    require_one_of("start", start, get_args(Start))
    if start == "below":
        return problem.start
    above = torch.minimum(FACTOR * problem.truth, problem.bounds[1])
    if start == "above":
        return above
    generator = torch.Generator().manual_seed(seed)
    share = torch.rand(len(above), generator=generator, dtype=torch.float64).to(above)
    return torch.exp(problem.start.log() + share * (above / problem.start).log())
