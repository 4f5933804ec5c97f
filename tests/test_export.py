"""Exported files: what they compute, how they look from outside, and what failures leave."""

import functools
import json
import os
import re
import signal
import stat
import subprocess
import sys
import time

import cv2
import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor, nn
from PIL import Image

from fcn8s_ms import checkpoint, device, eval, export, files, model, transforms, voc
from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import Segmenter
from fcn8s_ms.inference.onnx_engine import OnnxEngine
from fcn8s_ms.network.architectures import TUTORIAL, multiple_of
from fcn8s_ms.system import threads

from .helpers import (
    TINY,
    clean_environment,
    draw_pair,
    error_line_of,
    fill,
    mutations,
    overflowing,
    tiny_network,
)

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

# height, width: multiples of 32, and not; smaller than one, too.
SIZES = [(64, 96), (75, 50), (33, 31), (20, 40), (128, 32)]
CLASSES = ["sky", "road", "tree", "car", "sign"]


@pytest.fixture(scope="module", params=[*TUTORIAL, "fcn_resnet50", "fcn8s_paper"])
def trained(request, tmp_path_factory):
    """A checkpoint with statistics and weights that all matter."""
    network = tiny_network(request.param, 5)
    fill(network)
    path = tmp_path_factory.mktemp(request.param) / "network.ckpt"
    palette = [[40 * i, 0, 255 - 40 * i] for i in range(5)]
    checkpoint.save(network, path, {"classes": CLASSES, "palette": palette})
    return path


def run(trained, output, *more):
    export.main(["--checkpoint", str(trained), "--output", str(output), "--device", "CPU", *more])
    return output


@functools.cache
def expected_of(trained, height, width):
    """A picture, the batch of it with the padding, and the logits of the checkpoint's network as it
    was trained, BatchNorm and all."""
    picture = draw_pair("a", height, width)[0]
    table = transforms.normalization_table(voc.IMAGE_MEAN, voc.IMAGE_STD)
    device.configure("CPU", mode="pynative")
    network = checkpoint.load_network(trained)
    batch = transforms.normalize(picture, table)[np.newaxis]
    batch = transforms.pad_to_multiple(batch, multiple_of(network))
    logits = network(Tensor(batch)).asnumpy()
    device.configure("CPU")
    return picture, batch, logits


of_one_network = pytest.mark.parametrize("trained", ["fcn8s"], indirect=True)


def test_onnx_of_any_size_and_batch(trained, tmp_path, capsys):
    path = run(trained, tmp_path / "new" / "network.onnx")
    printed = capsys.readouterr().out
    assert "float32 (N, 3, H, W), normalised BGR -> logits float32 (N, classes, H, W)" in printed
    assert "Compared with" in printed and "largest difference" in printed
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    assert [one.name for one in session.get_inputs()] == ["image"]
    assert [one.name for one in session.get_outputs()] == ["logits"]
    assert session.get_outputs()[0].shape == ["N", 5, "H", "W"]
    for size in SIZES:
        _, batch, expected = expected_of(trained, *size)
        for count in (1, 3):
            found = session.run(None, {"image": np.repeat(batch, count, axis=0)})[0]
            assert found.shape == (count, *expected.shape[1:])
            assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max()


def test_onnx_tells_what_it_is(trained, tmp_path):
    path = run(trained, tmp_path / "network.onnx")
    found = {entry.key: entry.value for entry in onnx.load(str(path)).metadata_props}
    assert json.loads(found["classes"]) == CLASSES
    assert json.loads(found["palette"])[2] == [80, 0, 175]
    assert json.loads(found["mean"]) == list(voc.IMAGE_MEAN)
    assert json.loads(found["std"]) == list(voc.IMAGE_STD)
    arch = trained.parent.name.rstrip("0123456789")  # pytest numbers the folders
    own = {"ConvTranspose"}
    if arch.endswith("_resnet"):
        own = {"Shape", "Concat", "Resize"}
    elif arch.endswith("_paper"):
        own |= {"Mul", "Shape", "Slice"}
        assert found["architecture"] == "FCN8sPaper"
    else:
        assert found["architecture"] == arch.replace("fcn", "FCN")
    assert found["multiple"] == ("32" if own == {"ConvTranspose"} else "1")
    operators = {node.op_type for node in onnx.load(str(path)).graph.node}
    assert operators - {"Add"} == {"Conv", "Relu", "MaxPool", "Identity"} | own
    engine = OnnxEngine(path)
    assert engine.n_class == 5 and engine.metadata["classes"] == CLASSES
    assert "CPUExecutionProvider" in engine.name


