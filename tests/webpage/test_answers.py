"""Answers to pictures, and which of them are kept."""

import threading
import time
import zlib

import numpy as np
import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.webpage.answers import Answer, Answerer, Kept

from .pictures import (
    CERTAINTY,
    GREEN,
    RED,
    ChannelIds,
    Channels,
    halves,
    segmenter,
    write_bad_files,
)


def halves_of_ids(height, width):
    ids = np.full((height, width), 2)
    ids[:, width // 2 :] = 1
    return ids


def test_an_answer(tmp_path):
    answer = Answerer(segmenter())(halves(tmp_path / "field.png", RED, GREEN))
    assert answer.name == "field.png"
    assert answer.image.shape == (60, 80, 3)
    assert (answer.ids == halves_of_ids(60, 80)).all()
    assert (answer.certainty == round(255 * CERTAINTY)).all()
    assert answer.seen == (60, 80)
    assert answer.seconds >= answer.network_seconds > 0


@pytest.mark.parametrize("engine", [Channels(), ChannelIds()], ids=["logits", "ids"])
def test_a_large_picture_is_seen_smaller(engine, tmp_path):
    path = halves(tmp_path / "field.png", RED, GREEN, 60, 80)
    answerer = Answerer(segmenter(engine), longest_side=40)
    answer = answerer(path)
    assert answer.seen == (30, 40)
    assert (answer.ids == halves_of_ids(60, 80)).mean() > 0.95
    assert (answer.certainty is None) == isinstance(engine, ChannelIds)
    small = answerer(halves(tmp_path / "small.png", RED, GREEN, 30, 40))
    assert small.seen == (30, 40)
    own = Answerer(segmenter(Channels(), resize=20), longest_side=40)
    assert own(path).seen == (15, 20)


@pytest.mark.parametrize(("limit", "seen"), [(0, (30, 40)), (20, (15, 20))])
def test_a_file_of_a_fixed_size_takes_any_picture(limit, seen, tmp_path):
    class Fixed(Channels):
        size = (1, 32, 40)

        def logits(self, batch):
            assert batch.shape[1] <= 32 and batch.shape[2] <= 40
            return super().logits(batch)

    answerer = Answerer(segmenter(Fixed()), limit)
    assert answerer(halves(tmp_path / "wide.png", RED, GREEN, 60, 80)).seen == seen
    assert max(answerer(halves(tmp_path / "high.png", RED, GREEN, 80, 60)).seen) <= 32
    assert answerer(halves(tmp_path / "small.png", RED, GREEN, 9, 8)).seen == (9, 8)


def test_what_the_page_shows_of_a_large_picture():
    ids = np.arange(3, dtype=np.uint8).repeat(1000)[np.newaxis].repeat(1500, axis=0)
    image = np.zeros((1500, 3000, 3), np.uint8)
    answer = Answer("a", image, ids, 255 - ids, (1500, 3000), 1.0, 1.0)
    assert answer.shown_size == (1024, 2048)
    shown, certainty = np.split(np.frombuffer(zlib.decompress(answer.planes()), np.uint8), 2)
    assert shown.reshape(1024, 2048)[500].tolist() == sorted(shown[:2048].tolist())
    assert set(np.unique(shown)) == {0, 1, 2}
    assert (certainty == 255 - shown).all()


def test_errors_have_the_name_that_was_sent(tmp_path):
    answerer = Answerer(segmenter(), max_pixels=50_000_000)
    for name, message in write_bad_files(tmp_path).items():
        with pytest.raises(InputError) as caught:
            answerer(tmp_path / name, "holiday.png")
        assert message.replace(name, "holiday.png") in str(caught.value)
        assert str(tmp_path) not in str(caught.value)


def test_a_fault_of_the_engine_is_a_sentence(tmp_path):
    class Full(Channels):
        def logits(self, batch):
            raise RuntimeError("no memory\nmore about it")

    path = halves(tmp_path / "field.png", RED, GREEN)
    with pytest.raises(InputError, match=r"^field.png could not be segmented \(no memory\); take"):
        Answerer(segmenter(Full()))(path)


def test_one_picture_at_a_time(tmp_path):
    """Of eight threads, each of which gets the answer to its own picture."""

    class Alone(Channels):
        inside = 0

        def logits(self, batch):
            self.inside += 1
            time.sleep(0.01)
            assert self.inside == 1
            self.inside -= 1
            return super().logits(batch)

    answerer = Answerer(segmenter(Alone()))
    found = {}

    def ask(number):
        path = halves(tmp_path / f"{number}.png", RED, GREEN, 8, 10 + number)
        found[number] = answerer(path)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {number: answer.ids.shape for number, answer in found.items()} == {
        number: (8, 10 + number) for number in range(8)
    }


def test_the_oldest_answers_go():
    def answer(height):
        ids = np.zeros((height, 10), np.uint8)
        return Answer("a", np.zeros((height, 10, 3), np.uint8), ids, None, (1, 1), 1.0, 1.0)

    kept = Kept(most_bytes=100)
    first, second = answer(1), answer(1)
    keys = [kept.add(first), kept.add(second)]
    assert [kept.get(key) for key in keys] == [first, second]  # 40 bytes each
    third = kept.add(answer(1))
    assert kept.get(keys[0]) is None and kept.get(keys[1]) is second
    large = kept.add(answer(100))  # more than allowed, but somebody waits for it
    assert kept.get(large) is not None and kept.get(third) is None
    assert len(large) > 20 and large != third
