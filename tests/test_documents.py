"""The pages: links, paths, names, flags, and the commands that are marked as runnable.

A block of shell commands or of Python is marked by a line `<!-- runnable -->` directly before it.
The marked blocks of all English pages run in one folder, page after page and in order, unchanged,
on small data that lies where the pages have it, with the small networks and short trainings of
`tests/small/sitecustomize.py`. The Chinese pages mark the same commands.
"""

import ast
import configparser
import functools
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

import fcn8s_ms
from fcn8s_ms import checkpoint, fetch, model, records

from .helpers import (
    TINY,
    Server,
    archive,
    clean_environment,
    draw_pair,
    write_plain_record,
    write_sbd,
    write_voc,
)

ROOT = Path(__file__).parents[1]
PACKAGE = Path(fcn8s_ms.__file__).parent

# In the order in which a newcomer reads them, and in which their marked blocks run.
ENGLISH = (
    "README.md",
    "notebooks/own_photos.md",
    "fcn8s_ms/README.md",
    "tools/README.md",
    "tools/ascend_boards.md",
    "notebooks/README.md",
    "tests/README.md",
    "tests/golden/README.md",
)
CHINESE = (
    "README_zh.md",
    "notebooks/own_photos_zh.md",
    "fcn8s_ms/README_zh.md",
    "tools/README_zh.md",
    "tools/ascend_boards_zh.md",
    "notebooks/README_zh.md",
)
DOCUMENTS = (*ENGLISH, *CHINESE)
MAP_OF_THE_CODE = "fcn8s_ms/README.md"
DIFFERENCES = ("fcn8s_ms/README.md", "fcn8s_ms/README_zh.md")
MOST_LINES = 200  # of the first page
UNTRACKED = ("build", "dataset", "dist", "predictions", "runs")  # folders that programs write

# Flags of other programs that the documents name: ruff, pip, converter_lite, atc, msrun.
FOREIGN_FLAGS = {"--check", "--no-deps", "--fmk", "--modelFile", "--outputFile"}
FOREIGN_FLAGS |= {"--framework", "--model", "--soc_version", "--input_format", "--input_shape"}
FOREIGN_FLAGS |= {"--insert_op_conf", "--worker_num", "--local_worker_num"}
FOREIGN_FLAGS |= {"--master_addr", "--master_port", "--node_rank", "--join"}
FOREIGN_FLAGS |= {"--all", "--cases", "--fuzz", "--signals"}  # of the tests
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
    """Commands for a shell, and Python as a command that runs it."""
    pattern = r"^<!-- runnable -->\n```(bash|python)\n(.*?)^```"
    found = re.findall(pattern, text, flags=re.M | re.S)
    assert len(found) == text.count("<!-- runnable -->"), "a mark is not directly before a block"
    return [f"python - <<'END'\n{code}END\n" if kind == "python" else code for kind, code in found]


def test_every_page_is_checked():
    found = [*ROOT.glob("README*.md"), *ROOT.glob("[a-z]*/README*.md")]
    found += [*ROOT.glob("[a-z]*/[a-z]*/README*.md"), *ROOT.glob("notebooks/*.md")]
    found += ROOT.glob("tools/*.md")
    found = {path.relative_to(ROOT).as_posix() for path in found}
    assert {path for path in found if path.split("/")[0] not in UNTRACKED} == set(DOCUMENTS)


@pytest.mark.parametrize("document", [ENGLISH[0], CHINESE[0]])
def test_first_page_is_short(document):
    assert len(read(document).splitlines()) <= MOST_LINES


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


def broken_links(text, folder):
    """Targets that are not there, seen from the folder of the page."""
    broken = []
    for target in ("".join(found) for found in links(text)):
        path, _, name = target.partition("#")
        if path.startswith(("https://", "http://")):
            continue
        file = (folder / path).resolve()
        # A host of code does not follow links that leave the repository.
        if path and not (file.exists() and file.is_relative_to(ROOT)):
            broken.append(target)
        elif name and name not in anchors(file.read_text(encoding="utf-8") if path else text):
            broken.append(target)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_resolve(document):
    assert broken_links(read(document), (ROOT / document).parent) == []


def test_broken_links_are_found():
    text = "# A `b` c\n[1](#a-b-c) [2](#a-b) [3](setup.cfg) [4](setup.cfg.old)\n```\n[5](no)\n```\n"
    assert broken_links(text, ROOT) == ["#a-b", "setup.cfg.old"]
    text = "[1](../setup.cfg) [2](setup.cfg) [3](../README.md#no-such) [4](../../setup.cfg)"
    broken = ["setup.cfg", "../README.md#no-such", "../../setup.cfg"]
    assert broken_links(text, ROOT / "tests") == broken


def test_all_pages_are_linked():
    """From the first page, directly or by way of others."""
    reached, waiting = set(), [ENGLISH[0]]
    while waiting:
        document = waiting.pop()
        if document in reached or document not in DOCUMENTS:
            continue
        reached.add(document)
        for target in ("".join(found).partition("#")[0] for found in links(read(document))):
            file = (ROOT / document).parent / target
            if target.endswith(".md") and "://" not in target:
                waiting.append(file.resolve().relative_to(ROOT).as_posix())
    assert reached == set(DOCUMENTS)


