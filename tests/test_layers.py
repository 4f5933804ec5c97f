"""Imports run downward only, and modules that need no MindSpore do not import it."""

import ast
from pathlib import Path

import pytest

import fcn8s_ms

PACKAGE = Path(fcn8s_ms.__file__).parent

LAYERS = [
    {"__init__"},
    {"errors", "voc", "cpu", "png"},
    {"watch"},
    {"files", "transforms", "model", "folding", "confusion", "schedule", "device", "fetch"}
    | {"optimizer", "accumulation", "freeze", "interruption", "tensorboard", "ranks", "parallel"},
    {"labelme", "loss", "visualize", "engine", "onnx_graph", "onnx_engine", "deployment"}
    | {"report", "pictures", "video"},
    {"sources", "convert", "records", "sample", "checkpoint", "metrics", "callbacks"},
    {"build", "dataset", "inference", "run_folder"},
    {"evaluation", "arguments"},
    {"recorder"},
    {"train", "eval", "predict", "export"},
]
LEVEL = {module: level for level, modules in enumerate(LAYERS) for module in modules}

WITHOUT_MINDSPORE = {
    *("__init__", "errors", "files", "voc", "png", "transforms", "confusion", "schedule"),
    *("labelme", "sources", "convert", "sample", "visualize", "fetch", "interruption"),
    *("tensorboard", "inference", "report", "pictures", "video", "onnx_engine", "watch"),
}
# These load MindSpore when they run, not when they are imported, so that --help is quick.
LAZY = {
    "build",
    "device",
    "ranks",
    "records",
    "run_folder",
    "arguments",
    "train",
    "eval",
    "predict",
    "export",
}


def imports(path, top_level_only=False):
    """Names of the imported modules; those of the package with a leading dot."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if top_level_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            if node.level == 0:
                yield node.module
            elif node.module:
                yield "." + node.module
            else:
                yield from ("." + alias.name for alias in node.names)


def modules():
    return sorted(path.stem for path in PACKAGE.glob("*.py"))


def test_every_module_has_a_layer():
    assert set(modules()) == set(LEVEL)


@pytest.mark.parametrize("module", modules())
def test_imports_run_downward(module):
    for name in imports(PACKAGE / f"{module}.py"):
        if name.startswith(".") and name != ".__version__":
            imported = name[1:].split(".")[0]
            assert LEVEL[imported] < LEVEL[module], f"{module} imports {imported}"


@pytest.mark.parametrize("module", sorted(WITHOUT_MINDSPORE))
def test_mindspore_is_not_needed(module):
    roots = {name.split(".")[0] for name in imports(PACKAGE / f"{module}.py")}
    assert "mindspore" not in roots


@pytest.mark.parametrize("module", sorted(LAZY))
def test_mindspore_is_loaded_late(module):
    heavy = set(LEVEL) - WITHOUT_MINDSPORE - LAZY
    names = set(imports(PACKAGE / f"{module}.py", top_level_only=True))
    assert not {name.split(".")[0] for name in names} & {"mindspore"}
    assert not {name[1:] for name in names if name.startswith(".")} & heavy


def test_public_names_resolve():
    for name in fcn8s_ms.__all__:
        assert getattr(fcn8s_ms, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        fcn8s_ms.nothing
