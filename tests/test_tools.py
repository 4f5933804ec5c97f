import subprocess
import sys

import pytest

from fcn8s_ms import records

from .conftest import TOOLS, load_tool

TOOL = TOOLS / "build_mindrecord.py"


@pytest.fixture(scope="module")
def tool():
    return load_tool("build_mindrecord")


def test_build(tool, voc_folder, tmp_path, capsys):
    output = tmp_path / "out" / "r.mindrecord"
    tool.main(["--voc-root", str(voc_folder), "--split", "trainval", "--output", str(output)])
    assert records.open_record(output)[1] == 5
    metadata = records.read_metadata(output)
    assert metadata.list_name == "trainval" and metadata.source == str(voc_folder)
    printed = capsys.readouterr()
    total = sum(metadata.pixel_counts)
    assert f"{metadata.pixel_counts[15]:,} {metadata.pixel_counts[15] / total:7.2%}" in printed.out
    assert f"python -m fcn8s_ms.train --data {output}" in printed.out
    assert "5/5" in printed.err


def test_shards_and_overwrite(tool, voc_folder, tmp_path, capsys):
    given = ["--voc-root", str(voc_folder), "--output", str(tmp_path / "r.mindrecord")]
    tool.main([*given, "--num-shards", "3"])
    assert "3 images in r.mindrecord0, r.mindrecord1, r.mindrecord2" in capsys.readouterr().out
    with pytest.raises(SystemExit) as caught:
        tool.main([*given, "--num-shards", "3"])
    assert caught.value.code == 2
    assert "r.mindrecord0 exists" in capsys.readouterr().err
    tool.main([*given, "--overwrite"])
    assert records.open_record(tmp_path / "r.mindrecord") == (tmp_path / "r.mindrecord", 3)


def test_program_reports_faults_in_one_message(voc_folder, tmp_path):
    (voc_folder / "JPEGImages" / "a.jpg").unlink()
    done = subprocess.run(
        [sys.executable, TOOL, "--voc-root", voc_folder, "--output", tmp_path / "r.mindrecord"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "1 of 3 images cannot be used, nothing was written" in done.stderr
    assert f"{voc_folder}/JPEGImages/a.jpg is missing" in done.stderr
    assert not list(tmp_path.glob("*mindrecord*"))


def test_help_shows_an_example():
    done = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True)
    assert "Example: python tools/build_mindrecord.py --voc-root" in done.stdout