def paths_in(text):
    """Paths from the top of the repository, wherever the page lies."""
    text = re.sub(r"\]\([^)\s]+\)", "]", text)  # links are checked from where the page lies
    folders = r"fcn8s_ms|tools|tests|notebooks|\.ci|\.github"
    paths = set(re.findall(rf"(?<![\w/.~-])(?:{folders})/[\w./*-]+", text))
    return paths | set(re.findall(r"(?<![\w/.~-])(?:setup\.cfg|pyproject\.toml)\b", text))


@pytest.mark.parametrize("document", DOCUMENTS)
def test_paths_of_the_project_exist(document):
    paths = paths_in(read(document))
    assert [path for path in sorted(paths) if not list(ROOT.glob(path.rstrip("./")))] == []


def test_paths_are_found():
    assert len(set().union(*(paths_in(read(document)) for document in DOCUMENTS))) > 15


# --- names ---------------------------------------------------------------------------------------


def is_there(dotted):
    """Whether `fcn8s_ms.folder.module.name` exists, without importing it."""
    parts = dotted.split(".")[1:]
    folder = PACKAGE
    while parts and (folder / parts[0]).is_dir():
        folder /= parts.pop(0)
    file = folder / "__init__.py"
    if parts and (folder / f"{parts[0]}.py").is_file():
        file = folder / f"{parts.pop(0)}.py"
    if not parts:
        return file.is_file()
    name = re.escape(parts[0])
    pattern = rf'^(?:def|class) {name}\b|^{name}\b.* =|^    "{name}":'  # the last: a lazy import
    return file.is_file() and re.search(pattern, file.read_text(encoding="utf-8"), re.M) is not None


def dotted_names(text):
    return set(re.findall(r"\bfcn8s_ms(?:\.[a-z_]\w*)+", text))


def imported_names(text):
    """What blocks of Python import from the package; they have to be Python, too."""
    for block in blocks(text, "python"):
        for node in ast.walk(ast.parse(block)):
            if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "fcn8s_ms":
                yield from (f"{node.module}.{alias.name}" for alias in node.names)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_modules_exist(document):
    names = dotted_names(read(document)) | set(imported_names(read(document)))
    assert [name for name in sorted(names) if not is_there(name)] == []


def test_missing_modules_are_found():
    there = ["fcn8s_ms.train", "fcn8s_ms.model.FCN8s", "fcn8s_ms.FCN8s", "fcn8s_ms"]
    missing = ["fcn8s_ms.trane", "fcn8s_ms.model.FCN9s", "fcn8s_ms.FCN9s", "fcn8s_ms.no.train"]
    assert [name for name in there + missing if not is_there(name)] == missing
    text = "`fcn8s_ms.a.b.c`\n```python\nfrom fcn8s_ms.d import e\n```\n"
    assert dotted_names(text) == {"fcn8s_ms.a.b.c", "fcn8s_ms.d"}
    assert list(imported_names(text)) == ["fcn8s_ms.d.e"]


def test_table_of_modules_is_complete():
    rows = re.split(r"^\| module \|.*\n\|[ -|]*\n", read(MAP_OF_THE_CODE), flags=re.M)[1]
    named = re.findall(r"^\| `([\w/]+)` \| .+ \|$", rows.split("\n\n")[0], flags=re.M)
    files = (file.relative_to(PACKAGE).with_suffix("") for file in PACKAGE.rglob("*.py"))
    modules = [file.as_posix() for file in files if file.name != "__init__"]
    assert sorted(named) == sorted(modules)  # each exactly once


@pytest.mark.parametrize("document", DOCUMENTS)
def test_tests_exist(document):
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    names = {name for name in inline_code(read(document)) if re.fullmatch(r"test_\w+", name)}
    assert len(names) > 5 or document not in DIFFERENCES
    assert [name for name in sorted(names) if f"def {name}(" not in code] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_extras_exist(document):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    for extras in re.findall(r"\.\[([\w,]+)\]", read(document)):
        assert set(extras.split(",")) <= set(setup["options.extras_require"])


# --- flags ---------------------------------------------------------------------------------------


# Of `fcn8s-ms` itself, before the name of a program.
CONSOLE_FLAGS = {"--help", "--version"}


@functools.cache
def programs():
    """Flags of every program, by how it is called."""
    found = {}
    for file in sorted(PACKAGE.glob("[a-z]*.py")):
        if re.search(r"^def main\(", file.read_text(encoding="utf-8"), re.M):
            found[f"fcn8s_ms.{file.stem}"] = flags_of("-m", f"fcn8s_ms.{file.stem}")
    tools = [*(ROOT / "tools").glob("*.py"), *(ROOT / "tools").glob("*/__main__.py")]
    for file in sorted(tools):
        if file.name == "__main__.py" or "__main__" in file.read_text(encoding="utf-8"):
            called = file.parent if file.name == "__main__.py" else file
            name = called.relative_to(ROOT).as_posix()
            found[name] = flags_of(name)
    return found


