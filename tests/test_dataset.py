import logging
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from mindspore import nn
from mindspore.train import Model

from fcn8s_ms import dataset, device, records, transforms, voc
from fcn8s_ms.dataset import SegDataset
from fcn8s_ms.errors import InputError
from fcn8s_ms.records import samples, sources

from .helpers import SIZES, draw_pair, plain_steps, write_plain_record, write_voc


def make(record, kind=SegDataset, **arguments):
    arguments = {
        "batch_size": 2,
        "crop_size": 64,
        "num_readers": 1,
        "num_parallel_calls": 1,
        "seed": 3,
        **arguments,
    }
    return kind(voc.IMAGE_MEAN, voc.IMAGE_STD, record, **arguments)


def batches(pipeline, epochs=1):
    iterator = pipeline.create_dict_iterator(num_epochs=epochs, output_numpy=True)
    return [[batch for batch in iterator] for _ in range(epochs)]


def test_tutorials_interface(record):
    """Positional arguments in the tutorial's order; the global generator draws the numbers."""
    data = SegDataset(
        [103.53, 116.28, 123.675],
        [57.375, 57.120, 58.395],
        str(record),
        4,
        96,
        2.0,
        0.5,
        255,
        21,
        1,
        1,
    )
    assert data.get_dataset().get_dataset_size() == 1
    _, encoded_image, encoded_label = next(records.read_samples(record, 1))
    expected = plain_steps(
        transforms.decode_image(encoded_image),
        transforms.decode_label(encoded_label),
        np.random.RandomState(5),
        96,
    )
    np.random.seed(5)
    found = data.preprocess_dataset(np.frombuffer(encoded_image, np.uint8), encoded_label)
    for one, other in zip(found, expected):
        assert np.array_equal(one, other)


def test_training_batches(record):
    (epoch,) = batches(make(record).get_dataset())
    assert len(epoch) == 2  # the fifth image is left over
    for batch in epoch:
        assert batch["data"].shape == (2, 3, 64, 64) and batch["data"].dtype == np.float32
        assert batch["label"].shape == (2, 64, 64) and batch["label"].dtype == np.int32
        assert set(np.unique(batch["label"])) <= {0, 7, 15, 255}


@pytest.mark.parametrize("workers", [(1, 1), (2, 2), (1, 2)])
def test_a_seed_repeats_whatever_the_workers(record, workers, monkeypatch):
    monkeypatch.setattr(dataset, "available_cpus", lambda: 2)
    reference = batches(make(record).get_dataset(), epochs=3)
    readers, calls = workers
    again = make(record, num_readers=readers, num_parallel_calls=calls).get_dataset()
    for one_epoch, other_epoch in zip(reference, batches(again, epochs=3)):
        for one, other in zip(one_epoch, other_epoch):
            assert np.array_equal(one["data"], other["data"])
            assert np.array_equal(one["label"], other["label"])


SIZING = [
    {"resize_to": (32, 96), "augmentations": ("vflip",)},
    {"resize_short": (40, 90), "cat_max_ratio": 0.6},
]


@pytest.mark.parametrize("sizing", SIZING)
def test_other_sizes_repeat_whatever_the_workers(record, sizing, monkeypatch):
    monkeypatch.setattr(dataset, "available_cpus", lambda: 2)
    reference = batches(make(record, **sizing).get_dataset(), epochs=2)
    again = make(record, num_readers=2, num_parallel_calls=2, **sizing).get_dataset()
    size = make(record, **sizing).sample_size
    assert size == tuple(sizing.get("resize_to", (64, 64)))
    for one_epoch, other_epoch in zip(reference, batches(again, epochs=2)):
        for one, other in zip(one_epoch, other_epoch):
            assert one["data"].shape == (2, 3, *size) and one["label"].shape == (2, *size)
            assert np.array_equal(one["data"], other["data"])
            assert np.array_equal(one["label"], other["label"])
    assert not np.array_equal(reference[0][0]["data"], reference[1][0]["data"])