def test_onnx_from_pixels_to_class_ids(trained, tmp_path):
    """Normalisation, padding, cropping and argmax inside the file: pixels in, ids out."""
    path = run(trained, tmp_path / "network.onnx", "--normalize", "--argmax")
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for height, width in SIZES:
        picture, _, expected = expected_of(trained, height, width)
        found = session.run(["class_ids"], {"image": np.stack([picture, picture])})[0]
        assert found.dtype == np.int32 and found.shape == (2, height, width)
        expected = expected[0, :, :height, :width].argmax(axis=0)
        assert np.array_equal(found[0], found[1])
        assert (found[0] != expected).mean() <= 1e-4


@of_one_network
def test_onnx_in_float16(trained, tmp_path, capsys):
    path = run(trained, tmp_path / "network.onnx", "--fp16")
    full = run(trained, tmp_path / "full.onnx")
    assert path.stat().st_size < 0.7 * full.stat().st_size
    engine = OnnxEngine(path)
    _, batch, expected = expected_of(trained, *SIZES[0])
    difference = np.abs(engine.logits(batch) - expected).max() / np.abs(expected).max()
    assert 0 < difference < 0.02


def test_engine_computes_what_the_network_does(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(threads, "available_cores", lambda: 3)
    engine = OnnxEngine(run(trained, tmp_path / "network.onnx"), "CPU")
    assert engine._session.get_session_options().intra_op_num_threads == 3
    _, batch, expected = expected_of(trained, *SIZES[1])
    assert np.allclose(engine.logits(batch), expected, atol=1e-4 * np.abs(expected).max())
    ids = engine.class_ids(batch)
    assert ids.dtype == np.int32 and (ids != expected.argmax(axis=1)).mean() <= 1e-4


@pytest.mark.parametrize(
    ("trained", "flags"),
    [
        ("fcn8s", ("--normalize", "--argmax")),
        ("fcn16s", ("--argmax",)),
        ("fcn32s", ()),
        ("fcn_resnet50", ()),
        ("fcn8s_paper", ()),
    ],
    indirect=["trained"],
)
def test_mindir_of_any_size(trained, tmp_path, flags):
    path = run(trained, tmp_path / "network.mindir", "--format", "mindir", *flags)
    cell = nn.GraphCell(ms.load(str(path)))
    for height, width in ((64, 96), (32, 160)):
        picture, batch, expected = expected_of(trained, height, width)
        source = picture[np.newaxis] if "--normalize" in flags else batch
        found = cell(Tensor(np.repeat(source, 2, axis=0))).asnumpy()
        if "--argmax" in flags:
            assert found.shape == (2, height, width)
            assert (found[1] != expected[0].argmax(axis=0)).mean() <= 1e-4
        else:
            assert np.abs(found[1] - expected[0]).max() <= 1e-4 * np.abs(expected).max()


@of_one_network
def test_files_are_ordinary_and_folders_keep_their_permissions(trained, tmp_path):
    folder = tmp_path / "shared"
    folder.mkdir(mode=0o755)
    folder.chmod(0o755)
    for name, kind in (("a.onnx", "ONNX"), ("a.mindir", "MINDIR")):
        path = run(trained, folder / name, "--format", kind)
        umask = os.umask(0)
        os.umask(umask)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755
    assert sorted(os.listdir(folder)) == ["a.mindir", "a.onnx"]


def error_of(call, capsys):
    with pytest.raises(SystemExit) as caught:
        call()
    assert caught.value.code == 2
    return capsys.readouterr().err


@pytest.fixture
def small(tmp_path):
    network = model.FCN8s(3, **TINY)
    fill(network)
    path = tmp_path / "network.ckpt"
    checkpoint.save(network, path, {})
    return path


def test_a_file_that_computes_something_else_is_not_written(small, tmp_path, monkeypatch, capsys):
    from fcn8s_ms.deployment import onnx_graph

    build = onnx_graph.build

    def build_other(network, **options):
        network.score_fr.weight.set_data(network.score_fr.weight * 1.01)
        return build(network, **options)

    monkeypatch.setattr(onnx_graph, "build", build_other)
    output = tmp_path / "out" / "network.onnx"
    message = error_of(lambda: run(small, output), capsys)
    assert "does not compute what" in message and "nothing was written" in message
    assert not output.parent.exists()


def test_a_failed_export_changes_nothing(small, tmp_path, monkeypatch, capsys):
    before = ms.get_context("jit_syntax_level")
    output = tmp_path / "out" / "network.mindir"

    def fail(*arguments, **options):
        ms.set_context(jit_syntax_level=ms.STRICT)
        raise RuntimeError("no space\nleft")

    monkeypatch.setattr(ms, "export", fail)
    message = error_of(lambda: run(small, output, "--format", "MINDIR"), capsys)
    assert f"{output} cannot be written: no space;" in message
    assert ms.get_context("jit_syntax_level") == before
    assert not output.parent.exists()


def hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_signal_leaves_no_folder(small, tmp_path, number):
    """At least not beyond the next export."""
    output = tmp_path / "out" / "network.onnx"
    output.parent.mkdir()
    given = ["--checkpoint", str(small), "--output", str(output), "--device", "CPU"]
    process = subprocess.Popen(
        [sys.executable, "-m", "fcn8s_ms.export", *given],
        env=clean_environment(PYTHONPATH=os.pathsep.join(sys.path)),
        stderr=subprocess.PIPE,
        text=True,
    )
    while process.poll() is None and not hidden(output.parent):
        time.sleep(0.001)
    process.send_signal(number)
    error = process.communicate()[1]
    if number == signal.SIGKILL:
        assert process.returncode == -number and hidden(output.parent)
        files._swept.discard(output.parent)
        run(small, output)
    else:
        ended = signal.Signals(process.returncode - 128)
        assert ended in (number, signal.SIGTERM)  # MindSpore makes the one of the other
        assert error.splitlines()[-1].endswith(f"fcn8s_ms.export: stopped by {ended.name}")
    assert not hidden(output.parent)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--format", "AIR"], "AIR files have a fixed size: give --height"),
        (["--format", "AIR", "--height", "64"], "AIR files have a fixed size: give --width"),
        (["--format", "AIR", "--height", "320000"], "give --height, up to 10,000 (it is 320000)"),
        (
            ["--format", "AIR", "--height", "64", "--width", "64"],
            "on an Ascend only, this is a CPU",
        ),
        (["--height", "64"], "a fixed size has both sides: give --width"),
        (["--batch", "2"], "a fixed size has both sides: give --height"),
        (["--batch", "0", "--height", "64", "--width", "64"], "--batch is 0; it must be 1 to"),
        (["--height", "64", "--width", "50"], "--width is 50; "),
        (["--int8"], "--int8 needs images to take the ranges of activations from"),
        (["--int8", "--calibration-data", "a.mindrecord"], "a.mindrecord is missing"),
        (["--int8", "--fp16"], "two precisions"),
        (["--format", "MINDIR", "--int8"], "--int8 is for ONNX"),
        (["--check-data", "a.mindrecord"], "--check-data is for --int8"),
        (["--format", "MINDIR", "--fp16"], "--fp16 is for ONNX"),
        (["--image", "none.jpg"], "none.jpg is missing"),
    ],
)
def test_bad_arguments(small, tmp_path, flags, message, capsys):
    file_format = flags[1].lower() if flags[0] == "--format" else "onnx"
    output = tmp_path / "out" / f"network.{file_format}"
    assert message in error_of(lambda: run(small, output, *flags), capsys)
    assert not output.exists()


