"""Damaged files of every kind that a program reads, and what becomes of them.

    python -m tests.fuzzing --cases 10000

writes valid files, damages each by a seeded mutator, has the reader of its kind read it, and prints
a table: how many were refused with an error that names the file, how many were read all the same
(damage to pixels or numbers that no checksum covers), and how many ended in a traceback, ended the
interpreter, or hung. Readers run in a process of their own.
"""

import argparse
import contextlib
import io
import json
import os
import random
import selectors
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

OUTCOMES = ("refused", "read", "traceback", "crash", "hang")
SECONDS_PER_CASE = 30


# --- valid files, and who reads them -----------------------------------------------------------


def _picture(suffix):
    def write(path):
        import cv2

        from .helpers import draw_pair

        path.write_bytes(cv2.imencode(suffix, draw_pair("a", 70, 90)[0])[1].tobytes())

    return write


def _read_picture(path):
    """As a picture to predict, and as one to build a record from, with a whole mask."""
    from fcn8s_ms import inference, voc
    from fcn8s_ms.errors import InputError
    from fcn8s_ms.records.encode import Encoder
    from fcn8s_ms.records.masks import MaskReader
    from fcn8s_ms.records.sources import Pair

    mask = path.with_name("whole_mask.png")
    if not mask.is_file():
        from .helpers import draw_pair, write_mask

        write_mask(mask, draw_pair("a", 70, 90)[1])
    errors = []
    for read in (
        lambda: inference.read_image(path),
        lambda: Encoder(MaskReader(voc.CLASSES))(Pair("a", path, mask)),
    ):
        try:
            read()
        except InputError as error:
            errors.append(error)
    if errors:
        raise errors[0]


def _mask(suffix):
    def write(path):
        import cv2

        from .helpers import draw_pair, write_mask

        if suffix == ".png":
            write_mask(path, draw_pair("a", 70, 90)[1])
        else:
            path.write_bytes(cv2.imencode(suffix, draw_pair("a", 70, 90)[1])[1].tobytes())

    return write


def _read_mask(path):
    from .helpers import read_mask

    read_mask(path)


def _write_labelme(path):
    from .helpers import shape, write_labelme

    polygon = shape("cat", [[1, 1], [40, 5], [20, 50]])
    write_labelme(path, [polygon, shape("dog", [[3, 3], [9, 9]], "rectangle")])


def _read_labelme(path):
    from fcn8s_ms.records import labelme

    labelme.image_of(path)
    labelme.labels(path)
    labelme.read_mask(path, {"cat": 1, "dog": 2})


def _encode(source):
    """As a build does it: every image of a source, with its mask or its shapes."""
    from fcn8s_ms.records.encode import Encoder
    from fcn8s_ms.records.masks import MaskReader

    masks = MaskReader(
        source.classes.names,
        label_map=source.label_map,
        only_mapped=source.label_map is not None,
        colours=source.classes.colours,
        mask_values=source.mask_values,
    )
    for pair in source.pairs:
        Encoder(masks)(pair)


def _draw(path, height, width, channels=3):
    import cv2
    import numpy as np

    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.full((height, width, channels), 90, np.uint8)
    path.write_bytes(cv2.imencode(path.suffix, pixels)[1].tobytes())


def _write_coco(path):
    from .records.test_coco import CONTENT

    for image in CONTENT["images"]:
        _draw(path.with_name("file_images") / image["file_name"], 4, 6)
    path.write_text(json.dumps(CONTENT), encoding="utf-8")


def _read_coco(path):
    from fcn8s_ms.records import coco

    _encode(coco.read_coco(path, path.with_name("file_images")))


_YOLO = """# a comment
path: .
train: file_images
nc: 2
names:
  0: cat
  1: 'traffic light'
"""
_YOLO_LABELS = "0 0.1 0.2 0.5 0.2 0.5 0.8 0.1 0.8\n\n1 .4 .4 .7 .4 .7 1.0 .4 1.0\n"


def _write_yolo(path):
    _draw(path.with_name("file_images") / "file.png", 5, 10)
    (path.with_name("file_images") / "file.txt").write_text(_YOLO_LABELS)
    path.write_text(_YOLO)


