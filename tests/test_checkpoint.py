import hashlib
import json
import os
import resource
import stat

import mindspore as ms
import numpy as np
import pytest
from mindspore import Parameter, Tensor, nn

from fcn8s_ms import checkpoint, files, model
from fcn8s_ms.errors import InputError
from fcn8s_ms.formats import checkpoint_file
from fcn8s_ms.model import FCN8s
from fcn8s_ms.network.architectures import TUTORIAL

from .helpers import TINY, mutations, tiny_network


def values(network):
    return {name: value.asnumpy() for name, value in network.parameters_dict().items()}


def saved_as(path):
    network = FCN8s(5, **TINY)
    checkpoint.save(network, path, {"classes": list("abcde"), "step": 7})
    return network, path


@pytest.fixture
def saved(tmp_path):
    return saved_as(tmp_path / "FCN8s.ckpt")


def test_round_trip_finds_widths_and_classes_by_itself(saved):
    network, path = saved
    loaded = checkpoint.load_network(path)
    assert loaded.n_class == 5
    assert not loaded.training
    expected, found = values(network), values(loaded)
    assert list(found) == list(expected)
    for name, value in found.items():
        assert np.array_equal(value, expected[name])
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    expected = {"classes": list("abcde"), "step": 7, "sha256": digest}
    assert checkpoint.read_metadata(path) == expected


def test_only_checkpoint_and_json_are_left_with_ordinary_permissions(saved):
    _, path = saved
    assert sorted(os.listdir(path.parent)) == ["FCN8s.ckpt", "FCN8s.ckpt.json"]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


class Killed(BaseException):
    pass


@pytest.mark.parametrize("moment", range(6))
def test_killed_save_leaves_one_pair_or_the_other(saved, monkeypatch, moment):
    """Ends a save before or after each of its renames: JSON, checkpoint, JSON."""
    network, path = saved
    older = values(network)
    moments = iter(range(6))
    replace = os.replace

    def killed_replace(source, target):
        if next(moments) == moment:
            raise Killed
        replace(source, target)
        if next(moments) == moment:
            raise Killed

    network.score_fr.weight.set_data(Tensor(np.ones(network.score_fr.weight.shape, np.float32)))
    monkeypatch.setattr(os, "replace", killed_replace)
    with pytest.raises(Killed):
        checkpoint.save(network, path, {"step": 8})
    monkeypatch.undo()

    step = checkpoint.read_metadata(path)["step"]
    assert step == (7 if moment < 3 else 8)
    expected = older if step == 7 else values(network)
    found = checkpoint.read(path)
    assert np.array_equal(found["score_fr.weight"].asnumpy(), expected["score_fr.weight"])
    # The next save finds its way from there.
    checkpoint.save(network, path, {"step": 9})
    assert set(checkpoint.read_metadata(path)) == {"step", "sha256"}
    checkpoint.read(path)


def test_first_save_killed_leaves_no_checkpoint_without_its_json(tmp_path, monkeypatch):
    path = tmp_path / "FCN8s.ckpt"
    replace = os.replace

    def killed_replace(source, target):
        if str(target).endswith(".ckpt"):
            raise Killed
        replace(source, target)

    monkeypatch.setattr(os, "replace", killed_replace)
    with pytest.raises(Killed):
        checkpoint.save(FCN8s(5, **TINY), path, {})
    assert not path.exists()


def test_content_is_on_the_disk_before_the_name(saved, monkeypatch):
    network, path = saved
    synced, fsync, replace = set(), os.fsync, os.replace

    def recorded_fsync(descriptor):
        fsync(descriptor)
        synced.add(os.fstat(descriptor).st_ino)

    def checked_replace(source, target):
        assert os.stat(source).st_ino in synced, f"{target} was named before its content was safe"
        replace(source, target)
        synced.discard(os.stat(path.parent).st_ino)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", checked_replace)
    checkpoint.save(network, path, {})
    assert os.stat(path.parent).st_ino in synced  # the name too