def test_a_sample_is_cropped_anew_in_every_epoch_and_for_every_seed(record):
    def samples(epoch):
        return {batch["data"].tobytes() for batch in epoch}

    first, second = batches(make(record, batch_size=1).get_dataset(), epochs=2)
    (other,) = batches(make(record, batch_size=1, seed=4).get_dataset())
    assert len(samples(first)) == len(SIZES)
    assert not samples(first) & samples(second)
    assert not samples(first) & samples(other)


def test_resumed_pipeline_goes_on_where_it_stopped(record):
    reference = batches(make(record).get_dataset(), epochs=3)
    resumed = make(record).get_dataset(first_step=4)  # after one epoch of 2 steps, and one step
    iterator = resumed.create_dict_iterator(num_epochs=3, output_numpy=True)
    found = [batch for batch in iterator]
    assert np.array_equal(found[0]["data"], reference[1][1]["data"])
    found = [batch for batch in iterator]
    assert np.array_equal(found[0]["data"], reference[2][0]["data"])


def test_epochs_that_are_over_are_not_prepared_again(record, monkeypatch):
    data = make(record)
    prepared = []
    own = data.preprocess_dataset
    monkeypatch.setattr(
        data, "preprocess_dataset", lambda *sample: prepared.append(1) or own(*sample)
    )
    iterator = data.get_dataset(first_step=42).create_dict_iterator(num_epochs=21)
    batches_left = len(list(iterator))
    assert batches_left == 1
    assert 2 <= len(prepared) <= 5  # of the epoch with the 42nd step, not of twenty more


@pytest.mark.parametrize("step", [1, 2, 3, 6])
def test_names_of_a_batch(record, step):
    data = make(record)
    epoch = (step + 1) // 2
    found = batches(data.get_dataset(), epochs=3)[epoch - 1][(step - 1) % 2]
    images = {name: image for name, image, _ in records.read_samples(record, 9)}
    labels = {name: label for name, _, label in records.read_samples(record, 9)}
    for number, name in enumerate(data.batch_names(step)):
        image, _ = plain_steps(
            transforms.decode_image(images[name]),
            transforms.decode_label(labels[name]),
            samples.generator(data.seed, epoch - 1, name),  # the pipeline counts from 0
            64,
        )
        assert np.array_equal(found["data"][number], image)
    assert number == 1


def test_crops_are_the_images_own(record):
    """Every training sample is one of the images under the plain steps with its own generator."""
    data = make(record, batch_size=1)
    (epoch,) = batches(data.get_dataset())
    expected = {}
    for name, encoded_image, encoded_label in records.read_samples(record, 9):
        image, label = plain_steps(
            transforms.decode_image(encoded_image),
            transforms.decode_label(encoded_label),
            samples.generator(data.seed, 0, name),
            64,
        )
        expected[name] = image.tobytes() + label.tobytes()
    found = [batch["data"][0].tobytes() + batch["label"][0].tobytes() for batch in epoch]
    assert sorted(found) == sorted(expected.values())


@pytest.mark.parametrize(("num_shards", "first_step"), [(2, 1), (5, 1), (2, 4)])
def test_shards_of_a_training_share_the_batches_of_one_device(record, num_shards, first_step):
    """The same crops in the same step, in every epoch and after a resume."""
    batch_size = 2 if num_shards == 2 else 1

    def steps(**arguments):
        data = make(record, **arguments)
        pipeline = data.get_dataset(first_step)
        epoch_steps = pipeline.get_dataset_size()
        assert epoch_steps == len(SIZES) // data.step_size
        iterator = pipeline.create_dict_iterator(num_epochs=5, output_numpy=True)
        left = 5 - (first_step - 1) // epoch_steps
        epochs = [[batch for batch in iterator] for _ in range(left)]
        return [
            sorted(crop.tobytes() for crop in step["data"]) for epoch in epochs for step in epoch
        ]

    whole = steps(batch_size=batch_size * num_shards)
    shards = [
        steps(batch_size=batch_size, num_shards=num_shards, shard_id=shard_id)
        for shard_id in range(num_shards)
    ]
    assert len(whole) == 5 - (first_step - 1)
    for number, step in enumerate(whole):
        assert sorted(crop for shard in shards for crop in shard[number]) == step
    if first_step == 1:
        names = make(record, batch_size=batch_size * num_shards).batch_names(3)
        shard = make(record, batch_size=batch_size, num_shards=num_shards, shard_id=1)
        assert shard.batch_names(3) == names and len(names) == batch_size * num_shards


