import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fcn8s_ms import records, train
from fcn8s_ms.errors import InputError
from fcn8s_ms.training.data_options import DataOptions
from fcn8s_ms.training.network_options import NetworkOptions
from fcn8s_ms.training.precheck import check_batch_norm, count_classes, warn_of_weights

from ..helpers import TINY, arguments, error_of

DATA, VAL = Path("train.mindrecord"), Path("val.mindrecord")


@pytest.fixture(scope="module")
def metadata(record):
    """Metadata that name 11 classes."""
    found = records.read_metadata(record)
    return replace(found, classes=found.classes[:11])


def test_the_record_tells_the_number_of_classes(metadata, caplog):
    assert count_classes(None, DATA, metadata) == 11
    assert count_classes(11, DATA, metadata) == 11
    assert count_classes(30, DATA, None) == 30
    assert count_classes(None, DATA, None, VAL, metadata) == 11
    assert not caplog.records


@pytest.mark.parametrize("asked", [5, 15])
def test_another_number_of_classes_than_the_records(metadata, asked):
    error = f"--num-classes is {asked}, but train.mindrecord has 11 classes \\(background, "
    with pytest.raises(InputError, match=error):
        count_classes(asked, DATA, metadata)
    with pytest.raises(InputError, match=f"{asked}, but val.mindrecord has 11 classes"):
        count_classes(asked, DATA, None, VAL, metadata)
    other = replace(metadata, classes=metadata.classes[:asked])
    with pytest.raises(InputError, match="have different classes"):
        count_classes(None, DATA, metadata, VAL, replace(other, classes=("a", "b")))


def test_a_record_that_names_no_classes_is_taken_for_vocs_with_a_warning(caplog):
    assert count_classes(None, DATA, None) == 21
    (said,) = caplog.messages
    assert said.startswith("train.mindrecord has no .json next to it that names its classes")
    assert "copy train.mindrecord.json too; otherwise pass --num-classes" in said
    caplog.clear()
    assert count_classes(None, Path("dataset/mindname.mindrecord"), None) == 21
    assert not caplog.records  # as published


def test_no_step_is_done_with_a_wrong_number_of_classes(record, tmp_path, capsys):
    given = arguments(record, tmp_path / "run", "--num-classes", "5")
    assert "has 21 classes (background, aeroplane" in error_of(train.main, given, capsys)
    assert not (tmp_path / "run").exists()


def test_a_large_class_weight_is_named(caplog):
    with caplog.at_level(logging.WARNING):
        warn_of_weights(np.float32([1, 20, 34.5]), ["sky", "road", "cat"])
    (said,) = caplog.messages
    assert said.startswith("class weights above 20: cat 34.5. ")
    caplog.clear()
    warn_of_weights(np.float32([0.1, 20]), ["sky", "road"])
    assert not caplog.records


@pytest.mark.parametrize(
    ("options", "batch", "crop", "message"),
    [
        ({}, 1, 32, "conv6.1, a BatchNorm of fcn8s, .* --batch-size 2, --crop-size 64 or --fr"),
        ({"freeze": ["backbone"]}, 1, 32, "conv6.1, a BatchNorm"),
        ({"arch": "fcn32s"}, 1, 32, "conv6.1, a BatchNorm of fcn32s"),
        ({"arch": "fcn_resnet50"}, 1, 8, "layer2.0.bn2, a BatchNorm of .* --crop-size 16 or"),
    ],
)
def test_a_batch_norm_of_one_value(options, batch, crop, message):
    sizes = {} if options.get("arch") == "fcn_resnet50" else TINY
    with pytest.raises(InputError, match=message):
        check_batch_norm(NetworkOptions(**options, **sizes), batch, DataOptions(crop_size=crop), 30)


@pytest.mark.parametrize(
    ("options", "batch", "crop"),
    [
        ({}, 2, 32),
        ({}, 1, 64),
        ({"freeze_bn": True}, 1, 32),
        ({"freeze": ["fc"]}, 1, 32),
        ({"arch": "fcn8s_paper"}, 1, 32),
        ({"arch": "fcn_resnet50"}, 1, 9),
    ],
)
def test_batch_norms_of_several_values_and_frozen_ones(options, batch, crop):
    check_batch_norm(NetworkOptions(**options), batch, DataOptions(crop_size=crop), 30)


def test_one_image_cannot_make_a_batch_of_two():
    with pytest.raises(InputError) as caught:
        check_batch_norm(NetworkOptions(), 1, DataOptions(crop_size=32), images=1)
    assert "--batch-size" not in str(caught.value) and "--crop-size 64" in str(caught.value)


def test_one_value_of_a_squeezed_image():
    check_batch_norm(NetworkOptions(), 1, DataOptions(resize_to=[32, 64]), 30)
    with pytest.raises(InputError, match="one 32x32 crop, .* --resize-to 64 64 or --freeze-bn"):
        check_batch_norm(NetworkOptions(), 1, DataOptions(resize_to=[32, 32]), 30)


def test_training_with_one_value_is_refused_before_it_begins(record, tmp_path, capsys):
    given = arguments(record, tmp_path / "run", "--batch-size", "1", "--crop-size", "32")
    error = error_of(train.main, given, capsys)
    assert "from a batch of one 32x32 crop, and one value has no variance" in error
    assert not (tmp_path / "run").exists()
