"""Simulator: a scene, N times, on one device; steps forward and carries gradients back."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from typing import Any

import torch
import warp as wp
from torch import Tensor

from simenv.errors import ConfigurationError, ShapeError, expect_shape, require_count
from simenv.mpm.autograd import StepFunction
from simenv.mpm.device import load, resolve_device
from simenv.mpm.memory import copy_into, copy_of
from simenv.mpm.parameters import Overrides, ParameterPacker, group_bodies
from simenv.mpm.scene import Scene
from simenv.mpm.schedule import Adjoint, Chunk, Constants, Frames, num_nodes, view
from simenv.mpm.state import Control, State
from simenv.mpm.transfer import NOT_A_NUMBER
from simenv.mpm.types import TORCH_DTYPES, warp_types
from simenv.mpm.workers import Workers, available_cores


class Simulator:
    """Advances N copies of a scene by one environment step at a time.

    Args:
        scene: what to simulate; fixed from here on.
        num_envs: number of environments N.
        device: "cpu", "cuda:0" or "auto".
        dtype: "float32", or "float64" for checks.
        threads: CPU threads that share the environments; default all cores. The result does not
            depend on it. Ignored on a GPU.

    Raises:
        ConfigurationError: empty scene, N < 1, unstable substep.
        DeviceError: no such device.
    """

    def __init__(
        self,
        scene: Scene,
        num_envs: int = 1,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        threads: int | None = None,
    ) -> None:
        require_count("num_envs", num_envs)
        if threads is not None:
            require_count("threads", threads)
        # A copy: bodies added to the scene from here on belong to a later simulator.
        self.scene, self.num_envs = scene.snapshot(), num_envs
        self.types = warp_types(scene.dim, dtype)
        self.device = resolve_device(device)
        self.dtype = TORCH_DTYPES[dtype]
        self.substeps = scene.substeps
        self.groups = group_bodies(scene)
        self.bodies = [body for group in self.groups for body in group.bodies]
        self._packer = ParameterPacker(self.groups, self.scene, num_envs, self.dtype, self.device)
        self._chunks = self._split(threads)
        self._workers = Workers(self.device, len(self._chunks))
        self._lock = threading.Lock()
        # Buffers outlive an inference mode that happens to be on while they are made.
        with torch.inference_mode(False):
            self._allocate()
            self._forward = self._capture_forward()
        self._backward: list[Any] | None = None

    # ------------------------------------------------------------------ public

    @property
    def num_particles(self) -> int:
        """Particles P of each environment."""
        return self.scene.num_particles

    def particles(self, body: str) -> slice:
        """Range of a body's particles along the particle axis of the state."""
        start = 0
        for member in self.bodies:
            if member.name == body:
                return slice(start, start + len(member.x))
            start += len(member.x)
        known = [member.name for member in self.bodies]
        raise ConfigurationError(f"no body {body!r}; bodies are {known}")

    def initial_state(self) -> State:
        """Every environment at the scene's rest shape, with the bodies' initial velocities."""
        bodies = self.bodies
        x = torch.cat([self._tensor(body.x) for body in bodies])
        v = torch.cat([self._tensor(body.initial_velocity) for body in bodies])
        C = torch.cat([self._spin(body.spin).expand(len(body.x), -1, -1) for body in bodies])
        F = torch.eye(self.scene.dim, dtype=self.dtype, device=self.device).expand_as(C)
        x, v, C, F = (t.expand(self.num_envs, *t.shape).contiguous() for t in (x, v, C, F))
        time = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        return State(x, v, C, F, time=time, fault=time.to(torch.int32))

    def step(
        self, state: State, control: Control | None = None, parameters: Overrides | None = None
    ) -> State:
        """Advance by one environment step (`scene.step` seconds).

        Differentiable with respect to x, v, C, F, the control and the parameters. An environment
        that turns non-finite keeps its last good state (`State.failed`), and gradients pass it
        unchanged.

        Args:
            state: N environments.
            control: muscle activations [Pa]; None leaves every muscle slack.
            parameters: material parameters that replace the scene's, per body, for example
                `{"jelly": {"E": E}}` with E of shape (), (N,), (N, 1) or (N, P_body).

        Raises:
            ShapeError: a tensor of the wrong shape or dtype.
        """
        self._check(state)
        activation = self._activation(control)
        mass, packed = self._packer.pack(activation, parameters)
        x, v, C, F, fault = StepFunction.apply(
            self, mass, state.x, state.v, state.C, state.F, *packed
        )
        taken = (fault & NOT_A_NUMBER) == 0
        return State(x, v, C, F, time=state.time + taken, fault=fault)

    @property
    def kept_bytes(self) -> int:
        """Bytes that backward keeps per particle and substep (x, v, C, F)."""
        d = self.scene.dim
        return (2 * d + 2 * d * d) * torch.empty((), dtype=self.dtype).element_size()

    # ------------------------------------------------------------------ called by autograd

    def run(
        self, mass: Tensor, start: Sequence[Tensor], packed: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], Tensor]:
        """Step x, v, C, F forward without gradients; returns them and the fault codes (N,)."""
        with self._lock:
            self._load(mass, packed)
            self._work.load(0, start)
            self._fault.zero_()
            self._workers.run(self._forward)
            end = tuple(copy_of(t[0]) for t in self._work.tensors)
            fault = self._fault.clone()
        # The one read of the fault codes in a step: undo what broke.
        broken = (fault & NOT_A_NUMBER) != 0
        if bool(broken.any()):
            for after, before in zip(end, start, strict=True):
                after[broken] = before[broken]
        return end, fault

    def run_backward(
        self,
        mass: Tensor,
        start: Sequence[Tensor],
        end: Sequence[Tensor],
        packed: Sequence[Tensor],
        bars: Sequence[Tensor],
    ) -> tuple[tuple[Tensor, ...], Tensor, list[Tensor]]:
        """Pull adjoints of x, v, C, F back through a step; also those of mass and parameters."""
        with self._lock:
            if self._backward is None:
                self._backward = self._capture_backward()
            self._load(mass, packed)
            self._ring.load(0, start)
            self._ring.load(self.substeps, end)
            self._bar.load(0, bars)
            self._workers.run(self._backward)
            state_bar = tuple(copy_of(t[0]) for t in self._bar.tensors)
            return state_bar, copy_of(self._mass_bar), [copy_of(t) for t in self._parameters_bar]

    # ------------------------------------------------------------------ build

    def _split(self, threads: int | None) -> list[slice]:
        """Ranges of environments, one per thread; a single one on a GPU."""
        wanted = 1 if self.device != "cpu" else threads or available_cores()
        n = min(wanted, self.num_envs)
        edges = [round(i * self.num_envs / n) for i in range(n + 1)]
        return [slice(a, b) for a, b in itertools.pairwise(edges)]

    def _zeros(self, *shape: int, dtype: torch.dtype | None = None) -> Tensor:
        return torch.zeros(shape, dtype=dtype or self.dtype, device=self.device)

    def _tensor(self, array: Any) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def _spin(self, spin: Any) -> Tensor:
        """Velocity gradient [ω]ₓ of a rigid rotation."""
        w = [float(c) for c in spin]
        if self.scene.dim == 2:
            return self._tensor([[0.0, -w[0]], [w[0], 0.0]])
        return self._tensor([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])

    def _allocate(self) -> None:
        n, p, d = self.num_envs, self.num_particles, self.scene.dim
        self._work = Frames.empty(1, n, self.scene, self.types.dtype, self.device)
        self._mass, self._A = self._zeros(n, p), self._zeros(n, p, d, d)
        volumes = [[body.volume] * len(body.x) for body in self.bodies]
        self._volume = self._tensor([v for body in volumes for v in body]).repeat(n, 1)
        self._grid = self._zeros(n, num_nodes(self.scene), 4)
        self._fault = self._zeros(n, dtype=torch.int32)
        self._parameters = [self._zeros(n, g.count, g.law.size(d)) for g in self.groups]

    def _chunk(self, envs: slice) -> Chunk:
        t, n, p = self.types, envs.stop - envs.start, self.num_particles
        env = torch.arange(n, dtype=torch.int32, device=self.device)[:, None]
        index = torch.arange(p, dtype=torch.int32, device=self.device)
        members = [env * p + index[g.start : g.start + g.count] for g in self.groups]
        return Chunk(
            device=self.device,
            num_envs=n,
            constants=Constants.of(self.scene, t),
            groups=self.groups,
            substeps=self.substeps,
            mass=view(self._mass[envs], t.scalar),
            volume=view(self._volume[envs], t.scalar),
            origin=view(env * num_nodes(self.scene) + 0 * index, wp.int32),
            members=[view(m, wp.int32) for m in members],
            parameters=[view(p[envs], t.parameters(p.shape[-1])) for p in self._parameters],
            A=view(self._A[envs], t.mat),
            grid=view(self._grid[envs], t.node),
            fault=view(self._fault[envs], wp.int32),
        )

    def _capture_forward(self) -> list[Any]:
        chunks = [self._chunk(envs) for envs in self._chunks]
        load(chunks[0].kernels(), self.device)
        frames = [self._work.warp(0, envs, self.types) for envs in self._chunks]
        # A graph refers to the chunk's arrays: keep both.
        self._forward_chunks = chunks, frames
        return [
            chunk.capture(lambda c=chunk, f=frame: c.step(f))  # type: ignore[misc]
            for chunk, frame in zip(chunks, frames, strict=True)
        ]

    def _capture_backward(self) -> list[Any]:
        n, p = self.num_envs, self.num_particles
        dtype = self.types.dtype
        self._ring = Frames.empty(self.substeps + 1, n, self.scene, dtype, self.device)
        self._bar = Frames.empty(1, n, self.scene, dtype, self.device)
        self._velocity, self._grid_bar = torch.zeros_like(self._grid), torch.zeros_like(self._grid)
        self._mass_bar = self._zeros(n, p)
        self._parameters_bar = [torch.zeros_like(t) for t in self._parameters]
        adjoints = [self._adjoint(envs) for envs in self._chunks]
        load(adjoints[0].kernels(), self.device)
        self._adjoints = adjoints
        return [adjoint.chunk.capture(adjoint.run) for adjoint in adjoints]

    def _adjoint(self, envs: slice) -> Adjoint:
        t = self.types
        return Adjoint(
            chunk=self._chunk(envs),
            ring=[self._ring.warp(k, envs, t) for k in range(self.substeps + 1)],
            bar=self._bar.warp(0, envs, t),
            velocity=view(self._velocity[envs], t.node),
            grid_bar=view(self._grid_bar[envs], t.node),
            mass_bar=view(self._mass_bar[envs], t.scalar),
            parameters_bar=[view(p[envs], t.parameters(p.shape[-1])) for p in self._parameters_bar],
        )

    # ------------------------------------------------------------------ run

    def _load(self, mass: Tensor, packed: Sequence[Tensor]) -> None:
        copy_into(self._mass, mass)
        for target, value in zip(self._parameters, packed, strict=True):
            copy_into(target, value)

    def _activation(self, control: Control | None) -> Tensor | None:
        channels = self.scene.num_channels
        if control is None or control.activation is None:
            return None
        expect_shape("activation", control.activation.shape, (self.num_envs, channels))
        return control.activation.to(dtype=self.dtype, device=self.device)

    def _check(self, state: State) -> None:
        n, p, d = self.num_envs, self.num_particles, self.scene.dim
        for name, t in (("x", state.x), ("v", state.v)):
            expect_shape(f"state.{name}", t.shape, (n, p, d))
        for name, t in (("C", state.C), ("F", state.F)):
            expect_shape(f"state.{name}", t.shape, (n, p, d, d))
        for name in ("x", "v", "C", "F"):
            actual = getattr(state, name).dtype
            if actual != self.dtype:
                raise ShapeError(
                    f"state.{name} is {actual}, the simulator {self.dtype}; "
                    "convert it or build with another dtype"
                )