def test_shards_of_a_training_have_equal_numbers_of_steps(record):
    """Five images over two devices: MindRecord gives three to each, of which one is in both."""
    seen = []
    for shard_id in range(2):
        data = make(record, batch_size=1, num_shards=2, shard_id=shard_id)
        (epoch,) = batches(data.get_dataset())
        seen += [batch["data"].tobytes() for batch in epoch]
    assert len(seen) == len(set(seen)) == 4


def test_workers_are_clamped_with_a_warning(record, caplog, monkeypatch):
    monkeypatch.setattr(dataset, "available_cpus", lambda: 2)
    with caplog.at_level(logging.WARNING):
        data = make(record, num_parallel_calls=64)
    assert data.num_parallel_calls == 2
    assert "num_parallel_calls 64 is more than the 2 CPUs here: using 2" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min_scale": 2.0, "max_scale": 0.5}, "scales 2.0…0.5 are not a range"),
        ({"crop_size": -64}, "crop_size is -64; it must be positive"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"num_shards": 2}, "num_shards and shard_id go together"),
        ({"num_readers": 0}, "num_readers is 0"),
        ({"resize_to": (64, 0)}, "resize_to is 64 0"),
        ({"cat_max_ratio": 0}, "cat_max_ratio is 0"),
    ],
)
def test_bad_arguments(record, arguments, message):
    with pytest.raises(InputError, match=message):
        make(record, **arguments)


def test_batches_larger_than_the_record(record):
    data = make(record, batch_size=6)
    with pytest.raises(InputError, match="has 5 images for batches of 6; lower the batch size"):
        data.get_dataset()
    data = make(record, batch_size=3, num_shards=2, shard_id=0)
    with pytest.raises(InputError, match="has 5 images for batches of 3 on 2 devices"):
        data.get_dataset()


# --- a dataset before its record ----------------------------------------------------------------


def test_made_before_a_file_is_named(record, tmp_path):
    data = make("")
    _, image, label = next(records.read_samples(record, 1))
    crop, ids = data.preprocess_dataset(image, label)
    assert crop.shape == (3, 64, 64) and ids.shape == (64, 64)
    data.data_file = str(record)
    assert data.data_file == record and data.num_samples == len(SIZES)
    (epoch,) = batches(data.get_dataset())
    assert len(epoch) == 2
    other = write_plain_record(tmp_path / "other.mindrecord", SIZES[:3])
    data.data_file = other
    assert data.names() == ["a", "b", "c"] and data.num_samples == 3


@pytest.mark.parametrize("nothing", ["", Path("")])
@pytest.mark.parametrize(
    "use",
    [
        lambda data: data.get_dataset(),
        lambda data: data.crops(1),
        lambda data: data.names(),
        lambda data: data.batch_names(1),
        lambda data: list(data.whole_samples()),
        lambda data: data.num_samples,
        lambda data: data.data_file,
    ],
)
def test_no_file_named(use, nothing):
    data = SegDataset(voc.IMAGE_MEAN, voc.IMAGE_STD, nothing, num_readers=1, num_parallel_calls=1)
    with pytest.raises(InputError, match="no record is named: give SegDataset the path") as caught:
        use(data)
    assert "missing" not in str(caught.value)


def test_a_file_that_is_missing_is_named_when_it_is_opened(tmp_path):
    data = make(tmp_path / "none.mindrecord")
    with pytest.raises(InputError, match="none.mindrecord is missing"):
        data.get_dataset()


def test_damaged_samples_without_a_record_are_explained():
    with pytest.raises(InputError, match="SegDataset: a sample is damaged"):
        make("").preprocess_dataset(b"no image", b"no label")


