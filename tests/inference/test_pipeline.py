"""The network in the caller's thread, everything else next to it; no test looks at a time."""

import itertools
import threading

import cv2
import numpy as np
import pytest

from fcn8s_ms import voc
from fcn8s_ms.inference import from_logits, pipeline, video
from fcn8s_ms.inference.inputs import Picture
from fcn8s_ms.inference.outputs import Saver
from fcn8s_ms.inference.pipeline import Pipeline
from fcn8s_ms.inference.predictor import Predictor
from fcn8s_ms.inference.result_options import ResultOptions

from ..helpers import Spread

PATIENCE = 20  # seconds until a thread that never comes fails the test


TOTAL = 6  # pictures


class Steps:
    """What has happened, in any thread, and who waits for it."""

    def __init__(self):
        self._condition, self._done = threading.Condition(), []
        self.met = []

    def note(self, what):
        with self._condition:
            self._done.append(what)
            self._condition.notify_all()

    def wait(self, *sought):
        """Waits for steps of pictures, of which there may be fewer."""
        sought = {step for step in sought if 0 <= step[1] < TOTAL}
        with self._condition:
            self.met.append(self._condition.wait_for(lambda: sought <= {*self._done}, PATIENCE))

    def count(self, kind):
        return len([one for one in self._done if one[0] == kind])


class Watched(Spread):
    """Computes a picture only when what should run next to it has run."""

    reduces_on_host = True

    def __init__(self, steps):
        self._steps, self.threads = steps, set()

    def logits(self, batch):
        number = self._steps.count("network")
        self._steps.note(("network", number))
        self.threads.add(threading.current_thread())
        self._steps.wait(
            *[("read", number + ahead) for ahead in range(3)],
            ("finished", number - 1),
            ("saved", number - 2),
        )
        return super().logits(batch)


class Bar:
    def __init__(self):
        self.lines, self.done = [], 0

    def update(self, n):
        self.done += n

    def write(self, s):
        self.lines.append(s)


@pytest.fixture
def steps(monkeypatch):
    """Notes the steps of a pipeline, and has some wait for the network to go on."""
    found = Steps()

    def watch(owner, name, kind, networks):
        step, numbers = getattr(owner, name), itertools.count()

        def watched(*arguments):
            number = next(numbers)  # from several threads
            found.wait(("network", number + networks))
            result = step(*arguments)
            found.note((kind, number))
            return result

        monkeypatch.setattr(owner, name, watched)

    watch(from_logits, "class_ids", "finished", 1)
    watch(Saver, "save", "saved", 2)
    watch(pipeline, "read_image", "read", -TOTAL)
    return found


def saver(folder):
    folder.mkdir(exist_ok=True)
    return Saver(ResultOptions(output=folder), voc.CLASSES, voc.palette())


def test_reading_reducing_and_writing_run_next_to_the_network(tmp_path, steps):
    pictures = []
    for number in range(TOTAL):
        path = tmp_path / f"{number}.png"
        cv2.imwrite(str(path), np.full((20, 30, 3), number, np.uint8))
        pictures.append(Picture(path, path.stem))
    engine, bar = Watched(steps), Bar()
    Pipeline(Predictor(engine), saver(tmp_path / "out"), 1, bar).images(pictures)
    assert all(steps.met)
    assert engine.threads == {threading.current_thread()}
    assert [line.split("/")[-1].split(":")[0] for line in bar.lines] == [
        f"{number}_mask.png" for number in range(TOTAL)
    ]
    assert bar.done == TOTAL


def test_frames_too_are_read_and_written_next_to_the_network(tmp_path, steps, monkeypatch):
    writer = video.Writer(tmp_path / "clip.mp4", 10)
    for number in range(TOTAL):
        writer.write(np.full((48, 64, 3), 20 * number, np.uint8))
    writer.close()
    frames, write = video.Reader.__iter__, video.Writer.write

    def reading(self):
        for number, frame in enumerate(frames(self)):
            steps.note(("read", number))
            yield frame

    def writing(self, frame):
        number = steps.count("saved")
        steps.wait(("network", number + 2))
        write(self, frame)
        steps.note(("saved", number))

    monkeypatch.setattr(video.Reader, "__iter__", reading)
    monkeypatch.setattr(video.Writer, "write", writing)
    engine, bar = Watched(steps), Bar()
    options = ResultOptions(output=tmp_path, save=("overlay",))
    one = Pipeline(Predictor(engine), Saver(options, voc.CLASSES, voc.palette()), 1, bar)
    one.video(Picture(tmp_path / "clip.mp4", "clip"))
    assert not one.faults.lines() and bar.done == TOTAL
    assert all(steps.met)
    assert engine.threads == {threading.current_thread()}
