import os
import sys

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest
from PIL import Image

from simenv.render import write_gif, write_mp4, write_video


def frames(count=7, height=48, width=64):
    """A bright square that moves over a dark ground."""
    pictures = np.full((count, height, width, 3), 30, np.uint8)
    for index, picture in enumerate(pictures):
        picture[10:30, 4 * index : 4 * index + 20] = (220, 120, 40)
    return pictures


def test_gif_round_trip(tmp_path):
    """Count, size, colours and total length survive."""
    written = frames()
    write_gif(tmp_path / "a.gif", written, fps=30)
    with Image.open(tmp_path / "a.gif") as gif:
        assert gif.n_frames == 7
        assert gif.size == (64, 48)
        assert gif.info["loop"] == 0
        total = 0
        for index in range(7):
            gif.seek(index)
            total += gif.info["duration"]
            read = np.asarray(gif.convert("RGB")).astype(int)
            assert np.abs(read - written[index]).max() <= 4
    assert total == 230  # 7 / 30 s in hundredths


def test_gif_keeps_gradients_and_many_hues(tmp_path):
    """A shared palette of 256 colours stays close to pictures with far more."""
    row = np.linspace(0, 255, 64).astype(np.uint8)
    first = np.stack([np.tile(row, (48, 1)), np.tile(row[::-1], (48, 1)), np.full((48, 64), 90)], 2)
    written = [first.astype(np.uint8), first[:, ::-1].astype(np.uint8)]
    write_gif(tmp_path / "a.gif", written, fps=10)
    read = imageio.imread(tmp_path / "a.gif", index=None)[..., :3]
    assert np.abs(read.astype(int) - np.array(written)).mean() < 4


@pytest.mark.parametrize(("height", "width"), [(48, 64), (47, 61)])
def test_mp4_round_trip(tmp_path, height, width):
    """Count, even size, rate, format and colours survive."""
    path = tmp_path / "a.mp4"
    written = frames(height=height, width=width)
    write_mp4(path, iter(written), fps=25)
    count, seconds = imageio_ffmpeg.count_frames_and_secs(str(path))
    reader = imageio_ffmpeg.read_frames(str(path))
    meta = next(reader)
    reader.close()
    assert count == 7
    assert seconds == pytest.approx(7 / 25, abs=0.01)
    assert meta["size"] == (64 if width == 64 else 62, 48)
    assert meta["codec"] == "h264"
    assert meta["pix_fmt"].startswith("yuv420p")
    read = imageio.imread(path, index=None, plugin="FFMPEG").astype(int)
    assert np.abs(read[:, :height, :width] - written).mean() < 6


def test_suffix_chooses_the_format(tmp_path):
    """The file holds what its name says, in either case of letters."""
    write_video(tmp_path / "a.GIF", frames(), fps=10)
    write_video(tmp_path / "a.mp4", frames(), fps=10)
    assert (tmp_path / "a.GIF").read_bytes()[:4] == b"GIF8"
    assert (tmp_path / "a.mp4").read_bytes()[4:8] == b"ftyp"
    with pytest.raises(ValueError, match=r"must end in .gif or .mp4, got 'a.avi'"):
        write_video("a.avi", frames(), fps=10)


def broken_after(count, size):
    yield from frames(count, size, size)
    raise RuntimeError("simulation stopped")


@pytest.mark.parametrize("size", [32, 200])
@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, name, size):
    """A source of frames that breaks off harms neither the old video nor the folder."""
    path = tmp_path / name
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError, match="simulation stopped"):
        write_video(path, broken_after(3, size), fps=10)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("size", [32, 600])
def test_failing_encoder_is_reported(tmp_path, monkeypatch, size):
    """When ffmpeg fails its message is raised and the old file stays."""
    path = tmp_path / "a.mp4"
    path.write_bytes(b"old")
    program = tmp_path / "ffmpeg"
    program.write_text(f"#!{sys.executable}\nimport sys\nsys.exit('no space left')\n")
    program.chmod(0o755)
    monkeypatch.setenv("IMAGEIO_FFMPEG_EXE", str(program))
    with pytest.raises(OSError, match="ffmpeg failed: no space left"):
        write_mp4(path, frames(20, size, size), fps=10)
    assert path.read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "ffmpeg"]


@pytest.mark.parametrize("write", [write_gif, write_mp4])
@pytest.mark.parametrize(
    ("pictures", "message"),
    [
        ([], "at least one picture"),
        ([np.zeros((4, 4), np.uint8)], r"frame 0 must have shape \(H, W, 3\), got \(4, 4\)"),
        ([np.zeros((4, 4, 3))], "frame 0 must be uint8, got float64"),
        ([np.zeros((0, 4, 3), np.uint8)], r"frame 0 must have shape \(H, W, 3\)"),
        (
            [np.zeros((4, 4, 3), np.uint8), np.zeros((4, 6, 3), np.uint8)],
            r"frame 1 has shape \(4, 6, 3\), frame 0 has \(4, 4, 3\)",
        ),
    ],
)
def test_wrong_frames_are_named(tmp_path, write, pictures, message):
    """The first wrong frame is named with what was expected, and no file appears."""
    with pytest.raises(ValueError, match=message):
        write(tmp_path / "a", pictures, fps=10)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
@pytest.mark.parametrize("write", [write_gif, write_mp4])
def test_wrong_rate_is_named(tmp_path, write, fps):
    """Rates that are not positive and finite are refused."""
    with pytest.raises(ValueError, match="fps must lie in"):
        write(tmp_path / "a", frames(), fps=fps)


def test_gif_refuses_rates_that_browsers_slow_down(tmp_path):
    """More than 50 frames a second cannot be played."""
    with pytest.raises(ValueError, match=r"fps must lie in \(0, 50\], got 60"):
        write_gif(tmp_path / "a.gif", frames(), fps=60)
