import time

import numpy as np

from fcn8s_ms.inference.stopwatch import Stopwatch, TimedEngine


class Slow:
    n_class = 2
    multiple = 32
    name = "slow"

    def logits(self, batch):
        time.sleep(0.02)
        return batch

    def class_ids(self, batch):
        return self.logits(batch)


def test_a_timed_engine_computes_the_same_and_adds_up_its_time():
    engine = TimedEngine(Slow())
    batch = np.arange(3)
    assert engine.logits(batch) is batch and engine.class_ids(batch) is batch
    assert (engine.n_class, engine.name) == (2, "slow")
    assert 0.04 <= engine.seconds < 1


def test_the_first_image_is_left_out_of_the_time_per_image():
    engine = TimedEngine(Slow())
    stopwatch = Stopwatch(engine)
    assert str(stopwatch) == "0 images in 0.0 s."
    stopwatch.lap(1)
    assert str(stopwatch) == "1 image in 0.0 s, compiling the network included."
    engine.logits(np.zeros(1))
    stopwatch.lap(1)
    text = str(stopwatch)
    assert text.startswith("2 images in ") and "images/s" in text
    assert float(text.split(" ms of it the network (slow)")[0].split()[-1]) >= 20
