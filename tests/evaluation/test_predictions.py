import cv2
import numpy as np
import pytest

from fcn8s_ms import evaluation, transforms, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.evaluation.predictions import find_masks
from fcn8s_ms.inference import Predictor

from ..helpers import SIZES, TABLE, Spread, draw_pair, record_data, write_mask


class Watching(Spread):
    """Keeps the images that it sees, as the network would."""

    def __init__(self):
        self.seen = []

    def class_ids(self, batch):
        self.seen.append(batch.copy())
        return super().class_ids(batch)


@pytest.mark.parametrize("batch_size", [1, 2, 4])
def test_evaluation_yields_every_image_once_and_whole(record, batch_size):
    engine = Watching()
    data = record_data(record, batch_size)
    found = {one.name: one for one in evaluation.predict_dataset(Predictor(engine), data)}
    assert sorted(found) == [name for name, _, _ in SIZES]
    seen = [image for batch in engine.seen for image in batch]
    assert len(seen) == len(SIZES)
    assert max(map(len, engine.seen)) == min(batch_size, 3)  # a, b and c have one padded size
    for name, height, width in SIZES:
        one = found[name]
        assert one.image.shape == (height, width, 3) and one.ids.shape == (height, width)
        assert np.array_equal(one.label, draw_pair(name, height, width)[1])
        padded = transforms.pad_to_multiple(transforms.normalize(one.image, TABLE))
        assert sum(np.array_equal(image, padded) for image in seen) == 1
        alone = Spread().class_ids(padded[np.newaxis])[0, :height, :width]
        assert np.array_equal(one.ids, alone)


@pytest.mark.parametrize("num_shards", [2, 3])
def test_shards_of_an_evaluation_count_no_image_twice(record, num_shards):
    labelled = 0
    for shard_id in range(num_shards):
        data = record_data(record, 2, num_shards=num_shards, shard_id=shard_id)
        predicted = evaluation.predict_dataset(Predictor(Spread()), data)
        labelled += evaluation.count(predicted, 21).matrix.sum()
    assert labelled == sum((draw_pair(*size)[1] != 255).sum() for size in SIZES)


# --- masks made by anything --------------------------------------------------------------------


@pytest.fixture
def masks(record, tmp_path):
    """A folder of masks for the record: the truth, all classes where it is ignored."""
    for place, (name, height, width) in enumerate(SIZES):
        label = draw_pair(name, height, width)[1]
        label[label == 255] = 3
        # Gray and palette, with and without the ending of the program that predicts.
        if place % 2:
            cv2.imwrite(str(tmp_path / f"{name}.png"), label)
        else:
            write_mask(tmp_path / f"{name}_mask.png", label)
    return tmp_path


def score_masks(folder, record):
    predicted = evaluation.read_predictions(folder, record_data(record))
    return evaluation.scores(evaluation.count(predicted, 21), voc.CLASSES)


def test_the_truth_itself_scores_1(record, masks):
    found = score_masks(masks, record)
    assert found["mean IoU"] == found["pixel accuracy"] == 1


def test_masks_of_a_predictor_score_as_the_predictor(record, tmp_path):
    predictor = Predictor(Spread())
    data = record_data(record)
    for name, image, _ in data.whole_samples():
        write_mask(tmp_path / f"{name}.png", predictor(image))
    found = score_masks(tmp_path, record)
    expected = evaluation.evaluate_dataset(predictor, data, voc.CLASSES)
    assert {k: v for k, v in found.items() if k != "per class"} == {
        k: v for k, v in expected.items() if k != "per class"
    }


def test_masks_that_cannot_be_scored(record, masks):
    (masks / "b.png").rename(masks / "z.png")
    (masks / "c_mask.png").unlink()
    with pytest.raises(InputError, match="lacks 2 of 5 masks: b.png, c.png"):
        score_masks(masks, record)
    label = draw_pair("c", 65, 96)[1] % 21
    write_mask(masks / "c.png", label[:60])
    (masks / "z.png").rename(masks / "b.png")
    with pytest.raises(InputError, match="c.png is 96x60, the image 96x65"):
        score_masks(masks, record)
    label[0, 0] = 40
    write_mask(masks / "c.png", label)
    with pytest.raises(InputError, match="c.png has ids 40 where a class is expected"):
        score_masks(masks, record)
    write_mask(masks / "c_mask.png", label)
    with pytest.raises(InputError, match="c.png and c_mask.png are for one image"):
        score_masks(masks, record)


def test_masks_without_the_folders_of_their_names(tmp_path):
    names = ["one/images/a", "two/images/b", "two/images/c.png", "three/images/c"]
    for mask in ("a_mask.png", "b.png", "two/images/c.png", "three/images/c_mask.png"):
        (tmp_path / mask).parent.mkdir(parents=True, exist_ok=True)
        write_mask(tmp_path / mask, np.zeros((2, 2), np.uint8))
    found = find_masks(tmp_path, names)
    assert {name: path.relative_to(tmp_path).as_posix() for name, path in found.items()} == {
        "one/images/a": "a_mask.png",
        "two/images/b": "b.png",
        "two/images/c.png": "two/images/c.png",
        "three/images/c": "three/images/c_mask.png",
    }
    (tmp_path / "two" / "images" / "c.png").rename(tmp_path / "c.png")  # of which c?
    with pytest.raises(InputError, match="lacks 1 of 4 masks: c.png"):
        find_masks(tmp_path, names)
    write_mask(tmp_path / "b_mask.png", np.zeros((2, 2), np.uint8))
    with pytest.raises(InputError, match="b.png and b_mask.png are for one image"):
        find_masks(tmp_path, names)