def test_state_is_saved_beside_the_weights_and_restored(tmp_path):
    network, other = FCN8s(5, **TINY), FCN8s(5, **TINY)
    moment = Parameter(Tensor(np.arange(3, dtype=np.float32)), name="moments.x")
    step = Parameter(Tensor(np.array([4], np.int32)), name="global_step")
    path = tmp_path / "last.ckpt"
    checkpoint.save(network, path, {}, state=[moment, step])
    stored = checkpoint.read(path)
    found = [
        Parameter(Tensor(np.zeros(3, np.float32)), name="moments.x"),
        Parameter(Tensor(np.array([0], np.int32)), name="global_step"),
    ]
    checkpoint.restore([*other.get_parameters(), *found], stored)
    for name, value in values(other).items():
        assert np.array_equal(value, values(network)[name])
    assert found[0].asnumpy().tolist() == [0, 1, 2] and found[1].asnumpy().tolist() == [4]
    # And it is a checkpoint like any other.
    assert checkpoint.load_network(path).n_class == 5


@pytest.mark.parametrize(
    ("stored", "message"),
    [({}, "w is missing"), ({"w": np.zeros(2, np.float32)}, r"w has shape \(2,\).*shape \(3,\)")],
)
def test_restoring_is_strict(stored, message):
    parameters = [
        Parameter(Tensor(np.ones(3, np.float32)), name="v"),
        Parameter(Tensor(np.ones(3, np.float32)), name="w"),
    ]
    stored = {"v": np.zeros(3, np.float32), **stored}
    stored = {name: Parameter(Tensor(value), name=name) for name, value in stored.items()}
    with pytest.raises(InputError, match=message):
        checkpoint.restore(parameters, stored)
    assert parameters[0].asnumpy().tolist() == [1, 1, 1]


def test_non_finite_parameters_are_named():
    def parameter(name, value):
        return Parameter(Tensor(np.array([0, value], np.float32)), name=name)

    parameters = [
        parameter("fine", 1e38),
        parameter("nan", float("nan")),
        parameter("infinite", -float("inf")),
    ]
    assert checkpoint.non_finite(parameters) == ["nan", "infinite"]


def test_flipped_bit_is_found(saved):
    _, path = saved
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match="FCN8s.ckpt is damaged: its checksum is not the one in"):
        checkpoint.load_network(path)


def test_damaged_file_can_be_replaced(saved):
    network, path = saved
    path.write_bytes(b"garbage")
    metadata = checkpoint.metadata_file(path)
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "previous": None}))
    checkpoint.save(network, path, {"step": 8})
    assert checkpoint.load_network(path).n_class == 5


def test_whole_file_that_cannot_be_loaded_is_not_called_damaged(saved, monkeypatch):
    def refuse(name):
        raise ValueError("Checkpoint protobuf content is larger than available memory\nmore")

    monkeypatch.setattr(ms, "load_checkpoint", refuse)
    message = "is whole, but MindSpore cannot load it: Checkpoint protobuf content is larger than"
    with pytest.raises(InputError, match=message):
        checkpoint.read(saved[1])


def test_memory_is_freed_for_a_large_file(saved, monkeypatch):
    """What the system keeps of files counts as used; it lets go of that when it must."""
    taken = []
    monkeypatch.setattr(os, "sysconf", lambda name: 1)
    monkeypatch.setattr(np, "ones", lambda size, dtype: taken.append(size))
    checkpoint._make_room(1000)
    assert taken == [2500]
    monkeypatch.setattr(os, "sysconf", lambda name: 1 << 20)
    checkpoint._make_room(1000)
    assert taken == [2500]


def test_file_larger_than_the_disk(saved):
    """A real write that fails half-way, as on a full disk."""
    network, path = saved
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(InputError, match="FCN8s.ckpt cannot be written: File too large; the"):
            checkpoint.save(network, path, {"step": 8})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and checkpoint.read_metadata(path)["step"] == 7
    assert sorted(os.listdir(path.parent)) == ["FCN8s.ckpt", "FCN8s.ckpt.json"]
    checkpoint.read(path)


