"""What a search for parameters tries: errors and slopes in logarithms, all counted alike."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from tqdm import tqdm

from agents.identification.problem import Problem
from simenv.errors import ConfigurationError, SimenvError, expect_shape

Row = dict[str, float]
Report = Callable[[Row], None]


class Search:
    """Asks a problem for errors and slopes, counts what that costs, and keeps the best values.

    Every trajectory is `problem.steps` environment steps. A gradient of one makes the simulator
    step all of them once more, as backward rebuilds the substeps, beside the adjoint itself.

    Args:
        problem: what is to be identified.
        start: values (K,) to start from.
        report: called with every row of the history.

    Attributes:
        start: its logarithms (K,).
        history: a row for every batch of trajectories, see `_record`.
        steps: environment steps simulated, those in backward included.
        trajectories: sets of parameters that were tried.
        gradients: those among them that a gradient was taken of.
        skipped: those among them that were left out, as error or gradient was not finite.
        best: values (K,) of the least error; the start, before there are any.
        best_error: their error [m²].

    Raises:
        ShapeError: another number of start values.
        ConfigurationError: a start value outside its bounds.
    """

    def __init__(self, problem: Problem, start: Tensor, report: Report | None = None) -> None:
        expect_shape("start", start.shape, (len(problem.parameters),))
        lower, upper = problem.bounds
        _require_inside(problem, start)
        # Just inside, where rounding cuts off no slope.
        margin = 64 * torch.finfo(lower.dtype).eps
        self.low, self.high = problem.to_logs(lower) + margin, problem.to_logs(upper) - margin
        self.problem, self.report = problem, report
        self.start = self.inside(problem.to_logs(start.to(lower)))
        self.history: list[Row] = []
        self.steps = self.trajectories = self.gradients = self.skipped = 0
        self.best, self.best_error = problem.from_logs(self.start), math.inf

    def inside(self, logs: Tensor) -> Tensor:
        """Logarithms (..., K) moved into the bounds."""
        return torch.minimum(torch.maximum(logs, self.low), self.high)

    @torch.no_grad()
    def errors(self, logs: Tensor) -> Tensor:
        """Errors (N,) of logarithms (N, K)."""
        values = self.problem.from_logs(logs)
        errors = self.problem.error(values)
        self._count(len(logs), gradients=0)
        self._judge(values, errors, torch.isfinite(errors))
        return errors

    def slope(self, logs: Tensor) -> tuple[float, Tensor] | None:
        """Error of logarithms (K,) and its gradient (K,) by them; None unless both are finite."""
        leaf = logs.detach().clone().requires_grad_()
        values = self.problem.from_logs(leaf)
        error = self.problem.error(values)
        (gradient,) = torch.autograd.grad(error, leaf)
        self._count(1, gradients=1)
        usable = torch.isfinite(error) & torch.isfinite(gradient).all()
        self._judge(values.detach()[None], error.detach()[None], usable[None])
        return (float(error.detach()), gradient) if bool(usable) else None

    # ------------------------------------------------------------------ the books

    def _count(self, trajectories: int, gradients: int) -> None:
        self.trajectories += trajectories
        self.gradients += gradients
        self.steps += (trajectories + gradients) * self.problem.steps

    def _judge(self, values: Tensor, errors: Tensor, usable: Tensor) -> None:
        """Keep the best of values (N, K), say what is left out, and write a row."""
        errors = errors.masked_fill(~torch.isfinite(errors), math.inf)
        least = int(errors.argmin())
        if float(errors[least]) < self.best_error:
            self.best, self.best_error = values[least].clone(), float(errors[least])
        if not bool(usable.all()):
            bad = values[~usable]
            self.skipped += len(bad)
            shown = ", ".join(
                f"{p.name} = {float(v):g}"
                for p, v in zip(self.problem.parameters, bad[0], strict=True)
            )
            others = "" if len(bad) == 1 else f" and {len(bad) - 1} more"
            tqdm.write(f"error or gradient at {shown}{others} not finite: left out")
        self._record(float(errors[least]))

    def _record(self, error: float) -> None:
        """A row: what was spent, errors [m²], and the best values with their relative errors."""
        relative = self.relative()
        row: Row = {
            "iteration": len(self.history),
            "step": self.steps,
            "trajectories": self.trajectories,
            "gradients": self.gradients,
            "skipped": self.skipped,
            "error": error,
            "best_error": self.best_error,
            "parameter_error": max(map(abs, relative.values())),
        }
        for parameter, value in zip(self.problem.parameters, self.best, strict=True):
            row[parameter.name] = float(value)
            row[f"{parameter.name}_error"] = relative[parameter.name]
        self.history.append(row)
        if self.report is not None:
            self.report(row)

    def relative(self) -> dict[str, float]:
        """Relative errors of the best values, (value − truth) / truth."""
        shares = self.best / self.problem.truth - 1.0
        return {p.name: float(s) for p, s in zip(self.problem.parameters, shares, strict=True)}

    def require_found(self) -> None:
        """Raise SimenvError if no error was finite."""
        if math.isinf(self.best_error):
            raise SimenvError(
                f"none of {self.trajectories} trajectories had a finite error; try another start"
            )


def _require_inside(problem: Problem, start: Tensor) -> None:
    lower, upper = problem.bounds
    rows = zip(problem.parameters, start.tolist(), lower.tolist(), upper.tolist(), strict=True)
    for parameter, value, least, greatest in rows:
        if not least * (1 - 1e-6) <= value <= greatest * (1 + 1e-6):
            raise ConfigurationError(
                f"start of {parameter.name} = {value:g} must lie within {least:g} and {greatest:g}"
            )