def _read_yolo(path):
    from fcn8s_ms.records import yolo

    _encode(yolo.read_yolo(path))


def _write_yolo_labels(path):
    _write_yolo(path.with_name("file.yaml"))
    path.write_text(_YOLO_LABELS)


def _read_yolo_labels(path):
    (path.with_name("file_images") / "file.txt").write_bytes(path.read_bytes())
    _read_yolo(path.with_name("file.yaml"))


def _write_label_map_of_cvat(path):
    root = path.with_name("file_cvat")
    _draw(root / "JPEGImages" / "a.png", 4, 6)
    _draw(root / "SegmentationClass" / "a.png", 4, 6)
    (root / "ImageSets" / "Segmentation").mkdir(parents=True)
    (root / "ImageSets" / "Segmentation" / "default.txt").write_text("a\n")
    path.write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\ncat:90,90,90::\n")


def _read_label_map_of_cvat(path):
    from fcn8s_ms.records import layouts

    root = path.with_name("file_cvat")
    (root / "labelmap.txt").write_bytes(path.read_bytes())
    _encode(layouts.cvat(root))


def _write_names_of_ade20k(path):
    root = path.with_name("file_ade20k")
    for folder in ("images", "annotations"):
        _draw(root / folder / "training" / "a.png", 4, 6, 3 if folder == "images" else 1)
    rows = [f"{number}\t0.1\t{number}\t1\tclass {number}, other" for number in range(1, 151)]
    path.write_text("\n".join(["Idx\tRatio\tTrain\tVal\tName", *rows]))


def _read_names_of_ade20k(path):
    from fcn8s_ms.records import layouts

    root = path.with_name("file_ade20k")
    (root / "objectInfo150.txt").write_bytes(path.read_bytes())
    _encode(layouts.ade20k(root))


def _write_matlab(path):
    from .helpers import draw_pair, write_mat

    write_mat(path, draw_pair("a", 70, 90)[1])


def _read_matlab(path):
    from fcn8s_ms.records import matlab

    matlab.read_mask(path)


def _network():
    from fcn8s_ms.model import FCN8s

    from .helpers import TINY

    return FCN8s(3, **TINY)


def _write_checkpoint(path):
    from fcn8s_ms import checkpoint

    metadata = {"classes": ["a", "b", "c"], "palette": [[0, 0, 0], [1, 2, 3], [9, 9, 9]], "step": 3}
    checkpoint.save(_network(), path, metadata)


def _write_foreign_safetensors(path):
    """One of the format's own package, which the network fits."""
    from safetensors.numpy import save_file

    arrays = {name: one.asnumpy() for name, one in _network().parameters_dict().items()}
    save_file(arrays, path, metadata={"format": "pt"})


def _write_safetensors_header(path):
    """The header of a checkpoint as JSON."""
    own = path.with_name("file.safetensors")
    _write_checkpoint(own)
    content = own.read_bytes()
    path.write_bytes(content[8 : 8 + int.from_bytes(content[:8], "little")])


def _read_safetensors_header(path):
    """Puts the header in front of as many numbers as a checkpoint has."""
    own = path.with_name("file.safetensors")
    if not own.is_file():
        _write_checkpoint(own)
    content, header = own.read_bytes(), path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")
    damaged = path.with_name("damaged_file.safetensors")
    damaged.write_bytes(len(header).to_bytes(8, "little") + header + content[start:])
    _read_checkpoint(damaged)


def _write_bare_checkpoint(path):
    _write_checkpoint(path)
    path.with_name(path.name + ".json").unlink()


def _read_checkpoint(path):
    from fcn8s_ms.inference import Segmenter

    Segmenter.from_checkpoint(path)


def _read_beside(reader):
    """For the JSON or the index next to a file: the file itself is read."""

    def read(path):
        reader(path.with_suffix(""))

    return read


def _write_record(path):
    from fcn8s_ms import records
    from fcn8s_ms.records import sources

    from .helpers import write_voc

    root = path.with_name(path.name + ".voc")
    records.build_records(sources.voc_pairs(write_voc(root), "trainval"), path)


