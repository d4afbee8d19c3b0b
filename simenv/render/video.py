"""Frames to GIF and MP4 files, each written whole or not at all."""

from __future__ import annotations

import os
import subprocess
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from fractions import Fraction
from pathlib import Path
from typing import IO, TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL import Image

GIF_FPS_LIMIT = 50.0  # browsers slow down frames shorter than two hundredths of a second


def write_video(path: str | os.PathLike[str], frames: Iterable[np.ndarray], *, fps: float) -> None:
    """Write frames to a GIF or an MP4 file, whichever the suffix of the path asks for.

    Args:
        path: File to write, ending in .gif or .mp4. The folder must exist; a file of that name is
            replaced once the new one is complete.
        frames: Pictures of one shape (H, W, 3), uint8.
        fps: Frames per second.

    Raises:
        ValueError: If the suffix is neither, there are no frames, or a frame or `fps` is wrong.
    """
    writers: dict[str, Callable[..., None]] = {".gif": write_gif, ".mp4": write_mp4}
    suffix = Path(path).suffix.lower()
    if suffix not in writers:
        raise ValueError(f"path must end in .gif or .mp4, got {os.fspath(path)!r}")
    writers[suffix](path, frames, fps=fps)


def write_gif(path: str | os.PathLike[str], frames: Iterable[np.ndarray], *, fps: float) -> None:
    """Write frames to a GIF that repeats for ever, with one palette for all frames.

    Frames equal to the one before only lengthen it. Time in a GIF counts in hundredths of a second;
    durations are rounded so that the whole keeps its length.

    Args:
        path: File to write, replaced once the new one is complete. The folder must exist.
        frames: Pictures of one shape (H, W, 3), uint8.
        fps: Frames per second, at most 50.

    Raises:
        ValueError: If there are no frames, or a frame or `fps` is wrong.
    """
    _check_fps(fps, limit=GIF_FPS_LIMIT)
    pictures = list(_checked(frames))
    ends = np.rint(100.0 * np.arange(len(pictures) + 1) / fps).astype(int)
    durations = [10 * int(d) for d in np.diff(ends)]
    first, *rest = _paletted(pictures)
    with _replacing(path) as temporary:
        first.save(
            temporary,
            format="GIF",
            save_all=True,
            append_images=rest,
            duration=durations,
            loop=0,
            disposal=1,
            optimize=False,
        )


def write_mp4(path: str | os.PathLike[str], frames: Iterable[np.ndarray], *, fps: float) -> None:
    """Write frames to an MP4 file (H.264, yuv420p), one at a time.

    Frames of odd width or height are padded by repeating their last column or row.

    Args:
        path: File to write, replaced once the new one is complete. The folder must exist.
        frames: Pictures of one shape (H, W, 3), uint8; an iterator need not hold them all.
        fps: Frames per second.

    Raises:
        ValueError: If there are no frames, or a frame or `fps` is wrong.
    """
    _check_fps(fps, limit=1000.0)
    pictures = _checked(frames)
    first = _even(next(pictures))
    height, width = first.shape[:2]
    with _replacing(path) as temporary, _encoder(temporary, width, height, fps) as encoder:
        encoder.write(first.tobytes())
        for picture in pictures:
            encoder.write(_even(picture).tobytes())


def _encoder_command(path: Path, width: int, height: int, fps: float) -> list[str]:
    import imageio_ffmpeg

    rate = str(Fraction(fps).limit_denominator(1001))
    source = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", rate]
    target = ["-c:v", "libx264", "-pix_fmt", "yuv420p", "-crf", "18", "-movflags", "+faststart"]
    program = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y"]
    return [*program, *source, "-i", "-", *target, "-f", "mp4", str(path)]


@contextmanager
def _encoder(path: Path, width: int, height: int, fps: float) -> Iterator[IO[bytes]]:
    """The standard input of an ffmpeg that writes `path`; a failure of ffmpeg raises OSError."""
    command = _encoder_command(path, width, height, fps)
    with (
        tempfile.TemporaryFile() as log,
        subprocess.Popen(command, stdin=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdin is not None
        try:
            with suppress(BrokenPipeError):  # ffmpeg gave up; its exit code and log say why
                yield process.stdin
        except BaseException:
            process.kill()
            raise
        finally:
            with suppress(BrokenPipeError):
                process.stdin.close()
        if process.wait() != 0:
            log.seek(0)
            raise OSError(f"ffmpeg failed: {log.read().decode(errors='replace').strip()}")


def _paletted(pictures: list[np.ndarray]) -> list[Image.Image]:
    """The pictures in the 256 colours that suit all of them."""
    from PIL import Image

    picks = np.linspace(0, len(pictures) - 1, min(len(pictures), 12)).astype(int)
    montage = np.concatenate([pictures[i][::2, ::2] for i in np.unique(picks)])
    # The median cut keeps gradients free of bands; a round of k-means wins back small details.
    palette = Image.fromarray(montage).quantize(256, method=Image.Quantize.MEDIANCUT, kmeans=1)
    return [
        Image.fromarray(p).quantize(palette=palette, dither=Image.Dither.NONE) for p in pictures
    ]


def _checked(frames: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The frames one by one, each checked; at least one."""
    shape: tuple[int, ...] | None = None
    for index, frame in enumerate(frames):
        picture = np.asarray(frame)
        if picture.ndim != 3 or picture.shape[2] != 3 or 0 in picture.shape:
            raise ValueError(f"frame {index} must have shape (H, W, 3), got {picture.shape}")
        if picture.dtype != np.uint8:
            raise ValueError(f"frame {index} must be uint8, got {picture.dtype}")
        shape = shape or picture.shape
        if picture.shape != shape:
            raise ValueError(f"frame {index} has shape {picture.shape}, frame 0 has {shape}")
        yield picture
    if shape is None:
        raise ValueError("frames must hold at least one picture, got none")


def _check_fps(fps: float, *, limit: float) -> None:
    if not 0.0 < fps <= limit:
        raise ValueError(f"fps must lie in (0, {limit:g}], got {fps}")


def _even(picture: np.ndarray) -> np.ndarray:
    """Pad to even height and width, as yuv420p needs."""
    height, width = picture.shape[:2]
    return np.pad(picture, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


@contextmanager
def _replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary file beside `path` that takes its place if the block ends well."""
    target = Path(path)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.part")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        temporary.unlink(missing_ok=True)
