"""The benchmark scene in plain Warp with `wp.Tape`: what a user would write first.

The same spinning neo-Hookean cube as in `taichi_mpm.py`: three kernels per substep, arrays of its
own for every substep, gradients of the mean square distance from the origin by the tape. A
repetition times the substeps alone ("forward") and the substeps recorded on a tape together with
the backward pass ("forward_backward"), both in arrays that exist already. The last line of output
is one JSON object; with `--on-request`, there is one for every line of standard input, so that a
caller can take turns between engines.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
import warp as wp

EDGE = 0.3  # [m]
CELLS = wp.constant(32)  # per axis of the 1 m domain
WALL = wp.constant(3)  # cells kept free along each wall
DT = wp.constant(1e-4)  # [s]
GRAVITY = wp.constant(9.81)  # [m/s²], against the second axis
DENSITY = 1000.0  # [kg/m³]
YOUNG, POISSON = 1e3, 0.2  # [Pa], [-]
SPIN = (2.0, 3.0, 4.0)  # [rad/s] about the centroid
MU = wp.constant(YOUNG / (2.0 * (1.0 + POISSON)))
LAMBDA = wp.constant(YOUNG * POISSON / ((1.0 + POISSON) * (1.0 - 2.0 * POISSON)))
INV_DX = wp.constant(float(CELLS))


@wp.func
def weights(fx: wp.vec3):
    """Quadratic B-spline weights: row k holds those of the k-th node along each axis."""
    a = wp.vec3(1.5) - fx
    b = fx - wp.vec3(1.0)
    c = fx - wp.vec3(0.5)
    return wp.matrix_from_rows(
        0.5 * wp.cw_mul(a, a), wp.vec3(0.75) - wp.cw_mul(b, b), 0.5 * wp.cw_mul(c, c)
    )


@wp.func
def base_node(x: wp.vec3):
    return wp.vec3i(int(x[0] * INV_DX - 0.5), int(x[1] * INV_DX - 0.5), int(x[2] * INV_DX - 0.5))


@wp.func
def as_float(i: wp.vec3i):
    return wp.vec3(float(i[0]), float(i[1]), float(i[2]))


@wp.kernel
def p2g(
    x: wp.array(dtype=wp.vec3),
    v: wp.array(dtype=wp.vec3),
    C: wp.array(dtype=wp.mat33),
    F: wp.array(dtype=wp.mat33),
    mass: float,
    volume: float,
    F_next: wp.array(dtype=wp.mat33),
    grid_momentum: wp.array3d(dtype=wp.vec3),
    grid_mass: wp.array3d(dtype=float),
):
    p = wp.tid()
    eye = wp.identity(n=3, dtype=float)
    trial = (eye + DT * C[p]) * F[p]
    F_next[p] = trial
    tau = MU * (trial * wp.transpose(trial) - eye) + LAMBDA * wp.log(wp.determinant(trial)) * eye
    A = mass * C[p] - (4.0 * DT * volume * INV_DX * INV_DX) * tau
    base = base_node(x[p])
    fx = x[p] * INV_DX - as_float(base)
    w = weights(fx)
    for i in range(3):
        for j in range(3):
            for k in range(3):
                weight = w[i, 0] * w[j, 1] * w[k, 2]
                offset = (wp.vec3(float(i), float(j), float(k)) - fx) / INV_DX
                momentum = weight * (mass * v[p] + A * offset)
                wp.atomic_add(grid_momentum, base[0] + i, base[1] + j, base[2] + k, momentum)
                wp.atomic_add(grid_mass, base[0] + i, base[1] + j, base[2] + k, weight * mass)


@wp.func
def wall(u: float, i: int):
    if i < WALL:
        u = wp.max(u, 0.0)
    if i > CELLS - WALL:
        u = wp.min(u, 0.0)
    return u


@wp.kernel
def update_grid(
    grid_momentum: wp.array3d(dtype=wp.vec3),
    grid_mass: wp.array3d(dtype=float),
    grid_velocity: wp.array3d(dtype=wp.vec3),
):
    i, j, k = wp.tid()
    if grid_mass[i, j, k] > 0.0:
        u = grid_momentum[i, j, k] / grid_mass[i, j, k] - wp.vec3(0.0, DT * GRAVITY, 0.0)
        grid_velocity[i, j, k] = wp.vec3(wall(u[0], i), wall(u[1], j), wall(u[2], k))


@wp.kernel
def g2p(
    x: wp.array(dtype=wp.vec3),
    grid_velocity: wp.array3d(dtype=wp.vec3),
    x_next: wp.array(dtype=wp.vec3),
    v_next: wp.array(dtype=wp.vec3),
    C_next: wp.array(dtype=wp.mat33),
):
    p = wp.tid()
    base = base_node(x[p])
    fx = x[p] * INV_DX - as_float(base)
    w = weights(fx)
    velocity = wp.vec3(0.0)
    moment = wp.mat33(0.0)
    for i in range(3):
        for j in range(3):
            for k in range(3):
                weight = w[i, 0] * w[j, 1] * w[k, 2]
                offset = wp.vec3(float(i), float(j), float(k)) - fx
                part = weight * grid_velocity[base[0] + i, base[1] + j, base[2] + k]
                velocity += part
                moment += wp.outer(part, offset)
    v_next[p] = velocity
    C_next[p] = (4.0 * INV_DX) * moment
    x_next[p] = x[p] + DT * velocity


@wp.kernel
def mean_square(x: wp.array(dtype=wp.vec3), out: wp.array(dtype=float)):
    p = wp.tid()
    wp.atomic_add(out, 0, wp.length_sq(x[p]) / float(x.shape[0]))


@dataclass
class Particles:
    """State of the particles before one substep."""

    x: wp.array
    v: wp.array
    C: wp.array
    F: wp.array

    @classmethod
    def zeros(cls, count: int) -> "Particles":
        vectors = (wp.zeros(count, dtype=wp.vec3, requires_grad=True) for _ in range(2))
        matrices = (wp.zeros(count, dtype=wp.mat33, requires_grad=True) for _ in range(2))
        return cls(*vectors, *matrices)


@dataclass
class Grid:
    """Node quantities of one substep; the tape needs them all to go back."""

    momentum: wp.array
    mass: wp.array
    velocity: wp.array

    @classmethod
    def zeros(cls) -> "Grid":
        shape = (int(CELLS),) * 3
        return cls(
            wp.zeros(shape, dtype=wp.vec3, requires_grad=True),
            wp.zeros(shape, dtype=float, requires_grad=True),
            wp.zeros(shape, dtype=wp.vec3, requires_grad=True),
        )


class Rollout:
    """All arrays of a rollout and the launches that fill them."""

    def __init__(self, per_edge: int, substeps: int) -> None:
        self.count = per_edge**3
        self.volume = (EDGE / per_edge) ** 3
        self.states = [Particles.zeros(self.count) for _ in range(substeps + 1)]
        self.grids = [Grid.zeros() for _ in range(substeps)]
        self.loss = wp.zeros(1, dtype=float, requires_grad=True)
        self.velocity_gradient = np.zeros(3)  # of the corner [m s], times the particles
        start, turn = lattice(per_edge), spin_matrix()
        self.states[0].x.assign(start)
        self.states[0].v.assign((start - 0.5) @ turn.T)
        self.states[0].C.assign(np.tile(turn, (self.count, 1, 1)))
        self.states[0].F.assign(np.tile(np.eye(3, dtype=np.float32), (self.count, 1, 1)))

    def clear(self) -> None:
        """Zero what the kernels add to."""
        self.loss.zero_()
        for grid in self.grids:
            grid.momentum.zero_()
            grid.mass.zero_()
            grid.velocity.zero_()

    def substep(self, now: Particles, grid: Grid, then: Particles) -> None:
        wp.launch(
            p2g,
            dim=self.count,
            inputs=[now.x, now.v, now.C, now.F, DENSITY * self.volume, self.volume],
            outputs=[then.F, grid.momentum, grid.mass],
        )
        wp.launch(
            update_grid,
            dim=grid.mass.shape,
            inputs=[grid.momentum, grid.mass],
            outputs=[grid.velocity],
        )
        wp.launch(
            g2p,
            dim=self.count,
            inputs=[now.x, grid.velocity],
            outputs=[then.x, then.v, then.C],
        )

    def forward(self) -> None:
        self.clear()
        for step, grid in enumerate(self.grids):
            self.substep(self.states[step], grid, self.states[step + 1])
        wp.launch(mean_square, dim=self.count, inputs=[self.states[-1].x], outputs=[self.loss])

    def forward_backward(self) -> None:
        tape = wp.Tape()
        with tape:
            self.forward()
        self.states[0].v.grad.zero_()
        tape.backward(self.loss)
        self.velocity_gradient = self.states[0].v.grad.numpy()[0] * self.count
        tape.zero()

    def particle_bytes(self) -> float:
        """Bytes one particle takes for one substep, gradients included, grid apart."""
        state = self.states[0]
        return 2.0 * sum(a.capacity for a in (state.x, state.v, state.C, state.F)) / self.count

    def grid_bytes(self) -> float:
        """Bytes the grid of one substep takes, gradients included."""
        grid = self.grids[0]
        return 2.0 * sum(a.capacity for a in (grid.momentum, grid.mass, grid.velocity))


def lattice(per_edge: int) -> np.ndarray:
    """Positions [m], shape (per_edge**3, 3), in the middle of the domain."""
    ticks = 0.5 - 0.5 * EDGE + EDGE * (np.arange(per_edge, dtype=np.float32) + 0.5) / per_edge
    points = np.stack(np.meshgrid(ticks, ticks, ticks, indexing="ij"), axis=-1)
    return points.reshape(-1, 3).astype(np.float32)


def spin_matrix() -> np.ndarray:
    """Velocity gradient [1/s] of the spin: velocities are this matrix times x - centroid."""
    x, y, z = SPIN
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=np.float32)


def median_seconds(work: Callable[[], None], repeats: int) -> float:
    """Median wall-clock time [s] of one call."""
    times = []
    for _ in range(repeats):
        wp.synchronize()
        start = time.perf_counter()
        work()
        wp.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=8000, help="a full cube")
    parser.add_argument("--substeps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5, help="the median is reported")
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--flush-denormals",
        action="store_true",
        help="round denormal numbers to zero on the CPU; they slow the backward pass",
    )
    parser.add_argument(
        "--on-request", action="store_true", help="measure once per line of standard input"
    )
    return parser.parse_args()


def report(args: argparse.Namespace, rollout: Rollout) -> None:
    """Measure and print the rates, and three figures by which engines are compared."""
    forward = args.substeps / median_seconds(rollout.forward, args.repeats)
    both = args.substeps / median_seconds(rollout.forward_backward, args.repeats)
    x = rollout.states[-1].x.numpy()
    result = {
        "engine": "taped-warp",
        "version": wp.__version__,
        "device": args.device,
        "flush_denormals": args.flush_denormals,
        "particles": rollout.count,
        "substeps": args.substeps,
        "forward_substeps_per_s": forward,
        "forward_particle_substeps_per_s": forward * rollout.count,
        "forward_backward_substeps_per_s": both,
        "forward_backward_particle_substeps_per_s": both * rollout.count,
        "particle_bytes_per_substep": rollout.particle_bytes(),
        "grid_bytes_per_substep": rollout.grid_bytes(),
        "bytes_per_particle_substep": rollout.particle_bytes()
        + rollout.grid_bytes() / rollout.count,
        "mean_height": float(x[:, 1].mean()),
        "corner": x[0].tolist(),
        "velocity_gradient": rollout.velocity_gradient.tolist(),
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    args = parse()
    wp.config.log_level = wp.LOG_WARNING
    wp.set_device(args.device)
    if args.flush_denormals:
        torch.set_flush_denormal(True)
    rollout = Rollout(round(args.particles ** (1.0 / 3.0)), args.substeps)
    rollout.forward_backward()  # compiles and warms up
    report(args, rollout)
    if args.on_request:
        for _ in sys.stdin:
            report(args, rollout)


if __name__ == "__main__":
    main()