def test_existing_file(small, tmp_path, capsys):
    output = tmp_path / "network.onnx"
    output.write_bytes(b"mine")
    assert "pass --overwrite" in error_of(lambda: run(small, output), capsys)
    assert output.read_bytes() == b"mine"
    run(small, output, "--overwrite")
    onnx.checker.check_model(str(output))


def test_air_asks_mindspore_for_a_fixed_size(small, tmp_path, monkeypatch, capsys):
    """On an Ascend, which is not here: what MindSpore is asked for."""
    asked = []

    def record(cell, source, *, file_name, file_format):
        asked.append((source.shape, source.dtype, file_format))
        with open(file_name, "wb") as file:
            file.write(b"air")

    monkeypatch.setattr(export.device, "configure", lambda *args, **options: "Ascend")
    monkeypatch.setattr(ms, "export", record)
    path = run(small, tmp_path / "a.air", "--format", "AIR", "--height", "64", "--width", "96")
    assert asked == [((1, 3, 64, 96), ms.float32, "AIR")]
    assert path.read_bytes() == b"air" and "not run here" in capsys.readouterr().out
    flags = ["--format", "AIR", "--height", "64", "--width", "50"]
    error = error_of(lambda: run(small, tmp_path / "b.air", *flags), capsys)
    assert "--width is 50" in error and "takes multiples of 32: take 64" in error