def test_failed_save_keeps_the_older_file(saved, monkeypatch):
    network, path = saved
    before = path.read_bytes()

    def full(network, name):
        with open(name, "wb") as file:
            file.write(b"half")
        raise RuntimeError("Failed to save the checkpoint file: no space left")

    monkeypatch.setattr(ms, "save_checkpoint", full)
    with pytest.raises(InputError, match="FCN8s.ckpt cannot be written: .*Free some space"):
        checkpoint.save(network, path, {})
    assert path.read_bytes() == before
    assert sorted(os.listdir(path.parent)) == ["FCN8s.ckpt", "FCN8s.ckpt.json"]


def test_other_class_count_drops_what_does_not_fit(saved):
    _, path = saved
    network = FCN8s(3, **TINY)
    before = values(network)
    report = checkpoint.load_into(network, checkpoint.read(path))
    assert set(report.dropped) == {
        "score_fr.weight",
        "score_pool3.weight",
        "score_pool4.weight",
        "upscore2.weight",
        "upscore_pool4.weight",
        "upscore8.weight",
    }
    assert len(report.loaded) == 75 and not report.missing and not report.unused
    after = values(network)
    for name in report.dropped:
        assert np.array_equal(after[name], before[name])
    assert str(report) == f"75 parameters loaded; 6 dropped ({', '.join(report.dropped)})"


def test_report_names_what_is_missing_and_cuts_what_is_unused_short():
    names = tuple("abcdefgh")
    report = checkpoint.LoadReport(loaded=(), dropped=(), missing=names, unused=names)
    assert str(report) == (
        "0 parameters loaded; 8 missing (a, b, c, d, e, f, g, h); 8 unused (a, b, c, d, e, f, …)"
    )


def test_moments_are_never_weights(tmp_path):
    """An optimizer's state has names that end like the weights'."""
    network = nn.Dense(2, 3, has_bias=False)
    (parameter,) = network.get_parameters()
    before = parameter.asnumpy().copy()
    moments = {f"moments.{parameter.name}": Parameter(Tensor(np.full((3, 2), 9.0, np.float32)))}
    report = checkpoint.load_into(network, moments)
    assert not report.loaded and report.missing == (parameter.name,)
    assert report.unused == (f"moments.{parameter.name}",)
    assert np.array_equal(parameter.asnumpy(), before)


def test_loading_copies(saved):
    _, path = saved
    parameters = checkpoint.read(path)
    one, other = FCN8s(5, **TINY), FCN8s(5, **TINY)
    checkpoint.load_into(one, parameters)
    checkpoint.load_into(other, parameters)
    one.score_fr.weight.set_data(Tensor(np.zeros(one.score_fr.weight.shape, np.float32)))
    assert other.score_fr.weight.asnumpy().any()


@pytest.mark.parametrize("damage", ["cut", "garbage", "empty"])
def test_damaged_file(saved, damage):
    _, path = saved
    content = path.read_bytes()
    path.write_bytes(
        {"cut": content[: len(content) // 2], "garbage": b"\7" * 99, "empty": b""}[damage]
    )
    with pytest.raises(InputError, match="FCN8s.ckpt"):
        checkpoint.load_network(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_numbers_that_are_not_finite(tmp_path, value):
    network = FCN8s(3, **TINY)
    beta = network.conv2[1].beta
    beta.set_data(Tensor(np.array([0, 0, value, 0], np.float32)))
    checkpoint.save(network, tmp_path / "a.ckpt", {})
    with pytest.raises(InputError, match="a.ckpt: 1 parameters are not finite, conv2.1.beta first"):
        checkpoint.load_network(tmp_path / "a.ckpt")


@pytest.mark.parametrize("seed", range(4))
def test_a_foreign_file_never_reaches_the_parser_damaged(tmp_path, seed):
    """A seeded mutator over a file without a seal: an error that names it, or other numbers."""
    network = FCN8s(3, **TINY)
    path = tmp_path / "foreign.ckpt"
    checkpoint.save(network, path, {})
    path.with_name(path.name + ".json").unlink()
    content, shapes = path.read_bytes(), {n: p.shape for n, p in network.parameters_dict().items()}
    for damaged in mutations(content, seed, 40):
        path.write_bytes(damaged)
        try:
            found = checkpoint.read(path)
        except InputError as error:
            assert "foreign.ckpt" in str(error) and "\n" not in str(error)
        else:
            assert len(damaged) == len(content) or {n: p.shape for n, p in found.items()} != shapes


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-20], "cut short"),
        (lambda content: content.replace(b"Float32", b"Flo\xff\xfe32", 1), "."),
        (lambda content: content.replace(b"Float32", b"Float64", 1), "bytes of numbers instead of"),
        (lambda content: content.replace(b"Float32", b"Float99", 1), "unknown type 'Float99'"),
        (lambda content: b"PK\3\4" + content, "."),
        (lambda content: b"", "."),
    ],
)
def test_structure_of_a_foreign_file(tmp_path, damage, message):
    path = tmp_path / "foreign.ckpt"
    checkpoint.save(FCN8s(3, **TINY), path, {})
    path.with_name(path.name + ".json").unlink()
    checkpoint_file.check_structure(path)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(ValueError, match=message):
        checkpoint_file.check_structure(path)
    with pytest.raises(InputError, match="foreign.ckpt cannot be read: it is damaged"):
        checkpoint.read(path)


