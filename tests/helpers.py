"""What several tests share: small images, records and networks, servers, comparisons."""

import contextlib
import http.server
import importlib.util
import io
import json
import os
import random
import re
import sys
import tarfile
import threading
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import scipy.sparse
from mindspore import Tensor

from fcn8s_ms import (
    checkpoint,
    dataset,
    model,
    transforms,
    visualize,
    voc,
)
from fcn8s_ms.inference import Segmenter
from fcn8s_ms.network.architectures import ARCHITECTURES
from fcn8s_ms.records import masks
from fcn8s_ms.training import arguments as train_arguments

TINY = {"widths": [4, 4, 8, 8, 8], "fc_width": 16}

# By family: what makes a network tiny.
TINY_SIZES = {"vgg": TINY, "resnet": {"width": 4}, "paper": TINY}


def tiny_network(arch, n_class, **arguments):
    """A network with few channels."""
    sizes = TINY_SIZES[ARCHITECTURES[arch].family]
    return model.NETWORKS[arch](n_class, **{**sizes, **arguments})


def tiny_flags(arch):
    """Flags of the training program for the same."""
    if ARCHITECTURES[arch].family == "resnet":
        return ["--arch", arch, "--resnet-width", "4"]
    return ["--arch", arch, "--widths", *map(str, TINY["widths"]), "--fc-width", "16"]


# (name, height, width): sides that are no multiples of 32, and two images of one padded size.
SIZES = [("a", 70, 90), ("b", 90, 70), ("c", 65, 96), ("d", 40, 150), ("e", 64, 64)]


def use_tiny_networks(patch):
    """Makes `TINY` the training program's default of --widths and --fc-width."""
    get_parser = train_arguments.get_parser

    def with_tiny_defaults():
        parser = get_parser()
        tiny = {**TINY, "resnet_width": 4}
        ordinary = {name: parser.get_default(name) for name in tiny}
        parser.set_defaults(**tiny)
        parse_args = parser.parse_args

        def parse(*given):
            found = parse_args(*given)
            for name in tiny:  # each for its own architectures
                if found.arch in ARCHITECTURES and not ARCHITECTURES[found.arch].takes(name):
                    setattr(found, name, ordinary[name])
            return found

        parser.parse_args = parse
        return parser

    patch.setattr(train_arguments, "get_parser", with_tiny_defaults)


def write_mask(path, ids):
    visualize.write_mask(path, ids, voc.palette())


def read_mask(path):
    return masks.MaskReader(voc.CLASSES).read(path)


