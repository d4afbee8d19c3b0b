"""Domain walls acting on grid nodes.

A wall occupies the nodes at and beyond a face of the domain. Against the wall's inward normal n
a node's velocity is (engine notation: v·n < 0 means "into the wall")

* sticky: 0,
* slip: v − (v·n) n, in both directions (the material stays on the wall),
* separating: unchanged if v·n ≥ 0, else the tangential part shortened by Coulomb friction,
  v_t · max(0, 1 + μ (v·n) / |v_t|).
"""

from dataclasses import dataclass
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import warp as wp

from simenv.errors import ConfigurationError
from simenv.mpm.types import Types

MODES = ("sticky", "slip", "separating")
STICKY, SLIP, SEPARATING = range(3)


@dataclass(frozen=True)
class Wall:
    """Condition on one face of the domain.

    Args:
        mode: "sticky", "slip" or "separating".
        friction: Coulomb coefficient μ [-] ≥ 0; only a separating wall has friction.

    Raises:
        ConfigurationError: unknown mode, negative friction, friction on another mode.
    """

    mode: str = "separating"
    friction: float = 0.0

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise ConfigurationError(f"wall mode {self.mode!r} is not one of {MODES}")
        if not 0.0 <= self.friction < float("inf"):
            raise ConfigurationError(
                f"wall friction {self.friction} is not a finite number >= 0; it is Coulomb's μ"
            )
        if self.friction > 0.0 and self.mode != "separating":
            raise ConfigurationError(
                f"wall friction {self.friction} has no effect on a {self.mode!r} wall; "
                "use mode='separating' or friction=0"
            )

    @property
    def code(self) -> int:
        """Index of the mode in `MODES`, as the kernels take it."""
        return MODES.index(self.mode)


def meeting_mode(one: Wall, other: Wall) -> int:
    """Code of the mode that holds where two surfaces meet.

    Sticky where either is sticky (what touches does not slide); else slip where either is slip (no
    friction); else separating, with friction. None of them pulls two rigid surfaces together.
    """
    modes = {one.mode, other.mode}
    return next(MODES.index(mode) for mode in MODES if mode in modes)


@lru_cache(maxsize=None)
def response_function(types: Types, module: str) -> Any:
    """Warp function (v, n, mode, friction): velocity against a wall at rest with normal n."""
    T, vec = types.scalar, types.vec

    @wp.func(module=module)
    def rub(tangent: vec, push: T, friction: T):
        # `push` = v·n < 0; the guard keeps the gradient finite where nothing slides: there friction
        # holds, and without friction motion begins freely.
        speed_sq = wp.length_sq(tangent)
        if speed_sq > T(1.0e-20):
            return tangent * wp.max(T(0.0), T(1.0) + friction * push / wp.sqrt(speed_sq))
        if friction > T(0.0):
            return tangent * T(0.0)
        return tangent

    @wp.func(module=module)
    def against(v: vec, n: vec, mode: int, friction: T):
        push = wp.dot(v, n)
        if mode == wp.static(STICKY):
            return v * T(0.0)
        if mode == wp.static(SLIP):
            return v - n * push
        if push >= T(0.0):
            return v
        return rub(v - n * push, push, friction)

    return against


@lru_cache(maxsize=None)
def boundary_functions(types: Types, module: str) -> SimpleNamespace:
    """Warp functions of the domain's boundary, in a module of the caller's."""
    T, vec, Index, d = types.scalar, types.vec, types.index, types.dim
    Modes, Frictions = wp.types.vector(2 * d, wp.int32), wp.types.vector(2 * d, T)
    against = response_function(types, module)

    @wp.func(module=module)
    def wall(v: vec, axis: int, sign: T, mode: int, friction: T):
        n = vec()
        n[axis] = sign
        return against(v, n, mode, friction)

    @wp.func(module=module)
    def face(v: vec, node: Index, nodes: Index, axis: int, modes: Modes, friction: Frictions):
        if node[axis] <= 1:
            return wall(v, axis, T(1.0), modes[2 * axis], friction[2 * axis])
        if node[axis] >= nodes[axis] - 2:
            return wall(v, axis, T(-1.0), modes[2 * axis + 1], friction[2 * axis + 1])
        return v

    @wp.func(module=module)
    def boundary(v: vec, node: Index, nodes: Index, modes: Modes, friction: Frictions):
        v0 = face(v, node, nodes, 0, modes, friction)
        v1 = face(v0, node, nodes, 1, modes, friction)
        if wp.static(d == 3):
            return face(v1, node, nodes, 2, modes, friction)
        return v1

    @wp.func(module=module)
    def contraction(v: vec, G: vec, node: Index, nodes: Index, modes: Modes, friction: Frictions):
        return wp.dot(boundary(v, node, nodes, modes, friction), G)

    @wp.func(module=module)
    def interior(node: Index, nodes: Index):
        inside = bool(True)
        for a in range(d):
            inside = inside and node[a] > 1 and node[a] < nodes[a] - 2
        return inside

    return SimpleNamespace(
        boundary=boundary,
        contraction=contraction,
        interior=interior,
        Modes=Modes,
        Frictions=Frictions,
    )
