"""The benchmark scene in Taichi: a strong baseline, run in an interpreter of its own.

A spinning neo-Hookean cube of edge 0.3 m falls in a closed domain of 1 m. Every repetition starts
from the same state, and the cube is still in the air after 1,000 substeps, so engines that run
the same number of substeps do the same work. The last line of output is one JSON object; with
`--on-request`, there is one for every line of standard input, so that a caller can take turns
between engines.

Two ways to scatter particles to the grid are offered. `atomic` is what published Taichi codes
do: all threads add to one grid. On a CPU a float addition in Taichi is a compare-and-swap loop,
which makes it the bottleneck. `private` gives each thread a grid copy and adds without atomics;
the grid pass sums the copies and clears them while it reads them.
"""

import argparse
import json
import os
import statistics
import sys
import time

os.environ["ENABLE_TAICHI_HEADER_PRINT"] = "0"
try:
    import taichi as ti
except ImportError as error:
    print(json.dumps({"engine": "taichi", "error": str(error)}))
    raise SystemExit(1) from None

import numpy as np

EDGE = 0.3  # [m]
CELLS = 32  # per axis of the 1 m domain
WALL = 3  # cells kept free along each wall
DT = 1e-4  # [s]
GRAVITY = 9.81  # [m/s²], against the second axis
DENSITY = 1000.0  # [kg/m³]
YOUNG, POISSON = 1e3, 0.2  # [Pa], [-]
SPIN = (2.0, 3.0, 4.0)  # [rad/s] about the centroid; in the plane the first alone
MU = YOUNG / (2.0 * (1.0 + POISSON))
LAMBDA = YOUNG * POISSON / ((1.0 + POISSON) * (1.0 - 2.0 * POISSON))

# Taichi hands a CPU thread at least this many iterations of a parallel loop, so a loop that is
# to give one piece of work to each thread is made this many times longer.
MIN_CHUNK = 512


