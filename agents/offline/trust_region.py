"""Steps in a trust region under constraints: constrained policy optimisation, for any few of them.

Achiam et al., "Constrained policy optimization" (arXiv:1705.10528).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn

SMALL = 1e-12
"""Share of something that counts as none of it, in float64."""


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], target: Tensor, iterations: int = 10
) -> Tensor:
    """The solution x (P,) of H x = target, for a positive definite H given by its product.

    It ends early where the residual is 1e-10 of the target.
    """
    x, residual = torch.zeros_like(target), target.clone()
    direction, size = residual.clone(), residual.dot(residual)
    goal = 1e-10 * size
    for _ in range(iterations):
        if size <= goal:
            break
        along = product(direction)
        step = size / direction.dot(along)
        x, residual = x + step * direction, residual - step * along
        size, before = residual.dot(residual), size
        direction = residual + (size / before) * direction
    return x


def constrained_step(
    gradients: Tensor, solved: Tensor, excess: Sequence[float], radius: float
) -> tuple[Tensor, bool]:
    """The best step x: max gᵀx subject to cₖ + bₖᵀx ≤ 0 and ½ xᵀHx ≤ δ (eq. 11 of the paper).

    The best step lies on the planes of some of the constraints, and on the sphere unless these
    planes leave no choice. For each set of planes it is known in closed form, so that the best
    feasible one of all sets is exact, for any number of constraints small enough to choose from.

    Where no step in the trust region meets them all, it is the one that falls the fastest towards
    those violated, each by its distance: −√(2δ / bᵀH⁻¹b) H⁻¹b (eq. 14), b = Σ cₖ bₖ / bₖᵀH⁻¹bₖ.

    Args:
        gradients: (1 + K, P), g and then every bₖ.
        solved: (1 + K, P), H⁻¹ of them.
        excess: (K,), cₖ, above 0 where a constraint is violated.
        radius: δ.

    Returns:
        The step (P,), and whether it meets the constraints; none where a gradient is not finite.
    """
    gram = (gradients.double() @ solved.double().T).cpu().numpy()
    gram = 0.5 * (gram + gram.T)
    if not np.isfinite(gram).all():
        return torch.zeros_like(gradients[0]), False
    c = np.asarray(excess, np.float64)
    # What no step can change is no constraint of the step.
    reach = np.sqrt(2 * radius * np.diagonal(gram)[1:].clip(min=0.0))
    movable = [k for k in range(len(c)) if reach[k] > SMALL * abs(c[k])]
    found = list(_candidates(gram, c, radius, movable))
    if found:
        best = max(found, key=lambda weights: float(weights @ gram[0]))
    else:
        best = _recovery(gram, c, radius, movable)
    weights = torch.as_tensor(best, dtype=solved.dtype, device=solved.device)
    fixed = set(range(len(c))) - set(movable)
    return weights @ solved, bool(found) and not any(c[k] > 0 for k in fixed)


def _candidates(
    gram: np.ndarray, c: np.ndarray, radius: float, movable: Sequence[int]
) -> Iterator[np.ndarray]:
    """Feasible steps, as weights (1 + K,) of H⁻¹g and H⁻¹bₖ: one for each choice of planes."""
    for size in range(len(movable) + 1):
        for chosen in combinations(movable, size):
            weights = _on_planes(gram, c, radius, [k + 1 for k in chosen])
            if weights is None:
                continue
            left = c + gram[1:] @ weights
            scale = np.sqrt(2 * radius * np.diagonal(gram)[1:])
            if all(left[k] <= 1e-9 * (scale[k] + abs(c[k])) for k in movable):
                yield weights


def _on_planes(
    gram: np.ndarray, c: np.ndarray, radius: float, rows: list[int]
) -> np.ndarray | None:
    """The best step on the sphere and on the planes of some constraints; None: they do not meet."""
    weights, inverse = np.zeros(len(gram)), np.linalg.pinv(gram[np.ix_(rows, rows)])
    there, along = inverse @ c[[r - 1 for r in rows]], inverse @ gram[rows, 0]
    left = 2 * radius - c[[r - 1 for r in rows]] @ there
    length = gram[0, 0] - gram[rows, 0] @ along
    if left < 0:
        return None
    step = np.sqrt(left / length) if length > SMALL * gram[0, 0] else 0.0
    weights[0], weights[rows] = step, -there - step * along
    return weights


def _recovery(gram: np.ndarray, c: np.ndarray, radius: float, movable: Sequence[int]) -> np.ndarray:
    weights = np.zeros(len(gram))
    for k in movable:
        weights[k + 1] = -max(c[k], 0.0) / gram[k + 1, k + 1]
    length = weights @ gram @ weights
    return weights * np.sqrt(2 * radius / length) if length > 0 else weights


# ------------------------------------------------------------------------------- parameters


def flat_gradient(value: Tensor, module: nn.Module, *, create_graph: bool = False) -> Tensor:
    """∂ value / ∂ parameters, (P,); the graph is kept."""
    parameters = list(module.parameters())
    found = torch.autograd.grad(
        value, parameters, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return torch.cat([part.reshape(-1) for part in found])


def hessian_product(value: Tensor, module: nn.Module, damping: float) -> Callable[[Tensor], Tensor]:
    """The product (H + damping · 1) v, H the second derivative of a value by the parameters."""
    slope = flat_gradient(value, module, create_graph=True)

    def product(vector: Tensor) -> Tensor:
        return flat_gradient(slope.dot(vector), module) + damping * vector

    return product
