"""A small VOC folder and its records, and a network that is quick to run."""

import functools
import importlib.util
import os
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from fcn8s_ms import build, convert, device, sources, visualize, voc

TINY = {"widths": (4, 4, 8, 8, 8), "fc_width": 16}

# (name, height, width): sides that are no multiples of 32, and two images of one padded size.
SIZES = [("a", 70, 90), ("b", 90, 70), ("c", 65, 96), ("d", 40, 150), ("e", 64, 64)]


@pytest.fixture(scope="session", autouse=True)
def _configured():
    device.configure("CPU")


@pytest.fixture(autouse=True)
def _graph_mode_again():
    """After a test that has trained in the other mode."""
    yield
    device.configure("CPU")


@pytest.fixture
def tiny_network(monkeypatch):
    """Makes the entry points build networks of a few thousand parameters."""
    use_tiny_networks(monkeypatch)


def use_tiny_networks(patch):
    from fcn8s_ms import model

    for arch, network_class in model.ARCHITECTURES.items():
        patch.setitem(model.ARCHITECTURES, arch, functools.partial(network_class, **TINY))


def write_mask(path, ids):
    visualize.write_mask(path, ids, voc.palette())


def read_mask(path):
    return convert.Converter(voc.CLASSES).read_mask(path)


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


@pytest.fixture
def voc_folder(tmp_path):
    return write_voc(tmp_path / "voc")


@pytest.fixture(scope="session")
def record(tmp_path_factory):
    """Record of all images of the small VOC folder; not to be changed."""
    root = tmp_path_factory.mktemp("records")
    path = root / "all.mindrecord"
    build.build_records(sources.voc_pairs(write_voc(root / "voc"), "trainval"), path)
    return path


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
