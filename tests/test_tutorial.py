"""The tutorial's calls, with its classes imported from this package.

Names, order and values of the arguments are the tutorial's; record, network and crops are small.
"""

import functools

import mindspore as ms
import mindspore.dataset as ds
import numpy as np
import pytest
from mindspore import Tensor, load_checkpoint, load_param_into_net, nn
from mindspore.train import (
    CheckpointConfig,
    LossMonitor,
    Model,
    ModelCheckpoint,
    TimeMonitor,
)

from fcn8s_ms import confusion, model

from .helpers import TINY

BATCH_SIZE, CROP_SIZE, NUM_CLASSES = 2, 64, 21


@pytest.fixture(autouse=True)
def _small(monkeypatch, tmp_path):
    monkeypatch.setattr(model, "FCN8s", functools.partial(model.FCN8s, **TINY))
    monkeypatch.chdir(tmp_path)
    ms.set_seed(1)


def make_dataset(record):
    from fcn8s_ms import SegDataset

    return SegDataset(
        image_mean=[103.53, 116.28, 123.675],
        image_std=[57.375, 57.120, 58.395],
        data_file=str(record),
        batch_size=BATCH_SIZE,
        crop_size=CROP_SIZE,
        max_scale=2.0,
        min_scale=0.5,
        ignore_label=255,
        num_classes=NUM_CLASSES,
        num_readers=2,
        num_parallel_calls=4,
    )


def make_metrics():
    from fcn8s_ms import (
        FrequencyWeightedIntersectionOverUnion,
        MeanIntersectionOverUnion,
        PixelAccuracy,
        PixelAccuracyClass,
    )

    return {
        "pixel accuracy": PixelAccuracy(),
        "mean pixel accuracy": PixelAccuracyClass(),
        "mean IoU": MeanIntersectionOverUnion(),
        "frequency weighted IoU": FrequencyWeightedIntersectionOverUnion(),
    }


def test_data(record):
    data = make_dataset(record).get_dataset()
    batch = next(data.create_dict_iterator())
    images, labels = batch["data"].asnumpy(), batch["label"].asnumpy()
    assert images.shape == (2, 3, 64, 64) and images.dtype == np.float32
    assert labels.shape == (2, 64, 64) and labels.dtype == np.int32
    assert data.get_dataset_size() == 2


def test_preprocessing_of_one_sample(record):
    """Between reader and network, as in the tutorial's own `get_dataset`."""
    data = make_dataset(record)
    rows = ds.MindDataset(str(record), columns_list=["data", "label"], shuffle=True)
    rows = rows.map(
        operations=data.preprocess_dataset,
        input_columns=["data", "label"],
        output_columns=["data", "label"],
        num_parallel_workers=2,
    )
    rows = rows.shuffle(buffer_size=BATCH_SIZE * 10).batch(BATCH_SIZE, drop_remainder=True)
    batch = next(rows.create_dict_iterator(output_numpy=True))
    assert batch["data"].shape == (2, 3, 64, 64) and batch["label"].dtype == np.int32


def test_training_evaluation_and_prediction(record, tmp_path, capsys):
    from fcn8s_ms import FCN8s

    # Weights to start from.
    ms.save_checkpoint(FCN8s(n_class=NUM_CLASSES), "fcn8s_vgg16_pretrain.ckpt")
    net = FCN8s(n_class=NUM_CLASSES)
    before = load_checkpoint("fcn8s_vgg16_pretrain.ckpt")
    missing, unexpected = load_param_into_net(net, before)
    assert not missing and not unexpected

    # Training.
    train_dataset = make_dataset(record).get_dataset()
    epochs, iters_per_epoch = 2, train_dataset.get_dataset_size()
    total_step = epochs * iters_per_epoch
    loss = nn.CrossEntropyLoss(ignore_index=255)
    rates = nn.cosine_decay_lr(0.0005, 0.05, total_step, iters_per_epoch, decay_epoch=2)
    optimizer = nn.Momentum(
        params=net.trainable_params(), learning_rate=rates, momentum=0.9, weight_decay=0.0001
    )
    trained = Model(net, loss_fn=loss, optimizer=optimizer, metrics=make_metrics())
    time_callback = TimeMonitor(data_size=iters_per_epoch)
    loss_callback = LossMonitor()
    config = CheckpointConfig(save_checkpoint_steps=2, keep_checkpoint_max=5)
    saver = ModelCheckpoint(prefix="FCN8s", directory="./ckpt", config=config)
    trained.train(epochs, train_dataset, callbacks=[time_callback, loss_callback, saver])
    said = capsys.readouterr().out
    assert said.count("loss is") == total_step and "per step time" in said
    saved = sorted(path.name for path in (tmp_path / "ckpt").glob("*.ckpt"))
    assert saved == ["FCN8s-1_2.ckpt", "FCN8s-2_2.ckpt"]

    # Evaluation.
    net = FCN8s(n_class=NUM_CLASSES)
    parameters = load_checkpoint("./ckpt/FCN8s-2_2.ckpt")
    missing, _ = load_param_into_net(net, parameters)  # the optimizer's are left over
    assert not missing and set(before) < set(parameters)
    metrics = make_metrics()
    evaluated = Model(net, loss_fn=nn.CrossEntropyLoss(ignore_index=255), metrics=metrics)
    scores = evaluated.eval(make_dataset(record).get_dataset())
    assert list(scores) == list(metrics)
    matrix = metrics["mean IoU"].confusion_matrix
    assert matrix.sum() > 1000 and (matrix == metrics["pixel accuracy"].confusion_matrix).all()
    assert scores["mean IoU"] == confusion.mean_iou(matrix)
    assert scores["pixel accuracy"] == np.trace(matrix) / matrix.sum()

    # Prediction.
    net.set_train(False)
    batch = next(make_dataset(record).get_dataset().create_dict_iterator())
    logits = net(Tensor(batch["data"].asnumpy(), ms.float32)).asnumpy()
    assert logits.shape == (2, NUM_CLASSES, 64, 64)
    assert set(np.unique(logits.argmax(axis=1))) <= set(range(NUM_CLASSES))
