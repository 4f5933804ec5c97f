"""Many pictures: files into masks and overlays, a record into scores, or the network alone."""

import itertools
import tempfile
from pathlib import Path

from fcn8s_ms import voc

from ..workloads import drawn_pairs, folded_network, network_of, write_pairs

_SIZE = (360, 480)  # CamVid's
_DIFFERENT = 20  # pictures; the others have the same bytes


def predict(options):
    """Masks and overlays of picture files, as `fcn8s-ms predict` writes them."""
    from fcn8s_ms.inference.pipeline import Pipeline

    folder = tempfile.TemporaryDirectory()
    predictor, pictures, saver = _prediction(options, Path(folder.name))

    def round_():
        pipeline = Pipeline(predictor, saver, 1, _Bar())
        pipeline.images(pictures)
        return pipeline.stopwatch.images

    round_.folder = folder  # removed with the contestant
    return round_


def predict_in_turn(options):
    """The same, one after the other: read a picture, run the network, write the results."""
    from fcn8s_ms.inference import read_image

    folder = tempfile.TemporaryDirectory()
    predictor, pictures, saver = _prediction(options, Path(folder.name))

    def round_():
        for picture in pictures:
            image = read_image(picture.path)
            saver.save(picture.name, image, predictor(image))
        return len(pictures)

    round_.folder = folder
    return round_


def network(options):
    """The network alone, on one picture again and again."""
    from fcn8s_ms.inference.engine import reduces_on_host
    from fcn8s_ms.transforms import decode_image

    predictor = _predictor(options)
    batch = predictor._batch([decode_image(drawn_pairs(1, *_SIZE)[0][0])])
    engine = predictor.engine
    compute = engine.logits if reduces_on_host(engine) else engine.class_ids
    return lambda: sum(len(compute(batch)) for _ in range(options.pictures))


def evaluate(options):
    """The scores of a record, all that `fcn8s-ms eval` counts."""
    from fcn8s_ms import evaluation, inference, records

    folder = tempfile.TemporaryDirectory()
    record = Path(folder.name) / "eval.mindrecord"
    predictor = _predictor(options)
    n_class = predictor.n_class
    records.build_records(_written(options, Path(folder.name), n_class), record)
    data = evaluation.whole_images(record, n_class, options.workers)
    has_certainty = inference.has_logits(predictor.engine)

    def round_():
        boundaries = evaluation.Boundaries(n_class)
        certainty = evaluation.Certainty() if has_certainty else None
        also = [evaluation.Trimap(5, n_class), boundaries, certainty]
        also.append(evaluation.PerImage(boundaries, certainty))
        predicted = evaluation.predict_dataset(predictor, data, certainty=has_certainty)
        counts = evaluation.count(predicted, n_class, [one for one in also if one is not None])
        return counts.num_images

    round_.folder = folder
    return round_


class _Bar:
    """Takes the lines of a prediction and shows none."""

    def update(self, n):
        pass

    def write(self, s):
        pass

    def close(self):
        pass


def _predictor(options):
    """Predictor of the network, or of an exported file."""
    from fcn8s_ms.inference import Segmenter

    if options.network is not None:
        return Segmenter.from_checkpoint(options.network, device="CPU").predictor
    from fcn8s_ms.inference.mindspore_engine import MindSporeEngine

    arguments = network_of(options)
    if options.arch in ("fcn8s", "fcn16s", "fcn32s"):
        arguments["upsample_init"] = "bilinear"  # as trained: masks of regions, not of dots
    return Segmenter(MindSporeEngine(folded_network(**arguments))).predictor


def _prediction(options, folder):
    """Predictor, pictures and saver of a prediction into a folder."""
    from fcn8s_ms.inference.inputs import Picture
    from fcn8s_ms.inference.outputs import ResultOptions, Saver

    predictor = _predictor(options)
    pictures = [Picture(pair.image, pair.name) for pair in _written(options, folder, 2)]
    output = folder / "predictions"
    output.mkdir()
    classes = voc.class_names(predictor.n_class)
    saver = Saver(ResultOptions(output=output), classes, voc.palette())
    return predictor, pictures, saver


def _written(options, folder: Path, n_class: int) -> list:
    """Pairs of a JPEG and a label PNG, of CamVid's size."""
    drawn = drawn_pairs(min(_DIFFERENT, options.pictures), *_SIZE, n_class)
    return write_pairs(folder, itertools.islice(itertools.cycle(drawn), options.pictures))
