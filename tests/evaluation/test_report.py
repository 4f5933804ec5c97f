import csv
import io
import json
import multiprocessing
import os

import numpy as np
import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.evaluation import report

NAN = float("nan")
RESULT = {
    "checkpoint": "FCN8s.ckpt",
    "data": "/data/val.mindrecord",
    "images": 12,
    "protocol": "every image once",
    "engine": "MindSpore",
    "pixel accuracy": 0.875,
    "mean IoU": 1 / 3,
    "per class": {
        "sky": {"IoU": 1 / 3, "recall": 0.5, "pixels": 1234567, "images": 12},
        "a|b": {"IoU": NAN, "recall": NAN, "pixels": 0, "images": 0},
    },
    "confusion matrix": [[1, 0], [2, 0]],
    "trimap width": 5,
    "worst": [{"image": "x", "mean IoU": 0.25}],
}
PROTOCOL = (
    "every image once; trimap: within 5 pixels of another label; 12 images of "
    "/data/val.mindrecord; MindSpore"
)


def _write_often(path, images):
    for _ in range(100):
        report.write(path, {**RESULT, "images": images})


@pytest.mark.skipif(os.name == "nt", reason="fork")
@pytest.mark.parametrize("name", ["a.json", "a.csv", "a.md"])
def test_two_evaluations_into_one_file(tmp_path, name):
    """At any moment the file holds the scores of one of them, complete."""
    path, whole = tmp_path / name, []
    for images in (1, 2):
        report.write(path, {**RESULT, "images": images})
        whole.append(path.read_bytes())
    context = multiprocessing.get_context("fork")
    both = [context.Process(target=_write_often, args=(path, images)) for images in (1, 2)]
    for one in both:
        one.start()
    while any(one.is_alive() for one in both):
        assert path.read_bytes() in whole
    assert [one.exitcode for one in both] == [0, 0]
    assert [found.name for found in tmp_path.iterdir()] == [name]


def test_table():
    assert report.table(RESULT).splitlines() == [
        "class     IoU  recall     pixels  images",
        "sky    0.3333  0.5000  1,234,567      12",
        "a|b         -       -          0       0",
        "",
        "pixel accuracy           0.8750",
        "mean IoU                 0.3333",
        "",
        "lowest mean IoU",
        "  0.2500  x",
    ]
    assert report.protocol_line(RESULT) == PROTOCOL


def test_markdown(tmp_path):
    report.write(tmp_path / "a.md", RESULT)
    lines = (tmp_path / "a.md").read_text().splitlines()
    assert lines == [
        "| score | value |",
        "| --- | ---: |",
        "| pixel accuracy | 0.8750 |",
        "| mean IoU | 0.3333 |",
        "",
        "| class | IoU | recall | pixels | images |",
        "| --- | ---: | ---: | ---: | ---: |",
        "| sky | 0.3333 | 0.5000 | 1,234,567 | 12 |",
        "| a\\|b | - | - | 0 | 0 |",
        "",
        "| lowest mean IoU | image |",
        "| ---: | --- |",
        "| 0.2500 | x |",
        "",
        f"Checkpoint: FCN8s.ckpt. Protocol: {PROTOCOL}.",
    ]


def test_csv_has_full_precision(tmp_path):
    report.write(tmp_path / "a.csv", RESULT)
    lines = (tmp_path / "a.csv").read_text().splitlines()
    comments = [line for line in lines if line.startswith("#")]
    assert comments == [
        "# checkpoint: FCN8s.ckpt",
        f"# protocol: {PROTOCOL}",
        "# pixel accuracy: 0.875",
        f"# mean IoU: {1 / 3!r}",
    ]
    rows = list(csv.DictReader(io.StringIO("\n".join(lines[len(comments) :]))))
    assert float(rows[0]["IoU"]) == 1 / 3 and rows[0]["pixels"] == "1234567"
    assert rows[1] == {"class": "a|b", "IoU": "", "recall": "", "pixels": "0", "images": "0"}


def test_json_has_everything(tmp_path):
    report.write(tmp_path / "new" / "a.JSON", RESULT)
    content = json.loads((tmp_path / "new" / "a.JSON").read_text())
    assert content["confusion matrix"] == [[1, 0], [2, 0]]
    assert content["per class"]["a|b"]["IoU"] is None
    assert content["worst"] == RESULT["worst"]


def test_other_endings_and_places(tmp_path):
    with pytest.raises(InputError, match="a.txt ends in none of .json, .csv, .md"):
        report.write(tmp_path / "a.txt", RESULT)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        report.write(tmp_path / "file" / "a.json", RESULT)


def test_confused_pairs_and_the_best_images():
    confused = report.most_confused(np.array([[7, 0, 3], [9, 1, 0], [0, 0, 0]]), ["x", "y", "z"])
    assert confused[1] == {"class": "x", "predicted as": "z", "pixels": 3, "share": 0.3}
    best = [{"image": "b", "mean IoU": 0.75}]
    result = {**RESULT, "most confused": confused, "best": best}
    assert report.table(result).splitlines()[-9:] == [
        "most confused  predicted as  pixels  share of class",
        "y              x                  9          0.9000",
        "x              z                  3          0.3000",
        "",
        "lowest mean IoU",
        "  0.2500  x",
        "",
        "highest mean IoU",
        "  0.7500  b",
    ]
    page = report.markdown(result)
    assert (
        "| most confused | predicted as | pixels | share of class |\n| --- | --- | ---: |" in page
    )
    assert "| y | x | 9 | 0.9000 |" in page and "| 0.7500 | b |" in page
