"""All programs on data at the limits: nothing labelled, one class, many, one pixel, a ribbon."""

import json

import cv2
import numpy as np
import pytest

from fcn8s_ms import build, eval, files, predict, train

from .helpers import read_strict

MANY = [f"class {number}" for number in range(255)]


def noise(height, width):
    return np.random.RandomState(height).randint(0, 256, (height, width, 3)).astype(np.uint8)


def nothing_labelled(height, width):
    return np.full((height, width), 255, np.uint8)


def one_class(height, width):
    return np.ones((height, width), np.uint8)


def all_classes(height, width):
    return np.arange(height * width).reshape(height, width).astype(np.uint8)


# Class names, sizes of the images, and what makes a label of a size.
KINDS = {
    "nothing labelled": (["sky", "road"], [(40, 50), (33, 32)], nothing_labelled),
    "one class": (["sky", "road"], [(40, 50), (33, 32)], one_class),
    "255 classes": (MANY, [(40, 50), (33, 32)], all_classes),
    "one pixel": (["sky", "road"], [(1, 1), (1, 1)], one_class),
    "wide": (["sky", "road"], [(30, 20_000), (30, 40)], one_class),
    "high": (["sky", "road"], [(20_000, 30), (40, 30)], one_class),
}


_QUICK = ("one pixel",)  # of one class, too


@pytest.fixture(
    params=[
        kind if kind in _QUICK else pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS
    ]
)
def folder(request, tmp_path):
    """A folder of images and masks, and the file of their classes."""
    classes, sizes, label = KINDS[request.param]
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    for number, size in enumerate(sizes):
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), noise(*size))
        cv2.imwrite(str(tmp_path / "labels" / f"{number}.png"), label(*size))
    (tmp_path / "classes.txt").write_text("\n".join(classes))
    (tmp_path / "kind").write_text(request.param)
    return tmp_path


def run(main, *given):
    main([str(one) for one in given])


@pytest.mark.usefixtures("tiny_network")
def test_built_trained_scored_and_predicted(folder, capsys):
    kind = (folder / "kind").read_text()
    classes, sizes, _ = KINDS[kind]
    record, out = folder / "r.mindrecord", folder / "run"
    images = ("--images", folder / "images", "--labels", folder / "labels")
    run(build.main, *images, "--classes", folder / "classes.txt", "--output", record)
    run(build.main, "--inspect", record, "--preview", 2, "--crop-size", 32)

    small = ("--crop-size", 32, "--batch-size", 2, "--device", "CPU", "--mode", "pynative")
    run(train.main, "--data", record, "--val-data", record, *small, "--output", out)
    best = [*out.glob("*-best.ckpt"), *out.glob("*-last.ckpt")][0]

    scores = [folder / f"scores.{suffix}" for suffix in ("json", "csv", "md")]
    given = ("--checkpoint", best, "--data", record, "--device", "CPU", "--output", *scores)
    run(eval.main, *given, "--worst", 2, "--pictures", folder / "pictures")
    found = read_strict(scores[0])
    is_labelled = kind != "nothing labelled"
    assert (found["mean IoU"] is None) == (found["pixel accuracy"] is None) == (not is_labelled)
    assert len(found["worst"]) == (2 if is_labelled else 0)
    assert len(found["per class"]) == len(classes)
    tutorial = ("--protocol", "tutorial", "--crop-size", 32, "--batch-size", 2)
    run(eval.main, *given, *tutorial)
    assert read_strict(scores[0])["images"] == 2

    kinds = ("--save", "mask,color,overlay,probability", "--output", folder / "predicted")
    run(predict.main, folder / "images", "--checkpoint", best, "--device", "CPU", *kinds)
    for number, size in enumerate(sizes):
        mask = cv2.imread(str(folder / "predicted" / f"{number}_mask.png"), cv2.IMREAD_UNCHANGED)
        assert mask.shape[:2] == size

    written = [*folder.rglob("*.json"), *folder.rglob("*.jsonl")]
    assert len(written) > 6
    for path in written:
        read_strict(path)
    assert "nan" not in scores[1].read_text().lower()


def test_nothing_writes_json_by_itself():
    """`files.json_text` is strict: it has null where Python would write NaN."""
    assert json.loads(files.json_text([float("nan"), {"a": float("-inf")}])) == [None, {"a": None}]
    package = files.Path(files.__file__).parent
    writers = {
        path.relative_to(package).as_posix()
        for path in package.rglob("*.py")
        if "json.dump" in path.read_text(encoding="utf-8")
    }
    # The other two send messages between processes.
    assert writers == {"files.py", "distributed/ranks.py", "distributed/watchdog.py"}
