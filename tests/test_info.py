"""What `fcn8s_ms.info` says of files of every kind, and what it seals."""

import json
import subprocess
import sys

import numpy as np
import pytest
from mindspore import Parameter, Tensor

from fcn8s_ms import build, checkpoint, export, files, info
from fcn8s_ms.model import NETWORKS, FCN8s

from .helpers import TINY, error_of, tiny_network, write_plain_record

METADATA = {
    "classes": ["sky", "road", "tree"],
    "palette": [[0, 0, 0], [1, 2, 3], [9, 9, 9]],
    "epoch": 2,
    "step": 30,
    "loss": 0.5,
    "metric": {"mean IoU": 0.25, "epoch": 2},
    "arguments": {"batch_size": 2, "widths": [4, 4, 8, 8, 8], "val_data": None, "data": "r"},
}


def run(capsys, *arguments, status=0):
    """What the program prints."""
    try:
        info.main([str(argument) for argument in arguments])
        found = 0
    except SystemExit as ended:
        found = ended.code
    assert found == status
    return capsys.readouterr().out


def facts(capsys, *arguments, status=0):
    lines = run(capsys, *arguments, "--json", status=status).splitlines()
    found = [json.loads(line) for line in lines]
    return found[0] if len(found) == 1 else found


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "FCN8s.ckpt"
    checkpoint.save(FCN8s(3, **TINY), path, METADATA)
    return path


def flip(path, position):
    content = bytearray(path.read_bytes())
    content[position] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)


# --- checkpoints ---------------------------------------------------------------------------------


def test_checkpoint(saved, capsys):
    found = facts(capsys, saved)
    assert found["kind"] == "checkpoint" and found["bytes"] == saved.stat().st_size
    assert found["checksum"]["state"] == "verified" and found["sha256"] == files.sha256(saved)
    assert (found["architecture"], found["backbone"], found["num_classes"]) == ("fcn8s", "vgg16", 3)
    assert found["widths"] == TINY["widths"] and found["fc_width"] == TINY["fc_width"]
    assert found["classes"] == METADATA["classes"] and found["palette"] == METADATA["palette"]
    assert found["training"]["step"] == 30 and found["training"]["metric"]["mean IoU"] == 0.25
    assert found["arguments"] == METADATA["arguments"]
    network = FCN8s(3, **TINY)
    count = sum(one.size for one in network.get_parameters())
    assert found["parameters"]["count"] == count and found["parameters"]["bytes"] == 4 * count
    assert sum(one["parameters"] for one in found["layers"]) == count and not found["missing"]
    assert found["operations"]["height"] == found["operations"]["width"] == 512


def test_checkpoint_as_text(saved, capsys):
    shown = run(capsys, saved, "--layers", "--size", "100", "64")
    for part in (
        "checkpoint, 0.1 MB",
        "verified: SHA-256 in FCN8s.ckpt.json",
        "FCN-8s, backbone vgg16, --widths 4 4 8 8 8 --fc-width 16, 3 classes",
        "3: sky, road, tree",
        "GFLOPs for an image of 64×128, padded from 64×100",
        "epoch 2, step 30, loss 0.5",
        "mean IoU 0.25",
        "batch_size 2, widths 4 4 8 8 8, data r",
        "upscore8",
        "3×128×64",
    ):
        assert part in shown, part
    assert all(len(line) <= 100 for line in shown.splitlines()[1:])
    assert "upscore8" not in run(capsys, saved)


def test_operations_follow_the_size(saved, capsys):
    small, large = (facts(capsys, saved, "--size", side, side) for side in (256, 512))
    assert large["operations"]["gflops"] == pytest.approx(4 * small["operations"]["gflops"])


@pytest.mark.parametrize("arch", NETWORKS)
def test_architectures(arch, tmp_path, capsys):
    path = tmp_path / "n.ckpt"
    checkpoint.save(tiny_network(arch, 4), path, {})
    found = facts(capsys, path)
    assert found["architecture"] == arch and found["num_classes"] == 4 and not found["missing"]


