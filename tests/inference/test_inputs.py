import pytest

from fcn8s_ms.errors import InputError
from fcn8s_ms.inference import inputs


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Files of no content: nothing here opens them."""
    names = ("a.jpg", "a.png", "b.JPG", "notes.txt", ".hidden.jpg", "sub/a.jpg", "sub/c.png")
    for name in (*names, "sub/.cache/d.png", "clip.mp4"):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path / "in"


def named(found):
    return {picture.path.as_posix(): picture.name for picture in found}


def test_a_folder_means_its_images_and_keeps_sub_folders(folder):
    assert named(inputs.find_pictures(["in"])) == {
        "in/a.jpg": "a.jpg",  # two of one name keep their endings
        "in/a.png": "a.png",
        "in/b.JPG": "b",
        "in/sub/a.jpg": "sub/a",
        "in/sub/c.png": "sub/c",
    }


def test_patterns_keep_the_folders_from_the_first_wildcard_on(folder):
    assert named(inputs.find_pictures(["in/*/*.jpg"])) == {"in/sub/a.jpg": "sub/a"}
    found = named(inputs.find_pictures(["in/**/a.*"]))
    assert found == {"in/a.jpg": "a.jpg", "in/a.png": "a.png", "in/sub/a.jpg": "sub/a"}
    assert named(inputs.find_pictures(["in/*.[jm]p*"])) == {"in/a.jpg": "a", "in/clip.mp4": "clip"}
    (folder / "x[1].jpg").touch()
    assert named(inputs.find_pictures(["in/x[1].jpg"])) == {"in/x[1].jpg": "x[1]"}


def test_a_list_on_standard_input(folder):
    found = inputs.find_pictures(
        ["-", "in/b.JPG"], lines=["in/sub/a.jpg\n", "\n", "in/none.jpg\r\n"]
    )
    assert [picture.name for picture in found] == ["a", "none", "b"]


def test_files_of_one_name_in_two_folders_keep_their_folders(folder):
    assert named(inputs.find_pictures(["in/a.jpg", "in/sub/a.jpg", "in/b.JPG"])) == {
        "in/a.jpg": "a",
        "in/sub/a.jpg": "sub/a",
        "in/b.JPG": "b",
    }
    found = named(inputs.find_pictures(["in/a.jpg", "in/a.png", "in/sub/a.jpg"]))
    assert found == {"in/a.jpg": "a", "in/a.png": "a.png", "in/sub/a.jpg": "sub/a"}


def test_names_that_differ_in_case_only_are_one_name(folder):
    (folder / "A.bmp").touch()
    found = inputs.find_pictures(["in/A.bmp", "in/a.jpg"])
    assert [picture.name for picture in found] == ["A.bmp", "a.jpg"]


def test_a_file_is_predicted_once_however_often_it_is_named(folder):
    found = inputs.find_pictures(["in/sub/a.jpg", "in/sub", folder / "sub" / "a.jpg"])
    assert [picture.name for picture in found] == ["a", "c"]


def test_names_that_nothing_tells_apart(folder):
    for name in ("p/x.jpg", "q/x.jpg", "all/p/x.png"):
        (folder.parent / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.parent / name).touch()
    with pytest.raises(InputError, match="would share a name; predict them into different"):
        inputs.find_pictures(["p/x.jpg", "q/x.jpg", "all"])


def test_the_output_folder_is_passed_over(folder):
    (folder / "out").mkdir()
    (folder / "out" / "a_mask.png").touch()
    names = [picture.name for picture in inputs.find_pictures(["in"], output="in/out")]
    assert names == ["a.jpg", "a.png", "b", "sub/a", "sub/c"]
    with pytest.raises(InputError, match="in is the folder with the pictures"):
        inputs.find_pictures(["in"], output=folder)


def test_nothing_to_predict(folder):
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="empty contains no images"):
        inputs.find_pictures(["in/empty"])
    with pytest.raises(InputError, match="no image or video matches 'in/.*.gif'"):
        inputs.find_pictures(["in/*.gif"])
    assert named(inputs.find_pictures(["none.jpg"])) == {"none.jpg": "none"}


def test_videos_are_known_by_their_ending(folder):
    found = inputs.find_pictures(["in/clip.mp4", "in/b.JPG"])
    assert [picture.is_video for picture in found] == [True, False]


def test_results_of_a_pattern_stay_below_the_output(folder):
    found = inputs.find_pictures(["in/s*/../a.jpg", "in/*/../../in/b.JPG"])
    assert sorted(picture.name for picture in found) == ["a", "b"]
    both = inputs.find_pictures(["in/s*/../*.jpg", "in/s*/*.jpg"])
    assert sorted(picture.name for picture in both) == ["a", "sub/a"]


def test_list_with_a_nul_character(folder):
    with pytest.raises(InputError, match="NUL character; give one path per line"):
        inputs.find_pictures(["-"], ["in/a.jpg\0in/a.png\0"])
