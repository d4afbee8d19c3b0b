"""simenv: differentiable soft-body simulation as Gymnasium environments, with agents for it.

Importing registers every environment id with Gymnasium; nothing heavy is loaded before use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simenv.neighbours import check_neighbours
from simenv.registry import PROBLEMS, TASKS, ProblemSpec, TaskSpec, register_all

if TYPE_CHECKING:
    from simenv.envs.functional import Functional
    from tasks.identification import IdentificationProblem

__version__ = "0.1.0"
__all__ = [
    "PROBLEMS",
    "TASKS",
    "ProblemSpec",
    "TaskSpec",
    "__version__",
    "functional",
    "identification",
]

check_neighbours()
register_all()


def functional(
    task_id: str, *, num_envs: int = 1, device: str = "cpu", dtype: str = "float32", **options: Any
) -> Functional:
    """The differentiable face of a task: pure functions of torch tensors.

    Args:
        task_id: a registered id, such as "simenv/SoftWalker2D-v0".
        num_envs: batch size N.
        device: "cpu", "cuda:0" or "auto".
        dtype: "float32", or "float64" for checks.
        options: the task's own options, such as `size="full"`, and `threads`.

    Returns:
        `simenv.envs.functional.Functional`.

    Raises:
        UnknownTaskError: no such id; the message suggests the nearest ones.

    Example:
        >>> func = simenv.functional("simenv/SoftWalker2D-v0", num_envs=8)
        >>> state = func.initial(seed=0)
        >>> after = func.transition(state, action)   # action: (8, 4), gradients flow
    """
    from simenv.envs.functional import Functional

    return Functional(task_id, num_envs=num_envs, device=device, dtype=dtype, **options)


def identification(problem_id: str, **options: Any) -> IdentificationProblem:
    """An identification problem: material parameters in, error of the trajectory out.

    Args:
        problem_id: one of `PROBLEMS`, such as "simenv/MaterialID-Jelly-v0"; namespace and version
            may be left out.
        options: `size`, `num_envs`, `steps`, `segment`, `device`, `dtype`, `threads`.

    Returns:
        `tasks.identification.IdentificationProblem`.

    Raises:
        UnknownTaskError: no such id; the message suggests the nearest ones.

    Example:
        >>> problem = simenv.identification("MaterialID-Sand", segment=5)
        >>> values = problem.start.requires_grad_()      # (2,): E [Pa], friction angle [degrees]
        >>> problem.error(values).backward()
    """
    from tasks.identification import IdentificationProblem

    return IdentificationProblem(problem_id, **options)