def flags_of(*program):
    """The options that `--help` lists: what a program takes, however it is built."""
    done = subprocess.run(
        [sys.executable, *program, "--help"],
        cwd=ROOT,
        env=clean_environment(PYTHONPATH=str(ROOT), COLUMNS="100"),
        capture_output=True,
        text=True,
        check=True,
    )
    listed = re.findall(r"^ +(-[\w-]+(?:[ ,].*)?)$", done.stdout, flags=re.M)
    heads = (re.split(r" {2,}", line)[0] for line in listed)
    return {flag for head in heads for flag in re.findall(r"(?<![\w-])--[a-z][\w-]*", head)}


def commands(text):
    """Calls of the project's programs: what is called, and its arguments."""
    called = r"python3? (?:-m (fcn8s_ms\.[a-z]\w*)|(tools/[\w/.]+))(.*)|fcn8s-ms ([a-z]+)(.*)"
    for block in [*blocks(text), *inline_code(text)]:
        for line in block.replace("\\\n", " ").splitlines():
            for part in re.split(r"&&|\|\||[|;]", line):
                found = re.search(called, part)
                if found:
                    name = found[1] or found[2] or f"fcn8s_ms.{found[4]}"
                    yield name, shlex.split(found[3] or found[5] or "", comments=True)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_flags_exist(document):
    text = read(document)
    known = set().union(*programs().values(), FOREIGN_FLAGS, CONSOLE_FLAGS)
    named = set(re.findall(r"(?<![\w-])--[a-z][\w-]*", text))
    assert sorted(named - known) == []
    for program, arguments in commands(text):
        flags = {part.split("=")[0] for part in arguments if re.match(r"--\w", part)}
        known = programs()[program]
        if program in PASSES_ON:
            known = known | programs()[PASSES_ON[program]]
        assert flags <= known, program


def test_commands_are_found():
    called = [program for document in DOCUMENTS for program, _ in commands(read(document))]
    assert set(called) == set(programs())
    assert list(commands("`fcn8s-ms train --sample # x` `fcn8s-ms --version`")) == [
        ("fcn8s_ms.train", ["--sample"])
    ]


# --- commands ------------------------------------------------------------------------------------


def commands_alone(block):
    return "\n".join(re.sub(r"(^|\s)#.*", "", line).rstrip() for line in block.splitlines())


@pytest.mark.parametrize("document", CHINESE)
def test_documents_mark_the_same_commands(document):
    pair = (document.replace("_zh", ""), document)
    english, chinese = ([commands_alone(one) for one in runnable(read(d))] for d in pair)
    assert english == chinese


@pytest.mark.parametrize("document", CHINESE)
def test_documents_show_the_same_commands(document):
    """None that the English page has not."""
    pair = (document.replace("_zh", ""), document)
    english, chinese = (
        {(program, *arguments) for program, arguments in commands(read(d))} for d in pair
    )
    assert chinese <= english


@pytest.mark.parametrize("document", ["tools/README.md", "tools/README_zh.md"])
def test_the_class_file_of_camvid_is_one(document, tmp_path):
    (listed,) = re.findall(r"cat > camvid/classes.txt <<END\n(.*?)END\n", read(document), re.DOTALL)
    (tmp_path / "classes.txt").write_text(listed)
    found = records.read_classes(tmp_path / "classes.txt")
    assert len(found.names) == 11
    shown = dict(zip(found.names, found.palette().tolist()))
    assert shown["sky"] == [128, 128, 128]
    assert shown["bicyclist"] == [0, 128, 192]


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
    write_photos(folder / "photos", folder / "new")
    for name in ("street.jpg", "dog.jpg"):
        cv2.imwrite(str(folder / name), draw_pair(name, 70, 90)[0])
    write_weights(folder / fetch.VGG16_FILE)


def write_photos(photos, new):
    """Photos with masks of ids, as the page on one's own has them, and one without."""
    for path in (photos / "images", photos / "masks", new):
        path.mkdir(parents=True)
    for number in range(1, 11):
        image, label = draw_pair("abcdefghij"[number - 1], 64, 96)
        label[label == 15], label[label == 7] = 1, 2
        cv2.imwrite(str(photos / "images" / f"{number:04}.jpg"), image)
        cv2.imwrite(str(photos / "masks" / f"{number:04}.png"), label)
    (photos / "classes.txt").write_text("background\nbuilding\npole\n")
    cv2.imwrite(str(new / "0001.jpg"), draw_pair("new", 64, 96)[0])


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


@pytest.mark.slow
def test_marked_commands_run(tmp_path, server):
    """The English pages', for the Chinese ones' are the same."""
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
    marked = [block for document in ENGLISH for block in runnable(read(document))]
    assert len(marked) > 5
    for block in marked:
        done = subprocess.run(
            [shutil.which("bash"), "-euo", "pipefail", "-c", block],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