def _write_plain_record(path):
    from .helpers import write_plain_record

    write_plain_record(path)


def _read_record(path):
    from fcn8s_ms import records

    records.survey_record(path)


def _exported_metadata():
    from fcn8s_ms import voc

    return {
        "classes": ["a", "b", "c"],
        "palette": [[0, 0, 0], [1, 2, 3], [9, 9, 9]],
        "mean": voc.IMAGE_MEAN,
        "std": voc.IMAGE_STD,
    }


def _write_onnx(path):
    import onnx

    from fcn8s_ms.deployment import onnx_graph
    from fcn8s_ms.network.batch_norm import fold_batch_norm

    network = fold_batch_norm(_network())
    onnx.save(onnx_graph.build(network, metadata=_exported_metadata()), str(path))


def _read_onnx(path):
    import numpy as np

    from fcn8s_ms.inference import Segmenter

    Segmenter.from_checkpoint(path, device="CPU")(np.zeros((40, 50, 3), np.uint8))


def _write_sealed_onnx(path):
    import onnx

    from fcn8s_ms.formats import onnx_digest

    _write_onnx(path)
    path.write_bytes(onnx_digest.sealed(onnx.load(path).SerializeToString()))


def _write_onnx_metadata(path):
    path.write_text(json.dumps(_exported_metadata()), encoding="utf-8")


def _read_onnx_metadata(path):
    """Puts the entries, each as JSON, into an ONNX file; what is not JSON becomes one of them."""
    import onnx

    network = path.with_name("file.onnx")
    if not network.is_file():
        _write_onnx(network)
    model = onnx.load(network)
    texts = {entry.key: entry.value for entry in model.metadata_props}
    content = path.read_bytes().decode("utf-8", "replace")
    try:
        found = json.loads(content)
        if not isinstance(found, dict):
            raise ValueError(content)
        texts = {str(name): json.dumps(value) for name, value in found.items()}
    except (ValueError, RecursionError):
        texts["classes"] = content
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, texts)
    onnx.save(model, network)
    try:
        _read_onnx(network)
        _inform(network)
    finally:
        network.unlink()


def _inform(path):
    """What `info` says of a file, as text and as JSON."""
    from fcn8s_ms import info

    given = info.get_parser().parse_args([str(path), "--layers"])
    facts = info.kind_of(path).facts(path, given)
    facts.text()
    json.dumps(facts.json())


def _write_mindir(path):
    from fcn8s_ms import files

    path.write_bytes(b"network" * 100)
    facts = {"classes": ["a", "b"], "sha256": files.sha256(path), "interface": {"input": "image"}}
    files.write_json(path.with_name(path.name + ".json"), facts)


def _write_sealed_record(path):
    from fcn8s_ms import records

    _write_plain_record(path)
    records.seal_record(path)


def _write_sealed_checkpoint(path):
    from fcn8s_ms import checkpoint

    _write_bare_checkpoint(path)
    checkpoint.seal(path)


def _seal_checkpoint(path):
    from fcn8s_ms import checkpoint

    checkpoint.seal(path)
    path.with_name(path.name + ".json").unlink()


def _seal_record(path):
    from fcn8s_ms import records

    records.seal_record(path)
    path.with_name(path.name + ".json").unlink()


def _text(content):
    def write(path):
        path.write_text(content, encoding="utf-8")

    return write


def _read_list(path):
    from fcn8s_ms.records import sources

    sources.read_list(path)


def _read_classes(path):
    from fcn8s_ms import records

    records.read_classes(path)


def _read_label_map(path):
    from fcn8s_ms import records

    records.read_label_map(path, ["ground", "cat"])


def _read_weights(path):
    from fcn8s_ms import loss

    loss.read_class_weights(path, ["ground", "cat"])


def _write_safetensors(path):
    import numpy as np
    from safetensors.numpy import save_file

    save_file({name: np.ones((4, 3, 3, 3), np.float32) for name in ("features.0.weight",)}, path)


def _write_hdf5(path):
    import h5py
    import numpy as np

    with h5py.File(path, "w") as file:
        for number in range(3):
            file[f"block1_conv{number}/kernel:0"] = np.ones((3, 3, 3, 8), np.float32)