def complete(path):
    """A network's checkpoint with two more parameters; returns both."""
    network = FCN8s(5, **TINY)
    moment = Parameter(Tensor(np.arange(3, dtype=np.float32)), name="moments.x")
    step = Parameter(Tensor(np.array([4], np.int32)), name="global_step")
    return network, checkpoint.save(network, path, {"step": 4}, state=[moment, step])


@pytest.mark.parametrize("by_system", [True, False])
@pytest.mark.parametrize("suffix", ["ckpt", "safetensors"])
def test_weights_are_the_beginning_of_the_complete_checkpoint(
    tmp_path, monkeypatch, by_system, suffix
):
    network, weights = complete(tmp_path / f"last.{suffix}")
    if not by_system:
        monkeypatch.delattr(os, "copy_file_range", raising=False)
    alone, copied = tmp_path / f"alone.{suffix}", tmp_path / f"copied.{suffix}"
    checkpoint.save(network, alone, {"step": 4})
    checkpoint.copy_weights(weights, copied, {"step": 4})
    assert copied.read_bytes() == alone.read_bytes()
    assert checkpoint.read_metadata(copied) == checkpoint.read_metadata(alone)
    assert copied.stat().st_mode == alone.stat().st_mode
    assert list(checkpoint.read(copied)) == list(network.parameters_dict())
    assert checkpoint.weights_in(tmp_path / f"last.{suffix}", network) == weights


def test_copy_goes_on_where_the_system_stops(tmp_path, monkeypatch):
    """Some file systems copy a part, answer 0, or refuse in the middle."""
    content = os.urandom(3_000_000)
    (tmp_path / "source").write_bytes(content)
    for ending in (0, OSError(95, "not supported")):
        answers = iter([700_001, ending])

        def copy(source, target, count, source_at, target_at, answers=answers):
            answer = next(answers)
            if isinstance(answer, OSError):
                raise answer
            return os.pwrite(target, os.pread(source, answer, source_at), target_at)

        monkeypatch.setattr(os, "copy_file_range", copy, raising=False)
        checkpoint_file.copy_beginning(tmp_path / "source", tmp_path / "target", 2_900_000)
        assert (tmp_path / "target").read_bytes() == content[:2_900_000]


def test_weights_to_copy_that_are_not_there(tmp_path):
    network, weights = complete(tmp_path / "last.ckpt")
    (tmp_path / "last.ckpt").write_bytes(b"short")
    with pytest.raises(InputError, match="w.ckpt cannot be written: .* is shorter than"):
        checkpoint.copy_weights(weights, tmp_path / "w.ckpt", {})
    assert not list(tmp_path.glob("*w.*"))
    with pytest.raises(InputError, match="last.ckpt does not begin with the weights"):
        checkpoint.weights_in(tmp_path / "last.ckpt", network)
    other = nn.Dense(2, 2)
    checkpoint.save(other, tmp_path / "other.ckpt", {}, network.get_parameters())
    with pytest.raises(InputError, match="is not at its beginning"):
        checkpoint.weights_in(tmp_path / "other.ckpt", network)
    checkpoint.save(other, tmp_path / "other.ckpt", {})
    with pytest.raises(InputError, match="is missing"):
        checkpoint.weights_in(tmp_path / "other.ckpt", network)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="none.ckpt is missing"):
        checkpoint.load_network(tmp_path / "none.ckpt")


