"""Simulator: a scene, N times, on one device; steps forward and carries gradients back."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from simenv.errors import (
    ConfigurationError,
    InvalidActionError,
    ShapeError,
    expect_shape,
    require_count,
)
from simenv.mpm.autograd import StepFunction
from simenv.mpm.buffers import Buffers
from simenv.mpm.device import resolve_device
from simenv.mpm.fields import FIELDS, NAMES
from simenv.mpm.interleaved import Interleaved
from simenv.mpm.memory import copy_into, copy_of
from simenv.mpm.neural import NeuralLaw
from simenv.mpm.parameters import Overrides, ParameterPacker, group_bodies
from simenv.mpm.runner import Captured
from simenv.mpm.scene import Scene
from simenv.mpm.sorting import AsGiven, CellOrder, pays
from simenv.mpm.state import Control, State
from simenv.mpm.traits import TraitPacker
from simenv.mpm.transfer import BAD_COMMAND, NOT_A_NUMBER
from simenv.mpm.types import TORCH_DTYPES, warp_types


class Simulator:
    """Advances N copies of a scene by one environment step at a time.

    Args:
        scene: what to simulate; fixed from here on.
        num_envs: number of environments N.
        device: "cpu", "cuda:0" or "auto".
        dtype: "float32", or "float64" for checks.
        threads: CPU threads that share the environments; default all cores. The result does not
            depend on it. Ignored on a GPU.
        sort: whether particles are put in the order of their cells while a step runs; default
            where it pays (`sorting.py`). Results agree but for rounding.

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
        sort: bool | None = None,
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
        self.sort = pays(self.device) if sort is None else sort
        self.groups = group_bodies(scene)
        self.bodies = [body for group in self.groups for body in group.bodies]
        self._packer = ParameterPacker(self.groups, self.scene, num_envs, self.dtype, self.device)
        self._traits = TraitPacker(self.scene, num_envs, self.dtype, self.device)
        self._tools = [i for i, rigid in enumerate(self.scene.rigids) if not rigid.free]
        self._neural = [g.law for g in self.groups if isinstance(g.law, NeuralLaw)]
        for law in self._neural:
            law.check_modules(self.dtype, self.device)
        self._lock = threading.Lock()
        # Buffers outlive an inference mode that happens to be on while they are made.
        with torch.inference_mode(False):
            self._buffers = Buffers(self.scene, self.groups, num_envs, self.types, self.device)
            runner = Interleaved if self._neural else Captured
            self._runner: Captured = runner(self._buffers, threads)

    # ------------------------------------------------------------------ public

    @property
    def num_particles(self) -> int:
        """Particles P of each environment."""
        return self.scene.num_particles

    def rigid(self, name: str) -> int:
        """Index of a tool or rigid body along the rigid axis of the state."""
        if name not in self._traits.names:
            raise ConfigurationError(
                f"no tool or rigid body {name!r}; there are {self._traits.names}"
            )
        return self._traits.names.index(name)

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
        bodies, p = self.bodies, self.num_particles
        memory = [body.material.memory_start for body in bodies for _ in body.x]
        start = {
            "x": torch.cat([self._tensor(body.x) for body in bodies]),
            "v": torch.cat([self._tensor(body.initial_velocity) for body in bodies]),
            "C": torch.cat([self._spin(body.spin).expand(len(body.x), -1, -1) for body in bodies]),
            "F": torch.eye(self.scene.dim, dtype=self.dtype, device=self.device).expand(p, -1, -1),
            "Jp": self._tensor(memory if self.scene.has_memory else []),
            "pose": self._rows("pose"),
            "twist": self._rows("twist"),
        }
        start = {k: t.expand(self.num_envs, *t.shape).contiguous() for k, t in start.items()}
        time = torch.zeros(self.num_envs, dtype=torch.int64, device=self.device)
        return State(**start, time=time, fault=time.to(torch.int32))

    def step(
        self, state: State, control: Control | None = None, parameters: Overrides | None = None
    ) -> State:
        """Advance by one environment step (`scene.step` seconds).

        Differentiable with respect to the state, the control and the parameters. An environment
        that turns non-finite keeps its last good state (`State.failed`), and gradients pass it
        unchanged.

        Args:
            state: N environments.
            control: muscle activations [Pa] and tool velocities; None leaves every muscle slack
                and holds every tool still.
            parameters: material parameters that replace the scene's, per body, for example
                `{"jelly": {"E": E}}` with E of shape (), (N,), (N, 1) or (N, P_body); of tools and
                rigid bodies their friction and density, shape () or (N,).

        Raises:
            ShapeError: a tensor of the wrong shape or dtype.
            ConfigurationError: a parameter that does not exist or lies outside its bounds, or a
                command where there are no tools.
            UnstableTimeStepError: parameters so stiff that the substep is too long.
        """
        self._check(state)
        activation = self._activation(control)
        laws, rigids = self._sorted_by_kind(parameters or {})
        mass, packed = self._packer.pack(activation, laws)
        traits = self._traits.pack(rigids)
        start = [getattr(state, name) for name in NAMES[:-1]]
        twist = self._commanded(state.twist, control)
        weights = [w for law in self._neural for w in law.weights]
        loads = self._buffers.rest_volume, mass, traits, *packed, *weights
        *end, impulse, fault = StepFunction.apply(self, *start, twist, *loads)
        taken = (fault & NOT_A_NUMBER) == 0
        fault = fault | self._bad_commands(control)
        changes = dict(zip(NAMES, end, strict=True))
        # A step that was undone leaves the twist as it was before the command.
        changes["twist"] = torch.where(taken[:, None, None], changes["twist"], state.twist)
        return state.replace(**changes, impulse=impulse, time=state.time + taken, fault=fault)

    def check_commands(self, control: Control) -> None:
        """Raise `InvalidActionError` if any tool is commanded a velocity that is not finite.

        `step` itself does not raise: it flags the environments concerned and leaves them as they
        are (`State.fault`), so that the others go on.
        """
        if control.tools is None or not bool((bad := ~torch.isfinite(control.tools)).any()):
            return
        env, tool, i = torch.nonzero(bad)[0].tolist()
        name = self.scene.tools[tool].name
        raise InvalidActionError(
            f"tool {name!r} of environment {env} is commanded {float(control.tools[env, tool, i])} "
            f"as component {i} of its velocity; commands must be finite [m/s, rad/s]"
        )

    @property
    def kept_bytes(self) -> int:
        """Bytes that backward keeps per particle and substep (x, v, C, F and the memory)."""
        d = self.scene.dim
        floats = 2 * d + 2 * d * d + self.scene.has_memory
        return floats * torch.empty((), dtype=self.dtype).element_size()

    # ------------------------------------------------------------------ called by autograd

    def run(
        self, start: Sequence[Tensor], loads: Sequence[Tensor]
    ) -> tuple[tuple[Tensor, ...], Tensor, Tensor]:
        """Step forward without gradients; returns the state, impulses and fault codes (N,)."""
        buffers, order = self._buffers, self._order(start[0])
        with self._lock:
            buffers.load(order.sort_loads(self._without_weights(loads)))
            buffers.work.load(0, order.sort_state(start))
            buffers.impulse.zero_()
            buffers.fault.zero_()
            self._runner.forward()
            end = tuple(copy_of(t) for t in order.restore_state(buffers.work[0]))
            impulse, fault = copy_of(buffers.impulse), buffers.fault.clone()
        # The one read of the fault codes in a step: undo what broke.
        broken = (fault & NOT_A_NUMBER) != 0
        if bool(broken.any()):
            impulse[broken] = 0.0
            for after, before in zip(end, start, strict=True):
                after[broken] = before[broken]
        return end, impulse, fault

    def run_backward(
        self,
        start: Sequence[Tensor],
        loads: Sequence[Tensor],
        end: Sequence[Tensor],
        bars: Sequence[Tensor],
    ) -> tuple[tuple[Tensor, ...], list[Tensor]]:
        """Pull adjoints of state and impulses back through a step: those of state and loads."""
        order = self._order(start[0])
        with self._lock:
            adjoint = self._runner.adjoint_buffers
            self._buffers.load(order.sort_loads(self._without_weights(loads)))
            copy_into(adjoint.impulse_bar, bars[-1])
            adjoint.ring.load(0, order.sort_state(start))
            adjoint.ring.load(self.substeps, order.sort_state(end))
            adjoint.bar.load(0, order.sort_state(bars[:-1]))
            self._runner.backward()
            start_bar = tuple(copy_of(t) for t in order.restore_state(adjoint.bar[0]))
            loads_bar = [copy_of(t) for t in order.restore_loads(adjoint.loads_bar)]
            return start_bar, loads_bar + self._runner.weights_bar

    @property
    def num_loads(self) -> int:
        """Loads that belong to environments; the weights of laws in torch come after them."""
        return len(self._buffers.loads)

    def _without_weights(self, loads: Sequence[Tensor]) -> Sequence[Tensor]:
        """What is copied into the buffers: weights stay in their modules."""
        return loads[: self.num_loads]

    def _order(self, positions: Tensor) -> CellOrder | AsGiven:
        return CellOrder(self.scene, self.groups, positions) if self.sort else AsGiven()

    # ------------------------------------------------------------------ build

    def _tensor(self, array: Any) -> Tensor:
        return torch.as_tensor(array, dtype=self.dtype, device=self.device)

    def _rows(self, name: str) -> Tensor:
        """An attribute of every rigid body, one below the other; no rows where there is none."""
        (shape,) = (f.shape(self.scene, self.types) for f in FIELDS if f.name == name)
        rows = [getattr(rigid, name) for rigid in self.scene.rigids]
        return self._tensor(np.array(rows)).reshape(shape)

    def _spin(self, spin: Any) -> Tensor:
        """Velocity gradient [ω]ₓ of a rigid rotation."""
        w = [float(c) for c in spin]
        if self.scene.dim == 2:
            return self._tensor([[0.0, -w[0]], [w[0], 0.0]])
        return self._tensor([[0.0, -w[2], w[1]], [w[2], 0.0, -w[0]], [-w[1], w[0], 0.0]])

    # ------------------------------------------------------------------ check

    def _activation(self, control: Control | None) -> Tensor | None:
        channels = self.scene.num_channels
        if control is None or control.activation is None:
            return None
        expect_shape("activation", control.activation.shape, (self.num_envs, channels))
        return control.activation.to(dtype=self.dtype, device=self.device)

    def _commanded(self, twist: Tensor, control: Control | None) -> Tensor:
        """Twists (N, R, ·) with the tools' replaced by their commands."""
        if not self._tools:
            if control is not None and control.tools is not None:
                raise ConfigurationError("tools are commanded, but the scene has none; add_tool")
            return twist
        tools = torch.tensor(self._tools, device=self.device)
        shape = self.num_envs, len(self._tools), twist.shape[-1]
        if control is None or control.tools is None:
            return twist.index_copy(1, tools, twist.new_zeros(shape))
        expect_shape("control.tools", control.tools.shape, shape)
        return twist.index_copy(1, tools, control.tools.to(twist))

    def _bad_commands(self, control: Control | None) -> Tensor | int:
        """Fault bits (N,) of environments with a tool commanded what is not finite."""
        if control is None or control.tools is None:
            return 0
        bad = ~torch.isfinite(control.tools.detach()).flatten(1).all(dim=1)
        return BAD_COMMAND * bad.to(device=self.device, dtype=torch.int32)

    def _sorted_by_kind(self, parameters: Overrides) -> tuple[Overrides, Overrides]:
        """Overrides of materials and of rigid bodies."""
        known = [*(body.name for body in self.bodies), *self._traits.names]
        if unknown := [name for name in parameters if name not in known]:
            raise ConfigurationError(f"no body {unknown[0]!r}; bodies are {sorted(known)}")
        rigid = {k: v for k, v in parameters.items() if k in self._traits.names}
        return {k: v for k, v in parameters.items() if k not in rigid}, rigid

    def _check(self, state: State) -> None:
        for field in FIELDS:
            name, tensor = field.name, getattr(state, field.name)
            shape = self.num_envs, *field.shape(self.scene, self.types)
            expect_shape(f"state.{name}", tensor.shape, shape)
            if tensor.dtype != self.dtype:
                raise ShapeError(
                    f"state.{name} is {tensor.dtype}, the simulator {self.dtype}; "
                    "convert it or build with another dtype"
                )
