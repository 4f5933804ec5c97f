"""`SegDataset`: training batches and whole images from a MindRecord file."""

import functools
import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import mindspore.dataset as ds
import numpy as np
from numpy.typing import ArrayLike

from . import files, transforms
from .errors import InputError
from .images.reader import MAX_PIXELS
from .records import check_sample, open_record, order, samples
from .system.threads import available_cpus, map_ahead
from .transforms import Crop, Encoded, RandomSource
from .voc import IGNORE_LABEL, NUM_CLASSES

__all__ = ["SegDataset"]

logger = logging.getLogger(__name__)

_NOTHING = np.zeros((1, 3, 1, 1), np.float32), np.zeros((1, 1, 1), np.int32)


class _Sample(NamedTuple):
    """Name of a sample, and its random numbers."""

    name: str
    rng: RandomSource


# Of the sample that a thread of the training pipeline prepares.
_current: ContextVar[_Sample | None] = ContextVar("current", default=None)


def _clamped(name: str, asked: int) -> int:
    if asked < 1:
        raise InputError(f"{name} is {asked}; at least one is needed")
    limit = available_cpus()
    if asked > limit:
        logger.warning("%s %d is more than the %d CPUs here: using %d", name, asked, limit, limit)
    return min(asked, limit)


class SegDataset:
    """Images and labels of a MindRecord file, prepared for FCN-8s.

    `get_dataset` builds the pipeline of training batches: random crops, whose randomness depends on
    the seed, the epoch and the sample alone, so a run repeats whatever the number of workers.
    `whole_samples` yields every image once and whole, for evaluation.

    Training calls `preprocess_dataset` for every sample: override it to change the augmentation.

    The record is opened when it is first needed; until then `data_file` may still be assigned.

    Args:
        image_mean: mean of the channels, BGR, 0…255.
        image_std: standard deviation of the channels, BGR.
        data_file: MindRecord file with the columns `data`, `label`, `file_name`.
        batch_size: samples per batch.
        crop_size: side of the training crops, in pixels. The networks take multiples of 32.
        max_scale: largest random factor of both sides.
        min_scale: smallest random factor.
        ignore_label: label of pixels that do not count.
        num_classes: number of classes; a label outside is an error.
        num_readers: workers that read the file.
        num_parallel_calls: workers that prepare samples, in training a batch each. They are
            threads: OpenCV computes outside Python's lock, and processes would copy every batch.
        seed: seed of order and crops; None for a fresh one.
        num_shards: number of parts the samples are dealt to, one for each device; None for all. The
            batches of one step, taken over all parts, are the batch that one part of all samples
            would get with batches as many times as large: order and crops do not depend on it.
        shard_id: number of this part, 0…num_shards-1.
        max_pixels: largest number of pixels of an image, which its header tells; 0 for any.
        augmentations: further random changes, as for `transforms.augment`.
        resize_to: height and width to which training squeezes whole images, instead of scaling and
            cropping them; `crop_size` and the scales are not used then.
        resize_short: smallest and largest length of the shorter side, one of which is drawn for
            every crop, instead of a scale.
        cat_max_ratio: crops that show little else than one class are drawn anew, as for
            `transforms.augment`; None takes every crop.

    Raises:
        InputError: an argument is out of range, or two contradict each other.

    Source: the tutorial's `SegDataset`.
    """

    def __init__(
        self,
        image_mean: "ArrayLike",
        image_std: "ArrayLike",
        data_file: files.PathLike = "",
        batch_size: int = 32,
        crop_size: int = 512,
        max_scale: float = 2.0,
        min_scale: float = 0.5,
        ignore_label: int = IGNORE_LABEL,
        num_classes: int = NUM_CLASSES,
        num_readers: int = 2,
        num_parallel_calls: int = 4,
        *,
        seed: int | None = None,
        num_shards: int | None = None,
        shard_id: int | None = None,
        max_pixels: int = MAX_PIXELS,
        augmentations: Sequence[str] = (),
        resize_to: Sequence[int] | None = None,
        resize_short: Sequence[int] | None = None,
        cat_max_ratio: float | None = None,
    ):
        if not 0 < min_scale <= max_scale:
            raise InputError(
                f"scales {min_scale}…{max_scale} are not a range; need 0 < min_scale <= max_scale"
            )
        for name, value in (("batch_size", batch_size), ("crop_size", crop_size)):
            if value < 1:
                raise InputError(f"{name} is {value}; it must be positive")
        transforms.check_sizes(resize_to, resize_short, cat_max_ratio)
        if (num_shards is None) != (shard_id is None):
            raise InputError("num_shards and shard_id go together; give both or neither")
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
        self.seed = int(np.random.SeedSequence().generate_state(1)[0]) if seed is None else seed
        self.num_shards = num_shards
        self.shard_id = shard_id
        self.max_pixels = max_pixels
        self.augmentations = tuple(augmentations)
        self.resize_to = resize_to
        self.resize_short = resize_short
        self.cat_max_ratio = cat_max_ratio
        self.data_file = data_file
        self._table = transforms.normalization_table(self.image_mean, self.image_std)
        self._skipped_epochs = 0
        self._fault: Exception | None = None  # of a worker, for `explain`

    # --- the record ----------------------------------------------------------------------------

    @property
    def data_file(self) -> Path:
        """Absolute path of the record file, or of its first shard; opens the record.

        Raises:
            InputError: no file is named, or it cannot be read.
        """
        return self._open()[0]

    @data_file.setter
    def data_file(self, path: files.PathLike) -> None:
        self._named: files.PathLike = path
        self._opened: tuple[Path, int] | None = None

    @property
    def num_samples(self) -> int:
        """Number of images in the record, over all shards; opens the record.

        Raises:
            InputError: no file is named, or it cannot be read.
        """
        return self._open()[1]

    def _open(self) -> tuple[Path, int]:
        if self._opened is None:
            if str(self._named) in ("", "."):  # "." is what an empty path becomes
                raise InputError(
                    "no record is named: give SegDataset the path of a MindRecord file as "
                    "data_file, or assign it to its attribute of that name; python -m "
                    "fcn8s_ms.build makes such files"
                )
            self._opened = open_record(self._named)
        return self._opened

    def names(self) -> list[str]:
        """File names of all samples, in the order of the record."""
        return order.names(self.data_file)

    # --- training ------------------------------------------------------------------------------

    @property
    def step_size(self) -> int:
        """Samples per step, over all shards."""
        return self.batch_size * (self.num_shards or 1)

    @property
    def sample_size(self) -> tuple[int, int]:
        """Height and width of the training samples, in pixels."""
        if self.resize_to is not None:
            return self.resize_to[0], self.resize_to[1]
        return self.crop_size, self.crop_size

    def preprocess_dataset(
        self,
        image: Encoded,
        label: Encoded,
        rng: RandomSource | None = None,
        out: Crop | None = None,
    ) -> Crop:
        """Prepares one training sample.

        The network gets exactly what this method returns, cast to float32 and int32. An override
        may leave out `rng` and `out`, and return crops of any size that is equal within a batch.

        Several threads prepare samples at the same time. The draws of this method and those from
        `rng` repeat for a seed all the same; an override's draws from `numpy.random` do not.

        Args:
            image: content of an image file.
            label: content of a PNG of class ids.
            rng: source of random numbers, drawn as `transforms.augment` says. None: in the training
                pipeline the sample's own generator, elsewhere the global one of `numpy.random`.
            out: arrays to write the result into; None for new ones.

        Returns:
            float32 array (3, H, W), int32 array (H, W), of the size `sample_size`.

        Raises:
            InputError: image or label cannot be decoded, or the label holds ids that are not
                classes.
        """
        sample = _current.get()
        if sample is None:  # called directly; the pipeline checks its samples itself
            check_sample(self._source, None, image, label)
            sample = _Sample("sample", np.random)
        return transforms.augment(
            *self._decode(image, label, sample.name),
            sample.rng if rng is None else rng,
            table=self._table,
            crop_size=self.crop_size,
            min_scale=self.min_scale,
            max_scale=self.max_scale,
            ignore_label=self.ignore_label,
            out=out,
            augmentations=self.augmentations,
            resize_to=self.resize_to,
            resize_short=self.resize_short,
            cat_max_ratio=self.cat_max_ratio,
        )

    def get_dataset(self, first_step: int = 1) -> ds.Dataset:
        """Builds the pipeline of training batches.

        Args:
            first_step: number of the first batch, from 1 and over all epochs: a resumed training
                continues in the middle of an epoch. Epochs are counted from the beginning all the
                same.

        Returns:
            Dataset with the columns `data`, float32 (N, 3, H, W), and `label`, int32 (N, H, W), in
            shuffled order; samples that do not fill a batch are left out.

        Raises:
            InputError: no file is named, it cannot be read, or its images do not fill one batch.
        """
        if self.num_samples < self.step_size:
            raise InputError(
                f"{self.data_file} has {self.num_samples} images for batches of {self.batch_size}"
                f"{f' on {self.num_shards} devices' if self.num_shards else ''}; lower the batch "
                "size"
            )
        columns = ["data", "label", "file_name"]
        shards = {"num_shards": self.num_shards or 1, "shard_id": self.shard_id or 0}
        dataset = self._shuffled(columns, **shards).batch(
            self.batch_size,
            drop_remainder=True,
            per_batch_map=self._prepare_batch,
            input_columns=columns,
            output_columns=["data", "label"],
            num_parallel_workers=self.num_parallel_calls,
        )
        epoch_steps = self.num_samples // self.step_size
        if dataset.get_dataset_size() > epoch_steps:  # samples of other shards fill this one up
            dataset = dataset.take(epoch_steps)
        self._skipped_epochs = (first_step - 1) // epoch_steps
        return order.from_step(dataset, first_step)

    def batch_names(self, step: int) -> list[str]:
        """File names of the samples in a batch of training, over all shards.

        Args:
            step: number of the batch, from 1 and over all epochs.
        """
        return order.names_at(self._shuffled(["file_name"]), self.step_size, step)

    def crops(self, count: int) -> list[Crop]:
        """First samples that the network would get, in true colours.

        Args:
            count: largest number of samples.

        Returns:
            List of (image, label): uint8 (H, W, 3) BGR, padded in the mean colour, and uint8
            (H, W).

        Raises:
            InputError: a sample cannot be used.
        """
        found: list[Crop] = []
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
        """Finds the exception to raise for an error of the pipeline: the fault behind it, if any.

        MindSpore wraps whatever goes wrong in a worker into a RuntimeError of many lines.
        """
        if self._fault is not None:
            return self._fault
        if "dataset pipeline" in str(error).lower():
            return InputError(
                f"{self.data_file} cannot be read to its end: it is damaged; build or download it "
                "again"
            )
        return error

    def _shuffled(self, columns: list[str], **shards: int) -> ds.Dataset:
        return order.shuffled(
            self.data_file, columns, seed=self.seed, workers=self.num_readers, **shards
        )

    def _prepare_batch(
        self,
        images: Sequence[np.ndarray],
        labels: Sequence[np.ndarray],
        names: Sequence[Any],
        info: Any,  # mindspore.dataset's BatchInfo, which has no public name
    ) -> Crop:
        epoch = info.get_epoch_num()
        if epoch < self._skipped_epochs:  # nobody sees it
            return _NOTHING
        names = [str(name) for name in names]
        try:
            batch: Crop | None = None
            places: list[Crop | None] = [None] * len(names)
            if "out" in self._options:
                # Crops are made in their places: MindSpore takes over a batch, but copies samples.
                batch = transforms.empty(len(self._table), self.sample_size, len(names))
                places = list(zip(*batch))
            crops = [
                self._prepare_sample(image, label, name, epoch, place)
                for image, label, name, place in zip(images, labels, names, places)
            ]
            if batch is not None and all(crop is place for crop, place in zip(crops, places)):
                return batch
            return transforms.stack(crops, names)
        except Exception as fault:
            self._fault = fault
            raise

    def _prepare_sample(
        self, image: np.ndarray, label: np.ndarray, name: str, epoch: int, out: Crop | None
    ) -> Crop:
        check_sample(self.data_file, name, image, label)
        rng = samples.generator(self.seed, epoch, name)
        options: dict[str, Any] = {"rng": rng, "out": out}
        token = _current.set(_Sample(name, rng))
        try:
            return self.preprocess_dataset(
                image, label, **{option: options[option] for option in self._options}
            )
        finally:
            _current.reset(token)

    @functools.cached_property
    def _options(self) -> list[str]:
        """Options of `preprocess_dataset` that an override still takes."""
        return samples.accepted(self.preprocess_dataset, ("rng", "out"))

    # --- evaluation ----------------------------------------------------------------------------

    def whole_samples(self) -> Iterator[tuple[str, np.ndarray, np.ndarray]]:
        """Yields every image once, whole, at its own size and unchanged.

        Yields:
            (file name, image, label): str, uint8 (H, W, 3) BGR, uint8 (H, W); of this shard.

        Raises:
            InputError: no file is named, it cannot be read to its end, or a sample cannot be used.
        """

        def decode(row: list[np.ndarray]) -> tuple[str, np.ndarray, np.ndarray] | None:
            image, label, name = row[0].tobytes(), row[1].tobytes(), str(row[2])
            if order.is_filler(image, label):
                return None
            check_sample(self.data_file, name, image, label)
            return name, *self._decode(image, label, name)

        dataset = order.in_shares(
            self.data_file,
            self.num_samples,
            workers=self.num_readers,
            num_shards=self.num_shards,
            shard_id=self.shard_id,
        )
        rows = dataset.create_tuple_iterator(num_epochs=1, output_numpy=True)
        with ThreadPoolExecutor(self.num_parallel_calls) as pool:
            try:
                for sample in map_ahead(pool, decode, rows, 2 * self.num_parallel_calls):
                    if sample is not None:
                        yield sample
            except RuntimeError as error:
                raise self.explain(error) from error

    @property
    def _source(self) -> files.PathLike:
        """Record file in messages about a sample, which need not come from one."""
        return self._opened[0] if self._opened else self._named or "SegDataset"

    def _decode(self, image: Encoded, label: Encoded, name: str) -> tuple[np.ndarray, np.ndarray]:
        return samples.decode(
            self._source,
            name,
            image,
            label,
            num_classes=self.num_classes,
            ignore_label=self.ignore_label,
            max_pixels=self.max_pixels,
        )