def draw_pair(name, height, width):
    """An image, and a label whose classes show in the image's colours."""
    rng = np.random.RandomState(sum(map(ord, name)))
    label = np.zeros((height, width), np.uint8)
    cv2.circle(label, (width // 2, height // 2), min(height, width) // 3, 15, -1)
    cv2.rectangle(label, (3, 3), (width // 3, height // 3), 7, -1)
    cv2.circle(label, (width // 2, height // 2), min(height, width) // 3, 255, 1)
    image = voc.palette()[label][:, :, ::-1] // 2 + rng.randint(0, 100, (height, width, 3))
    return image.astype(np.uint8), label


def write_voc(root, sizes=SIZES, val=2):
    """Writes a VOC folder; the last `val` images are the val list. Returns VOC2012's path."""
    folder = root / "VOCdevkit" / "VOC2012"
    lists = folder / "ImageSets" / "Segmentation"
    for path in (folder / "JPEGImages", folder / "SegmentationClass", lists):
        path.mkdir(parents=True)
    for name, height, width in sizes:
        image, label = draw_pair(name, height, width)
        encoded = cv2.imencode(".jpg", image)[1]
        (folder / "JPEGImages" / f"{name}.jpg").write_bytes(encoded.tobytes())
        write_mask(folder / "SegmentationClass" / f"{name}.png", label)
    names = [name for name, _, _ in sizes]
    for split, chosen in (("train", names[:-val]), ("val", names[-val:]), ("trainval", names)):
        (lists / f"{split}.txt").write_text("".join(f"{name}\n" for name in chosen))
    return folder


def write_sbd(root, lists):
    """Writes a folder of SBD with its MATLAB structures; returns the path of `dataset`.

    `lists` has the one-letter ids of the lists 'train' and 'val'.
    """
    sizes = {name: (height, width) for name, height, width in SIZES}
    folder = root / "benchmark_RELEASE" / "dataset"
    for name in ("img", "cls"):
        (folder / name).mkdir(parents=True)
    for split, names in lists.items():
        (folder / f"{split}.txt").write_text("".join(f"{name}\n" for name in names))
        for name in names:
            image, label = draw_pair(name, *sizes.get(name, (50, 60)))
            label[label == 255] = 0  # SBD has no borders
            (folder / "img" / f"{name}.jpg").write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
            write_mat(folder / "cls" / f"{name}.mat", label)
    return folder


def write_mat(path, label):
    """GTcls as in SBD: borders of the 20 classes, the classes there are, and the labels."""
    fields = [("Boundaries", object), ("Segmentation", object), ("CategoriesPresent", object)]
    structure = np.zeros((1, 1), fields)
    boundaries = np.empty((20, 1), object)
    for number in range(20):
        boundaries[number, 0] = scipy.sparse.csc_matrix(label == number + 1)
    present = np.unique(label[label > 0])[:, np.newaxis]
    structure[0, 0] = (boundaries, label, present)
    scipy.io.savemat(path, {"GTcls": structure}, do_compression=True)


def write_plain_record(path, sizes=SIZES):
    """A record such as the published one: MindRecord's columns and nothing else."""
    from mindspore.mindrecord import FileWriter

    writer = FileWriter(str(path))
    kinds = {"file_name": "string", "data": "bytes", "label": "bytes"}
    writer.add_schema({name: {"type": kind} for name, kind in kinds.items()})
    rows = []
    for name, height, width in sizes:
        image, label = draw_pair(name, height, width)
        data = cv2.imencode(".jpg", image)[1].tobytes()
        png = cv2.imencode(".png", label)[1].tobytes()
        rows.append({"file_name": name, "data": data, "label": png})
    writer.write_raw_data(rows)
    writer.commit()
    return path


TOOLS = Path(__file__).parents[1] / "tools"
sys.path.insert(0, str(TOOLS))  # where Python finds what the tools share


def load_tool(name):
    """A script of `tools/` as a module."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clean_environment(**variables):
    """This process's environment without what a test or `configure` set."""
    environment = {
        name: value for name, value in os.environ.items() if not name.endswith("_MAX_CPU_ISA")
    }
    return {**environment, **variables}


TABLE = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)


def plain_steps(image, label, rng, crop, min_scale=0.5, max_scale=2.0):
    """The tutorial's seven steps in the tutorial's order, each on the whole image."""
    factor = rng.uniform(min_scale, max_scale)
    size = (int(factor * image.shape[1]), int(factor * image.shape[0]))
    image = cv2.resize(image, size, interpolation=cv2.INTER_CUBIC)
    label = cv2.resize(label, size, interpolation=cv2.INTER_NEAREST)
    mean, std = np.array(voc.IMAGE_MEAN, np.float32), np.array(voc.IMAGE_STD, np.float32)
    image = (image - mean) / std
    bottom, right = max(crop - image.shape[0], 0), max(crop - image.shape[1], 0)
    image = np.pad(image, ((0, bottom), (0, right), (0, 0)))
    label = np.pad(label, ((0, bottom), (0, right)), constant_values=255)
    top = rng.randint(0, image.shape[0] - crop + 1)
    left = rng.randint(0, image.shape[1] - crop + 1)
    image, label = image[top : top + crop, left : left + crop], label[top:, left:]
    label = label[:crop, :crop]
    if rng.uniform(0, 1) > 0.5:
        image, label = image[:, ::-1], label[:, ::-1]
    return image.transpose(2, 0, 1).astype(np.float32), label.astype(np.int32)


def augment(image, label, rng, crop, out=None):
    return transforms.augment(
        image,
        label,
        rng,
        table=TABLE,
        crop_size=crop,
        min_scale=0.5,
        max_scale=2.0,
        ignore_label=255,
        out=out,
    )


def write_labelme(path, shapes, width=12, height=10, **content):
    """A file as labelme 5 writes it."""
    given = {
        "version": "5.4.1",
        "flags": {},
        "shapes": [
            {"group_id": None, "description": "", "flags": {}, "mask": None, **shape}
            for shape in shapes
        ],
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
        **content,
    }
    path.write_text(json.dumps(given), encoding="utf-8")
    return path


def shape(label, points, kind="polygon", **more):
    return {"label": label, "points": points, "shape_type": kind, **more}


def lines(path, *without):
    found = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: row[key] for key in row if key not in without} for row in found]


def read_strict(path):
    """Content of a JSON file, or the lines of a .jsonl, by a reader that takes no NaN."""

    def refuse(name):
        raise AssertionError(f"{path} has {name}")

    text = path.read_text(encoding="utf-8")
    texts = text.splitlines() if path.suffix == ".jsonl" else [text]
    read = [json.loads(one, parse_constant=refuse) for one in texts]
    return read if path.suffix == ".jsonl" else read[0]


def state(run, name="FCN8s-last.ckpt"):
    return {key: value.asnumpy() for key, value in checkpoint.read(run / name).items()}


def assert_same(run, reference):
    assert sorted(path.name for path in run.iterdir()) == sorted(
        path.name for path in reference.iterdir()
    )
    for path in [*run.glob("*.ckpt"), *run.glob("*.safetensors")]:
        found, expected = state(run, path.name), state(reference, path.name)
        assert list(found) == list(expected)
        for name, value in found.items():
            assert np.array_equal(value, expected[name]), f"{name} of {path.name}"
    speed = ("images_per_second", "memory_gb")
    assert lines(run / "log.jsonl", *speed) == lines(reference / "log.jsonl", *speed)
    assert lines(run / "validations.jsonl") == lines(reference / "validations.jsonl")


def arguments(record, output, *more):
    """Of a short training. To compile it would take longer than all of its steps."""
    small = ["--crop-size", "64", "--batch-size", "2", "--workers", "1", "--device", "CPU"]
    return ["--data", str(record), "--output", str(output), *small, "--mode", "pynative", *more]


def losses(run):
    return [json.loads(line)["loss"] for line in (run / "log.jsonl").read_text().splitlines()]


def error_of(main, given, capsys):
    """What a program says on standard error when it ends with status 2."""
    with pytest.raises(SystemExit) as caught:
        main([str(argument) for argument in given])
    assert caught.value.code == 2
    error = capsys.readouterr().err
    assert "Traceback" not in error
    return error


def error_line_of(main, given, capfd):
    """As `error_of`, of a program that says one line and no more, progress bars apart."""
    lines = error_of(main, given, capfd).replace("\r", "\n").splitlines()
    lines = [line for line in lines if line.strip() and not re.search(r"%\|.*image", line)]
    assert len(lines) == 1, lines
    return lines[0]


@contextlib.contextmanager
def ordinary_user():
    """Root may write everywhere."""
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)


def error_table(rows):
    """Parametrises a test by rows of (name, fault, message): `fault` and `message`."""
    rows = [pytest.param(fault, message, id=name) for name, fault, message in rows]
    return pytest.mark.parametrize(("fault", "message"), rows)


def archive(members, kind=tarfile.REGTYPE):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size, info.type, info.linkname = len(data), kind, "/etc/passwd"
            tar.addfile(info, io.BytesIO(data))
    return content.getvalue()


class Server:
    """Serves bytes by name; the first `faults` answers to a full read are cut short."""

    def __init__(self):
        self.files, self.faults, self.requests = {}, 0, []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                name = self.path.rsplit("/", 1)[-1]
                outer.requests.append(name)
                if name not in outer.files:
                    self.send_error(404)
                    return
                content = outer.files[name]
                start = int(self.headers.get("Range", "bytes=0-")[6:].split("-")[0])
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(content) - start))
                self.end_headers()
                body = content[start:]
                if outer.faults and len(outer.requests) % 3 == 0:
                    outer.faults -= 1
                    body = body[: len(body) // 2]
                try:
                    self.wfile.write(body)
                except (BrokenPipeError, ConnectionResetError):
                    pass  # the client only asked for the size

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/datasets/"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


class Spread:
    """An engine of 21 classes that depends on the pixels around, and says 7 and 15 now and then."""

    n_class = 21
    multiple = 32
    name = "spread"

    def logits(self, batch):
        around = np.stack([cv2.blur(x.transpose(1, 2, 0), (9, 9)) for x in batch])
        weights = np.random.RandomState(0).standard_normal((3, 21)).astype(np.float32)
        weights[:, [0, 7, 15]] *= 4
        return np.ascontiguousarray((around @ weights).transpose(0, 3, 1, 2))

    def class_ids(self, batch):
        return self.logits(batch).argmax(1).astype(np.int32)


def record_data(record, batch_size=1, **options):
    return dataset.SegDataset(
        voc.IMAGE_MEAN,
        voc.IMAGE_STD,
        record,
        batch_size=batch_size,
        num_parallel_calls=2,
        **options,
    )


def overflowing(n_class):
    """A network whose weights are finite, and whose logits are not."""
    network = model.FCN8s(n_class, **TINY).set_train(False)
    for layer in (network.score_fr, network.upscore8):
        layer.weight.set_data(Tensor(np.full(layer.weight.shape, 1e30, np.float32)))
    return network


def fill(network):
    """Gives every parameter a value that follows from its name, as the golden outputs' network."""
    for name, parameter in network.parameters_dict().items():
        rng = np.random.RandomState(zlib.crc32(name.encode()) % 2**32)
        value = rng.standard_normal(parameter.shape).astype(np.float32)
        kind = name.rsplit(".", 1)[-1]
        if kind == "moving_variance":
            value = 0.5 + np.abs(value)
        elif kind == "gamma":
            value = 1 + 0.1 * value
        elif kind in ("beta", "moving_mean"):
            value = 0.1 * value
        else:
            value = value * np.float32(np.sqrt(2 / np.prod(parameter.shape[1:])))
        parameter.set_data(Tensor(value.astype(np.float32)))


def mutations(content, seed, count):
    """Damaged versions of a file: flips, cuts, insertions, zeros, and runs that stand twice.

    Half of them lie in the first kilobytes, where most files have their structure.
    """
    rng = random.Random(seed)
    for _ in range(count):
        damaged = bytearray(content)
        position = rng.randrange(len(damaged))
        if rng.random() < 0.5:
            position = min(position, rng.randrange(4096))
        kind, length = rng.randrange(5), rng.randrange(1, 64)
        if kind == 0:
            damaged[position] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del damaged[position:]
        elif kind == 2:
            damaged[position:position] = rng.randbytes(length)
        elif kind == 3:
            damaged[position : position + length] = bytes(length)
        else:
            damaged[position:position] = damaged[position : position + length]
        yield bytes(damaged)


def assert_same_probabilities(torch, there, path):
    """A checkpoint computes what a network in PyTorch does, on pictures of whole and odd sizes."""
    segmenter = Segmenter.from_checkpoint(path)
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    for height, width in ((96, 128), (101, 75)):
        image = draw_pair("a", height, width)[0]
        x = np.ascontiguousarray(transforms.normalize(image, table)[np.newaxis])
        with torch.no_grad():
            expected = torch.softmax(there(torch.from_numpy(x)), 1).numpy()[0]
        found = segmenter.predictor.probabilities(image)
        assert len(np.unique(expected.argmax(0))) > 1
        assert np.abs(found - expected).max() <= 1e-3
        assert (segmenter.predictor(image) != expected.argmax(0)).mean() <= 1e-3