def test_an_exported_file_is_not_exported_again(small, tmp_path, capsys):
    path = run(small, tmp_path / "a.onnx")
    message = error_of(lambda: run(path, tmp_path / "b.onnx"), capsys)
    assert "a.onnx is an exported file; give the checkpoint it was made from" in message


def test_engine_refuses_what_it_cannot_run(small, tmp_path):
    with pytest.raises(InputError, match="none.onnx is missing"):
        OnnxEngine(tmp_path / "none.onnx")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"\7" * 99)
    with pytest.raises(InputError, match="damaged.onnx cannot be loaded: .*export it again"):
        OnnxEngine(damaged)
    whole = onnx.load(run(small, tmp_path / "other.onnx"))
    whole.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    with pytest.raises(InputError, match="network .*other.onnx "):
        onnx.save(whole, tmp_path / "other.onnx")
        OnnxEngine(tmp_path / "other.onnx")
    ids_only = OnnxEngine(run(small, tmp_path / "ids.onnx", "--argmax"))
    with pytest.raises(InputError, match="device Ascend is not available to ONNX Runtime here"):
        OnnxEngine(tmp_path / "ids.onnx", "Ascend")
    batch = np.zeros((1, 3, 32, 32), np.float32)
    assert ids_only.class_ids(batch).shape == (1, 32, 32)
    with pytest.raises(InputError, match="computes class ids, not the logits"):
        ids_only.logits(batch)


def test_export_without_the_package(small, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "onnx", None)
    message = error_of(lambda: run(small, tmp_path / "a.onnx"), capsys)
    assert 'pip install -e ".[onnx]"' in message