@pytest.mark.parametrize(
    ("arch", "arguments"),
    [(arch, {}) for arch in model.NETWORKS]
    + [(arch, {"depths": model.BACKBONES["vgg19"]}) for arch in TUTORIAL],
)
def test_network_is_built_from_the_names(tmp_path, arch, arguments):
    network = tiny_network(arch, 4, **arguments)
    checkpoint.save(network, tmp_path / "one.ckpt", {})
    loaded = checkpoint.load_network(tmp_path / "one.ckpt")
    assert type(loaded) is type(network) and loaded.n_class == 4 and not loaded.training
    expected = {name: value.asnumpy() for name, value in network.parameters_dict().items()}
    found = {name: value.asnumpy() for name, value in loaded.parameters_dict().items()}
    assert list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)


def test_another_networks_checkpoint(tmp_path):
    path = tmp_path / "other.ckpt"
    checkpoint.save(nn.Dense(2, 3), path, {})
    with pytest.raises(InputError, match="is not of an FCN: it has none of .*'upscore8.weight'"):
        checkpoint.load_network(path)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("step", "5", "step is '5'; need a whole number of at least 0"),
        ("step", -1, "step is -1"),
        ("classes", "cat", "classes is 'cat'; need a list"),
        ("classes", ["a", 3], r"classes\[1\] is 3; need a text"),
        ("palette", [[0, 0, 300], [0, 0, 0]], r"palette\[0\]\[2\] is 300"),
        ("palette", [[0, 0, 0]] * 3, "palette has 3 items; need 2, as classes"),
        ("sha256", 7, "sha256 is 7; need a text"),
        ("seconds", [], "seconds is .*; need a finite number"),
        ("previous", {"step": None}, "previous.step is None"),
        ("arguments", [1], r"arguments is \[1\]; need an object"),
    ],
)
def test_metadata_with_a_wrong_field(saved, field, value, message):
    _, path = saved
    file = path.with_name(path.name + ".json")
    metadata = {"classes": ["a", "b"], "palette": [[0, 0, 0], [1, 1, 1]], field: value}
    file.write_text(json.dumps(metadata))
    with pytest.raises(InputError, match=f"FCN8s.ckpt.json: .*{message}.*move the file away"):
        checkpoint.read_metadata(path)


@pytest.mark.parametrize("content", ["[]", "3", "null", '"a"'])
def test_metadata_that_is_no_object(saved, content):
    _, path = saved
    path.with_name(path.name + ".json").write_text(content)
    with pytest.raises(InputError, match="FCN8s.ckpt.json: its content is .*; need an object"):
        checkpoint.read_metadata(path)


def test_metadata_that_is_no_json(saved):
    _, path = saved
    path.with_name(path.name + ".json").write_text("{")
    with pytest.raises(InputError, match="FCN8s.ckpt.json is not valid JSON"):
        checkpoint.read_metadata(path)


# --- checkpoints of others, sealed ---------------------------------------------------------------


def published(path):
    """A checkpoint without a JSON, as those of others."""
    checkpoint.save(FCN8s(3, **TINY), path, {})
    checkpoint.metadata_file(path).unlink()
    return path


def test_sealed_checkpoint_is_verified_from_then_on(tmp_path):
    path = published(tmp_path / "vgg.ckpt")
    assert checkpoint.seal(path)
    digest = files.sha256(path)
    assert checkpoint.read_metadata(path) == {"sha256": digest}
    assert not checkpoint.seal(path, digest.upper())
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(content)
    for read in (checkpoint.read, checkpoint.load_network, checkpoint.seal):
        with pytest.raises(InputError, match="vgg.ckpt is damaged: its checksum"):
            read(path)


