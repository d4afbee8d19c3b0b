"""Domain walls acting on grid nodes, and the kernels that update the grid.

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
from simenv.mpm.transfer import packing
from simenv.mpm.types import Types

MODES = ("sticky", "slip", "separating")
_STICKY, _SLIP, _SEPARATING = range(3)


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


@lru_cache(maxsize=None)
def _boundary(types: Types, module: str) -> SimpleNamespace:
    T, vec, Index, d = types.scalar, types.vec, types.index, types.dim
    Modes, Frictions = wp.types.vector(2 * d, wp.int32), wp.types.vector(2 * d, T)

    @wp.func(module=module)
    def rub(tangent: vec, push: T, friction: T):
        # `push` = v·n < 0; the guard keeps the gradient finite where nothing slides.
        speed_sq = wp.length_sq(tangent)
        if speed_sq > T(1.0e-20):
            return tangent * wp.max(T(0.0), T(1.0) + friction * push / wp.sqrt(speed_sq))
        return tangent * T(0.0)

    @wp.func(module=module)
    def wall(v: vec, axis: int, sign: T, mode: int, friction: T):
        n = vec()
        n[axis] = sign
        push = wp.dot(v, n)
        if mode == wp.static(_STICKY):
            return v * T(0.0)
        if mode == wp.static(_SEPARATING) and push >= T(0.0):
            return v
        tangent = v - n * push
        if friction > T(0.0):
            return rub(tangent, push, friction)
        return tangent

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

    if d == 2:

        @wp.func(module=module)
        def unravel(i: int, nodes: Index):
            return Index(i // nodes[1], i % nodes[1])

    else:

        @wp.func(module=module)
        def unravel(i: int, nodes: Index):
            j = i // nodes[2]
            return Index(j // nodes[1], j % nodes[1], i % nodes[2])

    @wp.func(module=module)
    def interior(node: Index, nodes: Index):
        inside = bool(True)
        for a in range(d):
            inside = inside and node[a] > 1 and node[a] < nodes[a] - 2
        return inside

    return SimpleNamespace(
        boundary=boundary,
        contraction=contraction,
        unravel=unravel,
        interior=interior,
        Modes=Modes,
        Frictions=Frictions,
    )


@lru_cache(maxsize=None)
def grid_kernel(types: Types) -> Any:
    """Kernel: momentum to velocity, gravity, walls. Launch over environments x nodes, flattened."""
    T, vec, node, Index = types.scalar, types.vec, types.node, types.index
    module = f"simenv_mpm_contact_{types.tag}"
    bc, to = _boundary(types, module), packing(types)
    Modes, Frictions = bc.Modes, bc.Frictions

    @wp.kernel(module=module, enable_backward=False)
    def update_grid(
        grid: wp.array(dtype=node),
        num_nodes: int,
        nodes: Index,
        modes: Modes,
        friction: Frictions,
        gravity_dt: vec,
        velocity: wp.array(dtype=node),
    ):
        i = wp.tid()
        q = grid[i]
        m = q[3]
        if m > T(0.0):
            v = to.head(q) / m + gravity_dt
            n = bc.unravel(i % num_nodes, nodes)
            if not bc.interior(n, nodes):
                v = bc.boundary(v, n, nodes, modes, friction)
            velocity[i] = to.pack(v, m)
        else:
            velocity[i] = node()

    return update_grid


@lru_cache(maxsize=None)
def grid_adjoint_kernel(types: Types) -> Any:
    """Adjoint of `grid_kernel`: turns node adjoints of (v̂, ·) into those of (q, m), in place.

    q̄ = v̄ / m and m̄ = −(q/m · v̄) / m, where v̄ is v̂̄ pulled back through the walls by the
    generated adjoint of their function.
    """
    T, vec, node, Index = types.scalar, types.vec, types.node, types.index
    module = f"simenv_mpm_contact_adjoint_{types.tag}"
    bc, to = _boundary(types, module), packing(types)
    Modes, Frictions, contraction = bc.Modes, bc.Frictions, bc.contraction

    # enable_backward makes Warp generate the adjoints that wp.grad calls.
    @wp.kernel(module=module, enable_backward=True)
    def update_grid_adjoint(
        grid: wp.array(dtype=node),
        num_nodes: int,
        nodes: Index,
        modes: Modes,
        friction: Frictions,
        gravity_dt: vec,
        grid_bar: wp.array(dtype=node),
    ):
        i = wp.tid()
        q = grid[i]
        m = q[3]
        if m > T(0.0):
            v = to.head(q) / m
            v_bar = to.head(grid_bar[i])
            n = bc.unravel(i % num_nodes, nodes)
            if not bc.interior(n, nodes):
                v_bar = wp.grad(contraction)(v + gravity_dt, v_bar, n, nodes, modes, friction)[0]
            grid_bar[i] = to.pack(v_bar / m, -wp.dot(v, v_bar) / m)

    return update_grid_adjoint