def test_engine_needs_no_mindspore(small, tmp_path):
    """Segments a picture in a process where MindSpore, Pillow and Matplotlib cannot be imported."""
    network = run(small, tmp_path / "network.onnx")
    picture = tmp_path / "street.png"
    cv2.imwrite(str(picture), draw_pair("a", 75, 50)[0])
    code = (
        "import sys\n"
        "for name in ('mindspore', 'PIL', 'matplotlib', 'tqdm', 'onnx', 'download'):\n"
        "    sys.modules[name] = None\n"
        "from fcn8s_ms import predict\n"
        f"predict.main(['--checkpoint', {str(network)!r}, {str(picture)!r},"
        f" '--output', {str(tmp_path / 'out')!r}])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    ids = cv2.imread(str(tmp_path / "out" / "street_mask.png"))
    assert ids.shape == (75, 50, 3)


@pytest.fixture(scope="module")
def voc_networks(tmp_path_factory):
    """A checkpoint of VOC's classes, the same exported, and exported from pixels to class ids."""
    folder = tmp_path_factory.mktemp("voc_networks")
    network = model.FCN8s(21, **TINY)
    fill(network)
    path = folder / "network.ckpt"
    checkpoint.save(network, path, {})
    exported = run(path, folder / "network.onnx")
    return path, exported, run(path, folder / "pixels.onnx", "--normalize", "--argmax")


@pytest.fixture
def of_voc(voc_networks):
    """A checkpoint of the record's 21 classes, and the same exported."""
    return voc_networks[:2]


def test_scores_are_those_of_either_engine(of_voc, record, tmp_path):
    results = []
    for path in of_voc:
        output = tmp_path / f"{path.suffix[1:]}.json"
        evaluated = ["--checkpoint", str(path), "--data", str(record), "--device", "CPU"]
        eval.main([*evaluated, "--output", str(output), "--flip", "--scales", "0.5,1.0"])
        results.append(json.loads(output.read_text()))
    assert "MindSpore" in results[0]["engine"] and "ONNX Runtime" in results[1]["engine"]
    matrices = [np.array(result["confusion matrix"]) for result in results]
    pixels = matrices[0].sum()
    assert matrices[1].sum() == pixels > 0
    assert np.abs(matrices[0] - matrices[1]).sum() <= 2e-4 * pixels


def test_scores_of_a_file_from_pixels_to_class_ids(voc_networks, record, tmp_path, capsys):
    results = []
    for path in (voc_networks[0], voc_networks[2]):
        output = tmp_path / f"{path.suffix[1:]}.json"
        given = ["--checkpoint", path, "--data", record, "--device", "CPU"]
        eval.main([*map(str, given), "--output", str(output), "--batch-size", "3"])
        results.append(json.loads(output.read_text()))
    assert results[0]["protocol"] == results[1]["protocol"]
    matrices = [np.array(result["confusion matrix"]) for result in results]
    assert matrices[1].sum() == matrices[0].sum() > 0
    assert np.abs(matrices[0] - matrices[1]).sum() <= 2e-4 * matrices[0].sum()
    for flags, message in (
        (["--flip"], "pixels.onnx computes class ids, not the logits that other sizes and scales,"),
        (["--resize", "64"], "pixels.onnx computes class ids, not the logits"),
        (["--protocol", "tutorial"], "makes normalised crops, and .*pixels.onnx takes pixels; exp"),
    ):
        error = error_line_of(eval.main, [*given, *flags], capsys)
        assert re.search(message, error)


def test_segmenter_of_a_file_from_pixels_to_class_ids(voc_networks, tmp_path, capsys):
    from fcn8s_ms import predict

    one, other = (Segmenter.from_checkpoint(voc_networks[place]) for place in (0, 2))
    pictures = [draw_pair(str(size), *size)[0] for size in (*SIZES, SIZES[1])]
    for picture, ids in zip(pictures, other(pictures)):
        assert ids.dtype == np.uint8 and (one(picture) != ids).mean() <= 1e-3
    many = dict(other.predictor.many(enumerate(pictures), 2))
    assert all(np.array_equal(many[place], other(one)) for place, one in enumerate(pictures))
    with pytest.raises(InputError, match="computes class ids, not the logits"):
        other.probabilities(pictures[0])
    cv2.imwrite(str(tmp_path / "street.png"), pictures[1])
    given = ["--checkpoint", voc_networks[2], tmp_path / "street.png", "--output", tmp_path / "out"]
    predict.main([*map(str, given), "--save", "mask"])
    mask = np.asarray(Image.open(tmp_path / "out" / "street_mask.png"))
    assert np.array_equal(mask, other(pictures[1]))
    capsys.readouterr()
    error = error_line_of(predict.main, [*given, "--save", "probability"], capsys)
    assert "computes class ids only; export it without" in error


def test_logits_of_a_file_that_takes_pixels(voc_networks, tmp_path):
    path = run(voc_networks[0], tmp_path / "logits.onnx", "--normalize")
    picture = draw_pair("a", 75, 50)[0]
    views = {"scales": (0.5, 1.0), "flip": True, "sliding": (32, 24)}
    one, other = (Segmenter.from_checkpoint(each, **views) for each in (voc_networks[0], path))
    assert np.abs(one.probabilities(picture) - other.probabilities(picture)).max() < 1e-4


def test_engine_that_does_not_read_such_a_file(of_voc, tmp_path, capsys):
    from fcn8s_ms import predict

    network, exported = of_voc
    picture = tmp_path / "street.png"
    cv2.imwrite(str(picture), draw_pair("a", 40, 50)[0])
    for path, engine, remedy in (
        (network, "onnx", "export it first: python -m fcn8s_ms.export --checkpoint"),
        (exported, "mindspore", "it is for --engine onnx"),
    ):
        arguments = ["--checkpoint", str(path), "--engine", engine, str(picture)]
        assert remedy in error_of(functools.partial(predict.main, arguments), capsys)


def test_segmenter_of_an_exported_file(of_voc):
    picture = draw_pair("a", 75, 50)[0]
    one, other = (Segmenter.from_checkpoint(path) for path in of_voc)
    assert one.classes == other.classes and np.array_equal(one.palette, other.palette)
    assert (one(picture) != other(picture)).mean() <= 1e-3
    difference = np.abs(one.probabilities(picture) - other.probabilities(picture)).max()
    assert difference < 1e-4


def test_damaged_exports_are_refused(small, tmp_path, caplog):
    path = run(small, tmp_path / "network.onnx")
    whole = path.read_bytes()
    assert OnnxEngine(path, "CPU").metadata["sha256"]
    assert not caplog.messages
    for content in mutations(whole, 3, 100):
        if content != whole:
            path.write_bytes(content)
            with pytest.raises(InputError, match="network.onnx cannot be loaded: .* damaged"):
                OnnxEngine(path, "CPU")


def test_file_without_a_digest_and_logits_that_are_not_finite(small, tmp_path, caplog):
    path = run(small, tmp_path / "network.onnx")
    network = onnx.load(path)
    kept = [entry for entry in network.metadata_props if entry.key != "sha256"]
    del network.metadata_props[:]
    network.metadata_props.extend(kept)
    weight = next(one for one in network.graph.initializer if one.name == "score_fr.weight")
    weight.raw_data = np.full(len(weight.raw_data) // 4, np.nan, np.float32).tobytes()
    path.write_bytes(network.SerializeToString())
    engine = OnnxEngine(path, "CPU")
    OnnxEngine(path, "CPU")
    (message,) = caplog.messages  # once, however often it is opened
    assert f"network {path} has no checksum: its bits cannot be vouched for" in message
    with pytest.raises(InputError, match="network.onnx computes logits that are not finite"):
        engine.class_ids(np.zeros((1, 3, 32, 32), np.float32))


def edited(path, **entries):
    """The file with other entries in its metadata and without a digest."""
    network = onnx.load(path)
    found = {one.key: one.value for one in network.metadata_props if one.key != "sha256"}
    del network.metadata_props[:]
    onnx.helper.set_model_props(network, {**found, **entries})
    onnx.save(network, path)
    return path


def test_an_exported_network_tells_that_it_was_trained_on_squeezed_images(tmp_path, caplog):
    checkpoint_ = tmp_path / "network.ckpt"
    checkpoint.save(model.FCN8s(3, **TINY), checkpoint_, {"arguments": {"resize_to": [32, 96]}})
    path = run(checkpoint_, tmp_path / "network.onnx")
    caplog.clear()
    assert Segmenter.from_checkpoint(path, device="CPU").resize_of_training == "32x96"
    assert "network.onnx was trained on images squeezed to 32x96; eval and" in caplog.text
    caplog.clear()
    Segmenter.from_checkpoint(path, device="CPU", resize="32x96")
    assert not caplog.text


def test_hostile_metadata(small, tmp_path, capsys):
    from fcn8s_ms import predict

    path = run(small, tmp_path / "network.onnx")
    whole, picture = path.read_bytes(), tmp_path / "street.png"
    cv2.imwrite(str(picture), draw_pair("a", 40, 50)[0])
    for entries, message in (
        ({"palette": "[[0, 0, 0]]"}, "palette has 1 items; need 2 to 255"),
        ({"palette": "[[0, 0, 0], [300, 0, 0], [0, 0, 0]]"}, "palette[1][0] is 300"),
        ({"std": "[1, 2, 0]"}, "std[2] is 0; need a finite number"),
        ({"classes": "[" * 100_000}, "classes is not valid JSON (it is nested too deeply)"),
        (
            {"classes": '["a", "b"]', "palette": "[[0,0,0],[1,1,1]]"},
            "computes 3 classes, its metadata",
        ),
    ):
        path.write_bytes(whole)
        edited(path, **entries)
        arguments = ["--checkpoint", str(path), str(picture), "--output", str(tmp_path / "out")]
        line = error_of(functools.partial(predict.main, arguments), capsys)
        assert str(path) in line and message in line and "export it again" in line
        assert len(line.splitlines()) == 1


def test_sizes_that_do_not_fit(small, tmp_path):
    """Of a file without a digest, which loads and fails only when it is computed."""
    path = run(small, tmp_path / "network.onnx")
    network = onnx.load(edited(path))
    (upscore,) = (node for node in network.graph.node if node.name == "upscore2")
    (pads,) = (one for one in upscore.attribute if one.name == "pads")
    pads.ints[:] = [0, 0, 0, 0]
    onnx.save(network, path)
    with pytest.raises(InputError, match="network.onnx cannot be computed: .*; export it again"):
        OnnxEngine(path, "CPU").class_ids(np.zeros((1, 3, 32, 32), np.float32))


def test_weights_in_other_files(small, tmp_path):
    """Their bits would be covered by no checksum, and their path is the file's choice."""
    path = run(small, tmp_path / "network.onnx")
    network = onnx.load(edited(path))
    onnx.save(network, path, save_as_external_data=True, location="weights", size_threshold=0)
    with pytest.raises(InputError, match="network.onnx cannot be loaded: its weights lie in other"):
        OnnxEngine(path, "CPU")


@pytest.mark.parametrize("flags", [(), ("--argmax",), ("--argmax", "--fp16")])
def test_network_whose_logits_are_not_finite(tmp_path, capsys, flags):
    """The only check for class ids, which themselves do not tell."""
    checkpoint.save(overflowing(5), tmp_path / "network.ckpt", {"classes": CLASSES})
    output = tmp_path / "new" / "n.onnx"
    said = error_of(lambda: run(tmp_path / "network.ckpt", output, *flags), capsys)
    assert "network.ckpt computes logits that are not finite" in said
    assert not (tmp_path / "new").exists()