def test_sealing_keeps_the_metadata(tmp_path):
    path = published(tmp_path / "vgg.ckpt")
    before = {"classes": ["a", "b"], "backbone": "vgg16", "step": 3}
    files.write_json(checkpoint.metadata_file(path), before)
    assert checkpoint.seal(path)
    assert checkpoint.read_metadata(path) == {**before, "sha256": files.sha256(path)}


def test_what_is_not_sealed(tmp_path):
    path = published(tmp_path / "vgg.ckpt")
    with pytest.raises(InputError, match="vgg.ckpt is not the file that was expected: its SHA-256"):
        checkpoint.seal(path, "0" * 64)
    with pytest.raises(InputError, match="is missing|does not exist|No such file"):
        checkpoint.seal(tmp_path / "none.ckpt")
    bad = FCN8s(3, **TINY)
    bad.score_fr.weight.set_data(Tensor(np.full(bad.score_fr.weight.shape, np.nan, np.float32)))
    other = tmp_path / "nan.ckpt"
    checkpoint.save(bad, other, {})
    checkpoint.metadata_file(other).unlink()
    with pytest.raises(InputError, match="parameters are not finite"):
        checkpoint.seal(other)
    text = tmp_path / "text.ckpt"
    text.write_text("not a checkpoint")
    with pytest.raises(InputError, match="text.ckpt cannot be read"):
        checkpoint.seal(text)
    assert not list(tmp_path.glob("*.json"))


def test_checkpoint_without_a_checksum_is_named_once(tmp_path, caplog):
    path = published(tmp_path / "vgg.ckpt")
    checkpoint.read(path)
    checkpoint.load_network(path)
    (message,) = caplog.messages
    assert f"checkpoint {path} has no checksum: its bits cannot be vouched for" in message
    assert f"info --seal {path}" in message


# --- .safetensors --------------------------------------------------------------------------------


@pytest.fixture
def tensors(tmp_path):
    return saved_as(tmp_path / "FCN8s.safetensors")


def test_safetensors_is_one_file_with_everything(tensors):
    network, path = tensors
    assert os.listdir(path.parent) == ["FCN8s.safetensors"]
    loaded = checkpoint.load_network(path)
    expected, found = values(network), values(loaded)
    assert loaded.n_class == 5 and list(found) == list(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
    metadata = checkpoint.read_metadata(path)
    assert metadata == {"classes": list("abcde"), "step": 7, "sha256": metadata["sha256"]}
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~umask


def test_safetensors_state_is_restored_with_types_and_shapes(tmp_path):
    state = [
        Parameter(Tensor(np.array(value)), name=name)
        for name, value in (("scale", np.float32(0.5)), ("step", np.array([4], np.int32)))
    ]
    state.append(Parameter(Tensor([1.0, 2.5], ms.bfloat16), name="half"))
    path = tmp_path / "last.safetensors"
    checkpoint.save(nn.Cell(), path, {}, state)
    stored = checkpoint.read(path)
    assert [(one.dtype, one.shape) for one in stored.values()] == [
        (ms.float32, ()),
        (ms.int32, (1,)),
        (ms.float32, (2,)),
    ]
    for one in state:
        one.set_data(Tensor(np.zeros(one.shape), one.dtype))
    checkpoint.restore(state, stored)
    assert state[0].asnumpy() == 0.5 and state[1].asnumpy().tolist() == [4]
    assert state[2].dtype == ms.bfloat16
    assert state[2].astype(ms.float32).asnumpy().tolist() == [1.0, 2.5]


@pytest.mark.parametrize("is_after", [False, True])
def test_killed_save_of_safetensors_leaves_one_or_the_other(tensors, monkeypatch, is_after):
    network, path = tensors
    replace = os.replace

    def killed_replace(source, target):
        if is_after:
            replace(source, target)
        raise Killed

    network.score_fr.weight.set_data(Tensor(np.ones(network.score_fr.weight.shape, np.float32)))
    monkeypatch.setattr(os, "replace", killed_replace)
    with pytest.raises(Killed):
        checkpoint.save(network, path, {"step": 8})
    monkeypatch.undo()
    assert checkpoint.read_metadata(path)["step"] == (8 if is_after else 7)
    assert (checkpoint.read(path)["score_fr.weight"].asnumpy() == 1).all() == is_after
    assert os.listdir(path.parent) == ["FCN8s.safetensors"]


def test_safetensors_larger_than_the_disk(tensors):
    network, path = tensors
    before = path.read_bytes()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, hard))
    try:
        with pytest.raises(InputError, match="FCN8s.safetensors cannot be written: File too large"):
            checkpoint.save(network, path, {"step": 8})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == before and os.listdir(path.parent) == ["FCN8s.safetensors"]


