"""The tutorial's evaluation: `Model.eval` with the four metrics, on random crops."""

from collections.abc import Callable

from mindspore import Tensor, nn
from mindspore.train import Callback, Model, RunContext

from .. import files, voc
from ..confusion import ConfusionMatrix
from ..dataset import SegDataset
from ..images.reader import MAX_PIXELS
from ..inference import Engine
from ..inference.mindspore_engine import ClassIds, MindSporeEngine, is_finite
from ..metrics import segmentation_metrics

__all__ = ["count_crops", "tutorial_crops"]


def tutorial_crops(
    data_file: files.PathLike,
    num_classes: int,
    workers: int,
    *,
    batch_size: int,
    crop_size: int,
    seed: int,
    max_pixels: int = MAX_PIXELS,
) -> SegDataset:
    """The dataset that the tutorial evaluates on: random crops, as in training.

    Args:
        data_file: record file.
        num_classes: number of classes.
        workers: threads that prepare samples.
        batch_size: samples per batch; those that do not fill one are left out.
        crop_size: side of the crops in pixels, a multiple of 32.
        seed: seed of order and crops.
        max_pixels: largest number of pixels of an image; 0 for any.
    """
    return SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        data_file,
        batch_size=batch_size,
        crop_size=crop_size,
        num_classes=num_classes,
        num_readers=min(2, workers),
        num_parallel_calls=workers,
        seed=seed,
        max_pixels=max_pixels,
    )


class _ClassIdsAndLabel(nn.Cell):
    """Inputs of the metrics, from a batch, and first what tells whether the logits are finite."""

    def __init__(self, network: nn.Cell):
        super().__init__(auto_prefix=False)
        self.class_ids = ClassIds(network)

    def construct(self, data: Tensor, label: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        ids, evidence, _ = self.class_ids(data)
        return evidence, ids, label


class _AfterBatch(Callback):
    def __init__(self, engine: MindSporeEngine, function: Callable[[], object]):
        super().__init__()
        self._engine = engine
        self._function = function

    def on_eval_step_end(self, run_context: RunContext) -> None:
        if not is_finite(run_context.original_args().net_outputs[0].asnumpy()):
            raise self._engine.not_finite()
        self._function()


def count_crops(
    engine: Engine,
    data: SegDataset,
    after_batch: Callable[[], object] = lambda: None,
) -> ConfusionMatrix:
    """Counts the predictions of an engine for random crops.

    Args:
        engine: as for `fcn8s_ms.inference.Predictor`. A network of MindSpore is evaluated by
            `Model.eval`; another engine's class ids go through the same metrics.
        data: result of `tutorial_crops`.
        after_batch: called after each batch, for instance to advance a progress bar.

    Raises:
        InputError: a sample cannot be decoded, or a logit is not finite.
    """
    metrics = segmentation_metrics(data.num_classes)
    dataset = data.get_dataset()
    try:
        if isinstance(engine, MindSporeEngine):
            network = engine.network
            was_training = network.training
            model = Model(
                network,
                metrics=metrics,
                eval_network=_ClassIdsAndLabel(network),
                eval_indexes=[0, 1, 2],
            )
            callbacks = [_AfterBatch(engine, after_batch)]
            model.eval(dataset, callbacks=callbacks, dataset_sink_mode=False)
            network.set_train(was_training)
        else:
            for batch in dataset.create_dict_iterator(num_epochs=1, output_numpy=True):
                ids = engine.class_ids(batch["data"])
                for metric in metrics.values():
                    metric.update(ids, batch["label"])
                after_batch()
    except RuntimeError as error:
        raise data.explain(error) from error
    return metrics["mean IoU"].counts