def test_any_crop_size(record):
    (epoch,) = batches(make(record, crop_size=50).get_dataset())
    assert epoch[0]["data"].shape == (2, 3, 50, 50) and epoch[0]["label"].shape == (2, 50, 50)


# --- another augmentation -----------------------------------------------------------------------


class Halves(SegDataset):
    """The tutorial's signature, another size, other types of numbers."""

    def preprocess_dataset(self, image, label):
        image, label = transforms.decode_image(image), transforms.decode_label(label)
        return image[:32, :48].transpose(2, 0, 1) / 2.0, label[:32, :48]


class Noisy(SegDataset):
    """Draws from the generator it is given, before and after the class's own steps."""

    def preprocess_dataset(self, image, label, rng):
        dim = rng.uniform()
        image, label = super().preprocess_dataset(image, label, rng)
        return dim * image + rng.standard_normal(image.shape), label


class Dimmed(SegDataset):
    """Calls the class's own steps as the tutorial's caller would."""

    def preprocess_dataset(self, image, label):
        image, label = super().preprocess_dataset(image, label)
        return image / 2, label


class Inverted(SegDataset):
    """Hands everything on, and changes the result in place."""

    def preprocess_dataset(self, *sample, **options):
        image, label = super().preprocess_dataset(*sample, **options)
        np.negative(image, out=image)
        return image, label


def test_the_network_gets_what_an_override_returns(record):
    (epoch,) = batches(make(record, kind=Halves, batch_size=1).get_dataset())
    assert epoch[0]["data"].dtype == np.float32 and epoch[0]["label"].dtype == np.int32
    found = sorted((step["data"].tobytes(), step["label"].tobytes()) for step in epoch)
    expected = []
    for _, encoded_image, encoded_label in records.read_samples(record):
        image = transforms.decode_image(encoded_image)[:32, :48].transpose(2, 0, 1)
        label = transforms.decode_label(encoded_label)[:32, :48]
        expected.append(
            ((image / 2).astype(np.float32).tobytes(), label.astype(np.int32).tobytes())
        )
    assert found == sorted(expected)


def test_a_model_trains_on_what_an_override_returns(record):
    seen = []

    class Watching(nn.Cell):
        def __init__(self):
            super().__init__()
            self.score = nn.Conv2d(3, 21, 1)

        def construct(self, x):
            seen.append(x.asnumpy())
            return self.score(x)

    device.configure("CPU", mode="pynative")
    network = Watching()
    optimizer = nn.Momentum(network.trainable_params(), 0.01, 0.9)
    model = Model(network, nn.CrossEntropyLoss(ignore_index=255), optimizer)
    data = make(record, kind=Halves)
    model.train(2, data.get_dataset(), dataset_sink_mode=False)
    expected = [step["data"] for epoch in batches(data.get_dataset(), 2) for step in epoch]
    assert len(seen) == len(expected) == 4 and seen[0].shape == (2, 3, 32, 48)
    for one, other in zip(seen, expected):
        assert np.array_equal(one, other)


@pytest.mark.parametrize("kind", [Noisy, Dimmed, Inverted])
@pytest.mark.parametrize("workers", [(1, 1), (2, 2), (1, 2)])
def test_an_override_repeats_whatever_the_workers(record, kind, workers, monkeypatch):
    monkeypatch.setattr(dataset, "available_cpus", lambda: 2)
    reference = batches(make(record, kind=kind).get_dataset(), epochs=3)
    readers, calls = workers
    again = make(record, kind=kind, num_readers=readers, num_parallel_calls=calls)
    for one_epoch, other_epoch in zip(reference, batches(again.get_dataset(), epochs=3)):
        for one, other in zip(one_epoch, other_epoch):
            assert np.array_equal(one["data"], other["data"])
            assert np.array_equal(one["label"], other["label"])


