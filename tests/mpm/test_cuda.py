"""Kernels on a GPU: they compile for one without having one; where there is one it agrees."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import warp as wp

from simenv.mpm.collision import collision_kernels
from simenv.mpm.collision_adjoint import collision_adjoint_kernels
from simenv.mpm.constitutive import constitutive_adjoint_kernel, constitutive_kernel
from simenv.mpm.contact import contact_kernel
from simenv.mpm.contact_adjoint import contact_adjoint_kernel
from simenv.mpm.coupling import coupling_kernels
from simenv.mpm.coupling_adjoint import coupling_adjoint_kernels
from simenv.mpm.grid import grid_adjoint_kernel, grid_kernel, row_kernels
from simenv.mpm.materials.principal import principal_kernel
from simenv.mpm.motion import motion_kernels
from simenv.mpm.touching import touching_kernels
from simenv.mpm.transfer import forward_kernels
from simenv.mpm.transfer_adjoint import adjoint_kernels
from simenv.mpm.types import Types, warp_types
from tests.mpm.materials import laws
from tests.mpm.problem import STATE, Problem, simulator

ARCHITECTURE = 90
"""Compute capability 9.0 (Hopper)."""

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")


def _kernels(dim: int, dtype: str) -> list[Any]:
    """Every kernel that the engine can build for a dimension and a precision."""
    types = warp_types(dim, dtype)
    forward, adjoint = forward_kernels(types), adjoint_kernels(types)
    kernels = [*vars(forward).values(), *vars(adjoint).values()]
    kernels += [*vars(row_kernels(types)).values(), grid_kernel(types), grid_adjoint_kernel(types)]
    for law in (laws.law_of(name, dim) for name in laws.NAMES):
        kernels += [constitutive_kernel(law, types), constitutive_adjoint_kernel(law, types)]
    kernels += [principal_kernel(types, measure, 1) for measure in ("log", "biot")]
    # In the precision that a GPU is used with: they are many, and slow to compile.
    return kernels + (_rigid_kernels(types) if dtype == "float32" else [])


def _rigid_kernels(types: Types) -> list[Any]:
    """Every kernel of tools and rigid bodies."""
    kernels = [contact_kernel(types), contact_adjoint_kernel(types)]
    for family in (
        coupling_kernels,
        coupling_adjoint_kernels,
        collision_kernels,
        collision_adjoint_kernels,
        touching_kernels,
        motion_kernels,
    ):
        kernels += vars(family(types)).values()
    return kernels


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("dim", [2, 3])
def test_every_kernel_compiles_for_a_gpu(dim, dtype, tmp_path):
    """Ahead-of-time compilation for sm_90 succeeds and holds an entry point for every kernel."""
    kernels = _kernels(dim, dtype)
    assembly = ""
    for module in dict.fromkeys(kernel.module for kernel in kernels):
        paths = wp.compile_aot_module(module, arch=ARCHITECTURE, module_dir=tmp_path, use_ptx=True)
        assembly += "".join(path.read_text() for path in paths)
    assert f".target sm_{ARCHITECTURE}" in assembly
    for kernel in kernels:
        assert f".entry {kernel.get_mangled_name()}" in assembly, kernel.key


@needs_gpu
@pytest.mark.parametrize("dim", [2, 3])
def test_gpu_agrees_with_cpu(dim):
    """After ten substeps state and gradient differ by rounding in another order of summation.

    Some hundred terms of rounding 6e-8 meet at a node: 6e-7 in a substep if they all lean one way,
    6e-6 in ten, and as much again on the way back.
    """
    cpu = Problem(simulator(dim, "friction", 10, "float32"), moving=True)
    gpu = Problem(simulator(dim, "friction", 10, "float32", device="cuda:0"), moving=True)
    ends = cpu.end(cpu.inputs), gpu.end(gpu.inputs)
    for name in STATE:
        here, there = (getattr(end, name).cpu() for end in ends)
        assert float((here - there).norm() / here.norm()) <= 6e-6, name
    gradients = cpu.gradient(), gpu.gradient()
    for name, here in gradients[0].items():
        there = gradients[1][name].cpu()
        assert float((here - there).norm() / here.norm()) <= 1.2e-5, name


@needs_gpu
def test_gpu_keeps_other_environments_apart():
    """NaN in one environment leaves the other as it was, on a GPU too."""
    problem = Problem(simulator(3, "friction", 10, "float32", device="cuda:0"), moving=True)
    clean = problem.end(problem.inputs)
    v = problem.inputs["v"].clone()
    v[1, 0] = float("nan")
    broken = problem.end({**problem.inputs, "v": v})
    assert broken.failed.tolist() == [False, True]
    # Sums on a GPU are not ordered, so equality is to rounding.
    torch.testing.assert_close(broken.x[0], clean.x[0], rtol=1e-5, atol=1e-6)
