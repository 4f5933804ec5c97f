"""The source distribution and the wheel, built without a network, and what setup.cfg promises."""

import ast
import configparser
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import fcn8s_ms

from .helpers import clean_environment

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "fcn8s_ms"


def in_checkout(*folders):
    """Files of folders as they would be distributed: paths from the top of the repository."""
    found = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    paths = [path.relative_to(ROOT) for path in found]
    return {
        path.as_posix()
        for path in paths
        if path.suffix != ".pyc" and not any(part.startswith(".") for part in path.parts)
    }


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The files of the source distribution, and the wheel that is built from it."""
    copy, output = (tmp_path_factory.mktemp(name) for name in ("checkout", "dist"))
    for name in ("fcn8s_ms", "tests", "tools", "notebooks"):
        ignored = shutil.ignore_patterns("__pycache__", ".*", "tutorial_files")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for pattern in ("*.md", "*.in", "*.toml", ".ruff.toml", "setup.cfg", "LICENSE"):
        for file in ROOT.glob(pattern):
            shutil.copy(file, copy)
    # The flags keep it from fetching what is installed here.
    command = ["-m", "build", "--no-isolation", "--skip-dependency-check", "--outdir", output, copy]
    done = subprocess.run(
        [sys.executable, *command], env=clean_environment(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    (source,), (wheel,) = output.glob("*.tar.gz"), output.glob("*.whl")
    with tarfile.open(source) as tar:
        files = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}
    return files, wheel


def test_the_source_distribution_is_the_whole_project(built):
    files, _ = built
    tracked = in_checkout("fcn8s_ms", "tests", "tools", "notebooks")
    tracked = {path for path in tracked if "/tutorial_files/" not in path}
    assert tracked <= files
    assert {"setup.cfg", "pyproject.toml", "LICENSE", "README.md", "README_zh.md"} <= files
    assert not [path for path in files if "__pycache__" in path]


def test_the_wheel_is_the_package_and_nothing_else(built):
    _, wheel = built
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    modules = {path for path in in_checkout("fcn8s_ms") if path.endswith(".py")}
    assert len(modules) > 60
    others = {f"fcn8s_ms/evaluation/report.{kind}" for kind in ("html", "css", "js")}
    others |= {f"fcn8s_ms/webpage/viewer.{kind}" for kind in ("html", "css", "js")}
    others |= {"fcn8s_ms/py.typed"}
    assert {name for name in names if ".dist-info/" not in name} == modules | others
    assert any(name.endswith("/LICENSE") for name in names)


def test_metadata_of_the_wheel(built):
    _, wheel = built
    folder = f"fcn8s_ms-{fcn8s_ms.__version__}.dist-info"
    with zipfile.ZipFile(wheel) as archive:
        entry_points = configparser.ConfigParser()
        entry_points.read_string(archive.read(f"{folder}/entry_points.txt").decode())
        metadata = archive.read(f"{folder}/METADATA").decode()
    assert dict(entry_points["console_scripts"]) == {"fcn8s-ms": "fcn8s_ms.__main__:main"}
    assert re.search(r"^Requires-Dist: mindspore ?\(?<2.11,>=2.7\)?$", metadata, re.M)
    assert "\n# fcn8s-ms\n" in metadata  # the first page, as its description


# --- dependencies --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def setup():
    parser = configparser.ConfigParser(comment_prefixes=("#",))
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def requirements(text):
    return [line for line in text.splitlines() if line]


def test_every_dependency_has_both_bounds(setup):
    extras = setup["options.extras_require"]
    lines = [setup["options"]["install_requires"], *extras.values()]
    for line in [line for text in lines for line in requirements(text)]:
        line = line.removesuffix('; python_version < "3.11"')  # what later Pythons have built in
        assert re.fullmatch(r"[\w-]+>=[\d.]+,<[\d.]+", line), line  # and no other condition


def test_an_installed_mindspore_is_respected(setup):
    """One bound for all machines: what is installed and runs is not replaced."""
    (bound,) = [
        line
        for line in requirements(setup["options"]["install_requires"])
        if line.startswith("mindspore")
    ]
    assert bound == "mindspore>=2.7,<2.11"
    assert requirements(setup["options.extras_require"]["cpu"]) == ["mindspore>=2.7,<2.9"]


def test_pre_commit_runs_the_ruff_of_setup_cfg(setup):
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    version = re.search(r"ruff-pre-commit\n +rev: v([\d.]+)\n", hooks)[1]
    assert f"ruff>={version},<" in setup["options.extras_require"]["lint"]


def test_ci_runs_on_every_python_that_setup_cfg_names(setup):
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    versions = re.search(r"python-version: \[(.*)\]", workflow)[1]
    named = re.findall(r"Python :: (3\.\d+)$", setup["metadata"]["classifiers"], re.M)
    assert re.findall(r"[\d.]+", versions) == named
    assert "bash .ci/run" in workflow


# --- public names --------------------------------------------------------------------------------


def test_type_checkers_see_the_names_that_are_imported_late():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {alias.asname: node.module for node in block.body for alias in node.names}
    assert seen == fcn8s_ms._MODULE_OF_NAME
    assert (PACKAGE / "py.typed").read_bytes() == b""


def test_the_packages_help_names_all_public_names():
    for name in fcn8s_ms.__all__:
        assert name.startswith("__") or f"`{name}" in fcn8s_ms.__doc__, name