@pytest.mark.parametrize("name", ["n.ckpt", "n.safetensors"])
@pytest.mark.parametrize("at_once", [False, True])
def test_authors_network_that_is_trained_at_once(name, at_once, tmp_path, capsys):
    """Its factors on pool4 and pool3 alone tell it."""
    path = tmp_path / name
    checkpoint.save(tiny_network("fcn8s_paper", 4, at_once=at_once), path, {})
    found = facts(capsys, path)
    assert found["scales"] == pytest.approx([0.01, 0.0001] if at_once else [1, 1])
    info.main([str(path)])
    assert ("trained at once" in capsys.readouterr().out) == at_once


def test_operations_are_those_of_inference(tmp_path, capsys):
    """Which does without the auxiliary head that the file has."""
    found = []
    for auxiliary in (False, True):
        path = tmp_path / f"{auxiliary}.safetensors"
        checkpoint.save(tiny_network("fcn_resnet50", 4, auxiliary=auxiliary), path, {})
        found.append(facts(capsys, path, "--size", "75", "101"))
    assert found[0]["operations"] == found[1]["operations"]
    assert found[1]["layers"][:-2] == found[0]["layers"]
    assert found[1]["layers"][-1]["name"] == "aux_classifier.4"


def test_checkpoint_with_an_optimizer(tmp_path, capsys):
    path = tmp_path / "last.ckpt"
    state = [Parameter(Tensor(np.ones((4, 3), np.float32)), name="moments.x")]
    checkpoint.save(FCN8s(3, **TINY), path, {}, state)
    found = facts(capsys, path)
    assert found["other_parameters"] == {
        "tensors": 1,
        "count": 12,
        "bytes": 48,
        "types": {"Float32": 1},
    }


def test_states_of_a_checksum(saved, capsys):
    flip(saved, -5)
    found = facts(capsys, saved, status=1)
    assert found["checksum"]["state"] == "mismatch" and found["num_classes"] == 3
    assert "mismatch: the file is not the one that FCN8s.ckpt.json" in run(capsys, saved, status=1)
    checkpoint.metadata_file(saved).unlink()
    found = facts(capsys, saved)
    assert found["checksum"]["state"] == "none" and found["json"] is None
    expected = "has no checksum: its bits cannot be vouched for (there is no FCN8s.ckpt.json)"
    assert expected in " ".join(run(capsys, saved).split())


def test_safetensors(saved, tmp_path, capsys):
    """The same facts as of the .ckpt, and its checksum inside."""
    path = tmp_path / "FCN8s.safetensors"
    checkpoint.save(checkpoint.load_network(saved), path, METADATA)
    found, expected = facts(capsys, path), facts(capsys, saved)
    assert found["checksum"] == {"state": "verified", "note": "SHA-256 in its metadata"}
    assert found["json"] is None
    different = {"file", "bytes", "checksum", "sha256", "json"}
    assert {name: one for name, one in found.items() if name not in different} == {
        name: one for name, one in expected.items() if name not in different
    }
    assert f"{path}: already sealed; its checksum agrees\n" == run(capsys, "--seal", path)
    flip(path, -5)
    assert facts(capsys, path, status=1)["checksum"]["state"] == "mismatch"
    shown = " ".join(run(capsys, path, status=1).split())
    assert "mismatch: the file is not the one that its metadata describes" in shown
    path.write_bytes(path.read_bytes()[:-4])
    assert "FCN8s.safetensors is not a safetensors file, or is damaged" in error_of(
        info.main, [path], capsys
    )


def test_weights_that_are_no_fcn(saved, tmp_path, capsys):
    path = tmp_path / "vgg.ckpt"
    weights = {
        name: value for name, value in checkpoint.read(saved).items() if name.startswith("conv1.")
    }
    network = FCN8s(3, **TINY)
    checkpoint.save(network.conv1, path, {})
    found = facts(capsys, path)
    assert found["architecture"] is None and found["parameters"]["tensors"] == len(weights)
    assert "not an FCN of this package" in run(capsys, path)