@ti.data_oriented
class Cube:
    """The scene's fields and the kernel that advances them by one substep."""

    def __init__(self, per_edge: int, dim: int, envs: int, threads: int, private: bool) -> None:
        self.dim, self.envs, self.private = dim, envs, private
        self.particles = per_edge**dim
        self.volume = (EDGE / per_edge) ** dim
        self.mass = DENSITY * self.volume
        self.copies = -(-threads // envs) if private else 1
        self.share = -(-self.particles // self.copies)
        self.start = lattice(per_edge, dim, envs)
        self.turn = spin_matrix(dim)
        self.allocate()

    def allocate(self) -> None:
        shape = (self.envs, self.particles)
        vector = {"n": self.dim, "dtype": ti.f32, "shape": shape, "layout": ti.Layout.SOA}
        self.x, self.v = ti.Vector.field(**vector), ti.Vector.field(**vector)
        self.C, self.F = (
            ti.Matrix.field(m=self.dim, **vector),
            ti.Matrix.field(m=self.dim, **vector),
        )
        nodes = (CELLS,) * self.dim
        # Momentum and mass of a node lie side by side.
        self.grid = ti.Vector.field(self.dim + 1, ti.f32, shape=(self.envs, self.copies, *nodes))
        self.velocity = ti.Vector.field(self.dim, ti.f32, shape=(self.envs, *nodes))

    def reset(self) -> None:
        self.x.from_numpy(self.start)
        self.v.from_numpy((self.start - 0.5) @ self.turn.T)
        matrices = (*self.start.shape, self.dim)
        self.C.from_numpy(np.broadcast_to(self.turn, matrices).copy())
        identity = np.eye(self.dim, dtype=np.float32)
        self.F.from_numpy(np.broadcast_to(identity, matrices).copy())
        self.grid.fill(0.0)

    @ti.func
    def weights(self, x):
        base = ti.cast(x * CELLS - 0.5, ti.i32)
        fx = x * CELLS - base
        return base, fx, [0.5 * (1.5 - fx) ** 2, 0.75 - (fx - 1.0) ** 2, 0.5 * (fx - 0.5) ** 2]

    @ti.func
    def affine_momentum(self, e, p):
        identity = ti.Matrix.identity(ti.f32, self.dim)
        C = self.C[e, p]
        F = (identity + DT * C) @ self.F[e, p]
        self.F[e, p] = F
        tau = MU * (F @ F.transpose() - identity) + LAMBDA * ti.log(F.determinant()) * identity
        return self.mass * C - (4.0 * DT * self.volume * CELLS * CELLS) * tau

    @ti.func
    def add(self, e, copy, node, value):
        if ti.static(self.private):
            self.grid[e, copy, node] = self.grid[e, copy, node] + value
        else:
            self.grid[e, copy, node] += value

    @ti.func
    def scatter(self, e, copy, p):
        base, fx, w = self.weights(self.x[e, p])
        A = self.affine_momentum(e, p) / CELLS
        momentum = self.mass * self.v[e, p] - A @ fx
        for row in ti.static(ti.grouped(ti.ndrange(*(3,) * (self.dim - 1), 1))):
            weight = 1.0
            for d in ti.static(range(self.dim - 1)):
                weight *= w[row[d]][d]
            q = momentum + A @ row
            for k in ti.static(range(3)):
                offset = row + ti.Vector.unit(self.dim, self.dim - 1, ti.i32) * k
                part = weight * w[k][self.dim - 1]
                value = ti.Vector.zero(ti.f32, self.dim + 1)
                value[self.dim] = part * self.mass
                for d in ti.static(range(self.dim)):
                    value[d] = part * (q[d] + k * A[d, self.dim - 1])
                self.add(e, copy, base + offset, value)

    @ti.func
    def scatter_share(self, i):
        e, copy = i // MIN_CHUNK // self.copies, i // MIN_CHUNK % self.copies
        first = copy * self.share
        last = ti.min(first + self.share, self.particles)
        if i % MIN_CHUNK != 0:
            last = first
        for p in range(first, last):
            self.scatter(e, copy, p)

    @ti.func
    def collect(self, e, node):
        total = ti.Vector.zero(ti.f32, self.dim + 1)
        for copy in ti.static(range(self.copies)):
            total += self.grid[e, copy, node]
        if total[self.dim] > 0.0:
            for copy in ti.static(range(self.copies)):
                self.grid[e, copy, node] = ti.zero(total)
        return total

    @ti.func
    def update_node(self, e, node):
        total = self.collect(e, node)
        if total[self.dim] > 0.0:
            velocity = ti.Vector.zero(ti.f32, self.dim)
            for d in ti.static(range(self.dim)):
                velocity[d] = total[d] / total[self.dim]
            velocity[1] -= DT * GRAVITY
            for d in ti.static(range(self.dim)):
                if node[d] < WALL:
                    velocity[d] = ti.max(velocity[d], 0.0)
                if node[d] > CELLS - WALL:
                    velocity[d] = ti.min(velocity[d], 0.0)
            self.velocity[e, node] = velocity

    @ti.func
    def gather(self, e, p):
        base, fx, w = self.weights(self.x[e, p])
        velocity = ti.Vector.zero(ti.f32, self.dim)
        moment = ti.Matrix.zero(ti.f32, self.dim, self.dim)
        last = ti.Vector.unit(self.dim, self.dim - 1, ti.i32)
        for row in ti.static(ti.grouped(ti.ndrange(*(3,) * (self.dim - 1), 1))):
            total = ti.Vector.zero(ti.f32, self.dim)
            slope = ti.Vector.zero(ti.f32, self.dim)
            for k in ti.static(range(3)):
                part = w[k][self.dim - 1] * self.velocity[e, base + row + last * k]
                total += part
                slope += k * part
            weight = 1.0
            for d in ti.static(range(self.dim - 1)):
                weight *= w[row[d]][d]
            velocity += weight * total
            moment += (weight * total).outer_product(row) + (weight * slope).outer_product(last)
        self.v[e, p] = velocity
        self.C[e, p] = 4.0 * CELLS * (moment - velocity.outer_product(fx))
        self.x[e, p] += DT * velocity

    @ti.kernel
    def substep(self):
        if ti.static(self.private):
            for i in range(self.envs * self.copies * MIN_CHUNK):
                self.scatter_share(i)
        else:
            for e, p in self.x:
                self.scatter(e, 0, p)
        for index in ti.grouped(self.velocity):
            self.update_node(index[0], index[1:])
        for e, p in self.x:
            self.gather(e, p)


def lattice(per_edge: int, dim: int, envs: int) -> np.ndarray:
    """Positions [m], shape (envs, per_edge**dim, dim), in the middle of the domain."""
    ticks = 0.5 - 0.5 * EDGE + EDGE * (np.arange(per_edge, dtype=np.float32) + 0.5) / per_edge
    points = np.stack(np.meshgrid(*(ticks,) * dim, indexing="ij"), axis=-1).reshape(-1, dim)
    return np.broadcast_to(points, (envs, *points.shape)).astype(np.float32)


def spin_matrix(dim: int) -> np.ndarray:
    """Velocity gradient [1/s] of the spin: velocities are this matrix times x - centroid."""
    x, y, z = SPIN
    if dim == 2:
        return np.array([[0, -x], [x, 0]], dtype=np.float32)
    return np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]], dtype=np.float32)


