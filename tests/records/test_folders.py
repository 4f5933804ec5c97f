import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.records import folders as two_folders
from fcn8s_ms.records.sources import Pair


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


@pytest.fixture
def folders(tmp_path):
    images, labels = tmp_path / "images", tmp_path / "labels"
    touch(images / "b.PNG", images / "a.jpg", images / "sub" / "größe 1.tif")
    touch(labels / "a.png", labels / "b.bmp", labels / "sub" / "größe 1.png")
    # What systems and programs leave behind is none of the data.
    touch(images / ".DS_Store", images / "readme.txt", images / ".thumbs" / "a.jpg")
    touch(images / "__MACOSX" / "a.jpg")
    return images, labels


def names_of(pairs):
    return [pair.name for pair in pairs]


def test_images_and_masks_belong_together_by_name(folders):
    images, labels = folders
    pairs = two_folders.folder_pairs(images, labels)
    assert names_of(pairs) == ["a", "b", "sub/größe 1"]
    assert pairs[1] == Pair("b", images / "b.PNG", labels / "b.bmp")


def test_list_chooses_and_orders(folders, tmp_path):
    (tmp_path / "list.txt").write_text("sub\\größe 1.tif\r\n./b\r\n", encoding="utf-8")
    pairs = two_folders.folder_pairs(*folders, tmp_path / "list.txt")
    assert names_of(pairs) == ["sub/größe 1", "b"]


def test_ids_with_points(tmp_path):
    touch(tmp_path / "i" / "v1.0.jpg", tmp_path / "l" / "v1.0.png")
    (tmp_path / "list.txt").write_text("v1.0\n")
    pairs = two_folders.folder_pairs(tmp_path / "i", tmp_path / "l", tmp_path / "list.txt")
    assert names_of(pairs) == ["v1.0"]


def test_label_suffix(tmp_path):
    touch(tmp_path / "x" / "a.jpg", tmp_path / "x" / "a_L.png")
    pairs = two_folders.folder_pairs(tmp_path / "x", tmp_path / "x", label_suffix="_L")
    assert pairs == [Pair("a", tmp_path / "x" / "a.jpg", tmp_path / "x" / "a_L.png")]


def test_image_suffix(tmp_path):
    one, two = tmp_path / "x" / "a_img.jpg", tmp_path / "x" / "b_img.jpg"
    touch(one, two, tmp_path / "x" / "a.png", tmp_path / "x" / "b.png")
    touch(tmp_path / "y" / "a_lbl.png", tmp_path / "y" / "b_lbl.png")
    (tmp_path / "list.txt").write_text("b_img.jpg\na\n")
    pairs = two_folders.folder_pairs(
        tmp_path / "x", tmp_path / "x", tmp_path / "list.txt", image_suffix="_img"
    )
    assert pairs == [Pair("b", two, tmp_path / "x" / "b.png"), Pair("a", one, one.parent / "a.png")]
    pairs = two_folders.folder_pairs(
        tmp_path / "x", tmp_path / "y", image_suffix="_img", label_suffix="_lbl"
    )
    assert pairs[1] == Pair("b", two, tmp_path / "y" / "b_lbl.png")


def test_masks_in_a_folder_among_the_images(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "masks" / "a.png")
    pairs = two_folders.folder_pairs(tmp_path, tmp_path / "masks")
    assert pairs == [Pair("a", tmp_path / "a.jpg", tmp_path / "masks" / "a.png")]


def test_images_and_masks_in_one_folder(tmp_path):
    touch(tmp_path / "a.jpg", tmp_path / "a.png")
    with pytest.raises(InputError, match="one folder, .*; move the masks .*as --label-suffix"):
        two_folders.folder_pairs(tmp_path, tmp_path)


