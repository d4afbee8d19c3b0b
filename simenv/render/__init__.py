"""Pictures and videos of particles, on the CPU or a GPU, without OpenGL.

Importing this package is cheap; Warp is loaded when `Splatter` or `Ground` is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from simenv.render.camera import Camera, Camera2D
from simenv.render.colors import PALETTE, diverging, qualitative
from simenv.render.video import write_gif, write_mp4, write_video

if TYPE_CHECKING:
    from simenv.render.splatter import Ground, Splatter

__all__ = [
    "PALETTE",
    "Camera",
    "Camera2D",
    "Ground",
    "Splatter",
    "diverging",
    "qualitative",
    "write_gif",
    "write_mp4",
    "write_video",
]


def __getattr__(name: str) -> Any:
    if name in ("Ground", "Splatter"):
        from simenv.render import splatter

        return getattr(splatter, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