@pytest.mark.parametrize("part", ["numbers", "class", "name", "library", "cut"])
def test_damage_to_safetensors_is_found_without_a_json(tensors, part):
    _, path = tensors
    content = path.read_bytes()
    changed = {
        "numbers": lambda: content[:-5] + bytes([content[-5] ^ 1]) + content[-4:],
        "class": lambda: content.replace(rb"\"c\"", rb"\"x\""),
        "name": lambda: content.replace(b"conv3.0.weight", b"conv3.9.weight"),
        "library": lambda: content.replace(b'"library"', b'"lybrary"'),
        "cut": lambda: content[:-4],
    }[part]()
    assert changed != content
    path.write_bytes(changed)
    with pytest.raises(InputError, match="FCN8s.safetensors.*(damaged|lybrary is not valid)"):
        checkpoint.load_network(path)


def test_safetensors_of_others_and_for_others(tensors, caplog):
    """Written anew by the format's own package the file stays whole; without metadata it counts as
    of another program, and can be sealed."""
    numpy = pytest.importorskip("safetensors.numpy")
    from safetensors import safe_open

    network, path = tensors
    with safe_open(path, "np") as file:
        metadata = file.metadata()
        arrays = {name: file.get_tensor(name) for name in reversed(list(file.keys()))}
    expected = values(network)
    assert all(np.array_equal(arrays[name], expected[name]) for name in expected)
    assert json.loads(metadata["classes"]) == list("abcde")
    loaded = ms.load_checkpoint(str(path), format="safetensors")
    assert all(np.array_equal(loaded[name].asnumpy(), expected[name]) for name in expected)

    numpy.save_file(arrays, path, metadata=metadata)
    assert checkpoint.load_network(path).n_class == 5 and not caplog.messages
    arrays["score_fr.weight"] = arrays["score_fr.weight"] + 1
    numpy.save_file(arrays, path, metadata=metadata)
    with pytest.raises(InputError, match="is damaged: its checksum is not the one in its metadata"):
        checkpoint.read(path)
    del metadata["content_sha256"]
    numpy.save_file(arrays, path, metadata=metadata)
    assert checkpoint.load_network(path).n_class == 5 and "has no checksum" in caplog.text
    assert checkpoint.read_metadata(path) == {"classes": list("abcde"), "step": 7}

    numpy.save_file(arrays, path, metadata={"step": "of another program"})
    assert checkpoint.load_network(path).n_class == 5 and checkpoint.read_metadata(path) == {}
    assert checkpoint.seal(path) and not checkpoint.seal(path)
    assert checkpoint.read_metadata(path) == {"sha256": files.sha256(path)}
    path.write_bytes(path.read_bytes()[:-1] + b"\7")
    with pytest.raises(InputError, match="checksum is not the one in FCN8s.safetensors.json"):
        checkpoint.read(path)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"classes": '["a"]'}, "classes has 1 items; need 2 to 255"),
        ({"step": "four"}, "step is not valid JSON"),
        ({"palette": "[[0, 0, 0], [1, 1, 1]]"}, "palette has 2 items; need 5, as classes"),
    ],
)
def test_metadata_of_safetensors_that_are_something_else(tensors, entry, message):
    numpy = pytest.importorskip("safetensors.numpy")
    network, path = tensors
    own = {"format": "ms", "library": "fcn8s-ms", "classes": '["a", "b", "c", "d", "e"]'}
    numpy.save_file(values(network), path, metadata={**own, **entry})
    with pytest.raises(InputError, match=f"FCN8s.safetensors: {message}"):
        checkpoint.read_metadata(path)
