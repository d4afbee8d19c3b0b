"""Warp types for a dimension and a precision: the one place where both are chosen."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
import warp as wp

from simenv.errors import ConfigurationError

TORCH_DTYPES = {"float32": torch.float32, "float64": torch.float64}
_SCALARS = {"float32": wp.float32, "float64": wp.float64}


@dataclass(frozen=True)
class Types:
    """Warp types of one (dimension, precision) pair.

    `node` holds a grid node's momentum (or velocity) and, last, its mass, so that one vector
    load or store moves both; four numbers in 2-D too, where the third is unused. `affine` holds
    an affine field of such vectors (see `stencil.py`). `pose` is a rigid body's position and
    orientation (an angle in 2-D, a unit quaternion x, y, z, w in 3-D), `twist` its velocity and
    angular velocity, `motion` both together, `traits` its constants (see `pose.py`);
    `coupling` is a square matrix on twists, `lever` maps them to velocities of a point.
    """

    dim: int
    dtype: str
    scalar: Any
    vec: Any
    mat: Any
    node: Any
    index: Any
    weights: Any
    affine: Any
    pose: Any
    twist: Any
    motion: Any
    traits: Any
    coupling: Any
    lever: Any

    @property
    def tag(self) -> str:
        """Suffix of module names, such as `3d_float32`."""
        return f"{self.dim}d_{self.dtype}"

    def parameters(self, size: int) -> Any:
        """The vector type of a material's `size` per-particle parameters."""
        return wp.types.vector(size, self.scalar)


@lru_cache(maxsize=None)
def warp_types(dim: int, dtype: str) -> Types:
    """Types for `dim` in {2, 3} and `dtype` in {"float32", "float64"}."""
    if dtype not in _SCALARS:
        raise ConfigurationError(f"dtype {dtype!r} is not one of {sorted(_SCALARS)}")
    if dim not in (2, 3):
        raise ConfigurationError(f"dimension {dim} is not 2 or 3")
    scalar = _SCALARS[dtype]
    return Types(
        dim=dim,
        dtype=dtype,
        scalar=scalar,
        vec=wp.types.vector(dim, scalar),
        mat=wp.types.matrix((dim, dim), scalar),
        node=wp.types.vector(4, scalar),
        index=wp.types.vector(dim, wp.int32),
        weights=wp.types.matrix((dim, 3), scalar),
        affine=wp.types.matrix((4, 4), scalar),
        pose=wp.types.vector(3 if dim == 2 else 7, scalar),
        twist=wp.types.vector(3 if dim == 2 else 6, scalar),
        motion=wp.types.vector(6 if dim == 2 else 13, scalar),
        traits=wp.types.vector(5 if dim == 2 else 21, scalar),
        coupling=wp.types.matrix((3, 3) if dim == 2 else (6, 6), scalar),
        lever=wp.types.matrix((2, 3) if dim == 2 else (3, 6), scalar),
    )
