"""Fixtures: a small VOC folder and its records, and a network that is quick to run."""

import os

import pytest

from fcn8s_ms import device, records
from fcn8s_ms.records import sources

from .browser import chromium
from .helpers import use_tiny_networks, write_voc


def pytest_addoption(parser):
    parser.addoption(
        "--all",
        action="store_true",
        help="run the slow tests too: every kind of kill, fault and command, not one of each",
    )
    parser.addoption(
        "--signals",
        type=int,
        default=2,
        metavar="N",
        help="moments at which tests/test_ending.py interrupts each program (default: 2)",
    )
    parser.addoption(
        "--fuzz",
        type=int,
        default=8,
        metavar="N",
        help="damaged files of each kind that tests/test_fuzzing.py tries (default: 8)",
    )


# Begun first, so that no process is left with one of them while the other has nothing to do.
_LONGEST = (
    "tests/training/test_resume.py",
    "tests/test_documents.py",
    "tests/distributed/test_distributed.py",
    "tests/test_train.py",
    "tests/test_ending.py",
)


def pytest_collection_modifyitems(config, items):
    """Begins with the longest files; leaves slow tests out without `--all`, but for named ones."""
    order = {config.rootpath / name: place for place, name in enumerate(_LONGEST)}
    items.sort(key=lambda item: order.get(item.path, len(order)))
    if config.getoption("--all") or any("::" in argument for argument in config.args):
        return
    slow = [item for item in items if item.get_closest_marker("slow")]
    if slow:
        config.hook.pytest_deselected(items=slow)
        items[:] = [item for item in items if not item.get_closest_marker("slow")]


@pytest.fixture(scope="session", autouse=True)
def _configured():
    device.configure("CPU")


@pytest.fixture(autouse=True)
def _graph_mode_again():
    """After a test that has trained in the other mode."""
    before = os.environ.get("LD_LIBRARY_PATH")
    yield
    device.configure("CPU")
    # MindSpore 2.7 lengthens it with every device that is set, until no process can be started.
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before


@pytest.fixture
def tiny_network(monkeypatch):
    """Makes the entry points build networks of a few thousand parameters."""
    use_tiny_networks(monkeypatch)


@pytest.fixture
def voc_folder(tmp_path):
    return write_voc(tmp_path / "voc")


@pytest.fixture(scope="session")
def record(tmp_path_factory):
    """Record of all images of the small VOC folder; not to be changed."""
    root = tmp_path_factory.mktemp("records")
    path = root / "all.mindrecord"
    records.build_records(sources.voc_pairs(write_voc(root / "voc"), "trainval"), path)
    return path


@pytest.fixture(scope="module")
def browser():
    """A headless Chromium, or a reason to skip the test."""
    with chromium() as opened:
        yield opened