def _write_caffemodel(path):
    import numpy as np

    from .formats.test_caffe_file import network

    layers = {"conv1_1": [np.ones((4, 3, 3, 3)), np.ones(4)], "score_fr": [np.ones((2, 4, 1, 1))]}
    path.write_bytes(network(layers))


def _read_weights_of_others(path):
    from fcn8s_ms.errors import InputError

    from .helpers import load_tool

    errors = io.StringIO()
    try:
        with contextlib.redirect_stderr(errors):
            load_tool("convert_weights").main([str(path), str(path.with_suffix(".ckpt"))])
    except SystemExit as status:
        if status.code != 2:
            raise
        raise InputError(errors.getvalue()) from None


def _write_tar(path):
    import tarfile

    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as tar:
        for name in ("dataset_fcn8s/mindname.mindrecord", "dataset_fcn8s/mindname.mindrecord.db"):
            member = tarfile.TarInfo(name)
            member.size = 2000
            tar.addfile(member, io.BytesIO(bytes(range(200)) * 10))


def _read_tar(path):
    from fcn8s_ms import fetch

    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        names = fetch.DATA_FILE.name, fetch.DATA_FILE.name + ".db"
        fetch._unpack(path, names, Path(folder))


def _read_argument_file(path):
    from fcn8s_ms.training import arguments

    arguments.parse(["--arguments", str(path)])


_TOML = """data = "a.mindrecord"
base_lr = 0.01
widths = [4, 4, 8, 8, 8]
freeze = ["backbone"]
resize_to = [64, 96]
freeze_bn = true
"""


def _write_arguments(path):
    from fcn8s_ms import files
    from fcn8s_ms.training import arguments

    files.write_json(path, arguments.parse(["--data", "r", "--output", "run"]).stored(1))


def _read_arguments(path):
    from fcn8s_ms.training import arguments

    folder = path.with_name(path.name + ".run")
    folder.mkdir(exist_ok=True)
    (folder / "arguments.json").write_bytes(path.read_bytes())
    arguments.parse(["--resume", str(folder)])


