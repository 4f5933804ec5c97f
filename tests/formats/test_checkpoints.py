import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.formats import checkpoints


def folder_of(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["FCN8s-best.ckpt", "FCN8s-last.ckpt", "FCN8s-1_4.ckpt", "x.json"], "FCN8s-best.ckpt"),
        (["FCN8s-last.safetensors", "FCN8s-1_4.safetensors"], "FCN8s-last.safetensors"),
        (["vgg16.ckpt", ".vgg.unfinished-1.ckpt", "more/FCN8s-best.ckpt"], "vgg16.ckpt"),
    ],
)
def test_checkpoint_of_a_folder(tmp_path, caplog, names, taken):
    folder_of(tmp_path, *names)
    assert checkpoints.chosen(tmp_path) == tmp_path / taken
    assert caplog.messages == [f"{tmp_path} is a folder; its checkpoint {taken} is taken"]


def test_files_are_themselves(tmp_path, caplog):
    assert checkpoints.chosen(tmp_path / "none.ckpt") == tmp_path / "none.ckpt"
    assert not caplog.messages


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "is a folder without a checkpoint; name a file"),
        (["x.png"], "is a folder without a checkpoint; name a file"),
        (
            ["a/A-best.ckpt", "b/A-last.ckpt", "c/x.png"],
            "is a folder without a checkpoint; give one of its folders a, b",
        ),
        (
            ["A-best.ckpt", "B-best.ckpt", "A-last.ckpt"],
            "is a folder of several checkpoints: A-best.ckpt, B-best.ckpt; name one",
        ),
        (["a.ckpt", "b.ckpt"], "is a folder of several checkpoints: a.ckpt, b.ckpt; name one"),
    ],
)
def test_folders_that_do_not_say_which(tmp_path, names, message):
    with pytest.raises(InputError) as caught:
        checkpoints.chosen(folder_of(tmp_path, *names))
    assert str(caught.value) == f"{tmp_path} {message}"