def test_nothing_heavy_is_loaded(saved):
    program = (
        "import sys; from fcn8s_ms import info; info.main(sys.argv[1:]);"
        "assert not {'mindspore', 'onnxruntime', 'onnx'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program, str(saved)], check=True, capture_output=True)


# --- records -------------------------------------------------------------------------------------


def test_record(record, capsys):
    found = facts(capsys, record)
    assert found["kind"] == "record" and found["samples"] == 5 and len(found["classes"]) == 21
    assert found["checksum"]["state"] == "verified" and found["palette"][1] == [128, 0, 0]
    assert found["version"] and found["list_name"] == ""
    shown = run(capsys, record)
    assert "5 in all.mindrecord" in shown and "#800000" in shown and "built by" in shown


def test_damaged_record(record, tmp_path, capsys):
    import shutil

    for suffix in ("", ".db", ".json"):
        shutil.copy(f"{record}{suffix}", tmp_path)
    path = tmp_path / record.name
    flip(path, path.read_bytes().index(b"\xff\xd8\xff") + 400)
    found = facts(capsys, path, status=1)
    assert found["checksum"]["state"] == "mismatch" and "damaged" in found["checksum"]["note"]


def test_record_of_others(tmp_path, capsys, caplog):
    path = write_plain_record(tmp_path / "plain.mindrecord")
    found = facts(capsys, path)
    assert found["samples"] == 5 and found["classes"] is None and found["json"] is None
    assert found["checksum"]["state"] == "none"
    assert not caplog.messages  # the facts say so


# --- exported files ------------------------------------------------------------------------------


def test_onnx(saved, tmp_path, capsys):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "fcn8s.onnx"
    export.main(["--checkpoint", str(saved), "--output", str(path), "--device", "CPU"])
    capsys.readouterr()
    found = facts(capsys, path)
    assert found["kind"] == "ONNX file" and found["checksum"]["state"] == "verified"
    assert found["inputs"] == [{"name": "image", "type": "float32", "shape": ["N", 3, "H", "W"]}]
    assert found["outputs"] == [{"name": "logits", "type": "float32", "shape": ["N", 3, "H", "W"]}]
    assert found["metadata"]["classes"] == METADATA["classes"]
    model = onnx.load(path)
    assert found["parameters"] == sum(int(np.prod(one.dims)) for one in model.graph.initializer)
    assert found["nodes"] == len(model.graph.node) and found["opset"] == 15
    assert "image: float32 (N, 3, H, W)" in run(capsys, path)

    kept = [entry for entry in model.metadata_props if entry.key != "sha256"]
    del model.metadata_props[:]
    onnx.save(model, path)
    found = facts(capsys, path)
    assert found["checksum"]["state"] == "none" and found["metadata"] == {}
    assert "metadata" in run(capsys, path) and len(kept) > 3


def test_changed_onnx(saved, tmp_path, capsys):
    pytest.importorskip("onnx")
    path = tmp_path / "fcn8s.onnx"
    export.main(["--checkpoint", str(saved), "--output", str(path), "--device", "CPU"])
    path.write_bytes(path.read_bytes().replace(b'"road"', b'"raod"'))
    capsys.readouterr()
    assert facts(capsys, path, status=1)["checksum"]["state"] == "mismatch"


def test_file_of_mindspore(tmp_path, capsys):
    path = tmp_path / "fcn8s.mindir"
    path.write_bytes(b"network")
    assert facts(capsys, path)["checksum"]["state"] == "none"
    files.write_json(tmp_path / "fcn8s.mindir.json", {"classes": ["a"], "sha256": "0" * 64})
    found = facts(capsys, path, status=1)
    assert found["checksum"]["state"] == "mismatch" and found["metadata"]["classes"] == ["a"]
    facts_of = {"classes": ["a"], "sha256": files.sha256(path)}
    files.write_json(tmp_path / "fcn8s.mindir.json", facts_of)
    assert facts(capsys, path)["checksum"]["state"] == "verified"
    assert 'classes       ["a"]' in run(capsys, path)


def test_folder_of_a_run(saved, capsys):
    saved.rename(saved.with_name("FCN8s-best.ckpt"))
    assert facts(capsys, saved.parent)["file"].endswith("FCN8s-best.ckpt")


# --- faults --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.ckpt", None, "none.ckpt is missing; check the path"),
        ("none.mindrecord", None, "record .*none.mindrecord is missing; build it"),
        ("none", None, "none is missing; check the path"),
        ("a.txt", b"text", "a.txt is none of the files known here: a checkpoint .* a record"),
        ("a.ckpt", b"text", "a.ckpt is not a checkpoint of MindSpore, or is damaged"),
        ("a.ckpt", b"", "a.ckpt is not a checkpoint of MindSpore, or is damaged"),
        ("a.onnx", b"text", "a.onnx is not an ONNX file, or is damaged"),
        ("a.onnx", b"", "a.onnx is not an ONNX file, or is damaged .it holds no network"),
        ("a.mindrecord", b"text", "a.mindrecord"),
        ("folder.ckpt", "folder", "folder.ckpt is a folder without a checkpoint; name a"),
    ],
)
def test_files_that_are_none(tmp_path, capsys, name, content, message):
    import re

    path = tmp_path / name
    if content == "folder":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    line = error_of(info.main, [path], capsys)
    assert re.search(message, line) and line.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sha256", "0" * 64], "--sha256 goes with --seal only"),
        (["--size", "0", "5"], "--size is 0 5; give a height and a width"),
        (["b.ckpt", "--seal", "--sha256", "0" * 64], "--sha256 is for one FILE"),
        (["--seal", "--sha256", "abc"], "'abc' is not a SHA-256"),
        (["--seal", "--sha256", "0" * 64, "1" * 64], "is one file; give --sha256 one value"),
    ],
)
def test_wrong_arguments(saved, capsys, arguments, message):
    assert message in error_of(info.main, [saved, *arguments], capsys)


