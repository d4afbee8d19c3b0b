"""Devices, and loading compiled kernels with a word to the user while they compile."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterable, Iterator
from typing import Any

import torch
import warp as wp

from simenv.errors import DeviceError


def torch_stream(device: str) -> contextlib.AbstractContextManager[Any]:
    """Within, Warp's launches join torch's current stream, so that neither waits for the other."""
    if device == "cpu":
        return contextlib.nullcontext()
    stream = wp.stream_from_torch(torch.cuda.current_stream(device))
    return wp.ScopedStream(stream)


def _start_warp() -> None:
    """Initialise Warp without its banner, and without a warning where there is no GPU.

    Warp's informative lines stay off from here on (`load` says what matters); warnings stay on.
    """
    wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)
    with contextlib.nullcontext() if torch.cuda.is_available() else _stderr_aside():
        wp.init()


@contextlib.contextmanager
def _stderr_aside() -> Iterator[None]:
    """Turn file descriptor 2 aside: Warp's C++ side writes to it past every log level."""
    try:
        kept = os.dup(2)
    except OSError:  # a daemon without a standard error has nothing to be kept quiet
        yield
        return
    with open(os.devnull, "w") as sink:
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)


_start_warp()


def resolve_device(device: str | torch.device) -> str:
    """Turn "cpu", "cuda", "cuda:N" or "auto" into the name of a device that exists.

    "auto" takes the first GPU where there is one and the CPU otherwise; nothing else falls back.

    Raises:
        DeviceError: no such device on this machine.
    """
    device = str(device)
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

CAPTURE = threading.Lock()
"""Held while kernels are loaded and graphs recorded: Warp records one CPU graph at a time."""


def load(kernels: Iterable[Any], device: str) -> None:
    """Load the modules of `kernels`; after a second, say once that they are being compiled.

    A launch on the CPU takes blocks of one thread: a module loaded for any other size would be
    compiled again.
    """
    notice = threading.Timer(1.0, _announce)
    notice.daemon = True
    notice.start()
    # Warp warns that `wp.grad` inside a kernel is not differentiated again, which is meant.
    level, wp.config.log_level = wp.config.log_level, wp.LOG_ERROR
    try:
        with CAPTURE:
            for module in dict.fromkeys(kernel.module for kernel in kernels):
                # Fused multiply-add across statements: a third faster, closer to the exact sum.
                module.options["cpu_compiler_flags"] = f"{wp.config.cpu_compiler_flags} {FUSE}"
                module.load(wp.get_device(device), block_dim=1 if device == "cpu" else None)
    finally:
        wp.config.log_level = level
        notice.cancel()


def _announce() -> None:
    print("simenv: compiling kernels (once, about 20 s) ...", file=sys.stderr, flush=True)
