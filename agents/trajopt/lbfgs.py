"""L-BFGS over parameter sets side by side, each with a line search of its own."""

from __future__ import annotations

import torch
from torch import Tensor

from agents.trajopt.policies import Policy

MEMORY = 10
"""Pairs of steps and changes of the gradient that are kept."""
DECREASE = 1e-4
"""Share of the decrease that the slope promises which a step must bring (Armijo)."""
HALVINGS = 10
"""Trials along a direction after which the memory is dropped."""


class LBFGS:
    """Limited-memory BFGS with backtracking (Nocedal & Wright, algorithms 3.1 and 7.4).

    Within limits it is a projected method: parameters that are at a limit and would leave it are
    no part of a direction, and trials lie on the line that is clipped (Bertsekas, SIAM J. Control
    and Optimization 20, 1982; Kim, Sra & Dhillon, SIAM J. Scientific Computing 32, 2010). Clipping
    a direction of all parameters would end where nothing is least.

    Every evaluation serves all S sets: a set whose trial falls enough goes on from there with a new
    direction, one whose trial does not goes back half of the way. The gradient is known at each
    trial, so that nothing is evaluated twice.

    Args:
        policy: optimised in place; its gradients are in its parameters.
        learning_rate: largest change of a parameter in a set's first step, and whenever its memory
            is dropped.
        iterations: evaluations that there will be; of no consequence here.
    """

    def __init__(self, policy: Policy, learning_rate: float, iterations: int) -> None:
        self.policy, self.learning_rate = policy, learning_rate
        self.place = self._present()
        sets = len(self.place)
        self.loss = torch.full((sets,), torch.inf, dtype=torch.float64, device=self.place.device)
        self.slope = torch.zeros_like(self.place)
        self.direction = torch.zeros_like(self.place)
        self.length, self.tries = torch.ones_like(self.loss), torch.zeros_like(self.loss)
        self.first = torch.ones_like(self.loss)
        # Newest last; a pair of zeros is none.
        self.moves = self.place.new_zeros(MEMORY, *self.place.shape)
        self.turns = torch.zeros_like(self.moves)

    def step(self, losses: Tensor, usable: Tensor) -> None:
        """Judge the trials by their losses (S,), and set out for the next ones."""
        trial, slope = self._present(), self._gradients()
        losses = losses.to(self.loss)
        moved = trial - self.place
        # What was clipped may promise a rise, which nothing may bring.
        promised = (self.slope * moved).sum(dim=1).clamp(max=0.0)
        wanted = self.loss + DECREASE * promised
        # The first of all is compared with nothing.
        accepted = usable & ((losses <= wanted) | torch.isinf(self.loss))
        self._remember(accepted, moved, slope - self.slope)
        for mine, new in ((self.place, trial), (self.slope, slope), (self.loss, losses)):
            mine[accepted] = new[accepted]
        self._aim(accepted)
        self._set(self.place + self.length[:, None] * self.direction)

    def restart(self) -> None:
        """The objective has changed: what comes next is compared with nothing."""
        self.loss.fill_(torch.inf)
        self.moves.zero_()
        self.turns.zero_()
        # From the last place that was judged, not from a trial that nobody has.
        self._set(self.place)

    # ------------------------------------------------------------------ directions

    def _aim(self, accepted: Tensor) -> None:
        """New directions where a trial was accepted, shorter steps where it was not."""
        self.tries = torch.where(accepted, 0.0, self.tries + 1)
        dropped = self.tries > HALVINGS
        fresh = accepted | dropped
        # What has failed along the plain gradient would fail again: begin shorter.
        shorter = torch.where(
            dropped & _empty(self.moves), 0.5 ** (HALVINGS + 1) * self.first, self.first
        )
        self.first = torch.where(accepted, 1.0, shorter)
        self.tries = torch.where(fresh, 0.0, self.tries)
        self.length = torch.where(fresh, 1.0, 0.5 * self.length)
        self.moves[:, dropped], self.turns[:, dropped] = 0.0, 0.0
        self.direction = torch.where(fresh[:, None], self._way(), self.direction)

    def _way(self) -> Tensor:
        """Directions (S, P) of the parameters that are free, the others staying at their limits."""
        free = self._free()
        slope = free * self.slope
        moves, turns = _curved(free * self.moves, free * self.turns)
        direction = -_inverse_hessian_times(slope, moves, turns)
        plain = _empty(moves) | ((direction * slope).sum(dim=1) >= 0)
        largest = slope.abs().amax(1, True).clamp(min=1e-30)
        first = self.learning_rate * self.first[:, None] * slope / largest
        return torch.where(plain[:, None], -first, direction)

    def _free(self) -> Tensor:
        """Parameters, bool (S, P), that do not lie at a limit with the loss falling beyond it."""
        limit = self.policy.limit
        below = (self.place <= -limit) & (self.slope > 0)
        above = (self.place >= limit) & (self.slope < 0)
        return ~(below | above)

    def _remember(self, accepted: Tensor, moved: Tensor, turned: Tensor) -> None:
        """Keep a step and what it did to the gradient, where it curves upwards."""
        kept = accepted & ~_empty(_curved(moved[None], turned[None])[0]) & ~torch.isinf(self.loss)
        for memory, new in ((self.moves, moved), (self.turns, turned)):
            memory[:, kept] = torch.cat([memory[1:, kept], new[None, kept]])

    # ------------------------------------------------------------------ parameters

    def _present(self) -> Tensor:
        """Parameters (S, P) as they are."""
        return self.policy.table.flatten(1).double()

    def _set(self, values: Tensor) -> None:
        """Take parameters (S, P); what lies out of bounds is brought back."""
        self.policy.set_table(values.reshape(self.policy.table.shape))
        self.policy.project()

    def _gradients(self) -> Tensor:
        """Gradients (S, P)."""
        found = [
            torch.zeros_like(p) if p.grad is None else p.grad for p in self.policy.parameters()
        ]
        return torch.cat([gradient.flatten(1) for gradient in found], dim=1).double()


def _empty(moves: Tensor) -> Tensor:
    """Which sets have no pair among these, bool (S,)."""
    return (moves == 0).all(dim=2).all(dim=0)


def _curved(moves: Tensor, turns: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs (M, S, P), those that do not curve upwards replaced by zeros."""
    sizes = moves.norm(dim=2) * turns.norm(dim=2)
    upwards = ((moves * turns).sum(dim=2) > 1e-10 * sizes)[:, :, None]
    return upwards * moves, upwards * turns


def _inverse_hessian_times(vector: Tensor, moves: Tensor, turns: Tensor) -> Tensor:
    """The two loops of algorithm 7.4, for vectors (S, P) and pairs (M, S, P), newest last."""
    curvature, size = (moves * turns).sum(dim=2), turns.square().sum(dim=2)
    rho = torch.where(curvature > 0, 1.0 / curvature.clamp(min=1e-300), 0.0)
    result, shares = vector.clone(), []
    for s, y, r in zip(moves.flip(0), turns.flip(0), rho.flip(0), strict=True):
        shares.append(r * (s * result).sum(dim=1))
        result = result - shares[-1][:, None] * y
    scale = torch.ones_like(vector[:, 0])
    for c, n in zip(curvature, size, strict=True):
        # Of the newest pair that there is.
        scale = torch.where(n > 0, c / n.clamp(min=1e-300), scale)
    result = scale[:, None] * result
    for s, y, r, share in zip(moves, turns, rho, reversed(shares), strict=True):
        result = result + (share - r * (y * result).sum(dim=1))[:, None] * s
    return result