def test_several_files(saved, tmp_path, capsys):
    bad = tmp_path / "bad.ckpt"
    bad.write_text("text")
    with pytest.raises(SystemExit) as ended:
        info.main([str(bad), str(saved), "--json"])
    out, err = capsys.readouterr()
    assert ended.value.code == 2 and "bad.ckpt is not a checkpoint" in err
    assert json.loads(out)["file"] == str(saved)


# --- sealing -------------------------------------------------------------------------------------


def test_seal(saved, tmp_path, capsys, caplog):
    checkpoint.metadata_file(saved).unlink()
    record = write_plain_record(tmp_path / "plain.mindrecord")
    for path in (saved, record):
        digest = files.sha256(path)
        error = error_of(info.main, ["--seal", path, "--sha256", "0" * 64], capsys)
        assert f"{path} is not the file that was expected: its SHA-256 is {digest}" in error
        assert not path.with_name(path.name + ".json").exists()
        shown = run(capsys, "--seal", path, "--sha256", digest)
        assert f"{path}: sealed\n" in shown and "verified: SHA-256" in shown
        assert f"{path}: already sealed; its checksum agrees\n" == run(capsys, "--seal", path)
        flip(path, -5)
        assert f"{path.name}" in error_of(info.main, ["--seal", path], capsys)
        assert facts(capsys, path, status=1)["checksum"]["state"] == "mismatch"
    assert not caplog.messages
    assert "--seal is for checkpoints and records" in error_of(
        info.main, ["--seal", tmp_path / "a.onnx"], capsys
    )


def test_seal_by_the_converter(tmp_path, capsys):
    record = write_plain_record(tmp_path / "plain.mindrecord")
    classes = tmp_path / "classes.txt"
    classes.write_text("".join(f"class{number}\n" for number in range(16)))
    build.main(["--seal", str(record), "--classes", str(classes)])
    assert "sealed. Classes: class0, class1" in capsys.readouterr().out
    build.main(["--seal", str(record)])
    assert "already sealed; its checksum agrees" in capsys.readouterr().out
    build.main(["--inspect", str(record)])
    assert "sealed by fcn8s-ms" in capsys.readouterr().out
    assert "--sha256 goes with --seal only" in error_of(
        build.main, ["--inspect", record, "--sha256", "0" * 64], capsys
    )
