"""Both READMEs: links, paths, names, flags, and the commands that are marked as runnable.

A block of shell commands is marked by a line `<!-- runnable -->` directly before it. The marked
blocks of a document run in order in one folder, as they stand, on small data that lies where the
document has it, with the small networks and short trainings of `tests/small/sitecustomize.py`.
"""

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import matplotlib
import pytest
from benchmark import command_line

import fcn8s_ms
from fcn8s_ms import checkpoint, fetch, model

from .conftest import (
    TINY,
    clean_environment,
    draw_pair,
    load_tool,
    write_plain_record,
    write_sbd,
    write_voc,
)
from .test_fetch import Server, archive

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "README_zh.md")
PACKAGE = Path(fcn8s_ms.__file__).parent

# Flags of other programs that the documents name: isort, pip, converter_lite, atc, msrun.
FOREIGN_FLAGS = {"--check-only", "--no-deps", "--fmk", "--modelFile", "--outputFile"}
FOREIGN_FLAGS |= {"--framework", "--model", "--soc_version", "--worker_num", "--local_worker_num"}
FOREIGN_FLAGS |= {"--master_addr", "--master_port", "--node_rank", "--join"}
# Programs that pass on what they do not know, and to which.
PASSES_ON = {"tools/compare.py": "fcn8s_ms.train"}
# Programs that a marked block may call, but that have no part in what is tried.
STUBS = ("pip", "pytest", "git")


def read(document):
    return (ROOT / document).read_text(encoding="utf-8")


def without_blocks(text):
    return re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)


def inline_code(text):
    return re.findall(r"`([^`\n]+)`", without_blocks(text))


def blocks(text, language="bash"):
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.M | re.S)


def runnable(text):
    found = re.findall(r"^<!-- runnable -->\n```bash\n(.*?)^```", text, flags=re.M | re.S)
    assert len(found) == text.count("<!-- runnable -->"), "a mark is not directly before a block"
    return found


# --- links and paths -----------------------------------------------------------------------------


def anchor(heading):
    """What GitHub makes of a heading."""
    heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", heading).replace(" ", "-")


def anchors(text):
    found = []
    for heading in re.findall(r"^#+ (.+)$", without_blocks(text), flags=re.M):
        name = anchor(heading)
        found.append(f"{name}-{found.count(name)}" if name in found else name)
    return found


def links(text):
    return re.findall(r"\]\(([^)\s]+)\)|<img[^>]*src=\"([^\"]+)\"", without_blocks(text))


def broken_links(text):
    broken = []
    for target in ("".join(found) for found in links(text)):
        path, _, name = target.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        file = ROOT / path
        if path and not file.exists():
            broken.append(target)
        elif name and name not in anchors(read(path) if path else text):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document):
    assert broken_links(read(document)) == []


def test_broken_links_are_found():
    text = "# A `b` c\n[1](#a-b-c) [2](#a-b) [3](setup.cfg) [4](setup.cfg.old)\n```\n[5](no)\n```\n"
    assert broken_links(text) == ["#a-b", "setup.cfg.old"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_of_the_project_exist(document):
    text = read(document)
    paths = set(re.findall(r"(?<![\w/.~-])(?:fcn8s_ms|tools|tests|notebooks|\.ci)/[\w./*-]+", text))
    paths |= set(re.findall(r"(?<![\w/.~-])(?:setup\.cfg|pyproject\.toml|[A-Z]+\.md)\b", text))
    assert len(paths) > 5
    assert [path for path in sorted(paths) if not list(ROOT.glob(path.rstrip("./")))] == []


# --- names ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_exist(document):
    for module, name in re.findall(r"\bfcn8s_ms\.([a-z]\w*)(?:\.(\w+))?", read(document)):
        file = PACKAGE / f"{module}.py"
        assert file.is_file(), module
        if name:
            assert re.search(rf"^(def|class) {name}\b|^{name} =", file.read_text(), re.M), name


@pytest.mark.parametrize("document", DOCUMENTS)
def test_table_of_modules_is_complete(document):
    rows = re.split(r"^\| (?:module|模块) \|.*\n\|[ -|]*\n", read(document), flags=re.M)[1]
    cells = re.findall(r"^\| ([^|]*) \|", rows.split("\n\n")[0], flags=re.M)
    named = {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}
    assert named == {file.stem for file in PACKAGE.glob("*.py")} - {"__init__"}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tests_exist(document):
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").glob("test_*.py"))
    names = {name for name in inline_code(read(document)) if re.fullmatch(r"test_\w+", name)}
    assert len(names) > 5
    assert [name for name in sorted(names) if f"def {name}(" not in code] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_extras_exist(document):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for extras in re.findall(r"\.\[([\w,]+)\]", read(document)):
        assert set(extras.split(",")) <= set(setup["options.extras_require"])


# --- flags ---------------------------------------------------------------------------------------


def parsers():
    """The parser of every program, by how it is called."""
    found = {}
    for file in sorted(PACKAGE.glob("*.py")):
        if re.search(r"^def main\(", file.read_text(encoding="utf-8"), re.M):
            module = __import__(f"fcn8s_ms.{file.stem}", fromlist=["get_parser"])
            found[f"fcn8s_ms.{file.stem}"] = module.get_parser()
    for file in sorted((ROOT / "tools").glob("*.py")):
        if re.search(r"^def get_parser\(", file.read_text(encoding="utf-8"), re.M):
            found[f"tools/{file.name}"] = load_tool(file.stem).get_parser()
    found["tools/benchmark"] = command_line.get_parser()
    return found


def flags_of(parser):
    return {flag for action in parser._actions for flag in action.option_strings}


def commands(text):
    """Calls of the project's programs: what is called, and its arguments."""
    for block in [*blocks(text), *inline_code(text)]:
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||[|;]", line):
                called = re.search(
                    r"python3? (?:-m (fcn8s_ms\.\w+)|(tools/\w+(?:\.py)?))(.*)", part
                )
                if called:
                    yield called[1] or called[2], shlex.split(called[3], comments=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_exist(document):
    text, programs = read(document), parsers()
    known = set().union(*map(flags_of, programs.values()))
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))
    assert sorted(named - known - FOREIGN_FLAGS) == []
    called = list(commands(text))
    assert len(called) > 5
    for program, arguments in called:
        flags = {part.split("=")[0] for part in arguments if re.match(r"--\w", part)}
        known = flags_of(programs[program])
        if program in PASSES_ON:
            known |= flags_of(programs[PASSES_ON[program]])
        assert flags <= known, program


