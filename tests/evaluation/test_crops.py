import numpy as np
import pytest
from mindspore.train import Model

from fcn8s_ms import dataset, device, evaluation, model, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.evaluation.crops import count_crops, tutorial_crops
from fcn8s_ms.inference.mindspore_engine import MindSporeEngine

from ..helpers import TINY, Spread, fill, overflowing


def crops(record, **options):
    return tutorial_crops(record, 21, 2, **{"batch_size": 2, "crop_size": 64, "seed": 5, **options})


@pytest.fixture
def network():
    network = model.FCN8s(21, **TINY)
    fill(network)
    return network


def counted_by_hand(engine, record):
    """Of the crops of training: pixel pairs, and images of each class."""
    data = dataset.SegDataset(
        voc.IMAGE_MEAN, voc.IMAGE_STD, record, batch_size=2, crop_size=64, seed=5
    )
    matrix, images = np.zeros((21, 21), np.int64), np.zeros(21, np.int64)
    for batch in data.get_dataset().create_dict_iterator(num_epochs=1, output_numpy=True):
        for label, ids in zip(batch["label"], engine.class_ids(batch["data"])):
            valid = label != 255
            np.add.at(matrix, (label[valid], ids[valid]), 1)
            images[np.unique(label[valid])] += 1
    return matrix, images


@pytest.mark.parametrize("kind", ["mindspore graph", "mindspore pynative", "other"])
def test_counts_are_those_made_by_hand(record, network, kind):
    if kind == "mindspore pynative":
        device.configure("CPU", mode="pynative")
    engine = Spread() if kind == "other" else MindSporeEngine(network)
    steps = []
    found = count_crops(engine, crops(record), lambda: steps.append(1))
    matrix, images = counted_by_hand(engine, record)
    assert len(np.unique(np.nonzero(matrix)[1])) > 2  # says several classes
    assert (found.matrix == matrix).all()
    assert (found.class_images == images).all()
    assert found.num_images == 4 and len(steps) == 2  # of 5: the last batch is not complete
    rows = evaluation.scores(found, voc.CLASSES)["per class"].values()
    assert [row["images"] for row in rows] == images.tolist()
    assert [row["pixels"] for row in rows] == matrix.sum(axis=1).tolist()


def test_model_eval_is_what_counts(record, network, monkeypatch):
    """With the four metrics, given class ids and not logits."""
    seen = []
    own = Model.eval

    def watched(self, *arguments, **options):
        result = own(self, *arguments, **options)
        seen.append(result)
        return result

    monkeypatch.setattr(Model, "eval", watched)
    found = count_crops(MindSporeEngine(network), crops(record))
    assert seen == [found.scores()]
    assert list(seen[0]) == [
        "pixel accuracy",
        "mean pixel accuracy",
        "mean IoU",
        "frequency weighted IoU",
    ]


@pytest.mark.parametrize("training", [True, False])
def test_the_network_stays_in_its_mode(record, network, training):
    network.set_train(training)
    count_crops(MindSporeEngine(network), crops(record))
    assert network.training == training


@pytest.mark.parametrize("kind", ["mindspore", "other"])
def test_a_label_that_is_no_class_is_explained(record, network, kind):
    engine = Spread() if kind == "other" else MindSporeEngine(network)
    data = tutorial_crops(record, 10, 2, batch_size=2, crop_size=64, seed=5)
    with pytest.raises(InputError, match="holds id 15 with 10 classes"):
        count_crops(engine, data)


def test_logits_that_are_not_finite_are_noticed(record):
    engine = MindSporeEngine(overflowing(21), "FCN8s.ckpt")
    with pytest.raises(InputError, match="FCN8s.ckpt computes logits that are not finite"):
        count_crops(engine, crops(record))