def seconds_for(cube: Cube, substeps: int) -> float:
    """Wall-clock time [s] of `substeps` substeps from the initial state."""
    cube.reset()
    ti.sync()
    start = time.perf_counter()
    for _ in range(substeps):
        cube.substep()
    ti.sync()
    return time.perf_counter() - start


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--particles", type=int, default=8000, help="per environment, a full cube")
    parser.add_argument("--dim", type=int, choices=(2, 3), default=3)
    parser.add_argument("--envs", type=int, default=1)
    parser.add_argument("--substeps", type=int, default=500)
    parser.add_argument("--repeats", type=int, default=3, help="the median is reported")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--scatter", choices=("private", "atomic"), default="private")
    parser.add_argument(
        "--on-request", action="store_true", help="measure once per line of standard input"
    )
    return parser.parse_args()


def report(args: argparse.Namespace, cube: Cube, elapsed: float) -> None:
    """Print what was measured, and two figures by which engines are compared."""
    rate = args.substeps / elapsed
    x = cube.x.to_numpy()
    result = {
        "engine": "taichi",
        "version": ".".join(str(part) for part in ti.__version__),
        "scatter": args.scatter,
        "threads": args.threads,
        "dim": args.dim,
        "envs": args.envs,
        "particles": cube.particles,
        "substeps": args.substeps,
        "substeps_per_s": rate,
        "particle_substeps_per_s": rate * cube.particles * args.envs,
        "mean_height": float(x[..., 1].mean()),
        "corner": x[0, 0].tolist(),
    }
    print(json.dumps(result), flush=True)


def main() -> None:
    args = parse()
    per_edge = round(args.particles ** (1.0 / args.dim))
    ti.init(arch=ti.cpu, cpu_max_num_threads=args.threads, log_level=ti.ERROR)
    cube = Cube(per_edge, args.dim, args.envs, args.threads, args.scatter == "private")
    warm_up = seconds_for(cube, args.substeps)  # compiles, and wakes the threads
    if args.on_request:
        report(args, cube, warm_up)
        for _ in sys.stdin:
            report(args, cube, seconds_for(cube, args.substeps))
        return
    times = [seconds_for(cube, args.substeps) for _ in range(args.repeats)]
    report(args, cube, statistics.median(times))


if __name__ == "__main__":
    main()