@pytest.mark.parametrize(
    ("image", "mask", "options", "advice"),
    [
        ("{}_img.jpg", "{}_lbl.png", {}, "pass --image-suffix _img --label-suffix _lbl"),
        ("{}.jpg", "{}_L.png", {}, "pass --label-suffix _L"),
        ("{}.jpg", "{}_L.png", {"label_suffix": "_M"}, "pass --label-suffix _L"),
        ("sub/{} photo.jpg", "sub/{}.png", {}, "pass --image-suffix ' photo'"),
        ("{}_L.png", "{}.jpg", {"label_suffix": "_L"}, "are the two folders swapped?"),
        ("image_{}.jpg", "mask_{}.png", {}, "give an image and its mask one name, or pass"),
    ],
)
def test_names_that_do_not_go_together(tmp_path, image, mask, options, advice):
    images, labels = tmp_path / "images", tmp_path / "labels"
    for number in range(8, 14):
        touch(images / image.format(f"{number:03}"), labels / mask.format(f"{number:03}"))
    with pytest.raises(InputError) as caught:
        two_folders.folder_pairs(images, labels, **options)
    shown = [
        ", ".join(name.format(f"{number:03}") for number in (8, 9, 10)) for name in (image, mask)
    ]
    assert str(caught.value) == (
        f"6 images of {images} have no mask ({shown[0]} and 3 more), "
        f"6 files of {labels} no image ({shown[1]} and 3 more): {advice}"
    ) + (" as --image-suffix and --label-suffix what the names end in" if "one" in advice else "")


def test_swapped_folders_of_names_with_endings(tmp_path):
    touch(tmp_path / "x" / "a_img.jpg", tmp_path / "y" / "a_lbl.png")
    given = {"image_suffix": "_img", "label_suffix": "_lbl"}
    with pytest.raises(InputError, match="names end in _img; are the two folders swapped?"):
        two_folders.folder_pairs(tmp_path / "y", tmp_path / "x", **given)
    with pytest.raises(InputError, match="holds no images whose names end in _IMG; check the path"):
        two_folders.folder_pairs(tmp_path / "x", tmp_path / "y", image_suffix="_IMG")


def test_brush_masks_of_label_studio(tmp_path):
    touch(tmp_path / "i" / "0a1b-street.jpg")
    for name in ("Car", "Road"):
        touch(tmp_path / "l" / f"task-1-annotation-2-by-1-tag-{name}-0.png")
    with pytest.raises(InputError, match="these are Label Studio's brush masks, .* --coco"):
        two_folders.folder_pairs(tmp_path / "i", tmp_path / "l")


def test_a_list_of_ids_that_images_names_do_not_end_in(tmp_path):
    touch(tmp_path / "x" / "a_img.jpg", tmp_path / "x" / "b_img.jpg", tmp_path / "y" / "a.png")
    (tmp_path / "list.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match="no image for a, b of .*, or pass --image-suffix _img"):
        two_folders.folder_pairs(tmp_path / "x", tmp_path / "y", tmp_path / "list.txt")


def test_folders_that_do_not_fit(folders, tmp_path):
    images, labels = folders
    with pytest.raises(InputError, match="nowhere is not a folder"):
        two_folders.folder_pairs(tmp_path / "nowhere", labels)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="empty holds no images"):
        two_folders.folder_pairs(tmp_path / "empty", labels)
    with pytest.raises(InputError, match="empty holds no masks; check the path"):
        two_folders.folder_pairs(images, tmp_path / "empty")
    touch(labels / "c.png")
    with pytest.raises(InputError, match="labels has masks without an image in .*images: c; add"):
        two_folders.folder_pairs(images, labels)
    touch(images / "c.jpg", images / "d.jpg")
    with pytest.raises(InputError, match="labels has no mask for 1 of 5 images: d; add the masks"):
        two_folders.folder_pairs(images, labels)
    touch(images / "a.png")
    with pytest.raises(InputError, match="a.jpg and .*a.png have one id, 'a'; keep one"):
        two_folders.folder_pairs(images, labels)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a\nz\n", "images has no image for z of .*list.txt"),
        ("a\na.jpg\n", "list.txt names a more than once"),
    ],
)
def test_lists_that_do_not_fit(folders, tmp_path, content, message):
    (tmp_path / "list.txt").write_text(content)
    with pytest.raises(InputError, match=message):
        two_folders.folder_pairs(*folders, tmp_path / "list.txt")


def test_suffix_that_no_name_has(folders):
    with pytest.raises(InputError, match="leave out --label-suffix$"):
        two_folders.folder_pairs(*folders, label_suffix="_L")
