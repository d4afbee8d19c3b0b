"""Devices, and loading compiled kernels with a word to the user while they compile."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterable
from typing import Any

import torch
import warp as wp

from simenv.errors import DeviceError


def _start_warp() -> None:
    """Initialise Warp without its banner; `load` gives one notice instead of a line per module.

    Where there is no GPU its C++ side writes a warning straight to file descriptor 2, which no
    log level stops: that descriptor is turned aside meanwhile.
    """
    wp.config.log_level = wp.LOG_ERROR
    if torch.cuda.is_available():
        wp.init()
        return
    sys.stderr.flush()
    kept, sink = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(sink, 2)
    try:
        wp.init()
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(sink)


_start_warp()


def resolve_device(device: str) -> str:
    """Turn "cpu", "cuda", "cuda:N" or "auto" into the name of a device that exists.

    "auto" takes the first GPU where there is one and the CPU otherwise; nothing else falls back.

    Raises:
        DeviceError: no such device on this machine.
    """
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device == "auto":
        return "cuda:0" if gpus else "cpu"
    known = ["cpu", *(f"cuda:{i}" for i in range(gpus))]
    name = "cuda:0" if device == "cuda" else device
    if name not in known:
        raise DeviceError(
            f"device {device!r} does not exist here; available: {', '.join(known)}. "
            "Use device='auto' to take a GPU only where there is one"
        )
    return name


FUSE = "-ffp-contract=fast"


def load(kernels: Iterable[Any], device: str) -> None:
    """Load the modules of `kernels`; after a second, say once that they are being compiled."""
    notice = threading.Timer(1.0, _announce)
    notice.daemon = True
    notice.start()
    try:
        for module in dict.fromkeys(kernel.module for kernel in kernels):
            # Fused multiply-add across statements: a third faster, and closer to the exact sum.
            module.options["cpu_compiler_flags"] = f"{wp.config.cpu_compiler_flags} {FUSE}"
            module.load(wp.get_device(device))
    finally:
        notice.cancel()


def _announce() -> None:
    print("simenv: compiling kernels (once, about 20 s) ...", file=sys.stderr, flush=True)