KINDS = {
    "picture .jpg": (".jpg", _picture(".jpg"), _read_picture),
    "picture .png": (".png", _picture(".png"), _read_picture),
    "picture .webp": (".webp", _picture(".webp"), _read_picture),
    "picture .tif": (".tif", _picture(".tif"), _read_picture),
    "picture .bmp": (".bmp", _picture(".bmp"), _read_picture),
    "mask .png": (".png", _mask(".png"), _read_mask),
    "mask .tif": (".tif", _mask(".tif"), _read_mask),
    "mask .bmp": (".bmp", _mask(".bmp"), _read_mask),
    "labelme": (".json", _write_labelme, _read_labelme),
    "COCO": (".json", _write_coco, _read_coco),
    "YOLO's data.yaml": (".yaml", _write_yolo, _read_yolo),
    "YOLO's labels": (".txt", _write_yolo_labels, _read_yolo_labels),
    "CVAT's labelmap.txt": (".txt", _write_label_map_of_cvat, _read_label_map_of_cvat),
    "ADE20K's names": (".txt", _write_names_of_ade20k, _read_names_of_ade20k),
    "MATLAB mask": (".mat", _write_matlab, _read_matlab),
    "list": (".txt", _text("".join(f"2007_{n:06d}\n" for n in range(40))), _read_list),
    "class file": (".txt", _text("ground 0 0 0\ncat 1 2 3\nignore 9 9 9\n"), _read_classes),
    "label map": (".json", _text('{"255": 1, "7": "ignore", "3": "cat"}'), _read_label_map),
    "class weights": (".json", _text('{"ground": 0.5, "cat": 2}'), _read_weights),
    "checkpoint": (".ckpt", _write_checkpoint, _read_checkpoint),
    "checkpoint without JSON": (".ckpt", _write_bare_checkpoint, _read_checkpoint),
    "JSON of a checkpoint": (".ckpt.json", _write_checkpoint, _read_beside(_read_checkpoint)),
    "checkpoint .safetensors": (".safetensors", _write_checkpoint, _read_checkpoint),
    ".safetensors of others": (".safetensors", _write_foreign_safetensors, _read_checkpoint),
    "header of .safetensors": (".json", _write_safetensors_header, _read_safetensors_header),
    "record": (".mindrecord", _write_record, _read_record),
    "record of others": (".mindrecord", _write_plain_record, _read_record),
    "index of a record": (".mindrecord.db", _write_record, _read_beside(_read_record)),
    "index of others": (".mindrecord.db", _write_plain_record, _read_beside(_read_record)),
    "JSON of a record": (".mindrecord.json", _write_record, _read_beside(_read_record)),
    "checkpoint to seal": (".ckpt", _write_bare_checkpoint, _seal_checkpoint),
    "sealed checkpoint": (".ckpt", _write_sealed_checkpoint, _read_checkpoint),
    "record to seal": (".mindrecord", _write_plain_record, _seal_record),
    "sealed record": (".mindrecord", _write_sealed_record, _read_record),
    "JSON of a sealed record": (
        ".mindrecord.json",
        _write_sealed_record,
        _read_beside(_read_record),
    ),
    "ONNX": (".onnx", _write_onnx, _read_onnx),
    "ONNX with checksum": (".onnx", _write_sealed_onnx, _read_onnx),
    "ONNX metadata": (".json", _write_onnx_metadata, _read_onnx_metadata),
    "info of a checkpoint": (".ckpt", _write_checkpoint, _inform),
    "info of .safetensors": (".safetensors", _write_checkpoint, _inform),
    "info of its JSON": (".ckpt.json", _write_checkpoint, _read_beside(_inform)),
    "info of a record": (".mindrecord", _write_record, _inform),
    "info of ONNX": (".onnx", _write_onnx, _inform),
    "info of MINDIR's JSON": (".mindir.json", _write_mindir, _read_beside(_inform)),
    "safetensors": (".safetensors", _write_safetensors, _read_weights_of_others),
    "Keras .h5": (".h5", _write_hdf5, _read_weights_of_others),
    ".caffemodel": (".caffemodel", _write_caffemodel, _read_weights_of_others),
    "archive .tar": (".tar", _write_tar, _read_tar),
    "archive .tar.gz": (".tgz", _write_tar, _read_tar),
    "arguments.json": (".json", _write_arguments, _read_arguments),
    "arguments of another run": (".json", _write_arguments, _read_argument_file),
    "arguments in TOML": (".toml", _text(_TOML), _read_argument_file),
}
"""Kind of file to its ending, the function that writes a valid one, and its reader."""


# --- damage ------------------------------------------------------------------------------------

_ODD_VALUES = [
    None,
    True,
    -1,
    0,
    1.5,
    2**70,
    10**400,
    "",
    "../../x",
    "\ud800",
    [],
    {},
    [[]],
    [None] * 300,
]


def _odd_json(content, rng):
    """JSON with a value of another type somewhere, or a name that is gone."""
    value = json.loads(content)
    parent, key = None, None
    here = value
    while isinstance(here, (dict, list)) and here and (parent is None or rng.random() < 0.7):
        parent = here
        key = rng.choice(list(here)) if isinstance(here, dict) else rng.randrange(len(here))
        here = parent[key]
    choice = rng.randrange(len(_ODD_VALUES) + 3)
    if choice < len(_ODD_VALUES):
        parent[key] = _ODD_VALUES[choice]
        return json.dumps(value).encode("ascii")
    if choice == len(_ODD_VALUES):
        del parent[key]
        return json.dumps(value).encode("ascii")
    text = json.dumps(value)
    return (text.replace(": ", ": NaN, ", 1) if choice % 2 else "[" * 100_000).encode("ascii")


def damaged(content, suffix, seed):
    """A damaged version of a file's content."""
    from .helpers import mutations

    rng = random.Random(seed)
    if suffix.endswith(".json") and rng.random() < 0.7:
        return _odd_json(content, rng)
    return next(mutations(content, seed, 1))


# --- the process that reads --------------------------------------------------------------------


