"""`SegDataset`: from a MindRecord file to batches for training or evaluation."""

import logging
import zlib
from concurrent.futures import ThreadPoolExecutor

import cv2
import mindspore.dataset as ds
import numpy as np

from . import transforms
from .errors import InputError
from .records import check_sample, open_record
from .threads import available_cpus, map_ahead
from .transforms import STRIDE
from .voc import IGNORE_LABEL, NUM_CLASSES

__all__ = ["SegDataset"]

logger = logging.getLogger(__name__)

# Evaluation sorts images of up to 64 x 64 strides (2048 x 2048 pixels) into batches of equal size;
# a larger image is a batch of its own.
_MAX_STRIDES = 64
_NOTHING = np.zeros((1, 3, 1, 1), np.float32), np.zeros((1, 1, 1), np.int32)


def _clamped(name: str, asked: int) -> int:
    if asked < 1:
        raise InputError(f"{name} is {asked}; at least one is needed")
    limit = available_cpus()
    if asked > limit:
        logger.warning("%s %d is more than the %d CPUs here: using %d", name, asked, limit, limit)
    return min(asked, limit)


class SegDataset:
    """Images and labels of a MindRecord file, prepared for FCN-8s.

    Training yields random crops. Their randomness depends on the seed, the epoch and the sample
    alone, so a run repeats whatever the number of workers. Evaluation yields every image once, at
    its own size but for padding to a multiple of 32, in batches of equal padded size.

    Args:
        image_mean: mean of the channels, BGR, 0…255.
        image_std: standard deviation of the channels, BGR.
        data_file: MindRecord file with the columns `data`, `label`, `file_name`.
        batch_size: samples a batch.
        crop_size: side of the training crops, in pixels.
        max_scale: largest random factor of both sides.
        min_scale: least random factor.
        ignore_label: label of pixels that do not count.
        num_classes: number of classes; a label outside is an error.
        num_readers: workers that read the file.
        num_parallel_calls: workers that prepare samples, in training a batch each. They are
            threads: OpenCV computes outside Python's lock, and processes would copy every batch.
        training: random crops, shuffled, of full batches only; else evaluation.
        seed: of order and crops; None takes a fresh one.
        num_shards: number of parts the samples are dealt to, one for each device; None for all. The
            batches of one step, taken over all parts, are the batch that one part of all samples
            would get with batches as many times as large: order and crops do not depend on it.
        shard_id: which part, 0…num_shards-1.

    Raises:
        InputError: an argument is out of range, or the file cannot be read.

    Source: the tutorial's `SegDataset`.
    """

    def __init__(
        self,
        image_mean,
        image_std,
        data_file="",
        batch_size=32,
        crop_size=512,
        max_scale=2.0,
        min_scale=0.5,
        ignore_label=IGNORE_LABEL,
        num_classes=NUM_CLASSES,
        num_readers=2,
        num_parallel_calls=4,
        *,
        training: bool = True,
        seed: int | None = None,
        num_shards: int | None = None,
        shard_id: int | None = None,
    ):
        if not 0 < min_scale <= max_scale:
            raise InputError(
                f"scales {min_scale}…{max_scale} are no range; need 0 < min_scale <= max_scale"
            )
        for name, value in (("batch_size", batch_size), ("crop_size", crop_size)):
            if value < 1:
                raise InputError(f"{name} is {value}; it must be positive")
        if crop_size % STRIDE:
            raise InputError(
                f"crop_size {crop_size} is not a multiple of {STRIDE}; "
                f"take {transforms.next_multiple(crop_size)}"
            )
        if (num_shards is None) != (shard_id is None):
            raise InputError("num_shards and shard_id go together; give both or neither")
        self.data_file, self.num_samples = open_record(data_file)
        self.image_mean = np.asarray(image_mean, np.float32)
        self.image_std = np.asarray(image_std, np.float32)
        self.batch_size = batch_size
        self.crop_size = crop_size
        self.max_scale = max_scale
        self.min_scale = min_scale
        self.ignore_label = ignore_label
        self.num_classes = num_classes
        self.num_readers = _clamped("num_readers", num_readers)
        self.num_parallel_calls = _clamped("num_parallel_calls", num_parallel_calls)
        self.training = training
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.num_shards = num_shards
        self.shard_id = shard_id

        self._skipped_epochs = 0
        self.fault = None  # what went wrong in a worker, for `explain`

        self._table = transforms.normalization_table(self.image_mean, self.image_std)
        if training and self.num_samples < self.step_size:
            raise InputError(
                f"{self.data_file} has {self.num_samples} images for batches of {batch_size}"
                f"{f' on {num_shards} devices' if num_shards else ''}; lower the batch size"
            )

    @property
    def step_size(self) -> int:
        """Samples a step, over all shards."""
        return self.batch_size * (self.num_shards or 1)

    def preprocess_dataset(self, image, label, rng=None):
        """Prepares one training sample.

        Args:
            image: bytes of an image file, or an array that holds them.
            label: bytes of a PNG of class ids.
            rng: where random numbers come from, `numpy.random`'s global generator without; drawn
                as `transforms.augment` says.

        Returns:
            float32 array (3, crop_size, crop_size), int32 array (crop_size, crop_size).

        Raises:
            InputError: image or label cannot be decoded, or the label has ids that are no class.
        """
        image, label = self._decode(image, label)
        return self._augment(image, label, np.random if rng is None else rng)

    def get_dataset(self, first_step: int = 1):
        """Builds the MindSpore pipeline.

        Args:
            first_step: number of the first batch of training, from 1 and over all epochs: a resumed
                training goes on in the middle of an epoch. The number of epochs counts from the
                beginning all the same.

        Returns:
            Dataset with the columns `data`, float32 (N, 3, H, W), and `label`, int32 (N, H, W).
        """
        if not self.training:
            return self._evaluation(self._shards())
        dataset = self._training()
        return self._from(dataset, first_step)

    def _from(self, dataset, first_step: int):
        if first_step > 1:
            # MindSpore could not skip faster through a shuffled dataset, and would say so.
            ds.config.set_fast_recovery(False)
            dataset.set_init_step(first_step - 1)
            self._skipped_epochs = (first_step - 1) // dataset.get_dataset_size()
        return dataset

    def _shards(self) -> dict:
        if self.num_shards is None:
            return {}
        return {"num_shards": self.num_shards, "shard_id": self.shard_id}

    def crops(self, count: int) -> list:
        """The first samples that the network would get, in true colours.

        Args:
            count: how many, at most.

        Returns:
            List of (image, label): uint8 (crop_size, crop_size, 3) BGR, padded in the mean colour,
            and uint8 (crop_size, crop_size).

        Raises:
            InputError: a sample cannot be used.
        """
        found = []
        try:
            batches = self.get_dataset().create_tuple_iterator(num_epochs=1, output_numpy=True)
            for images, labels in batches:
                for image, label in zip(images, labels):
                    image = transforms.denormalize(image, self.image_mean, self.image_std)
                    found.append((image, label.astype(np.uint8)))
                if len(found) >= count:
                    break
        except RuntimeError as error:
            raise self.explain(error) from error
        return found[:count]

    def explain(self, error: RuntimeError) -> Exception:
        """What to raise for an error of the pipeline: the fault behind it if there is one.

        MindSpore wraps whatever goes wrong in a worker into a RuntimeError of many lines.
        """
        if self.fault is not None:
            return self.fault
        if "dataset pipeline" in str(error).lower():
            return InputError(
                f"{self.data_file} cannot be read to its end: it is damaged; build or download it "
                "again"
            )
        return error

    def batch_names(self, step: int) -> list[str]:
        """File names of the samples in a batch of training, over all shards.

        The order follows from the seed, so it is gone through again with the names alone: no step
        pays for what only an error message needs.

        Args:
            step: number of the batch, from 1 and over all epochs.
        """
        dataset = self._ordered(["file_name"], 1, 0).batch(self.step_size, drop_remainder=True)
        epochs = -(-step // dataset.get_dataset_size())
        dataset = self._from(dataset, step)
        iterator = dataset.create_tuple_iterator(num_epochs=epochs, output_numpy=True)
        (names,) = next(iter(iterator))
        return [str(name) for name in names]

    def _ordered(self, columns, num_shards: int, shard_id: int):
        """The samples in the order of training: of one shuffled list every num_shards-th."""
        ds.config.set_seed(self.seed)
        return ds.MindDataset(
            str(self.data_file),
            columns_list=columns,
            num_parallel_workers=self.num_readers,
            shuffle=True,  # the whole file, anew in every epoch
            # One of one, too: without shards MindRecord shuffles otherwise from epoch 2 on.
            num_shards=num_shards,
            shard_id=shard_id,
        )

    def _training(self):
        shards = (self.num_shards or 1, self.shard_id or 0)
        dataset = self._ordered(["data", "label", "file_name"], *shards).batch(
            self.batch_size,
            drop_remainder=True,
            per_batch_map=self._prepare_batch,
            input_columns=["data", "label", "file_name"],
            output_columns=["data", "label"],
            num_parallel_workers=self.num_parallel_calls,
        )
        # MindRecord fills the shards up to equal length with samples that are in others already.
        epoch_steps = self.num_samples // self.step_size
        return dataset.take(epoch_steps) if dataset.get_dataset_size() > epoch_steps else dataset

    def _prepare_batch(self, images, labels, names, info):
        if info.get_epoch_num() < self._skipped_epochs:  # nobody sees it
            return _NOTHING
        # The crops are made in their places: MindSpore takes a batch as it is, but copies samples.
        size = (self.crop_size, self.crop_size)
        image_crops = np.empty((len(names), len(self._table), *size), np.float32)
        label_crops = np.empty((len(names), *size), np.int32)
        for place, (image, label, name) in enumerate(zip(images, labels, map(str, names))):
            rng = self._generator(info.get_epoch_num(), name)
            out = (image_crops[place], label_crops[place])
            self._guarded(lambda: self._augment(*self._decode(image, label, name), rng, out))
        return image_crops, label_crops

    def names(self) -> list[str]:
        """File names of all samples, in the order of the record."""
        dataset = ds.MindDataset(str(self.data_file), columns_list=["file_name"], shuffle=False)
        rows = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
        return [str(name) for (name,) in rows]

    def whole_samples(self):
        """Every image once, whole, at its own size and as it is.

        Yields:
            (file name, image, label): str, uint8 (H, W, 3) BGR, uint8 (H, W).

        Raises:
            InputError: a sample cannot be used, or the file not be read to its end.
        """

        def decode(row):
            image, label, name = row[0].tobytes(), row[1].tobytes(), str(row[2])
            if image == label:  # fills up a shard
                return None
            return name, *self._decode(image, label, name)

        rows = self._whole_rows(self._shards()).create_tuple_iterator(
            num_epochs=1, output_numpy=True
        )
        with ThreadPoolExecutor(self.num_parallel_calls) as pool:
            try:
                for sample in map_ahead(pool, decode, rows, 2 * self.num_parallel_calls):
                    if sample is not None:
                        yield sample
            except RuntimeError as error:
                raise self.explain(error) from error

    def _whole_rows(self, shards):
        if shards and self.num_samples % self.num_shards:
            # Equal shares without counting an image twice: the filler's label is all ignored.
            ignored = np.full((STRIDE, STRIDE), self.ignore_label, np.uint8)
            png = cv2.imencode(".png", ignored)[1].tobytes()
            shards["padded_sample"] = {"data": png, "label": png, "file_name": ""}
            shards["num_padded"] = -self.num_samples % self.num_shards
        return ds.MindDataset(
            str(self.data_file),
            columns_list=["data", "label", "file_name"],
            num_parallel_workers=self.num_readers,
            shuffle=False,
            **shards,
        )

    def _evaluation(self, shards):
        dataset = self._whole_rows(shards)

        def prepare(image, label, file_name):
            return self._guarded(lambda: self._whole(*self._decode(image, label, str(file_name))))

        dataset = self._map(dataset, prepare)
        if self.batch_size == 1:
            return dataset.batch(1)
        buckets = list(range(1, _MAX_STRIDES * _MAX_STRIDES + 1))
        return dataset.bucket_batch_by_length(
            ["label"],
            buckets,
            [self.batch_size] * len(buckets) + [1],
            element_length_function=_size_bucket,
            drop_remainder=False,
        )

    def _map(self, dataset, prepare, callbacks=None):
        return dataset.map(
            prepare,
            input_columns=["data", "label", "file_name"],
            output_columns=["data", "label"],
            num_parallel_workers=self.num_parallel_calls,
            callbacks=callbacks,
        )

    def _guarded(self, prepare):
        try:
            return prepare()
        except Exception as fault:
            self.fault = fault
            raise

    def _generator(self, epoch: int, name: str) -> np.random.RandomState:
        key = zlib.crc32(name.encode("utf-8"))
        # Of NumPy's bit generators one that starts in 10 us; the Mersenne twister takes 100 us.
        return np.random.RandomState(np.random.PCG64([self.seed, epoch, key]))

    def _decode(self, image, label, name: str | None = None):
        check_sample(self.data_file, name, image, label)
        name = name or "sample"
        image = transforms.decode_image(image, f"{self.data_file}: image of {name!r}")
        label = transforms.decode_label(label, f"{self.data_file}: label of {name!r}")
        if image.shape[:2] != label.shape:
            raise InputError(
                f"{self.data_file}: image of {name!r} is {image.shape[1]}x{image.shape[0]}, its "
                f"label {label.shape[1]}x{label.shape[0]}; build the records again"
            )
        foreign = label[(label >= self.num_classes) & (label != self.ignore_label)]
        if foreign.size:
            raise InputError(
                f"{self.data_file}: label of {name!r} holds id {foreign.max()} with "
                f"{self.num_classes} classes; pass the right --num-classes"
            )
        return image, label

    def _augment(self, image, label, rng, out=None):
        return transforms.augment(
            image,
            label,
            rng,
            table=self._table,
            crop_size=self.crop_size,
            min_scale=self.min_scale,
            max_scale=self.max_scale,
            ignore_label=self.ignore_label,
            out=out,
        )

    def _whole(self, image, label):
        image = transforms.pad_to_multiple(transforms.normalize(image, self._table), STRIDE)
        label = transforms.pad_to_multiple(label, STRIDE, self.ignore_label)
        return image, label.astype(np.int32)


def _size_bucket(label) -> int:
    """Number of the bucket of a padded size, from 0; past the last for a size over the limit."""
    rows, columns = (side // STRIDE for side in label.shape)
    if max(rows, columns) > _MAX_STRIDES:
        return _MAX_STRIDES * _MAX_STRIDES
    return (rows - 1) * _MAX_STRIDES + columns - 1
