import numpy as np
import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import video

COLOURS = [(200, 20, 20), (20, 200, 20), (20, 20, 200)]


def write(path, height=48, width=64):
    writer = video.Writer(path, 12.5)
    for colour in COLOURS:
        writer.write(np.full((height, width, 3), colour, np.uint8))
    return writer


def test_frames_come_back_in_order_and_in_their_colours(tmp_path):
    write(tmp_path / "a.mp4").close()
    reader = video.Reader(tmp_path / "a.mp4")
    assert (reader.fps, reader.frame_count) == (12.5, 3)
    frames = list(reader)
    reader.close()
    assert [frame.shape for frame in frames] == [(48, 64, 3)] * 3
    for frame, colour in zip(frames, COLOURS):  # compressed with losses
        assert np.abs(frame[..., ::-1].astype(int) - colour).max() < 12


def test_an_odd_row_or_column_is_left_out(tmp_path):
    write(tmp_path / "a.mp4", 49, 65).close()
    assert next(iter(video.Reader(tmp_path / "a.mp4"))).shape == (48, 64, 3)


def test_what_is_not_complete_has_no_name(tmp_path):
    writer = write(tmp_path / "a.mp4")
    assert not (tmp_path / "a.mp4").exists()
    writer.close(keep=False)
    video.Writer(tmp_path / "b.mp4", 25).close()
    assert not list(tmp_path.iterdir())


def test_files_that_are_no_videos(tmp_path):
    with pytest.raises(InputError, match="none.mp4 is missing"):
        video.Reader(tmp_path / "none.mp4")
    (tmp_path / "text.mp4").write_text("text")
    with pytest.raises(InputError, match="text.mp4 cannot be opened"):
        video.Reader(tmp_path / "text.mp4")