# --- commands ------------------------------------------------------------------------------------


def commands_alone(block):
    return "\n".join(re.sub(r"(^|\s)#.*", "", line).rstrip() for line in block.splitlines())


def test_documents_mark_the_same_commands():
    english, chinese = ([commands_alone(one) for one in runnable(read(d))] for d in DOCUMENTS)
    assert english and english == chinese


def write_data(folder, home):
    """Small data where the documents have them."""
    write_voc(home / "data")
    write_sbd(home / "data", {"train": ["a", "b", "d", "e"], "val": ["c"]})
    camvid = folder / "camvid"
    for name in ("images", "labels"):
        (camvid / name).mkdir(parents=True)
    for number in range(6):
        image, label = draw_pair("abcdef"[number], 64, 96)
        label[label == 15], label[label == 7] = 1, 2
        cv2.imwrite(str(camvid / "images" / f"{number}.png"), image)
        cv2.imwrite(str(camvid / "labels" / f"{number}.png"), label)
    (camvid / "classes.txt").write_text("sky\nbuilding\npole\n")
    (camvid / "train.txt").write_text("0\n1\n2\n3\n")
    (camvid / "val.txt").write_text("4\n5\n")
    for name in ("street.jpg", "dog.jpg"):
        cv2.imwrite(str(folder / name), draw_pair(name, 70, 90)[0])
    write_weights(folder / fetch.VGG16_FILE)


def write_weights(path):
    checkpoint.save(model.FCN8s(21, **TINY), path, {})
    checkpoint.metadata_file(path).unlink()


def published_files(folder):
    """What the tutorial's server has, by name."""
    record = write_plain_record(folder / fetch.DATA_FILE.name)
    members = {f"dataset_fcn8s/{file.name}": file.read_bytes() for file in folder.iterdir()}
    assert f"dataset_fcn8s/{record.name}" in members
    files = {"dataset_fcn8s.tar": archive(members)}
    for name in (fetch.VGG16_FILE, fetch.TRAINED_FILE):
        write_weights(folder / name)
        files[name.name] = (folder / name).read_bytes()
    return files


@pytest.fixture
def server(tmp_path_factory):
    server = Server()
    server.files = published_files(tmp_path_factory.mktemp("published"))
    yield server
    server.server.shutdown()
    server.server.server_close()


def test_marked_commands_run(tmp_path, server):
    """One document's, for the other's are the same."""
    folder, home, programs = (tmp_path / name for name in ("clone", "home", "bin"))
    for path in (folder, home, programs):
        path.mkdir()
    (folder / "tools").symlink_to(ROOT / "tools")
    write_data(folder, home)
    for name in STUBS:
        (programs / name).write_text("#!/bin/sh\n")
    for name in ("python", "python3"):
        (programs / name).write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    for file in programs.iterdir():
        file.chmod(0o755)
    environment = clean_environment(
        PATH=f"{programs}{os.pathsep}{os.environ['PATH']}",
        PYTHONPATH=f"{ROOT / 'tests' / 'small'}{os.pathsep}{ROOT}",
        HOME=str(home),
        MPLCONFIGDIR=matplotlib.get_configdir(),  # Matplotlib's list of fonts
        FCN8S_MS_TEST_SERVER=server.url,
    )
    marked = runnable(read(DOCUMENTS[0]))
    assert marked
    for block in marked:
        done = subprocess.run(
            [shutil.which("bash"), "-euo", "pipefail", "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