@pytest.mark.parametrize(("kind", "factor"), [(Dimmed, 0.5), (Inverted, -1)])
def test_an_override_builds_on_the_same_crops(record, kind, factor):
    """The class's own steps draw the same numbers when an override calls them."""
    (plain,) = batches(make(record).get_dataset())
    (changed,) = batches(make(record, kind=kind).get_dataset())
    for one, other in zip(plain, changed):
        assert np.array_equal(factor * one["data"], other["data"])
        assert np.array_equal(one["label"], other["label"])


def test_an_override_may_draw_from_numpys_own_generator(record):
    class Random(SegDataset):
        def preprocess_dataset(self, image, label):
            return np.random.uniform(size=(3, 32, 32)), np.random.randint(0, 21, (32, 32))

    (epoch,) = batches(make(record, kind=Random).get_dataset())
    assert epoch[0]["data"].shape == (2, 3, 32, 32)


def wrong(returned):
    class Wrong(SegDataset):
        count = 0

        def preprocess_dataset(self, image, label):
            self.count += 1
            return returned(self.count)

    return Wrong


@pytest.mark.parametrize(
    ("returned", "message"),
    [
        (
            lambda count: (np.zeros((3, 32 * count, 32)), np.zeros((32 * count, 32))),
            "returned images of shape .* which are in one batch; return one size for all",
        ),
        (
            lambda count: (np.zeros((32, 64, 3)), np.zeros((32, 64))),
            "image of shape .32, 64, 3. and a label of shape .32, 64. for '.'; return .channels",
        ),
    ],
)
def test_crops_of_an_override_that_do_not_fit(record, returned, message):
    data = make(record, kind=wrong(returned))
    with pytest.raises(RuntimeError) as caught:
        batches(data.get_dataset())
    fault = data.explain(caught.value)
    assert isinstance(fault, InputError)
    assert re.search(message, str(fault))


def test_an_override_never_sees_a_damaged_sample(record, tmp_path):
    data = make(damaged_record(record, tmp_path), kind=Halves)
    with pytest.raises(RuntimeError) as caught:
        batches(data.get_dataset())
    assert "all.mindrecord: a sample is damaged" in str(data.explain(caught.value))


# --- faults -------------------------------------------------------------------------------------


def test_label_outside_the_classes_is_explained(record):
    data = make(record, num_classes=10)
    with pytest.raises(RuntimeError) as caught:
        batches(data.get_dataset())
    fault = data.explain(caught.value)
    assert isinstance(fault, InputError)
    assert "holds id 15 with 10 classes; pass the right --num-classes" in str(fault)


def test_flipped_bytes_are_explained(tmp_path):
    folder = write_voc(tmp_path / "voc")
    path = tmp_path / "r.mindrecord"
    records.build_records(sources.voc_pairs(folder, "trainval"), path)
    content = bytearray(path.read_bytes())
    start = content.index(b"\xff\xd8\xff\xe0")  # where the first JPEG begins
    content[start : start + 4] = b"\0\0\0\0"
    path.write_bytes(content)
    data = make(path)
    with pytest.raises(RuntimeError) as caught:
        batches(data.get_dataset())
    assert "r.mindrecord: a sample is damaged" in str(data.explain(caught.value))
    assert "copy or build the record again" in str(data.explain(caught.value))


def test_errors_of_other_kinds_stay_what_they_are(record):
    error = RuntimeError("no memory")
    assert make(record).explain(error) is error


def test_every_epoch_and_seed_has_an_order_of_its_own(record):
    found = []
    for seed in (3, 4):
        # Crops that hold the whole image: its height says which it is.
        whole = {"batch_size": 1, "crop_size": 160, "min_scale": 1.0, "max_scale": 1.0}
        for epoch in batches(make(record, seed=seed, **whole).get_dataset(), epochs=4):
            heights = [(batch["label"][0] != 255).any(axis=1).sum() for batch in epoch]
            assert sorted(heights) == sorted(height for _, height, _ in SIZES)
            found.append(tuple(heights))
    assert len({order[0] for order in found}) > 2
    assert len(set(found)) > 4


