"""State and control of a simulation, as torch tensors."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor

from simenv.mpm.transfer import BAD_COMMAND, INVERTED, LEFT_DOMAIN, LEFT_GRID, NOT_A_NUMBER

FAULTS = {
    NOT_A_NUMBER: "non-finite state (last good state kept)",
    LEFT_GRID: "particle left the grid (clamped at its edge)",
    INVERTED: "deformation gradient with det F <= 0 (bounded in the stress)",
    BAD_COMMAND: "non-finite tool command (step not taken)",
    LEFT_DOMAIN: "free rigid body left the domain",
}

NONE = torch.empty(0)
"""Stands for a tensor that was not given."""


def describe_fault(code: int) -> str:
    """Plain words for a per-environment fault code."""
    return "; ".join(text for bit, text in FAULTS.items() if code & bit) or "none"


@dataclass(frozen=True)
class State:
    """Particles and rigid bodies of N environments in d dimensions.

    Attributes:
        x: positions [m], shape (N, P, d).
        v: velocities [m/s], shape (N, P, d).
        C: affine velocity matrices [1/s], shape (N, P, d, d).
        F: elastic deformation gradients [-], shape (N, P, d, d).
        time: steps since the start, int64, shape (N,).
        fault: fault bits of the last step (`describe_fault`), int32, shape (N,).
        Jp: the laws' memory (such as the plastic volume ratio) [-], shape (N, P), or (N, 0) where
            no law of the scene keeps any.
        pose: tools' and rigid bodies' position [m] and orientation, shape (N, R, 3) in 2-D
            (x, y, angle [rad]) and (N, R, 7) in 3-D (x, y, z, unit quaternion x, y, z, w).
        twist: their velocity [m/s] and angular velocity [rad/s] in world axes, shape (N, R, 3)
            in 2-D and (N, R, 6) in 3-D.
        impulse: what contact with material, walls and each other gave each of them during the last
            step, linear [N s] and angular about the position [N m s], shape as `twist`.
        context: numbers of each environment that ride along unchanged, such as a task's goal,
            shape (N, K).
    """

    x: Tensor
    v: Tensor
    C: Tensor
    F: Tensor
    time: Tensor
    fault: Tensor
    Jp: Tensor = field(default=NONE)
    pose: Tensor = field(default=NONE)
    twist: Tensor = field(default=NONE)
    impulse: Tensor = field(default=NONE)
    context: Tensor = field(default=NONE)

    def __post_init__(self) -> None:
        n, d = self.x.shape[0], self.x.shape[-1]
        empty = {
            "Jp": (n, 0),
            "pose": (n, 0, 4 * d - 5),
            "twist": (n, 0, 3 * d - 3),
            "context": (n, 0),
        }
        for name, shape in empty.items():
            if getattr(self, name) is NONE:
                object.__setattr__(self, name, self.x.new_zeros(shape))
        if self.impulse is NONE:
            object.__setattr__(self, "impulse", torch.zeros_like(self.twist))

    @property
    def num_envs(self) -> int:
        """Number of environments N."""
        return self.x.shape[0]

    @property
    def failed(self) -> Tensor:
        """Environments whose last step broke and was undone: bool, shape (N,)."""
        return (self.fault & NOT_A_NUMBER) != 0

    def items(self) -> Iterator[tuple[str, Tensor]]:
        """Field names and tensors."""
        return ((f.name, getattr(self, f.name)) for f in fields(self))

    def detach(self) -> State:
        """The same state, cut off from the graph that made it."""
        return State(**{name: t.detach() for name, t in self.items()})

    def clone(self) -> State:
        """A copy that shares no memory."""
        return State(**{name: t.clone() for name, t in self.items()})

    def requires_grad_(self) -> State:
        """Make all but time, fault, impulse and context leaves of a graph; returns self."""
        for t in (self.x, self.v, self.C, self.F, self.Jp, self.pose, self.twist):
            t.requires_grad_()
        return self

    def __getitem__(self, index: slice | Tensor) -> State:
        """Some of the environments, by slice, index tensor or mask."""
        return State(**{name: t[index] for name, t in self.items()})

    def where(self, mask: Tensor, other: State) -> State:
        """Environments of `self` where `mask` (N,), of `other` elsewhere."""
        picked = {}
        for name, t in self.items():
            shaped = mask.reshape(-1, *[1] * (t.ndim - 1))
            picked[name] = torch.where(shaped, t, getattr(other, name))
        return State(**picked)

    def replace(self, **changes: Tensor) -> State:
        """A copy with some tensors exchanged."""
        return replace(self, **changes)


@dataclass(frozen=True)
class Control:
    """What acts on the bodies during one step.

    Attributes:
        activation: muscle activations [Pa], shape (N, channels); None leaves muscles slack.
        tools: velocity [m/s] and angular velocity [rad/s] of each tool, shape (N, T, 3) in 2-D and
            (N, T, 6) in 3-D; None holds tools still.
    """

    activation: Tensor | None = None
    tools: Tensor | None = None
