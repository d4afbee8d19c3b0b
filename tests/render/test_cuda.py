"""Render kernels compile for a GPU without having one."""

from __future__ import annotations

import pytest
import warp as wp

from simenv.render import kernels, relief, shading, shadows

MODULES = {
    kernel.module.name: kernel.module
    for source in (kernels, relief, shading, shadows)
    for kernel in vars(source).values()
    if isinstance(kernel, wp.Kernel)
}


@pytest.mark.parametrize("name", sorted(MODULES))
def test_module_compiles_for_a_gpu(name, tmp_path):
    """Ahead-of-time compilation for sm_90 succeeds and holds every kernel of the module."""
    module = MODULES[name]
    paths = wp.compile_aot_module(module, arch=90, module_dir=tmp_path, use_ptx=True)
    assembly = "".join(path.read_text() for path in paths)
    for kernel in module.kernels.values():
        assert f".entry {kernel.get_mangled_name()}" in assembly