def test_crops_to_look_at_are_those_of_the_network(record):
    """In true colours: normalised again they are the very numbers of the first epoch."""
    (epoch,) = batches(make(record).get_dataset())
    data = make(record)
    crops = data.crops(3)
    assert len(crops) == 3 and len(data.crops(99)) == 4
    images = np.concatenate([batch["data"] for batch in epoch])
    labels = np.concatenate([batch["label"] for batch in epoch])
    for (image, label), expected, expected_label in zip(crops, images, labels):
        assert image.shape == (64, 64, 3) and image.dtype == label.dtype == np.uint8
        assert (label == expected_label).all()
        again = transforms.normalize(image, data._table)
        inside = (expected != 0).any(axis=0)  # padding has the mean colour, which is no integer
        assert (again[:, inside] == expected[:, inside]).all()
        assert (np.abs(again[:, ~inside]) < 0.01).all()


def damaged_record(record, folder):
    """A copy with one bit of its first image flipped."""
    for suffix in ("", ".db", ".json"):
        shutil.copy(f"{record}{suffix}", folder / f"{record.name}{suffix}")
    path = folder / record.name
    content = bytearray(path.read_bytes())
    _, image, _ = next(records.read_samples(record))
    content[content.index(image) + len(image) // 2] ^= 1
    path.write_bytes(content)
    return path


def test_a_flipped_byte_is_never_used(record, tmp_path):
    """Also where the image still decodes."""
    data = make(damaged_record(record, tmp_path))
    with pytest.raises(RuntimeError) as caught:
        batches(data.get_dataset())
    assert "all.mindrecord: a sample is damaged (" in str(data.explain(caught.value))
    assert "without a name" not in str(data.explain(caught.value))
    with pytest.raises(InputError, match="all.mindrecord: a sample is damaged"):
        list(data.whole_samples())
    _, image, label = next(records.read_samples(record))
    damaged = bytearray(image)
    damaged[len(image) // 2] ^= 1
    assert transforms.decode_image(damaged).shape == transforms.decode_image(image).shape
    with pytest.raises(InputError, match="a sample is damaged"):
        data.preprocess_dataset(bytes(damaged), label)


def test_records_of_others_have_no_checksums_and_work(tmp_path):
    path = write_plain_record(tmp_path / "r.mindrecord")
    (epoch,) = batches(make(path).get_dataset())
    assert len(epoch) == 2


def test_record_may_move_with_its_index(record, tmp_path):
    for suffix in ("", ".db"):
        shutil.copy(f"{record}{suffix}", tmp_path / f"{record.name}{suffix}")
    assert make(tmp_path / record.name).num_samples == 5


# --- whole images -------------------------------------------------------------------------------


def test_whole_samples_are_the_images_unchanged(record):
    data = make(record, num_parallel_calls=2)
    found = list(data.whole_samples())
    assert [name for name, _, _ in found] == data.names() == [name for name, _, _ in SIZES]
    for (name, image, label), (_, height, width) in zip(found, SIZES):
        expected_image, expected_label = draw_pair(name, height, width)
        assert image.shape == (height, width, 3) and image.dtype == np.uint8
        assert np.abs(image.astype(int) - expected_image).mean() < 30  # a JPEG
        assert np.array_equal(label, expected_label) and label.dtype == np.uint8


@pytest.mark.parametrize("num_shards", [2, 3])
def test_whole_samples_of_shards_are_each_there_once(record, num_shards):
    names, labelled = [], 0
    for shard in range(num_shards):
        data = make(record, num_parallel_calls=2, num_shards=num_shards, shard_id=shard)
        for name, _, label in data.whole_samples():
            names.append(name)
            labelled += (label != 255).sum()
    assert sorted(names) == [name for name, _, _ in SIZES]
    assert labelled == sum((draw_pair(*size)[1] != 255).sum() for size in SIZES)


def test_whole_samples_stop_at_a_label_of_no_class(record):
    data = make(record, num_parallel_calls=2, num_classes=9)
    with pytest.raises(InputError, match="holds id 15 with 9 classes"):
        list(data.whole_samples())