def _serve(folder):
    """Reads what standard input names, a kind and a seed per line; answers with an outcome."""
    import logging
    import warnings

    warnings.simplefilter("ignore")
    logging.disable(logging.CRITICAL)
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    from fcn8s_ms import device
    from fcn8s_ms.errors import InputError

    device.configure("CPU", mode="pynative")
    originals = {}
    for line in sys.stdin:
        kind, seed = json.loads(line)
        suffix, write, read = KINDS[kind]
        place = folder / kind.replace(" ", "_").replace(".", "")
        if kind not in originals:
            place.mkdir(exist_ok=True)
            path = place / f"file{suffix}"
            written = path.with_suffix("") if suffix.count(".") == 2 else path
            if not path.exists():
                write(written)
            original = place / "original"
            if not original.exists():
                original.write_bytes(path.read_bytes())
            originals[kind] = path, original.read_bytes()
        path, content = originals[kind]
        path.chmod(0o600)
        path.write_bytes(damaged(content, suffix, seed))
        try:
            read(path)
            outcome = "read"
        except InputError as error:
            names_it = "file" in str(error)
            outcome = "refused" if names_it else f"traceback: a message without the file: {error}"
        except Exception as error:
            outcome = f"traceback: {type(error).__name__}: {str(error)[:200]}"
        path.write_bytes(content)
        print(json.dumps(outcome), file=answers, flush=True)


class Reader:
    """The process, started again after one that ended."""

    def __init__(self, folder):
        self._folder = folder
        self._process = None

    def ask(self, kind, seed):
        if self._process is None or self._process.poll() is not None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.fuzzing", "--serve", str(self._folder)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=Path(__file__).parents[1],
                text=True,
            )
            self._process.stdin.write(json.dumps(["list", 0]) + "\n")  # everything is imported
            self._process.stdin.flush()
            self._process.stdout.readline()
        self._process.stdin.write(json.dumps([kind, seed]) + "\n")
        self._process.stdin.flush()
        started = time.monotonic()
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            if not selector.select(SECONDS_PER_CASE):
                self.close()
                return f"hang: more than {time.monotonic() - started:.0f} s"
        answer = self._process.stdout.readline()
        if not answer:
            return f"crash: status {self._process.wait()}"
        return json.loads(answer)

    def close(self):
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


def run(kinds, cases, first_seed=0, progress=lambda text: None):
    """Tries damaged files.

    Returns:
        Kind to Counter of outcomes, and a list of (kind, seed, what happened) of all that is
        neither refused nor read.
    """
    counts, faults = {kind: Counter() for kind in kinds}, []
    with tempfile.TemporaryDirectory() as folder:
        reader = Reader(Path(folder))
        try:
            for kind in kinds:
                for seed in range(first_seed, first_seed + cases):
                    outcome = reader.ask(kind, seed)
                    counts[kind][outcome.split(":")[0]] += 1
                    if outcome not in ("refused", "read"):
                        faults.append((kind, seed, outcome))
                progress(f"{kind}: {dict(counts[kind])}")
        finally:
            reader.close()
    return counts, faults


def table(counts):
    """The counts as a table in Markdown."""
    lines = [f"| file | {' | '.join(OUTCOMES)} |", "| --- |" + " ---: |" * len(OUTCOMES)]
    for kind, found in counts.items():
        lines.append(f"| {kind} | {' | '.join(str(found[name]) for name in OUTCOMES)} |")
    total = sum(counts.values(), Counter())
    lines.append(f"| all | {' | '.join(str(total[name]) for name in OUTCOMES)} |")
    return "\n".join(lines)


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m tests.fuzzing", description=__doc__)
    parser.add_argument("--cases", type=int, default=1000, help="in all (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: %(default)s)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS))
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(argv)
    if options.serve:
        _serve(options.serve)
        return
    each = max(options.cases // len(options.kinds), 1)
    counts, faults = run(options.kinds, each, options.seed, lambda text: print(text, flush=True))
    print("\n" + table(counts))
    for kind, seed, outcome in faults:
        print(f"{kind}, seed {seed}: {outcome}")
    if faults:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
